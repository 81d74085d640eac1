"""Time `arseg motion` against decoding the same video without motion, which nothing that decodes it can undercut.

Takes any video whose motion can be read, or draws and encodes one. Motion to the keyframes is composed when a file is
read, so what it takes is writing the file and reading all of it.
"""

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, cast

import numpy as np
from av.codec.context import CodecContext
from av.video.codeccontext import VideoCodecContext
from numpy.typing import NDArray
from PIL import Image

from arseg.bench.examples import draw_frames
from arseg.bench.report import Report, Row, Table, check_positive, parse_size
from arseg.codec.encode import encode_clip
from arseg.codec.stream import open_video
from arseg.motion.extract import extract_motion
from arseg.motion.file import MotionFile
from arseg.spec import Encoding, Rate

QUICK_SIZE = "96x64"
QUICK_PICTURES = 8


@dataclass(frozen=True)
class MotionOptions:
    """What to measure."""

    size: str = "1280x720"
    """WIDTHxHEIGHT of the video that is drawn if none is given."""
    pictures: int = 96
    """Its pictures, or how many to read of a given video, at most."""
    codec: Literal["hevc", "h264"] = "h264"
    """Its codec."""
    rate: str = "3000k"
    """Its rate: 3000k, qp27 or crf23."""
    gop: int = 12
    """Its pictures from one keyframe to the next."""
    repeats: int = 5
    """How often to measure everything."""


def bench_motion(options: MotionOptions, video: Path | None = None, *, quick: bool = False) -> Report:
    """Measure plain decoding, the recording of the vectors, and motion to the keyframes, one after the other.

    Parameters
    ----------
    options : MotionOptions
        What to measure.
    video : Path, optional
        The video; drawn and encoded by default.
    quick : bool
        A few small pictures, once, for a first look.

    Returns
    -------
    report : Report
        Figures are medians; of shares, of those of each round.

    Raises
    ------
    ConfigError
        If an option cannot be.
    CodecError, MotionError
        If the video cannot be read, or not be made here.
    """
    if quick:
        options = replace(options, size=QUICK_SIZE, pictures=QUICK_PICTURES, gop=4, repeats=1)
    check_positive(pictures=options.pictures, gop=options.gop, repeats=options.repeats)
    height, width = parse_size(options.size)
    with TemporaryDirectory() as name:
        folder = Path(name)
        source = video or _write_video(folder, _draw(options.pictures, height, width), options)
        raw, composed = folder / "raw.h5", folder / "composed.h5"

        def write(path: Path) -> Callable[[], object]:
            return lambda: extract_motion(str(source), path, composed=path == composed, max_frames=options.pictures)

        steps: dict[str, Callable[[], object]] = {
            "plain decoding": lambda: _decode(source, options.pictures),
            "raw, written": write(raw),
            "raw, read": lambda: _read(raw),
            "composed, written": write(composed),
            "composed, read": lambda: _read(composed),
        }
        for step in steps.values():  # loads programs
            step()
        seconds: dict[str, list[float]] = defaultdict(list)
        core_seconds: dict[str, list[float]] = defaultdict(list)
        for _ in range(options.repeats):
            for what, step in steps.items():
                started, core_started = time.perf_counter(), time.process_time()
                step()
                core_seconds[what].append(time.process_time() - core_started)
                seconds[what].append(time.perf_counter() - started)
        with MotionFile(composed) as file:
            num_pictures, attributes = len(file), file.attributes
        sizes = {"raw, written": raw.stat().st_size, "composed, written": composed.stat().st_size}
    rows = [
        _row(what, seconds[what], core_seconds[what], seconds["plain decoding"], num_pictures, sizes.get(what))
        for what in steps
    ]
    facts = {
        "video": f"{num_pictures} pictures of {attributes.width}x{attributes.height}, {attributes.codec}",
        "no_motion_to_the_keyframes": attributes.composed_reason or None,
    }
    return Report("motion", vars(options) | {"quick": quick}, [Table("per picture", rows)], facts)


def _draw(num_frames: int, height: int, width: int) -> NDArray[np.uint8]:
    """Draw a street video at half the size, in a quarter of the time, and enlarge it."""
    half = draw_frames(num_frames, -(-height // 2), -(-width // 2))
    enlarged = (Image.fromarray(frame).resize((width, height), Image.Resampling.BICUBIC) for frame in half)
    return np.stack([np.asarray(frame) for frame in enlarged])


def _write_video(folder: Path, frames: NDArray[np.uint8], options: MotionOptions) -> Path:
    """Encode frames as groups of pictures behind each other."""
    config = Encoding(options.codec, Rate(options.rate), gop=options.gop)
    groups = [frames[start : start + options.gop] for start in range(0, len(frames), options.gop)]
    path = folder / f"drawn.{options.codec}"
    path.write_bytes(b"".join(encode_clip(group, config).bitstream for group in groups))
    return path


def _decode(video: Path, max_frames: int) -> None:
    """Decode as `arseg motion` does, in one thread, without asking for motion."""
    with open_video(video) as stream:
        decoder = stream.decoder or cast(VideoCodecContext, CodecContext.create(stream.codec, "r"))
        decoder.thread_count = 1
        num_shown = 0
        for packet in stream.packets:
            num_shown += len(decoder.decode(packet))
            if num_shown >= max_frames:
                return
        decoder.decode(None)


def _read(path: Path) -> None:
    with MotionFile(path) as file:
        for index in range(len(file)):
            file.read(index)


def _row(
    what: str, seconds: list[float], core_seconds: list[float], plain: list[float], num_pictures: int, size: int | None
) -> Row:
    return {
        "what": what,
        "pictures_per_s": round(num_pictures / float(np.median(seconds)), 1),
        "core_ms": round(1000 * float(np.median(core_seconds)) / num_pictures, 3),
        "share_of_plain_decoding": round(float(np.median(np.divide(plain, seconds))), 3),
        "bytes": None if size is None else round(size / num_pictures),
    }
