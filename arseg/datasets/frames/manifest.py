"""Adapter for anyone's folders of frames and index labels.

A splits sheet has one rule per line: a folder of frames, a folder of labels, which of the frames to take, and
whether there is video around them. This module turns such a sheet into manifest rows; it owns how file names
are read as sequence and frame number.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from arseg.access import reading
from arseg.data.manifest import ManifestRow, check_unique, escape_braces, read_classes
from arseg.data.sheets import SheetRow, read_sheet
from arseg.errors import DataError
from arseg.spec import SegmentationClass

SPLIT_COLUMNS = ("split", "images", "labels", "list", "sequence", "first", "last", "frame_step")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")

# The last run of digits is the frame number. A separator and one letter directly before it belong to the
# number's spelling, not to the sequence: 0006R0_f01080 is frame 1080 of 0006R0.
NAME_PATTERN = re.compile(r"(?P<sequence>.*?)(?:[_-][A-Za-z]?)?(?P<number>[0-9]+)(?P<rest>[^0-9]*)")


@dataclass(frozen=True)
class FrameFile:
    """A frame and what its file name says."""

    path: Path
    """The file."""
    sequence: str
    """Name of the video."""
    frame_index: int
    """Frame number; 0 for a name without digits."""
    pattern: str
    """Path of the video's frames as a format string of ``index``; empty for a name without digits."""


def frames_manifest(
    dataset: str, root: str | Path, classes: str | Path, splits: str | Path
) -> tuple[list[ManifestRow], tuple[SegmentationClass, ...]]:
    """Return the rows of a manifest, one for each frame that a rule chooses, and its classes.

    The folders lie in `root`; `classes` and `splits` are the sheets of classes and of rules (docs/own-frames.md). A
    DataError says that a sheet, folder, listed frame or label is missing, that a rule chooses nothing, or that two
    frames of a split have the same sequence and number. The files themselves are looked at by `arseg.data.checks`.
    """
    root, splits = Path(root), Path(splits)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder. Give the folder that the images column of {splits} refers to.")
    rules = read_sheet(splits, SPLIT_COLUMNS, "Give one line per rule.")
    if not rules:
        raise DataError(f"{splits}: no rule below the header. Give at least one line with split and images.")
    placed_rows = [(rule.place, row) for rule in rules for row in _apply_rule(dataset, root, splits.parent, rule)]
    check_unique(placed_rows)
    return [row for _, row in placed_rows], read_classes(classes)


def list_frames(folder: Path) -> list[FrameFile]:
    """Return the frames in a folder, with sequence and number read from their names, sorted by name.

    The number is the last run of digits of the name; what stands before it, without a final ``_`` or ``-``
    and one letter after that, is the sequence. Where nothing stands before it the folder's name is the
    sequence. Frame numbers are padded with zeros to the shortest number among the folder's names of the same
    form.
    """
    # macOS puts a shadow "._NAME.png" beside each file on disks of others.
    paths = sorted(
        path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
    )
    matches = {path: NAME_PATTERN.fullmatch(path.stem) for path in paths}
    # Unpadded numbers get longer as they grow, padded ones only when the padding is used up: in both cases
    # the shortest one tells the padding.
    widths: dict[tuple[str, str], int] = {}
    for path, match in matches.items():
        if match:
            form = _form(path, match)
            widths[form] = min(widths.get(form, len(match["number"])), len(match["number"]))
    frames = []
    for path, match in matches.items():
        if match is None:
            frames.append(FrameFile(path, path.stem, 0, ""))
            continue
        before, after = _form(path, match)
        frame_index, width = int(match["number"]), widths[before, after]
        if f"{frame_index:0{width}d}" != match["number"]:  # x_1 and x_01 in one folder: two ways of padding
            width = len(match["number"])
        pattern = f"{escape_braces(before)}{{index:0{width}d}}{escape_braces(after)}"
        frames.append(FrameFile(path, match["sequence"] or folder.name, frame_index, pattern))
    return frames


def _form(path: Path, match: re.Match[str]) -> tuple[str, str]:
    """Split off what stands before and after the number in a path."""
    before = str(path).removesuffix(path.name) + path.name[: match.start("number")]
    return before, match["rest"] + path.suffix


def _apply_rule(dataset: str, root: Path, sheet_folder: Path, rule: SheetRow) -> list[ManifestRow]:
    cells = rule.cells
    for column in ("split", "images"):
        if not cells[column]:
            raise DataError(f"{rule.place}: {column} is empty; every rule needs it")
    frame_step = rule.optional_integer("frame_step", 1) or 0
    for column in ("images", "labels"):
        if not (root / cells[column]).is_dir():
            raise DataError(
                f"{rule.place}: {column} names the folder {root / cells[column]}, which does not exist. "
                f"Write the folder's path below {root}."
            )
    rows = []
    for frame in _chosen_frames(rule, root / cells["images"], sheet_folder):
        # Labels are never JPEG, which would blur class indices.
        label = root / cells["labels"] / f"{frame.path.stem}.png" if cells["labels"] else None
        if label and not label.is_file():
            raise DataError(
                f"{rule.place}: {frame.path} has no label map {label}. Add it, narrow the rule (list, first, "
                "last), or leave labels empty."
            )
        if frame_step and not frame.pattern:
            raise DataError(
                f"{rule.place}: {frame.path} has no number in its name, but frame_step is {frame_step}. "
                "Number the frames of a video (clip_00001.png), or leave frame_step empty for stills."
            )
        rows.append(
            ManifestRow(
                dataset=dataset,
                split=cells["split"],
                sequence=frame.sequence,
                frame_index=frame.frame_index,
                image=str(frame.path),
                label=str(label) if label else "",
                frame_pattern=frame.pattern if frame_step else "",
                frame_step=frame_step,
            )
        )
    return rows


def _chosen_frames(rule: SheetRow, folder: Path, sheet_folder: Path) -> list[FrameFile]:
    frames = list_frames(folder)
    if not frames:
        raise DataError(f"{rule.place}: {folder} holds no frames ({', '.join(IMAGE_SUFFIXES)})")
    chosen = frames
    if rule.cells["list"]:
        stems = _read_list(rule, sheet_folder / rule.cells["list"], {frame.path.stem for frame in frames}, folder)
        chosen = [frame for frame in chosen if frame.path.stem in stems]
    if rule.cells["sequence"]:
        chosen = [frame for frame in chosen if frame.sequence == rule.cells["sequence"]]
    first, last = rule.optional_integer("first", 0), rule.optional_integer("last", 0)
    if first is not None:
        chosen = [frame for frame in chosen if frame.frame_index >= first]
    if last is not None:
        chosen = [frame for frame in chosen if frame.frame_index <= last]
    if not chosen:
        limits = ", ".join(
            f"{column} {rule.cells[column]}" for column in ("list", "sequence", "first", "last") if rule.cells[column]
        )
        numbers = [frame.frame_index for frame in frames]
        sequences = ", ".join(sorted({frame.sequence for frame in frames})[:5])
        raise DataError(
            f"{rule.place}: the rule ({limits}) chooses none of the {len(frames)} frames in {folder}. Their "
            f"sequences: {sequences}; their numbers: {min(numbers)} to {max(numbers)}."
        )
    return chosen


def _read_list(rule: SheetRow, path: Path, stems: set[str], folder: Path) -> set[str]:
    try:
        with reading(path):
            lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (FileNotFoundError, UnicodeDecodeError) as error:
        raise DataError(
            f"{rule.place}: list names {path}, which cannot be read ({error}). "
            "Give a text file with one file stem per line; its path is relative to the sheet."
        ) from error
    listed = {line.strip(): number for number, line in enumerate(lines, start=1) if line.strip()}
    for stem, number in listed.items():
        if stem not in stems:
            raise DataError(
                f"{path}:{number}: {stem!r} is no frame in {folder}. Write names without folder and suffix."
            )
    return set(listed)
