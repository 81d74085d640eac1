"""CamVid: its sequences and how frames are numbered, its classes, splits and manifest (docs/method.md, 'CamVid')."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Literal

from arseg.data.archives import ImageSource
from arseg.data.manifest import ManifestRow, read_classes
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

    @property
    def last_decoded(self) -> int:
        """Number of the decoded frame that is the last still."""
        return self.decoded(self.last_annotated)

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

    Raises
    ------
    DataError
        If the sheet is missing, a line does not fit, or there is none.
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
    """Return sequence and number of a still by its name.

    Parameters
    ----------
    name : str
        Name without suffix, for example ``0006R0_f00930``.
    sequences : mapping of str to CamVidSequence
        The sequences there are, by name.

    Raises
    ------
    DataError
        If the name is of another form or sequence, or its number beyond the sequence's.
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


def decoded_frame(name: str, sequences: Mapping[str, CamVidSequence] = SEQUENCES) -> tuple[str, int]:
    """Return the sequence of a still, and the number of the decoded frame that is the same image.

    Raises
    ------
    DataError
        As `parse_still`.
    """
    sequence, number = parse_still(name, sequences)
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


def camvid_manifest(
    dataset: str,
    *,
    frames: str | Path,
    labels: str | Path,
    stills: str | Path,
    split: CamVidSplit,
    sequences: str | Path,
) -> list[ManifestRow]:
    """Return the manifest's rows of CamVid.

    Images are decoded frames of the videos, so that a frame and those around it come from one source.

    Parameters
    ----------
    dataset : str
        Name of the data set.
    frames : path
        Folder with a folder of decoded frames for each sequence, ``0001TP/0001TP_000031.png``.
    labels : path
        Folder of index labels under the stills' names.
    stills : path
        Folder or zip archive of the annotated stills; only names are read. For ``kaggle``, the package with its
        folders train, val and test.
    split : {"official", "kaggle"}
        The field's division, or that of the package's folders. It is part of the splits' names: ``kaggle-test``.
    sequences : path
        Sheet of sequences, see `read_sequences`.

    Returns
    -------
    rows : list of ManifestRow
        One for each still. A frame that has no room for the published clips before it gets ``max_distance`` 0: the
        published programs use Seq05VD_f00000 as a keyframe only.

    Raises
    ------
    DataError
        If a decoded frame or label is missing, a still has a name that does not fit or occurs twice, or the stills do
        not tell the split.
    """
    table = read_sequences(sequences)
    rows = []
    for name, split_name in _split_names(stills, split, table).items():
        sequence, number = parse_still(name, table)
        index = sequence.decoded(number)
        stem = str(Path(frames) / sequence.name / sequence.name).replace("{", "{{").replace("}", "}}")
        pattern = f"{stem}_{{index:06d}}.png"
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
                split=f"{split}-{split_name}",
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


def is_label(source: ImageSource, member: PurePosixPath) -> bool:
    """Return whether a file is a label map: ``NAME_L.png``, or ``NAME.png`` in a folder whose name says "label"."""
    return member.stem.endswith("_L") or "label" in source.folder_name(member).lower()


def find_stills(source: ImageSource) -> dict[str, PurePosixPath]:
    """Find the annotated stills; label maps, which packages carry beside them, are left out.

    Returns
    -------
    stills : dict of str to PurePosixPath
        Place of each in the source, by its name without suffix.

    Raises
    ------
    DataError
        If a still occurs twice.
    """
    stills: dict[str, PurePosixPath] = {}
    for member in source.members:
        if is_label(source, member):
            continue
        if member.stem in stills:
            raise DataError(f"{source.path}: {stills[member.stem]} and {member} are one still. Give one package only.")
        stills[member.stem] = member
    return stills


def _split_names(stills: str | Path, split: CamVidSplit, table: Mapping[str, CamVidSequence]) -> dict[str, str]:
    source = ImageSource(stills)
    folders = {name: source.folder_name(member) for name, member in find_stills(source).items()}
    if split == "official":
        parsed = {name: parse_still(name, table) for name in folders}
        return {name: official_split(sequence.name, number) for name, (sequence, number) in parsed.items()}
    if strangers := [name for name, folder in folders.items() if folder not in KAGGLE_SPLITS]:
        raise DataError(
            f"{stills}: {strangers[0]} lies in none of the folders {', '.join(KAGGLE_SPLITS)}, so its split is not "
            "known. Give the Kaggle package as source.package, or choose split: official, which needs no folders."
        )
    return folders
