"""Frames sampled from videos: which ones, and their files with the frames that clips around them need."""

import logging
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields
from itertools import count
from pathlib import Path

import numpy as np
from PIL import Image

from arseg.data.sheets import read_sheet, write_sheet
from arseg.datasets.videos.footage import Size, check_shape, common_size, decode_frames, find_videos, survey
from arseg.errors import DataError
from arseg.files import atomic_path
from arseg.progress import track
from arseg.spec import ClipTail

LOG = logging.getLogger(__name__)

SHARES = {"train": 0.6, "val": 0.2, "test": 0.2}
"""Splits in order of time, with their shares of it and of the samples."""

SAMPLES = "samples.csv"
"""Name of the sheet of samples in a folder of sampled frames."""


MAX_NAMED = 5
"""Videos that a message lists."""


@dataclass(frozen=True, order=True)
class Sample:
    """A sampled frame."""

    split: str
    """Split that it belongs to."""
    sequence: str
    """Name of its video, and of the folder of its frames."""
    frame_index: int
    """Number of the frame in the video, from 0."""

    @property
    def name(self) -> str:
        """Place of its file, and of its label map, in their folders."""
        return f"{self.sequence}/{self.frame_index:06d}.png"


def choose_samples(lengths: Mapping[str, int], num_samples: int, gop: int, tail: ClipTail) -> list[Sample]:
    """Choose frames evenly in time, so that no clip of one split shares a frame with, or touches, another split's.

    The videos follow one another in one timeline, of which the first part trains, the next validates, and the last is
    tested (`SHARES`). Where a boundary lies within a video, the frames of one GOP after it are left out.

    Parameters
    ----------
    lengths : mapping of str to int
        Frames of each video, by sequence.
    num_samples : int
        How many frames to choose in all; fewer where the videos have no room for them.
    gop : int
        Frames L of a group of pictures: clips begin up to L - 1 frames before a sample.
    tail : {"gop", "annotated"}
        Whether clips hold a whole GOP, and so up to L - 1 frames after a sample, or end at it.

    Raises
    ------
    DataError
        If a split has no frame with enough frames around it.
    """
    possible = _possible(lengths, gop, tail)
    if missing := [split for split, frames in possible.items() if not frames]:
        raise _too_short(lengths, gop, tail, missing[0])
    samples = []
    for split, frames in possible.items():
        count = min(len(frames), max(1, round(SHARES[split] * num_samples)))
        chosen = np.linspace(0, len(frames) - 1, count).round().astype(int)
        samples += [Sample(split, *frames[index]) for index in chosen]
    return samples


def _possible(lengths: Mapping[str, int], gop: int, tail: ClipTail) -> dict[str, list[tuple[str, int]]]:
    """Return the frames, by sequence and number, that each split may choose from."""
    after = gop - 1 if tail == "gop" else 0
    total = sum(lengths.values())
    possible: dict[str, list[tuple[str, int]]] = {split: [] for split in SHARES}
    end = 0.0
    for split, share in SHARES.items():
        begin, end = end, end + share
        offset = 0
        for sequence, length in lengths.items():
            first = max(0, round(begin * total) - offset)
            last = min(length, round(end * total) - offset)
            first += gop if first else 0
            possible[split] += [(sequence, index) for index in range(first + gop - 1, last - after)]
            offset += length
    return possible


def _too_short(lengths: Mapping[str, int], gop: int, tail: ClipTail, split: str) -> DataError:
    """Return what to say where a split has no frame: which videos there are, and what would work."""
    named = ", ".join(f"{sequence} with {length}" for sequence, length in [*lengths.items()][:MAX_NAMED])
    more = f" and {len(lengths) - MAX_NAMED} more" if len(lengths) > MAX_NAMED else ""
    shorter = next((less for less in range(gop - 1, 1, -1) if all(_possible(lengths, less, tail).values())), None)
    enough = next(total for total in count(gop, gop) if all(_possible({"": total}, gop, tail).values()))
    return DataError(
        f"the videos have {sum(lengths.values())} frames in all ({named}{more}). Of them, {SHARES[split]:.0%} are for "
        f"{split}, a gop ({gop}) apart from the other splits, and no clip of as many frames fits in. Give a video of "
        f"at least {enough} frames" + ("" if shorter is None else f", or a gop of {shorter} or less")
    )


def write_samples(
    videos: str,
    output: str | Path,
    *,
    num_samples: int,
    gop: int,
    tail: ClipTail = "annotated",
    size: Size | None = None,
) -> list[Sample]:
    """Write sampled frames of videos as PNG, with the frames around them that clips need.

    Parameters
    ----------
    videos : str
        As `find_videos` takes it.
    output : path
        Folder to write, whole or not at all: a folder of frames for each video, and a sheet of the samples.
    num_samples, gop, tail
        As `choose_samples` takes them.
    size : tuple of int, optional
        Width and height that all frames get; by default the size that most videos have.

    Returns
    -------
    samples : list of Sample
        The samples, sorted.

    Raises
    ------
    DataError
        As `find_videos` and `choose_samples`; or if frames of a video would be stretched at the size of all.
    CodecError, FileAccessError
        If a video cannot be read.
    """
    footage = survey(find_videos(videos))
    samples = choose_samples({name: video.num_frames for name, video in footage.items()}, num_samples, gop, tail)
    size = size or common_size(footage.values())
    for video in footage.values():
        check_shape(video, size)
        if video.num_frames < gop:
            LOG.warning("%s: has %d frames, fewer than a clip (%d), and is left out", video.path, video.num_frames, gop)
        if video.size != size:
            LOG.info("%s: is scaled from %dx%d to %dx%d pixels", video.path, *video.size, *size)
    after = gop - 1 if tail == "gop" else 0
    needed: dict[str, set[int]] = defaultdict(set)
    for sample in samples:
        needed[sample.sequence].update(range(sample.frame_index - gop + 1, sample.frame_index + after + 1))
    with atomic_path(Path(output)) as folder:
        folder.mkdir()
        frames = (
            (sequence, index, rgb)
            for sequence, indices in needed.items()
            for index, rgb in decode_frames(footage[sequence].path, indices)
        )
        for sequence, index, rgb in track(frames, "frames", sum(map(len, needed.values()))):
            image = Image.fromarray(rgb)
            if image.size != size:  # the size of a video may change, too
                check_shape(footage[sequence]._replace(size=image.size), size)
                image = image.resize(size, Image.Resampling.BICUBIC)
            file = folder / sequence / f"{index:06d}.png"
            file.parent.mkdir(exist_ok=True)
            image.save(file, compress_level=1)
        write_sheet(folder / SAMPLES, _COLUMNS, (astuple(sample) for sample in sorted(samples)))
    return sorted(samples)


_COLUMNS = tuple(field.name for field in fields(Sample))


def read_samples(folder: str | Path) -> list[Sample]:
    """Read the sheet of samples in a folder that `write_samples` wrote.

    Raises
    ------
    DataError
        If the sheet is missing or a line does not fit.
    """
    rows = read_sheet(Path(folder) / SAMPLES, _COLUMNS, "Sample the videos again: arseg videos sample ...")
    return [Sample(row.cells["split"], row.cells["sequence"], row.integer("frame_index", 0)) for row in rows]
