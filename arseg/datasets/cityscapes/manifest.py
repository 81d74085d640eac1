"""Cityscapes as its packages are unpacked: which frames are annotated, its classes, and the manifest.

A snippet of 30 frames has one annotated frame, the 20th. Snippets of one recording share a sequence name where their
frame numbers tell them apart (``bochum_000000``), so a frame is known by city, sequence and frame number together.
"""

import logging
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from arseg.data.manifest import ManifestRow, escape_braces
from arseg.data.sheets import SheetRow, read_sheet
from arseg.errors import DataError
from arseg.spec import SegmentationClass

SPLITS = ("train", "val")
"""The splits with labels; those of test are dummies."""

LABELS_FOLDER = "gtFine"
STILLS_FOLDER = "leftImg8bit"
VIDEO_FOLDER = "leftImg8bit_sequence"

NOT_EVALUATED = ("255", "-1")
"""Train ids of the labels that do not count."""

_LABEL_NAME = re.compile(r"(?P<city>[^_]+)_(?P<sequence>\d{6})_(?P<frame>\d{6})_gtFine_labelIds\.png")

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
        """Return the file name of the frame, or of the one `offset` frames after it."""
        return f"{self.video}_{self.frame_index + offset:06d}_leftImg8bit.png"

    def image_path(self, root: Path) -> Path | None:
        """Return the path of the frame in its video or, without one, among the stills; None if it is in neither."""
        paths = (root / package / self.folder / self.image_name() for package in (VIDEO_FOLDER, STILLS_FOLDER))
        return next((path for path in paths if path.is_file()), None)

    def label_ids_path(self, root: Path) -> Path:
        """Return the path of the frame's map of label ids."""
        return root / LABELS_FOLDER / self.folder / f"{self.video}_{self.frame_index:06d}_gtFine_labelIds.png"

    def train_ids_path(self, labels: Path) -> Path:
        """Return the path of the frame's map of train ids, which `write_train_ids` wrote."""
        return labels / self.folder / f"{self.video}_{self.frame_index:06d}_gtFine_labelTrainIds.png"


@cache
def official_labels() -> list[SheetRow]:
    """Return the data set's own table of labels: id, train_id, name and colour."""
    columns = ("id", "train_id", "name", "red", "green", "blue")
    return read_sheet(Path(__file__).with_name("labels.csv"), columns, "Install arseg again.")


def cityscapes_classes() -> tuple[SegmentationClass, ...]:
    """Return the 19 classes that Cityscapes evaluates, by train id, with their official names and colours."""
    evaluated = [row for row in official_labels() if row.cells["train_id"] not in NOT_EVALUATED]
    return tuple(
        SegmentationClass(
            index=int(row.cells["train_id"]),
            name=row.cells["name"],
            color=(int(row.cells["red"]), int(row.cells["green"]), int(row.cells["blue"])),
            void=False,
        )
        for row in evaluated
    )


def annotated_frames(root: Path) -> list[AnnotatedFrame]:
    """Return the frames below ``root/gtFine`` with labels, of the splits train and val that are there, sorted.

    A DataError says that ``gtFine`` is missing or has labels of neither split, or that a name is not as in Cityscapes.
    """
    gt_fine = _labels_folder(root)
    frames = []
    for split in SPLITS:
        for path in (gt_fine / split).glob("*/*_gtFine_labelIds.png"):
            match = _LABEL_NAME.fullmatch(path.name)
            if not match or match["city"] != path.parent.name:
                raise DataError(
                    f"{path}: expected a name of the form {path.parent.name}_000000_000000_gtFine_labelIds.png. "
                    "Unpack the original package again, or move the file elsewhere."
                )
            frames.append(AnnotatedFrame(split, match["city"], match["sequence"], int(match["frame"])))
    if not frames:
        raise DataError(
            f"{gt_fine}: no labels of the form {{split}}/{{city}}/{{city}}_000000_000000_gtFine_labelIds.png of the "
            "splits train and val. Unpack gtFine_trainvaltest.zip: arseg cityscapes unpack"
        )
    return sorted(frames)


def usable_frames(root: Path) -> list[AnnotatedFrame]:
    """Return the annotated frames of the splits with labels and images; a warning names a split left out.

    A DataError is raised as by `annotated_frames`.
    """
    frames = annotated_frames(root)
    with_images = [
        split for split in SPLITS if any((root / package / split).is_dir() for package in (VIDEO_FOLDER, STILLS_FOLDER))
    ]
    usable = [frame for frame in frames if frame.split in with_images]
    for split in SPLITS:
        if usable and not any(frame.split == split for frame in usable):
            missing = VIDEO_FOLDER if any(frame.split == split for frame in frames) else LABELS_FOLDER
            logger.warning(
                f"{root / missing / split}: not there, so split {split} is left out. For what needs it, unpack "
                f"{missing}_trainvaltest.zip"
            )
    return usable or frames


def cityscapes_manifest(dataset: str, root: str | Path, labels: str | Path) -> list[ManifestRow]:
    """Return the manifest's rows of the splits train and val, as far as they are there, sorted.

    A frame that ``leftImg8bit_sequence`` below `root` lacks is a still of ``leftImg8bit``: phase 1 can train on it, no
    clip can be made of it. `labels` is the folder that `arseg.datasets.cityscapes.labels.write_train_ids` wrote. A
    DataError says that a label, or the image of an annotated frame, is missing.
    """
    root, labels = Path(root), Path(labels)
    rows = sorted(_manifest_row(dataset, root, labels, frame) for frame in usable_frames(root))
    for split in SPLITS:
        of_split = [row for row in rows if row.split == split]
        if stills := sum(not row.frame_pattern for row in of_split):
            logger.warning(
                f"{root / VIDEO_FOLDER}: {stills} of {len(of_split)} frames of split {split} have no video around "
                "them: they serve phase 1 only"
            )
    return rows


def missing_image(root: Path, frame: AnnotatedFrame) -> str:
    """Return, for errors, that an annotated frame is nowhere, and the fix."""
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


def _manifest_row(dataset: str, root: Path, labels: Path, frame: AnnotatedFrame) -> ManifestRow:
    label, image = frame.train_ids_path(labels), frame.image_path(root)
    if image is None:
        raise DataError(missing_image(root, frame))
    if not label.is_file():
        raise DataError(f"{label}: no such label map. Make it: arseg cityscapes labels --root {root} --output {labels}")
    is_video = image.is_relative_to(root / VIDEO_FOLDER)
    stem = escape_braces(str(image.parent / frame.video))
    return ManifestRow(
        dataset=dataset,
        split=frame.split,
        sequence=frame.video,
        frame_index=frame.frame_index,
        image=str(image),
        label=str(label),
        frame_pattern=f"{stem}_{{index:06d}}_leftImg8bit.png" if is_video else "",
        frame_step=1 if is_video else 0,
    )
