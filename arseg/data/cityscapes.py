"""Cityscapes as its packages are unpacked: which frames are annotated, their train ids, and the manifest.

A snippet of 30 frames has one annotated frame, the 20th. Snippets of one recording share a sequence name where their
frame numbers tell them apart (``bochum_000000``), so a frame is known by city, sequence and frame number together.
"""

import logging
import re
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from arseg.config import IGNORE_INDEX
from arseg.data.images import read_label
from arseg.data.manifest import ManifestRow
from arseg.errors import ConfigError, DataError
from arseg.files import atomic_path
from arseg.progress import track
from arseg.spec import SegmentationClass

SPLITS = ("train", "val")
"""The splits with labels; those of test are dummies."""

LABELS_FOLDER = "gtFine"
STILLS_FOLDER = "leftImg8bit"
VIDEO_FOLDER = "leftImg8bit_sequence"

_LABEL_NAME = re.compile(r"(?P<city>[^_]+)_(?P<sequence>\d{6})_(?P<frame>\d{6})_gtFine_labelIds\.png")
_UNKNOWN_ID = -1

logger = logging.getLogger(__name__)


@dataclass(frozen=True, order=True)
class AnnotatedFrame:
    """A frame that has labels, by the parts of its name."""

    split: str
    city: str
    sequence: str
    """Six digits, which tell some recordings of a city apart."""
    frame_index: int

    @property
    def video(self) -> str:
        """City and sequence, as the names of all frames of the recording begin."""
        return f"{self.city}_{self.sequence}"

    @property
    def folder(self) -> Path:
        """Split and city, as every package has its folders."""
        return Path(self.split, self.city)

    def image_name(self, offset: int = 0) -> str:
        """File name of a frame.

        Parameters
        ----------
        offset : int
            Frames after the annotated one; negative for frames before it.
        """
        return f"{self.video}_{self.frame_index + offset:06d}_leftImg8bit.png"

    def label_name(self, kind: str) -> str:
        """File name of a map of the frame's labels, of the kind ``labelIds`` or ``labelTrainIds``."""
        return f"{self.video}_{self.frame_index:06d}_gtFine_{kind}.png"

    def image_path(self, root: Path) -> Path | None:
        """Path of the frame in its video or, without one, among the stills; None if it is in neither."""
        for package in (VIDEO_FOLDER, STILLS_FOLDER):
            path = root / package / self.folder / self.image_name()
            if path.is_file():
                return path
        return None

    def train_ids_path(self, labels: Path) -> Path:
        """Path of the frame's map of train ids, which `write_train_ids` wrote."""
        return labels / self.folder / self.label_name("labelTrainIds")


def cityscapes_classes() -> tuple[SegmentationClass, ...]:
    """Give the 19 classes that Cityscapes evaluates, by train id, with their official names and colours."""
    from cityscapesscripts.helpers.labels import labels  # noqa: PLC0415

    evaluated = sorted(
        (label for label in labels if 0 <= label.trainId != IGNORE_INDEX), key=lambda label: label.trainId
    )
    return tuple(SegmentationClass(label.trainId, label.name, label.color, void=False) for label in evaluated)


def annotated_frames(root: str | Path) -> list[AnnotatedFrame]:
    """List the frames that have labels, in the splits train and val, sorted.

    Parameters
    ----------
    root : path
        Folder that holds ``gtFine``.

    Raises
    ------
    DataError
        If ``gtFine`` or one of its splits is missing or empty, or a name is not as in Cityscapes.
    """
    gt_fine = _labels_folder(Path(root))
    frames = []
    for split in SPLITS:
        paths = sorted((gt_fine / split).glob("*/*_gtFine_labelIds.png"))
        if not paths:
            raise DataError(
                f"{gt_fine / split}: no labels of the form {{city}}/{{city}}_000000_000000_gtFine_labelIds.png. Unpack "
                "gtFine_trainvaltest.zip: arseg cityscapes unpack"
            )
        for path in paths:
            match = _LABEL_NAME.fullmatch(path.name)
            if not match or match["city"] != path.parent.name:
                raise DataError(
                    f"{path}: expected a name of the form {path.parent.name}_000000_000000_gtFine_labelIds.png. "
                    "Unpack the original package again, or move the file elsewhere."
                )
            frames.append(AnnotatedFrame(split, match["city"], match["sequence"], int(match["frame"])))
    return sorted(frames)


def write_train_ids(root: str | Path, output: str | Path, *, num_workers: int = 1) -> None:
    """Turn label ids into train ids: 0 ... 18, and 255 for all that is not evaluated (docs/method.md, 'Cityscapes').

    ``gtFine/{split}/{city}/*_gtFine_labelIds.png`` below `root` becomes ``{split}/{city}/*_gtFine_labelTrainIds.png``
    below `output`. Maps that are there are kept, so that a killed run goes on where it was.

    Parameters
    ----------
    root : path
        Folder that holds ``gtFine``.
    output : path
        Folder to write to.
    num_workers : int
        Processes that convert.

    Raises
    ------
    ConfigError
        If `num_workers` is not positive.
    DataError
        If ``gtFine`` is incomplete, or a label map is damaged or holds a value that is no label id.
    """
    if num_workers < 1:
        raise ConfigError(f"num_workers {num_workers}: must be at least 1")
    root, output = Path(root), Path(output)
    frames = annotated_frames(root)
    todo = [
        (root / LABELS_FOLDER / frame.folder / frame.label_name("labelIds"), frame.train_ids_path(output))
        for frame in frames
        if not frame.train_ids_path(output).exists()
    ]
    if len(todo) < len(frames):
        logger.info("%s: %d of %d label maps are there already", output, len(frames) - len(todo), len(frames))
    if num_workers == 1 or not todo:
        for source, converted in track(todo, "label maps"):
            convert_label_map(source, converted)
    else:
        # Spawned, not forked: a fork of a process that runs threads may hang.
        with ProcessPoolExecutor(num_workers, mp_context=get_context("spawn")) as pool:
            for _ in track(pool.map(convert_label_map, *zip(*todo, strict=True), chunksize=8), "label maps", len(todo)):
                pass


def cityscapes_manifest(dataset: str, root: str | Path, labels: str | Path) -> list[ManifestRow]:
    """Make the manifest of the splits train and val.

    A frame that ``leftImg8bit_sequence`` lacks is a still of ``leftImg8bit``: phase 1 can train on it, no clip can be
    made of it.

    Parameters
    ----------
    dataset : str
        Name of the data set.
    root : path
        Folder with ``gtFine`` and ``leftImg8bit_sequence``, or ``leftImg8bit``, or both.
    labels : path
        Folder that `write_train_ids` wrote.

    Returns
    -------
    rows : list of ManifestRow
        One for each annotated frame, sorted.

    Raises
    ------
    DataError
        If labels, or the image of an annotated frame, are missing.
    """
    root, labels = Path(root), Path(labels)
    rows = [_manifest_row(dataset, root, labels, frame) for frame in annotated_frames(root)]
    for split in SPLITS:
        of_split = [row for row in rows if row.split == split]
        stills = sum(not row.frame_pattern for row in of_split)
        if stills:
            logger.warning(
                "%s: %d of %d frames of split %s have no video around them: they serve phase 1 only",
                root / VIDEO_FOLDER,
                stills,
                len(of_split),
                split,
            )
    return sorted(rows)


def missing_image(root: Path, frame: AnnotatedFrame) -> str:
    """Say that an annotated frame is nowhere, and how to mend it."""
    video, still = (root / package / frame.folder / frame.image_name() for package in (VIDEO_FOLDER, STILLS_FOLDER))
    return (
        f"{video}: the annotated frame is missing, and {still} as well. Unpack {VIDEO_FOLDER}_trainvaltest.zip (for "
        f"phase 1 alone, {STILLS_FOLDER}_trainvaltest.zip): arseg cityscapes unpack"
    )


def _labels_folder(root: Path) -> Path:
    folder = root / LABELS_FOLDER
    # Compared with the names in the folder: some file systems would take gtfine for gtFine.
    names = [path.name for path in root.iterdir()] if root.is_dir() else []
    if LABELS_FOLDER in names:
        return folder
    if root.name == LABELS_FOLDER:
        raise DataError(f"{root}: this is {LABELS_FOLDER} itself. Give the folder that it lies in: {root.parent}")
    if other := next((name for name in names if name.lower() == LABELS_FOLDER.lower()), None):
        raise DataError(f"{root / other}: expected the name {LABELS_FOLDER}. Rename the folder.")
    if deeper := next(root.glob(f"*/{LABELS_FOLDER}"), None):
        raise DataError(f"{folder}: no such folder, but there is {deeper}. Give {deeper.parent} as the root.")
    raise DataError(
        f"{folder}: no such folder. Give the folder that holds {LABELS_FOLDER}, or unpack gtFine_trainvaltest.zip "
        f"there: arseg cityscapes unpack gtFine_trainvaltest.zip --output {root}"
    )


@cache
def _train_ids() -> NDArray[np.int16]:
    """Train id of each value that a label map may hold, -1 where the official table has none; shape (256,)."""
    from cityscapesscripts.helpers.labels import labels  # noqa: PLC0415

    table = np.full(256, _UNKNOWN_ID, dtype=np.int16)
    for label in labels:
        # Licence plates have the id -1, which is 255 in the eight bits of a PNG, and the train id -1.
        table[label.id % 256] = label.trainId % 256
    return table


def convert_label_map(source: Path, output: Path) -> None:
    """Turn the label ids of one map into train ids.

    Raises
    ------
    DataError
        If the map is damaged, or holds a value that is no label id.
    """
    label_ids = read_label(source, num_classes=256)
    train_ids = _train_ids()[label_ids]
    if (train_ids == _UNKNOWN_ID).any():
        row, column = np.argwhere(train_ids == _UNKNOWN_ID)[0]
        raise DataError(
            f"{source}: label value {label_ids[row, column]} at row {row}, column {column} is no label id of "
            "Cityscapes (0 to 33, and 255 for -1). Replace the file by the original."
        )
    with atomic_path(output) as temporary:
        Image.fromarray(train_ids.astype(np.uint8)).save(temporary)


def _manifest_row(dataset: str, root: Path, labels: Path, frame: AnnotatedFrame) -> ManifestRow:
    label, image = frame.train_ids_path(labels), frame.image_path(root)
    if image is None:
        raise DataError(missing_image(root, frame))
    if not label.is_file():
        raise DataError(f"{label}: no such label map. Make it: arseg cityscapes labels --root {root} --output {labels}")
    is_video = image.is_relative_to(root / VIDEO_FOLDER)
    folder = str(image.parent).replace("{", "{{").replace("}", "}}")
    return ManifestRow(
        dataset=dataset,
        split=frame.split,
        sequence=frame.video,
        frame_index=frame.frame_index,
        image=str(image),
        label=str(label),
        frame_pattern=f"{folder}/{frame.video}_{{index:06d}}_leftImg8bit.png" if is_video else "",
        frame_step=1 if is_video else 0,
    )
