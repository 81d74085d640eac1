"""Frames sampled from videos: which ones, and their files with the frames that clips around them need."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import av
import av.error
import numpy as np
from av.container import InputContainer
from numpy.typing import NDArray
from PIL import Image

from arseg.access import reading
from arseg.data.sheets import read_sheet, write_sheet
from arseg.data.videos import match_files
from arseg.errors import CodecError, DataError
from arseg.files import atomic_path
from arseg.progress import track
from arseg.spec import ClipTail

SHARES = {"train": 0.6, "val": 0.2, "test": 0.2}
"""Splits in order of time, with their shares of it and of the samples."""

SAMPLES = "samples.csv"
"""Name of the sheet of samples in a folder of sampled frames."""


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


def find_videos(videos: str) -> dict[str, Path]:
    """Return videos by the names of their sequences, in the order of a sheet or of their names.

    Parameters
    ----------
    videos : str
        A file, a pattern (``drives/*.mp4``), or a CSV sheet whose column ``video`` has files and patterns, relative to
        the sheet.

    Raises
    ------
    DataError
        If a line of the sheet, or the pattern, names no file.
    """
    path = Path(videos)
    lines = [(f"videos {videos!r}", videos)]
    if path.suffix.lower() == ".csv":
        rows = read_sheet(path, ("video",), "Give one video or pattern per line, below the header 'video'.")
        lines = [(row.place, str(path.parent / row.cells["video"])) for row in rows]
    found: dict[Path, None] = {}
    for place, pattern in lines:
        found |= dict.fromkeys(match_files(pattern, place))
    named: dict[str, Path] = {}
    for file in found:
        stem = re.sub(r"[^A-Za-z0-9._-]+", "-", file.stem)
        name, number = stem, 1
        while name in named:
            number += 1
            name = f"{stem}-{number}"
        named[name] = file
    if not named:
        raise DataError(f"{videos}: no line below the header. Give one video or pattern per line.")
    return named


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
    after = gop - 1 if tail == "gop" else 0
    total = sum(lengths.values())
    samples = []
    end = 0.0
    for split, share in SHARES.items():
        begin, end = end, end + share
        possible = []
        offset = 0
        for sequence, length in lengths.items():
            first = max(0, round(begin * total) - offset)
            last = min(length, round(end * total) - offset)
            first += gop if first else 0
            possible += [(sequence, index) for index in range(first + gop - 1, last - after)]
            offset += length
        if not possible:
            raise DataError(
                f"the videos have {total} frames in all, and the {share:.0%} for {split}, of which the first {gop} "
                f"keep a distance from the other splits, have no frame with {gop - 1} before it"
                f"{f' and {after} after it' if after else ''}, as clips of {gop} frames need. Give longer videos, or "
                "more, or a smaller gop."
            )
        count = min(len(possible), max(1, round(share * num_samples)))
        chosen = np.linspace(0, len(possible) - 1, count).round().astype(int)
        samples += [Sample(split, *possible[index]) for index in chosen]
    return samples


def write_samples(
    videos: str, output: str | Path, *, num_samples: int, gop: int, tail: ClipTail = "annotated", threads: int = 0
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
    threads : int
        Threads of each decoder; FFmpeg chooses by default.

    Returns
    -------
    samples : list of Sample
        The samples, sorted.

    Raises
    ------
    DataError
        As `find_videos` and `choose_samples`.
    CodecError, FileAccessError
        If a video cannot be read.
    """
    paths = find_videos(videos)
    lengths = {sequence: count_frames(path) for sequence, path in track(paths.items(), "videos", len(paths))}
    samples = choose_samples(lengths, num_samples, gop, tail)
    after = gop - 1 if tail == "gop" else 0
    needed: dict[str, set[int]] = defaultdict(set)
    for sample in samples:
        needed[sample.sequence].update(range(sample.frame_index - gop + 1, sample.frame_index + after + 1))
    with atomic_path(Path(output)) as folder:
        folder.mkdir()
        frames = (
            (sequence, index, rgb)
            for sequence, indices in needed.items()
            for index, rgb in _decode(paths[sequence], indices, threads)
        )
        size = None
        for sequence, index, rgb in track(frames, "frames", sum(map(len, needed.values()))):
            size = size or rgb.shape
            if rgb.shape != size:
                raise DataError(
                    f"{paths[sequence]}: frame {index} has {rgb.shape[1]}x{rgb.shape[0]} pixels, the first "
                    f"{size[1]}x{size[0]}. Give videos of one size, or scale this one: ffmpeg -i IN -s "
                    f"{size[1]}x{size[0]} OUT"
                )
            file = folder / sequence / f"{index:06d}.png"
            file.parent.mkdir(exist_ok=True)
            Image.fromarray(rgb).save(file, compress_level=1)
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


def count_frames(path: Path) -> int:
    """Return how many frames a video has, by its packets, without decoding it.

    Raises
    ------
    CodecError, FileAccessError
        If it cannot be read as a video.
    """
    with open_container(path) as container:
        return sum(1 for packet in container.demux(video=0) if packet.size)


def _decode(path: Path, indices: set[int], threads: int) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield the frames with some numbers, RGB of shape (H, W, 3), as far as the video has them."""
    last = max(indices)
    with open_container(path) as container:
        container.streams.video[0].codec_context.thread_type = "AUTO"
        container.streams.video[0].codec_context.thread_count = threads
        for index, frame in enumerate(container.decode(video=0)):
            if index in indices:
                yield index, frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
            if index == last:
                return
    raise CodecError(
        f"{path}: has {index + 1} frames that can be decoded, fewer than it announces; frame {last} is needed. "
        "Repair the video (ffmpeg -i IN OUT), or leave it out"
    )


@contextmanager
def open_container(path: Path) -> Iterator[InputContainer]:
    """Open a file that has a video stream; errors while it is read name it, too.

    Raises
    ------
    CodecError, FileAccessError
        If it cannot be read as a video.
    """

    def damaged(error: Exception) -> CodecError:
        return CodecError(
            f"{path}: cannot be read as a video ({error}). Give a file that FFmpeg reads, or leave it out"
        )

    # PyAV raises an IndexError at packets of a stream that the file did not announce.
    with reading(path, damaged, av.error.FFmpegError, IndexError), av.open(str(path)) as container:
        if not container.streams.video:
            raise CodecError(f"{path}: has no video stream. Name a video")
        yield container
