"""The videos that a configuration names: which files they are, how long they are, and their frames."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import av
import av.error
import numpy as np
from av import Packet
from av.container import InputContainer
from numpy.typing import NDArray

from arseg.access import reading
from arseg.codec.color import RGBConverter
from arseg.codec.stream import open_video
from arseg.data.sheets import read_sheet
from arseg.data.videos import match_files
from arseg.errors import CodecError, DataError
from arseg.motion.live import Following, LiveVideo
from arseg.progress import track
from arseg.stopwatch import Stopwatch

Size = tuple[int, int]
"""Width and height in pixels."""

SAME_SHAPE = 0.02
"""Largest difference of two ratios of width to height, as a share, that scaling may hide: 854x480 is 16:9, too."""


class Footage(NamedTuple):
    """A video, looked at without decoding it."""

    path: Path
    """The file."""
    num_frames: int
    """Its frames, by its packets."""
    size: Size
    """Of its first frame."""


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


def survey(paths: Mapping[str, Path]) -> dict[str, Footage]:
    """Look at videos by the names of their sequences; of each, one frame is decoded and all packets are counted.

    A CodecError or FileAccessError says that one cannot be read as a video, or that none of its frames can be decoded.
    """
    return {
        sequence: Footage(path, count_frames(path), _first_size(path))
        for sequence, path in track(paths.items(), "videos", len(paths))
    }


def common_size(videos: Iterable[Footage]) -> Size:
    """Return the size that most videos have; of those that equally many have, the smallest."""
    counts = Counter(video.size for video in videos)
    return min(counts, key=lambda size: (-counts[size], size))


def check_shape(video: Footage, size: Size) -> None:
    """Raise a DataError if frames of a video cannot be scaled to a size without being stretched."""
    stretched = video.size[0] * size[1] / (video.size[1] * size[0])
    if abs(stretched - 1) > SAME_SHAPE:
        width, height = size
        raise DataError(
            f"{video.path}: has {video.size[0]}x{video.size[1]} pixels, which at {width}x{height}, the size that all "
            "videos get, would be stretched. Leave it out, choose another size for all, or crop this one: ffmpeg -i IN "
            f"-vf scale={width}:{height}:force_original_aspect_ratio=increase,crop={width}:{height} OUT.mp4"
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

    with reading(path, damaged, av.error.FFmpegError), av.open(str(path), metadata_errors="replace") as container:
        if not container.streams.video:
            raise CodecError(f"{path}: has no video stream. Name a video")
        if container.streams.video[0].codec_context is None:
            raise CodecError(f"{path}: its video is of a codec that no decoder of FFmpeg knows. Name another video")
        yield container


def _packets(path: Path, container: InputContainer) -> Iterator[Packet]:
    """Yield the packets that hold frames; a CodecError says that they are encrypted."""
    with suppress(IndexError):  # by PyAV, at the end of a file with a stream that its beginning did not announce
        for packet in container.demux(container.streams.video[0]):
            if packet.has_sidedata("encryption_info"):  # FFmpeg would decode garbage
                raise CodecError(f"{path}: the video is encrypted. Name a copy that is not")
            if packet.size:
                yield packet


def count_frames(path: Path) -> int:
    """Return how many frames a video has, by its packets, without decoding it.

    Raises
    ------
    CodecError, FileAccessError
        If it cannot be read as a video.
    """
    with open_container(path) as container:
        return sum(not packet.is_discard for packet in _packets(path, container))  # as an edit list cuts away


def decode_frames(path: Path, indices: Collection[int]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield the frames with some numbers as `arseg segment` shows them to networks, RGB of shape (H, W, 3).

    A CodecError says that the video cannot be decoded, or ends before.
    """
    converter, last, num_frames = RGBConverter(), max(indices), 0
    with open_video(path) as stream:
        for frame in LiveVideo(stream, Following(), None, Stopwatch()):
            num_frames += 1
            if frame.index in indices:
                yield frame.index, converter.convert(frame.pixels, frame.display)
            if frame.index == last:
                return
    raise CodecError(
        f"{path}: has {num_frames} frames that can be decoded, fewer than it announces; frame {last} is needed. "
        "Repair the video (ffmpeg -i IN OUT), or leave it out"
    )


def _first_size(path: Path) -> Size:
    height, width, _ = next(iter(decode_frames(path, {0})))[1].shape
    return width, height
