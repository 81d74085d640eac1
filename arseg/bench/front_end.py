"""Time what comes before the networks: decoding, motion, RGB and normalisation, in one thread."""

from itertools import chain
from pathlib import Path
from typing import cast

import torch
from av.codec.context import CodecContext
from av.video.codeccontext import VideoCodecContext

from arseg.bench.measure import core_seconds, time_programs
from arseg.bench.report import Row
from arseg.codec.stream import open_video
from arseg.infer.front_end import STAGES, FrontEnd
from arseg.models.pixels import normalize
from arseg.motion.live import Following
from arseg.spec import NORMALIZATIONS, PAPER_RULES
from arseg.stopwatch import Stopwatch


def front_end_row(video: Path, num_frames: int, rounds: int) -> Row:
    """Prepare a video's frames as `arseg segment` does, for networks on the CPU, without running any.

    Parameters
    ----------
    video : Path
        Bitstream of H.264 or HEVC, of which the motion can be taken.
    num_frames : int
        Its frames.
    rounds : int
        Runs that count, after one that does not; the least one is returned.

    Returns
    -------
    row : dict
        Milliseconds of processor time per frame: of each stage, of all together, and of FFmpeg's decoder alone, which
        is the limit.
    """
    watches: list[Stopwatch] = []

    @torch.inference_mode()
    def prepare() -> None:
        watches.append(watch := Stopwatch(clock=core_seconds))
        for _, rgb in FrontEnd(str(video), Following(), PAPER_RULES, watch):
            with watch("normalize"):
                normalize(torch.from_numpy(rgb)[None], NORMALIZATIONS["camvid"])

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        times = time_programs({"prepare": prepare, "decode": lambda: decode(video)}, rounds, warmup=1)
    finally:
        torch.set_num_threads(threads)
    best = min((watch.seconds for watch in watches[1:]), key=lambda seconds: sum(seconds.values()))
    seconds = {stage: best[stage] for stage in (*STAGES, "normalize")}
    seconds |= {"total": sum(seconds.values()), "limit: decoding alone": float(times["decode"][:, 1].min())}
    return {name: 1000 * value / num_frames for name, value in seconds.items()}


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
