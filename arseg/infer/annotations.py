"""Labels as annotations that other tools import: COCO (JSON) and CVAT (XML in a ZIP file).

Either has one mask for each class that a frame shows, like COCO's "stuff": semantic labels have no instances. Frames
are named as the palette PNGs are. Files grow frame by frame, in flat memory.
"""

import json
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from numpy.typing import NDArray

from arseg import __version__
from arseg.errors import ConfigError
from arseg.files import atomic_path
from arseg.infer.segment import FrameInfo
from arseg.spec import SegmentationClass

Write = Callable[[NDArray[np.uint8], NDArray[np.uint8], FrameInfo], None]
"""Takes a frame (H, W, 3), its labels (H, W) and what else is known."""


def frame_name(info: FrameInfo) -> str:
    """Return the name of a frame's PNG."""
    return f"{info.index:06d}.png"


def check_coco(path: Path) -> None:
    """Raise a ConfigError if the package is missing that makes COCO's run lengths."""
    if find_spec("pycocotools") is None:
        raise ConfigError(f"--output {path}: needs the package pycocotools. Install it: pip install 'arseg[coco]'")


@contextmanager
def write_coco(path: Path, classes: Sequence[SegmentationClass]) -> Iterator[Write]:
    """Yield a writer of COCO annotations with compressed run lengths.

    Categories are numbered from 1, one above the class index: to many tools 0 is the background.
    """
    from pycocotools import mask as run_lengths  # noqa: PLC0415 - the extra `coco`

    described = {
        "info": {"description": "made by arseg segment", "version": __version__},
        "categories": [
            {"id": cls.index + 1, "name": cls.name, "supercategory": "stuff", "isthing": 0, "color": cls.color}
            for cls in classes
        ],
    }
    with (
        atomic_path(path) as temporary,
        temporary.open("w", encoding="utf-8") as file,
        TemporaryFile("w+", encoding="utf-8") as images,
    ):
        num_images = num_annotations = 0

        def write(frame: NDArray[np.uint8], labels: NDArray[np.uint8], info: FrameInfo) -> None:
            nonlocal num_images, num_annotations
            height, width = labels.shape
            image = {"id": info.index, "file_name": frame_name(info), "width": width, "height": height}
            images.write(f"{',' if num_images else ''}\n{json.dumps(image)}")
            num_images += 1
            by_column = np.ascontiguousarray(labels.T)  # the order of COCO's runs
            for index in np.flatnonzero(np.bincount(labels.ravel())):
                runs = run_lengths.encode((by_column == index).view(np.uint8).T)
                num_annotations += 1
                annotation = {
                    "id": num_annotations,
                    "image_id": info.index,
                    "category_id": int(index) + 1,
                    "area": int(run_lengths.area(runs)),
                    "bbox": run_lengths.toBbox(runs).tolist(),
                    "iscrowd": 0,
                    "segmentation": {"size": [height, width], "counts": runs["counts"].decode()},
                }
                file.write(f"{',' if num_annotations > 1 else ''}\n{json.dumps(annotation)}")

        file.write(f'{json.dumps(described)[:-1]}, "annotations": [')
        yield write
        file.write('\n], "images": [')
        images.seek(0)
        shutil.copyfileobj(images, file)
        file.write("\n]}\n")


@contextmanager
def write_cvat(path: Path, classes: Sequence[SegmentationClass]) -> Iterator[Write]:
    """Yield a writer of "CVAT for images 1.1", which finds frames by name or number and labels by name.

    CVAT's other format of masks finds labels by colour, and takes the first one for the background.
    """
    with (
        atomic_path(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("annotations.xml", "w", force_zip64=True) as file,
    ):

        def write(frame: NDArray[np.uint8], labels: NDArray[np.uint8], info: FrameInfo) -> None:
            height, width = labels.shape
            masks = (_cvat_mask(labels == cls.index, cls.name) for cls in classes)
            image = f'<image id="{info.index}" name="{frame_name(info)}" width="{width}" height="{height}">'
            file.write("\n".join([image, *filter(None, masks), "</image>\n"]).encode())

        labels = (
            f"<label><name>{escape(cls.name)}</name><color>#{bytes(cls.color).hex()}</color><type>mask</type>"
            "<attributes></attributes></label>"
            for cls in classes
        )
        file.write(
            '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n<meta><task>'
            f"<name>{escape(path.stem)}</name><mode>annotation</mode><labels>{''.join(labels)}</labels></task></meta>\n"
            "".encode()
        )
        yield write
        file.write(b"</annotations>\n")


def _cvat_mask(mask: NDArray[np.bool_], name: str) -> str:
    """Return the element of a mask (H, W): the lengths of runs in its box, row by row, the first one outside it."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    if not rows.size:
        return ""
    (top, bottom), (left, right) = ((int(places[0]), int(places[-1])) for places in (rows, columns))
    inside = mask[top : bottom + 1, left : right + 1].ravel()
    runs = np.diff(np.flatnonzero(inside[1:] != inside[:-1]) + 1, prepend=0, append=inside.size).tolist()
    lengths = ", ".join(map(str, [0, *runs] if inside[0] else runs))
    return (
        f'<mask label={quoteattr(name)} source="auto" occluded="0" rle="{lengths}" left="{left}" top="{top}" '
        f'width="{right - left + 1}" height="{bottom - top + 1}" z_order="0"></mask>'
    )
