"""Time what comes before the networks: decoding, motion, RGB and normalisation, in one thread."""

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from av.codec.context import CodecContext
from av.video.codeccontext import VideoCodecContext

from arseg.codec.stream import open_video
from arseg.infer.front_end import STAGES, FrontEnd
from arseg.models.pixels import normalize
from arseg.motion.live import Following
from arseg.spec import NORMALIZATIONS, PAPER_RULES
from arseg.stopwatch import Stopwatch

LENGTH = 4
"""How often the video is read on end, as one."""


def measure_front_end(video: Path, repeats: int) -> dict[str, Any]:
    """Prepare a video's pictures as `arseg segment` does, for networks on the CPU, without running any.

    Parameters
    ----------
    video : Path
        Bitstream of H.264 or HEVC, of which the motion can be taken; the folder must be writable.
    repeats : int
        Runs that count, behind one that does not; the one that took least is told.

    Returns
    -------
    row : dict
        Milliseconds of processor time per picture: of each stage, of all together, and of FFmpeg's decoder alone, which
        is the limit.
    """
    longer = video.with_stem(f"{video.stem}-longer")  # so that opening it counts no more than in a user's video
    longer.write_bytes(LENGTH * video.read_bytes())
    with _one_thread():
        runs = [_prepare(longer) for _ in range(repeats + 1)][1:]
        limits = [_decode(longer) for _ in range(repeats + 1)][1:]
    best = min(runs, key=lambda run: sum(run.values()))
    milliseconds = best | {"total": sum(best.values()), "limit: decoding alone": min(limits)}
    return {name: round(value, 3) for name, value in milliseconds.items()}


@contextmanager
def _one_thread() -> Iterator[None]:
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)


def _prepare(video: Path) -> dict[str, float]:
    """Milliseconds per picture of each stage."""
    watch, num_pictures, others = Stopwatch(clock=time.process_time), 0, _time_of_other_processes()
    with torch.inference_mode():
        for prepared in FrontEnd(str(video), Following(), PAPER_RULES, watch):
            with watch("normalize"):
                normalize(torch.from_numpy(prepared.rgb)[None], NORMALIZATIONS["camvid"])
            num_pictures += 1
    watch.seconds["decode"] += _time_of_other_processes() - others
    return {stage: 1000 * watch.seconds[stage] / num_pictures for stage in (*STAGES, "normalize")}


def _time_of_other_processes() -> float:
    """Seconds that ended processes of this one took: HEVC's motion is read in one."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _decode(video: Path) -> float:
    """Milliseconds per picture of the decoder alone."""
    with open_video(video) as stream:
        packets = [*stream.packets, None]
        decoder = cast(VideoCodecContext, CodecContext.create(stream.codec, "r"))
        decoder.thread_count = 1
        started = time.process_time()
        num_pictures = sum(len(decoder.decode(packet)) for packet in packets)
        return 1000 * (time.process_time() - started) / num_pictures
