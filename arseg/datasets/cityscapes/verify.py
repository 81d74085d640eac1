"""Check an unpacked Cityscapes before anything is made of it: every frame that a clip needs, and the right one."""

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from arseg.data.images import read_image, read_size
from arseg.datasets.cityscapes.manifest import (
    SPLITS,
    STILLS_FOLDER,
    VIDEO_FOLDER,
    AnnotatedFrame,
    missing_image,
    usable_frames,
)
from arseg.errors import ConfigError, DataError
from arseg.files import atomic_path
from arseg.progress import track

EXPECTED_FRAMES = {"train": 2975, "val": 500}
"""Annotated frames of the full data set."""

SNIPPET_FRAMES = 30
ANNOTATED_POSITION = 19
"""Frames of a snippet before the annotated one (docs/method.md, 'Cityscapes')."""

COMPARED_STILLS = 8
"""Frames of a split whose still is compared with the video."""

SHOWN_PROBLEMS = 5

logger = logging.getLogger(__name__)


@dataclass
class SplitReport:
    """What was found of one split."""

    annotated: int
    """Frames with labels."""
    expected: int
    """The same in the full data set."""
    videos: int = 0
    """Annotated frames with the video before them that clips need."""
    stills_only: int = 0
    """Annotated frames of which there is a still, but no video."""
    incomplete_snippets: list[str] = field(default_factory=list)
    """Snippets that lack frames which no clip needs."""
    compared_stills: int = 0
    """Frames whose still is the video's frame, pixel by pixel."""


def verify_cityscapes(
    root: str | Path, labels: str | Path, output: str | Path, *, gop: int = 12
) -> dict[str, SplitReport]:
    """Check that every annotated frame has its label map, its image and the frames before it.

    Writes a report by split to `output` (JSON), and returns it. Fewer frames than in the full data set, snippets with
    fewer than 30 frames and stills without a video are warnings.

    Parameters
    ----------
    root, labels
        As `arseg.datasets.cityscapes.manifest.cityscapes_manifest` takes them.
    gop : int
        Longest GOP L that clips shall have: L - 1 frames are needed before the annotated one.

    Raises
    ------
    ConfigError
        If a snippet has no room for the GOP.
    DataError
        If an image, a label map or a needed frame is missing, a label map has another size than its image, or the still
        of a frame is another image than the video's frame. The message shows the first of many.
    """
    root, labels = Path(root), Path(labels)
    if not 1 <= gop <= ANNOTATED_POSITION + 1:
        raise ConfigError(
            f"gop {gop}: Cityscapes has {ANNOTATED_POSITION} frames before each annotated one, so groups of pictures "
            f"have 1 to {ANNOTATED_POSITION + 1} frames there. Choose a smaller gop."
        )
    frames = usable_frames(root)
    problems: list[str] = []
    report = {}
    for split in SPLITS:
        of_split = [frame for frame in frames if frame.split == split]
        report[split] = _check_split(root, labels, split, of_split, gop, problems)
    if problems:
        shown = problems[:SHOWN_PROBLEMS]
        if more := len(problems) - len(shown):
            shown.append(f"... and {more} more")
        raise DataError("\n  ".join([f"{root}: {len(problems)} problems:", *shown]))
    for split, found in report.items():
        _warn(root, split, found)
    with atomic_path(Path(output)) as temporary:
        text = json.dumps({split: asdict(found) for split, found in report.items()}, indent=2)
        temporary.write_text(text + "\n", encoding="utf-8")
    return report


def _check_split(
    root: Path, labels: Path, split: str, frames: Sequence[AnnotatedFrame], gop: int, problems: list[str]
) -> SplitReport:
    report = SplitReport(len(frames), EXPECTED_FRAMES[split])
    # Listed once: asking for each of 30 frames of 3,475 snippets takes minutes on a network disk.
    folders = {frame.folder: root / VIDEO_FOLDER / frame.folder for frame in frames}
    video_names = {
        key: {path.name for path in folder.iterdir()} if folder.is_dir() else set() for key, folder in folders.items()
    }
    comparable = []
    for frame in track(frames, f"snippets of {split}"):
        names = video_names[frame.folder]
        image = frame.image_path(root)
        if image is None:
            problems.append(missing_image(root, frame))
            continue
        if frame.image_name() not in names:
            report.stills_only += 1
        elif gap := [frame.image_name(offset) for offset in range(1 - gop, 0) if frame.image_name(offset) not in names]:
            problems.append(
                f"{image}: {len(gap)} of the {gop - 1} frames before it are missing, the first is {gap[0]}. Unpack "
                f"{VIDEO_FOLDER}_trainvaltest.zip again, or choose a smaller gop"
            )
        else:
            report.videos += 1
            positions = range(-ANNOTATED_POSITION, SNIPPET_FRAMES - ANNOTATED_POSITION)
            if any(frame.image_name(offset) not in names for offset in positions):
                report.incomplete_snippets.append(frame.image_name().removesuffix("_leftImg8bit.png"))
            if (root / STILLS_FOLDER / frame.folder / frame.image_name()).is_file():
                comparable.append(frame)
        with _collecting(problems):
            _check_label(image, frame.train_ids_path(labels))
    chosen = np.linspace(0, len(comparable) - 1, min(COMPARED_STILLS, len(comparable))).round().astype(int)
    for index in chosen:
        with _collecting(problems):
            _compare_still(root, comparable[index])
            report.compared_stills += 1
    return report


@contextmanager
def _collecting(problems: list[str]) -> Iterator[None]:
    try:
        yield
    except DataError as error:
        problems.append(str(error))


def _check_label(image: Path, label: Path) -> None:
    if not label.is_file():
        raise DataError(f"{label}: no such label map. Make it: arseg cityscapes labels")
    (width, height), found = read_size(image), read_size(label)
    if found != (width, height):
        raise DataError(
            f"{label}: the label map has {found[0]}x{found[1]} pixels, its frame {image} has {width}x{height}. Unpack "
            "both packages again, and make the label maps anew: arseg cityscapes labels"
        )


def _compare_still(root: Path, frame: AnnotatedFrame) -> None:
    video, still = (root / package / frame.folder / frame.image_name() for package in (VIDEO_FOLDER, STILLS_FOLDER))
    if not np.array_equal(read_image(video), read_image(still)):
        raise DataError(
            f"{video}: another image than {still}, of which the labels were made. Unpack both packages again; if only "
            f"the stills are changed copies, move {STILLS_FOLDER} elsewhere, it is not needed beside {VIDEO_FOLDER}"
        )


def _warn(root: Path, split: str, found: SplitReport) -> None:
    if found.annotated not in (0, found.expected):  # of a split that is not there, another warning tells
        logger.warning(
            f"{root}: split {split} has {found.annotated} annotated frames, the full data set has {found.expected}"
        )
    video = root / VIDEO_FOLDER
    if found.stills_only:
        logger.warning(
            f"{video}: {found.stills_only} annotated frames of split {split} have no video: they serve phase 1 only"
        )
    if snippets := found.incomplete_snippets:
        logger.warning(
            f"{video}: {len(snippets)} snippets of split {split} have fewer than {SNIPPET_FRAMES} frames, though all "
            f"that clips need; the first is {snippets[0]}"
        )
