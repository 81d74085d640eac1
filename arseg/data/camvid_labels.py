"""CamVid's colour labels to class indices."""

import logging
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from arseg.config import IGNORE_INDEX
from arseg.data.archives import PictureSource
from arseg.data.camvid import camvid_classes, is_label
from arseg.data.images import decode_image
from arseg.errors import DataError
from arseg.files import atomic_path
from arseg.progress import track

USUALLY_IGNORED = 0.2
"""A share of ignored pixels that CamVid's own labels do not reach."""

COLOR_MODES = ("RGB", "RGBA", "P")
INDEX_LABELS = "Give CamVid's own colour labels; index labels need no conversion."

logger = logging.getLogger(__name__)


def colors_to_indices(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Turn label colours into class indices (docs/method.md, 'CamVid').

    Parameters
    ----------
    rgb : ndarray of uint8, shape (H, W, 3)
        A colour label.

    Returns
    -------
    indices : ndarray of uint8, shape (H, W)
        0 ... 11 where a colour is exactly that of a class, 255 everywhere else.
    """
    indices = np.full(rgb.shape[:2], IGNORE_INDEX, np.uint8)
    packed = _pack(rgb)
    for cls in camvid_classes():
        indices[packed == _pack(np.array(cls.color))] = cls.index
    return indices


def write_index_labels(source: str | Path, output: str | Path) -> int:
    """Convert all colour labels of a folder or zip archive.

    Parameters
    ----------
    source : path
        Folder or zip archive with files ``NAME_L.png``, or ``NAME.png`` in folders whose names say "label".
    output : path
        Folder to write, whole or not at all: ``NAME.png`` with class indices.

    Returns
    -------
    num_labels : int
        Number of label maps.

    Raises
    ------
    DataError
        If there are none, one occurs twice, or one is damaged or not in colours.
    """
    images = PictureSource(source)
    members: dict[str, PurePosixPath] = {}
    for member in images.members:
        if is_label(images, member):
            name = member.stem.removesuffix("_L")
            if name in members:
                raise DataError(
                    f"{source}: {members[name]} and {member} are labels of one still. Give one package only."
                )
            members[name] = member
    if not members:
        raise DataError(
            f"{source}: holds no colour labels, which are named like 0001TP_006690_L.png. Give LabeledApproved_full "
            "or the Kaggle package, zipped or unpacked."
        )
    num_ignored = num_pixels = 0
    with atomic_path(Path(output)) as folder:
        folder.mkdir()
        for member, content in track(images.read(list(members.values())), "labels", len(members)):
            colors = decode_image(content, f"{source}: {member}", "colour label", COLOR_MODES, INDEX_LABELS)
            indices = colors_to_indices(colors)
            Image.fromarray(indices).save(folder / f"{member.stem.removesuffix('_L')}.png")
            num_ignored += int(np.count_nonzero(indices == IGNORE_INDEX))
            num_pixels += indices.size
    ignored = num_ignored / num_pixels
    logger.info("%.2f %% of the pixels have other colours and are ignored", 100 * ignored)
    if ignored > USUALLY_IGNORED:
        logger.warning("%s: are these CamVid's own colours? Of its labels, a few percent are ignored", source)
    return len(members)


def _pack(rgb: NDArray[np.integer]) -> NDArray[np.integer]:
    """Join the channels to one number per pixel, which compares faster than three."""
    channels = rgb.astype(np.int32)
    return channels[..., 0] << 16 | channels[..., 1] << 8 | channels[..., 2]
