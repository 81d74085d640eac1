"""The manifest: one CSV that lists every annotated frame of a data set, and a second one with its classes.

All stages after the adapters see a data set through its manifest only. This module owns the two files' layout
and their checks; it does not look at pixels, and it does not know where a data set came from.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from arseg.config import IGNORE_INDEX
from arseg.data.sheets import SheetRow, read_sheet, write_sheet
from arseg.errors import DataError
from arseg.files import atomic_path
from arseg.spec import SegmentationClass

CLASS_COLUMNS = ("index", "name", "red", "green", "blue", "void")
REMAKE = "Make the manifest again: arseg manifest ..."
TEACHER = "HR"
"""Who made a label that nobody drew: the HR branch."""


@dataclass(frozen=True, order=True)
class ManifestRow:
    """One annotated frame, and where the video around it lies."""

    dataset: str
    """Name of the data set."""
    split: str
    """Split that the frame belongs to; a frame may have one row in each of several splits."""
    sequence: str
    """Name of the video."""
    frame_index: int
    """Number of the frame in its file name."""
    image: str
    """Path of the frame, as given to the adapter (usually relative to the working directory)."""
    label: str
    """Path of its label map; empty if there is none."""
    frame_pattern: str
    """Path of the video's frames, as a format string of ``index``; empty for a still."""
    frame_step: int
    """Difference between the numbers of two successive frames of the video; 0 for a still."""
    max_distance: int | None = None
    """Largest distance at which the frame is used, where the video begins too late for others; None is no limit."""
    labelled_by: str = ""
    """`TEACHER` if it made the label, so that scores are agreement with it; empty if the label is true."""

    def frame_path(self, offset: int) -> Path:
        """Return the path of the frame of the same video `offset` frames after this one, or before if negative.

        A DataError says that the row is a still, or that the video begins later.
        """
        if not self.frame_pattern:
            raise DataError(
                f"{self.image}: a still has no video around it, so there is no frame {offset:+d}. "
                "Use a split whose rule in the splits sheet has a frame_step."
            )
        index = self.frame_index + offset * self.frame_step
        if index < 0:
            raise DataError(
                f"{self.image}: {-offset} frames before it the frame number would be {index}. Choose "
                "annotated frames further from the start of the video (column first of the splits sheet)."
            )
        return Path(self.frame_pattern.format(index=index))


@dataclass(frozen=True)
class Manifest:
    """The annotated frames and classes of one data set."""

    rows: tuple[ManifestRow, ...]
    """All frames, sorted."""
    classes: tuple[SegmentationClass, ...]
    """All classes, by index."""
    digest: str
    """SHA-256 of the two files, which identifies the list of frames (not their pixels)."""

    @property
    def num_classes(self) -> int:
        """Number of classes K, void included."""
        return len(self.classes)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, by index."""
        return tuple(cls.name for cls in self.classes)

    @property
    def palette(self) -> NDArray[np.uint8]:
        """RGB colours by class index, shape (K, 3)."""
        return np.array([cls.color for cls in self.classes], dtype=np.uint8)

    def split(self, name: str) -> tuple[ManifestRow, ...]:
        """Return the rows of one split, sorted; a DataError says that none belongs to it."""
        rows = tuple(row for row in self.rows if row.split == name)
        if not rows:
            known = ", ".join(sorted({row.split for row in self.rows})) or "none"
            dataset = self.rows[0].dataset if self.rows else "<name>"
            raise DataError(
                f"data set {dataset}: its manifest has no split {name!r}; its splits are: {known}. Unpack what that "
                "split needs (of Cityscapes, gtFine and leftImg8bit_sequence) and make the manifest again, choose "
                f"another split in datasets.{dataset}.splits, or add rules for it to the splits sheet."
            )
        return rows

    def labelled_by(self, split: str) -> str:
        """Return who labelled a split: `TEACHER`, or "" if its labels are true; a DataError says that it has both."""
        found = {row.labelled_by for row in self.split(split)}
        if len(found) > 1:
            raise DataError(
                f"data set {self.rows[0].dataset}: some labels of the split {split!r} are {TEACHER}'s, others are true "
                "(column labelled_by of its manifest), so that scores would be neither agreement nor mIoU. Give them "
                "splits of their own."
            )
        return found.pop()


_COLUMNS = tuple(field.name for field in fields(ManifestRow) if field.name != "labelled_by")


def read_manifest(path: str | Path) -> Manifest:
    """Read a manifest and its sibling ``<stem>.classes.csv``.

    A DataError with file and line says that a file is missing or a line does not fit.
    """
    path = Path(path)
    classes = read_classes(_classes_path(path))
    sheet = read_sheet(path, _COLUMNS, REMAKE, optional=["labelled_by"])
    placed_rows = [(sheet_row.place, _parse_row(sheet_row)) for sheet_row in sheet]
    check_unique(placed_rows)
    digests = [hashlib.sha256(file.read_bytes()).digest() for file in (path, _classes_path(path))]
    return Manifest(
        rows=tuple(sorted(row for _, row in placed_rows)),
        classes=classes,
        digest=hashlib.sha256(b"".join(digests)).hexdigest(),
    )


def write_manifest(path: str | Path, rows: Iterable[ManifestRow], classes: Sequence[SegmentationClass]) -> None:
    """Write a manifest and its sibling ``<stem>.classes.csv``.

    Rows are sorted, so that the same rows in any order give the same bytes; the column labelled_by is there only if the
    teacher made labels. A DataError says that two rows are the same frame of the same split, or that the classes are
    not numbered 0 ... K - 1.
    """
    path = Path(path)
    rows = sorted(rows)
    check_unique((str(path), row) for row in rows)
    columns = (*_COLUMNS, "labelled_by") if any(row.labelled_by for row in rows) else _COLUMNS
    with atomic_path(_classes_path(path)) as temporary:
        write_classes(temporary, classes)
    with atomic_path(path) as temporary:
        write_sheet(temporary, columns, (astuple(row)[: len(columns)] for row in rows))


def read_classes(path: str | Path) -> tuple[SegmentationClass, ...]:
    """Read a sheet of classes with the columns index, name, red, green, blue, void.

    A DataError says that the file is missing, that a line does not fit, that the indices are not 0 ... K - 1 in this
    order, or that two classes have one name.
    """
    path = Path(path)
    classes: list[SegmentationClass] = []
    for row in read_sheet(path, CLASS_COLUMNS, "Give one line per class."):
        void = row.cells["void"].lower()
        if void not in ("true", "false"):
            raise DataError(f"{row.place}: void is {row.cells['void']!r}, expected true or false")
        red, green, blue = (row.integer(channel, 0, 255) for channel in ("red", "green", "blue"))
        if row.cells["index"] == str(IGNORE_INDEX):
            raise DataError(
                f"{row.place}: index {IGNORE_INDEX} is no class: pixels of that value count nowhere. Remove the line."
            )
        index = row.integer("index", 0, IGNORE_INDEX - 1)
        if not row.cells["name"] or row.cells["name"] in (cls.name for cls in classes):
            raise DataError(
                f"{row.place}: expected a name that no other class has, found {row.cells['name']!r}: tables have a "
                "column for each."
            )
        classes.append(SegmentationClass(index, row.cells["name"], (red, green, blue), void == "true"))
    _check_indices(path, classes)
    return tuple(classes)


def write_classes(path: Path, classes: Sequence[SegmentationClass]) -> None:
    """Write a sheet of classes, as `read_classes` reads it."""
    _check_indices(path, classes)
    cells = ((cls.index, cls.name, *cls.color, "true" if cls.void else "false") for cls in classes)
    write_sheet(path, CLASS_COLUMNS, cells)


def check_unique(placed_rows: Iterable[tuple[str, ManifestRow]]) -> None:
    """Check that no frame occurs twice in a split, or name the file (and line) of the second row in a DataError."""
    seen: dict[tuple[str, str, int], ManifestRow] = {}
    for place, row in placed_rows:
        first = seen.setdefault((row.split, row.sequence, row.frame_index), row)
        if first is not row:
            raise DataError(
                f"{place}: frame {row.frame_index} of sequence {row.sequence!r} occurs twice in split "
                f"{row.split!r}: {first.image} and {row.image}. Let only one rule of the splits sheet "
                "choose it, or give the two videos different names."
            )


def escape_braces(path: str) -> str:
    """Return a path, or a part of one, as it stands in a frame pattern."""
    return path.replace("{", "{{").replace("}", "}}")


def _classes_path(path: Path) -> Path:
    return path.with_name(f"{path.stem}.classes.csv")


def _parse_row(sheet_row: SheetRow) -> ManifestRow:
    cells = sheet_row.cells
    row = ManifestRow(
        dataset=cells["dataset"],
        split=cells["split"],
        sequence=cells["sequence"],
        frame_index=sheet_row.integer("frame_index", 0),
        image=cells["image"],
        label=cells["label"],
        frame_pattern=cells["frame_pattern"],
        frame_step=sheet_row.integer("frame_step", 0),
        max_distance=sheet_row.optional_integer("max_distance", 0),
        labelled_by=cells["labelled_by"],
    )
    for name in ("dataset", "split", "image"):
        if not cells[name]:
            raise DataError(f"{sheet_row.place}: {name} is empty. {REMAKE}")
    if row.labelled_by not in ("", TEACHER):
        raise DataError(
            f"{sheet_row.place}: labelled_by is {row.labelled_by!r}, expected {TEACHER}, or nothing where the label is "
            f"true. {REMAKE}"
        )
    if bool(row.frame_pattern) != bool(row.frame_step):
        raise DataError(
            f"{sheet_row.place}: frame_pattern {row.frame_pattern!r} with frame_step {row.frame_step}; "
            f"a still has neither, a frame of a video both. {REMAKE}"
        )
    if row.frame_pattern and not _names_its_own_image(row):
        raise DataError(
            f"{sheet_row.place}: frame_pattern {row.frame_pattern!r} does not give the image {row.image!r} "
            f"for the index {row.frame_index}. {REMAKE}"
        )
    return row


def _names_its_own_image(row: ManifestRow) -> bool:
    try:
        return row.frame_pattern.format(index=row.frame_index) == row.image
    except (ValueError, LookupError):
        return False


def _check_indices(place: Path, classes: Sequence[SegmentationClass]) -> None:
    indices = [cls.index for cls in classes]
    if not indices or indices != list(range(len(indices))):
        raise DataError(
            f"{place}: class indices are {indices}, expected 0, 1, 2, ... in this order, one line per class"
        )
