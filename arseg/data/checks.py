"""Checking every frame and label map that a manifest will list, before anything is made of them."""

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from arseg.config import IGNORE_INDEX
from arseg.data.images import ImageHeader, allowed_values, read_header, read_label_map
from arseg.data.manifest import ManifestRow, write_manifest
from arseg.errors import DataError
from arseg.machine import usable_cores
from arseg.progress import track
from arseg.spec import SegmentationClass

MOSTLY_IGNORED = 0.5
"""Share of ignored pixels above which label maps are hardly meant so."""

SHOWN_NAMES = 3
"""Files that a message names of many."""

SHOWN_VALUES = 8

Result = TypeVar("Result")
Problems = dict[str, list[str]]
"""What is wrong, and the files of which it is so."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelSummary:
    """What is kept of a label map while the others are read."""

    size: tuple[int, int]
    """Width and height in pixels."""
    counts: NDArray[np.int64]
    """Number of pixels by value, shape (256,)."""
    palette: NDArray[np.uint8] | None
    """RGB by value, shape (N, 3); None without a palette, and for one that only repeats the value as a grey."""


def write_checked_manifest(
    output: Path, rows: Sequence[ManifestRow], classes: Sequence[SegmentationClass], label_hint: str = ""
) -> str:
    """Write a manifest if its files are as they must be, see `check_files`; return how many frames each split has."""
    check_files(rows, classes, label_hint)
    write_manifest(output, rows, classes)
    counts = Counter(row.split for row in rows)
    return ", ".join(f"{split} {count}" for split, count in sorted(counts.items())) + " frames"


def check_files(rows: Sequence[ManifestRow], classes: Sequence[SegmentationClass], label_hint: str = "") -> None:
    """Check the annotated frames and their label maps: headers of frames, and every value of label maps.

    Warnings name what may be meant: splits that are mostly ignored, palettes that contradict the classes sheet or one
    another, classes that never occur, frames with an alpha channel or an EXIF orientation. `label_hint` says how to
    make label maps that do not fit again, for data sets whose label maps are known; a split of them that is mostly
    ignored is an error, too.

    Raises
    ------
    DataError
        If files are missing, damaged or of another pixel format, a label map has another size than its frame or a value
        that is no class, frames of one video differ in size, or a split has no labelled pixel. One message has all
        problems, each with its first files.
    """
    problems: Problems = defaultdict(list)
    headers = _read_all(read_header, {row.image for row in rows}, "frames", problems)
    labels = _read_all(_summarize, {row.label for row in rows if row.label}, "label maps", problems)
    _check_sizes(rows, headers, labels, problems)
    _check_values(labels, len(classes), label_hint, problems)
    _check_ignored(rows, labels, label_hint, problems)
    if problems:
        lines = [f"{_some(names)}: {said}" for said, names in problems.items()]
        title = [f"{len(lines)} problems with frames and label maps:"] if len(lines) > 1 else []
        raise DataError("\n  ".join([*title, *lines]))
    for said, names in (
        ("have an alpha channel, which is dropped", [name for name, header in headers.items() if header.has_alpha]),
        (
            "have an EXIF orientation, which is not followed: they are read as stored. If their label maps are turned, "
            "turn the frames as well (mogrify -auto-orient)",
            [name for name, header in headers.items() if header.is_turned],
        ),
    ):
        if names:
            logger.warning("%d of %d frames %s: %s", len(names), len(headers), said, _some(names))
    _warn_of_palettes(labels, classes)
    if labels:
        total = np.sum([label.counts for label in labels.values()], axis=0)
        if unused := [cls.name for cls in classes if not total[cls.index]]:
            logger.warning("classes that occur in none of the %d label maps: %s", len(labels), ", ".join(unused))


def _summarize(path: str) -> LabelSummary:
    label = read_label_map(path)
    height, width = label.indices.shape
    palette = label.palette
    if palette is not None and (palette == np.arange(len(palette))[:, np.newaxis]).all():
        palette = None
    return LabelSummary((width, height), np.bincount(label.indices.ravel(), minlength=256), palette)


def _read_all(
    read: Callable[[str], Result], paths: Collection[str], what: str, problems: Problems
) -> dict[str, Result]:
    """Read files in threads, sorted by name; those that cannot be read become problems."""

    def attempt(path: str) -> Result | DataError:
        try:
            return read(path)
        except DataError as error:
            return error

    found: dict[str, Result] = {}
    names = sorted(paths)
    pool = ThreadPoolExecutor(usable_cores())
    try:
        for name, result in zip(names, track(pool.map(attempt, names), what, len(names)), strict=True):
            if isinstance(result, DataError):
                problems[str(result).removeprefix(f"{name}: ")].append(name)
            else:
                found[name] = result
    finally:
        pool.shutdown(cancel_futures=True)
    return found


def _check_sizes(
    rows: Sequence[ManifestRow],
    headers: Mapping[str, ImageHeader],
    labels: Mapping[str, LabelSummary],
    problems: Problems,
) -> None:
    of_video: dict[str, tuple[int, int]] = {}
    for image, label, video in sorted({(row.image, row.label, row.frame_pattern) for row in rows}):
        if image not in headers:
            continue
        size = headers[image].size
        if label in labels and labels[label].size != size:
            problems[
                f"the label map has {_pixels(labels[label].size)} pixels, its frame {_pixels(size)}. Resize one of "
                "them (labels by nearest neighbour only)."
            ].append(label)
        first = of_video.setdefault(video or image, size)
        if first != size:
            problems[
                f"the frame has {_pixels(size)} pixels, others of its video {_pixels(first)}. Give all frames of "
                "a video one size, or make two videos of them."
            ].append(image)


def _check_values(labels: Mapping[str, LabelSummary], num_classes: int, label_hint: str, problems: Problems) -> None:
    is_stranger = np.ones(256, dtype=bool)
    is_stranger[:num_classes] = is_stranger[IGNORE_INDEX] = False
    strangers = [name for name, label in labels.items() if label.counts[is_stranger].any()]
    if strangers:
        values = np.flatnonzero(is_stranger & np.any([labels[name].counts for name in strangers], axis=0)).tolist()
        shown = ", ".join(map(str, values[:SHOWN_VALUES])) + (" ..." if len(values) > SHOWN_VALUES else "")
        hint = label_hint or f"Set such pixels to {IGNORE_INDEX}, or add the classes to the classes sheet."
        problems[f"label values that are no class: {shown}; {allowed_values(num_classes)}. {hint}"] += strangers


def _check_ignored(
    rows: Sequence[ManifestRow], labels: Mapping[str, LabelSummary], label_hint: str, problems: Problems
) -> None:
    for split in sorted({row.split for row in rows if row.label in labels}):
        found = [labels[row.label].counts for row in rows if row.split == split and row.label in labels]
        counts = np.sum(found, axis=0)
        share = counts[IGNORE_INDEX] / counts.sum()
        said = f"{100 * share:.0f} % of the pixels of its {len(found)} label maps are {IGNORE_INDEX} (ignored)"
        if share == 1 or (share > MOSTLY_IGNORED and label_hint):
            hint = label_hint or f"{IGNORE_INDEX} is for pixels that shall not count; classes start at 0."
            problems[f"{said}. {hint}"].append(f"split {split}")
        elif share > MOSTLY_IGNORED:
            logger.warning("split %s: %s. Is that meant?", split, said)


def _warn_of_palettes(labels: Mapping[str, LabelSummary], classes: Sequence[SegmentationClass]) -> None:
    """Warn of colours that are not those of the sheet, and of those that differ between label maps."""
    names_by_color = {cls.color: cls.name for cls in classes}
    first_seen: dict[int, tuple[str, tuple[int, ...]]] = {}
    against_sheet: Problems = defaultdict(list)
    against_others: Problems = defaultdict(list)
    for name, label in labels.items():
        if label.palette is None:
            continue
        for cls in classes[: len(label.palette)]:
            if not label.counts[cls.index]:
                continue
            color = tuple(map(int, label.palette[cls.index]))
            has = f"index {cls.index} has the colour {color}"
            if color != cls.color:
                other = f" (that of {names_by_color[color]})" if color in names_by_color else ""
                said = f"{has}{other} in the palette, class {cls.name} has {cls.color} in the classes sheet"
                against_sheet[said].append(name)
            elsewhere, first = first_seen.setdefault(cls.index, (name, color))
            if first != color:
                against_others[f"{has} in the palette, {first} in {elsewhere}"].append(name)
    for what, contradictions in (("the classes sheet", against_sheet), ("one another", against_others)):
        if contradictions:
            lines = [f"{said}: {_some(names)}" for said, names in list(contradictions.items())[:SHOWN_NAMES]]
            if more := len(contradictions) - len(lines):
                lines.append(f"... and {more} more")
            logger.warning(
                "palettes of label maps contradict %s; the index counts, not the colour. Is it the class's?\n  %s",
                what,
                "\n  ".join(lines),
            )


def _some(names: Collection[str]) -> str:
    """Name the first of many files, and say how many there are."""
    more = len(names) - SHOWN_NAMES
    return ", ".join(list(names)[:SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")


def _pixels(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
