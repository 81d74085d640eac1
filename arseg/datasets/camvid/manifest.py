"""CamVid: its sequences, classes and splits, its labels, and its manifest (docs/method.md, 'CamVid')."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Literal

from arseg.data.archives import ImageSource
from arseg.data.color_labels import write_index_labels
from arseg.data.manifest import ManifestRow, escape_braces, read_classes
from arseg.data.sheets import read_sheet
from arseg.errors import DataError
from arseg.spec import SegmentationClass

CamVidSplit = Literal["official", "kaggle"]

SEQUENCE_COLUMNS = ("sequence", "video", "first_annotated", "last_annotated", "first_decoded")

NAME_PATTERN = re.compile(r"(?P<sequence>[A-Za-z0-9]+)_f?(?P<number>\d+)")
"""Name of a still: 0001TP_006690, 0006R0_f00930, 0016E5_00390, Seq05VD_f00030."""

PUBLISHED_GOP = 12
"""Frames with fewer frames before them than the keyframe of such a clip needs are used at d = 0 only."""

KAGGLE_SPLITS = ("train", "val", "test")

USUALLY_IGNORED = 0.2
"""A share of ignored pixels that CamVid's own labels do not reach."""

INDEX_LABELS = "Give CamVid's own colour labels; index labels need no conversion."

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CamVidSequence:
    """One of the four videos, and how the numbers of its annotated stills relate to those of its decoded frames."""

    name: str
    """Name of the sequence, as stills begin with."""
    video: str
    """File name of the video."""
    first_annotated: int
    """Number of the first still."""
    last_annotated: int
    """Number of the last still."""
    first_decoded: int
    """Number of the decoded frame that is the first still; FFmpeg numbers from 1."""

    def decoded(self, annotated: int) -> int:
        """Return the number of the decoded frame that is a still."""
        return annotated - self.first_annotated + self.first_decoded


@cache
def camvid_classes() -> tuple[SegmentationClass, ...]:
    """Return the twelve classes that count; the last one is void, which the published figures count.

    Their colours are those of CamVid's labels; its other twenty classes are ignored.
    """
    return read_classes(Path(__file__).with_name("classes.csv"))


def read_sequences(path: str | Path) -> dict[str, CamVidSequence]:
    """Read a sheet of sequences: sequence, video, first_annotated, last_annotated, first_decoded.

    A DataError says that the sheet is missing, that a line does not fit, or that there is none.
    """
    path = Path(path)
    sequences = {}
    for row in read_sheet(path, SEQUENCE_COLUMNS, "Give one line per video."):
        first = row.integer("first_annotated", 0)
        name = row.cells["sequence"]
        if not name or not row.cells["video"] or name in sequences:
            raise DataError(
                f"{row.place}: expected a new sequence and its video, found {name!r}, {row.cells['video']!r}"
            )
        last, decoded = row.integer("last_annotated", first), row.integer("first_decoded", 1)
        sequences[name] = CamVidSequence(name, row.cells["video"], first, last, decoded)
    if not sequences:
        raise DataError(f"{path}: no line below the header. Give one line per video.")
    return sequences


SEQUENCES = read_sequences(Path(__file__).with_name("sequences.csv"))
"""The published numbering; a workflow whose FFmpeg numbers frames differently has a sheet of its own."""


def parse_still(name: str, sequences: Mapping[str, CamVidSequence] = SEQUENCES) -> tuple[CamVidSequence, int]:
    """Return sequence and number of a still by its name without suffix, for example ``0006R0_f00930``.

    A DataError says that the name is of another form or sequence, or its number beyond the sequence's.
    """
    match = NAME_PATTERN.fullmatch(name)
    if not match or match["sequence"] not in sequences:
        raise DataError(
            f"{name!r} is no still of CamVid; expected the name of a sequence ({', '.join(sequences)}), and a number"
        )
    sequence, number = sequences[match["sequence"]], int(match["number"])
    if number > sequence.last_annotated or sequence.decoded(number) < 1:
        raise DataError(
            f"{name!r}: {sequence.name} has stills with numbers from {sequence.first_annotated} to "
            f"{sequence.last_annotated}, by the sheet of sequences"
        )
    return sequence, number


def decoded_frame(name: str) -> tuple[str, int]:
    """Return the sequence of a still, and the number of the decoded frame that is the same image, as published."""
    sequence, number = parse_still(name)
    return sequence.name, sequence.decoded(number)


def official_split(sequence: str, number: int) -> str:
    """Return the split of a still in the field's division 367/101/233.

    Training: the first half of 0001TP, 0006R0, and 0016E5 but for its part with labels at 15 Hz, which is validation.
    Test: the second half of 0001TP, and Seq05VD.
    """
    if sequence == "0001TP":
        return "train" if number <= 8520 else "test"
    if sequence == "0016E5":
        return "val" if 7959 <= number <= 8159 and number % 2 else "train"
    return "test" if sequence == "Seq05VD" else "train"


def find_images(source: ImageSource, *, labels: bool) -> dict[str, PurePosixPath]:
    """Return the places of the annotated stills in a source, or of their labels, by the stills' names without suffix.

    Label maps are named ``NAME_L.png``, or ``NAME.png`` in a folder whose name says "label". A DataError says that one
    occurs twice.
    """
    found: dict[str, PurePosixPath] = {}
    for member in source.members:
        is_label = member.stem.endswith("_L") or "label" in source.folder_name(member).lower()
        if is_label == labels:
            first = found.setdefault(member.stem.removesuffix("_L"), member)
            if first != member:
                what = "labels of one still" if labels else "one still"
                raise DataError(f"{source.path}: {first} and {member} are {what}. Give one package only.")
    return found


def write_camvid_labels(source: str | Path, output: str | Path) -> int:
    """Convert all colour labels of a folder or zip archive, and return how many there are.

    Colours of none of the twelve classes become 255. ``NAME.png`` with class indices is written to `output`, whole or
    not at all. A DataError says that there are no labels, that one occurs twice, or is damaged or not in colours.
    """
    images = ImageSource(source)
    names = {member: f"{name}.png" for name, member in find_images(images, labels=True).items()}
    if not names:
        raise DataError(
            f"{source}: holds no colour labels, which are named like 0001TP_006690_L.png. Give LabeledApproved_full "
            "or the Kaggle package, zipped or unpacked."
        )
    ignored = write_index_labels(images, output, camvid_classes(), names=names, ignores_unknown=True, hint=INDEX_LABELS)
    if ignored > USUALLY_IGNORED:
        logger.warning("%s: are these CamVid's own colours? Of its labels, a few percent are ignored", source)
    return len(names)


def camvid_manifest(
    dataset: str,
    *,
    frames: str | Path,
    labels: str | Path,
    stills: str | Path,
    split: CamVidSplit,
    sequences: str | Path,
) -> list[ManifestRow]:
    """Return the manifest's rows of CamVid, one for each still.

    Images are decoded frames of the videos, so that a frame and those around it come from one source. A frame that has
    no room for the published clips before it gets ``max_distance`` 0: the published programs use Seq05VD_f00000 as a
    keyframe only.

    Parameters
    ----------
    dataset : str
        Name of the data set.
    frames : path
        Folder with a folder of decoded frames for each sequence, ``0001TP/0001TP_000031.png``.
    labels : path
        Folder of index labels under the stills' names.
    stills : path
        Folder or zip archive of the annotated stills; only names are read.
    split : {"official", "kaggle"}
        The field's division, or that of the folders train, val and test of the Kaggle package. It is part of the
        splits' names: ``kaggle-test``.
    sequences : path
        Sheet of sequences, see `read_sequences`.

    Raises
    ------
    DataError
        If a decoded frame or label is missing, a still has a name that does not fit or occurs twice, or the stills do
        not tell the split.
    """
    table = read_sequences(sequences)
    source = ImageSource(stills)
    rows = []
    for name, member in find_images(source, labels=False).items():
        sequence, number = parse_still(name, table)
        index = sequence.decoded(number)
        folder = source.folder_name(member)
        if split == "kaggle" and folder not in KAGGLE_SPLITS:
            raise DataError(
                f"{stills}: {name} lies in none of the folders {', '.join(KAGGLE_SPLITS)}, so its split is not known. "
                "Give the Kaggle package as source.package, or choose split: official, which needs no folders."
            )
        pattern = f"{escape_braces(str(Path(frames) / sequence.name / sequence.name))}_{{index:06d}}.png"
        image, label = Path(pattern.format(index=index)), Path(labels) / f"{name}.png"
        if not image.is_file():
            raise DataError(
                f"{image}: no such decoded frame, which should be the same image as the still {name}. Decode the "
                f"whole of {sequence.video}, or correct the numbers of {sequence.name} in {sequences}."
            )
        if not label.is_file():
            raise DataError(f"{label}: no such label map. Convert the labels of all stills: arseg camvid labels ...")
        rows.append(
            ManifestRow(
                dataset=dataset,
                split=f"{split}-{folder if split == 'kaggle' else official_split(sequence.name, number)}",
                sequence=sequence.name,
                frame_index=index,
                image=str(image),
                label=str(label),
                frame_pattern=pattern,
                frame_step=1,
                max_distance=0 if index < PUBLISHED_GOP else None,
            )
        )
    return rows
