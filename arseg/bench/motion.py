"""``arseg bench motion``: the vectors against decoding the same video without them, which nothing can undercut."""

from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import numpy as np
from av.codec.context import CodecContext
from av.video.codeccontext import VideoCodecContext

from arseg.bench.examples import draw_video
from arseg.bench.measure import Action, time_programs
from arseg.bench.report import DEFAULTS, Options, benchmark, publish
from arseg.codec.stream import open_video
from arseg.config import parse_size
from arseg.motion.extract import extract_motion
from arseg.motion.file import MotionFile
from arseg.options import Count
from arseg.spec import Encoding


@benchmark("video", size="96x64", max_frames=8)
def motion(
    video: Path | None = None,
    *,
    size: str = "1280x720",
    max_frames: Count = 96,
    codec: str = "h264",
    common: Options = DEFAULTS,
) -> None:
    """Time the recording of motion vectors against plain decoding of the same video.

    Motion to the keyframes is composed when a file is read, so what it takes is writing the file and reading all of it.
    Figures are medians; of shares, those of each round.

    Parameters
    ----------
    video : Path
        The video; a street at 3 Mbit/s and GOP 12 is drawn if left out.
    size : str
        WIDTHxHEIGHT of the video that is drawn.
    max_frames : int
        Frames to read of a video, or to draw.
    codec : str
        Codec of the video that is drawn.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        source = video or draw_video(folder, max_frames, parse_size(size), Encoding(codec, gop=12))
        raw, composed = folder / "raw.h5", folder / "composed.h5"
        actions: dict[str, Action] = {
            "plain decoding": lambda: decode(source, max_frames),
            "raw, written": lambda: extract_motion(str(source), raw, composed=False, max_frames=max_frames),
            "raw, read": lambda: _read(raw),
            "composed, written": lambda: extract_motion(str(source), composed, composed=True, max_frames=max_frames),
            "composed, read": lambda: _read(composed),
        }
        times = time_programs(actions, common.repeats, warmup=1)
        with MotionFile(composed) as file:
            count, attributes = len(file), file.attributes
        sizes = {f"{path.stem}, written": path.stat().st_size / count for path in (raw, composed)}
    rows = []
    for what, measured in times.items():
        seconds, cores = np.median(measured, axis=0)
        share = np.median(times["plain decoding"][:, 0] / measured[:, 0])
        row = {"what": what, "frames_per_s": count / seconds, "core_ms": 1000 * cores / count}
        rows.append(row | {"share_of_plain_decoding": share, "bytes": sizes.get(what)})
    title = f"per frame of {count} of {attributes.width}x{attributes.height}, {attributes.codec}"
    publish({title: rows}, common.output, no_motion_to_the_keyframes=attributes.composed_reason or None)


def decode(video: Path, max_frames: int | None = None) -> None:
    """Decode a video in one thread, without asking for motion."""
    with open_video(video) as stream:
        decoder = stream.decoder or cast(VideoCodecContext, CodecContext.create(stream.codec, "r"))
        decoder.thread_count = 1
        count = 0
        for packet in chain(stream.packets, [None]):
            count += len(decoder.decode(packet))
            if max_frames is not None and count >= max_frames:
                return


def _read(path: Path) -> None:
    with MotionFile(path) as file:
        for index in range(len(file)):
            file.read(index)
