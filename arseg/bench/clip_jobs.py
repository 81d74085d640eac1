"""The steps of making clips, timed one by one, and whole jobs of them in processes of their own.

The processes load this module: it does without PyTorch, as the commands that make clips do.
"""

import multiprocessing
import os
import resource
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arseg.codec.decode import read_clip
from arseg.codec.encode import encode_clip
from arseg.data.clip_plans import ClipPlan, plan_clips
from arseg.data.clips import make_clip_stores
from arseg.data.images import read_image
from arseg.data.manifest import Manifest
from arseg.errors import ArsegError
from arseg.motion.compose import MotionComposer
from arseg.spec import Encoding
from arseg.store import ClipStore, create_stores

Spans = list[tuple[float, float, float]]
"""Of each job: when it began, when it ended, its processor time."""


@dataclass(frozen=True)
class Work:
    """Clips to make, and how."""

    manifest: Manifest
    config: Encoding
    distances: tuple[int, ...]


def _plan(work: Work, shard: int = 0, num_shards: int = 1) -> list[ClipPlan]:
    return plan_clips(work.manifest.rows, work.config.gop, work.distances, shard=shard, num_shards=num_shards)


def _read_frames(clip: ClipPlan) -> NDArray[np.uint8]:
    return np.stack([read_image(path) for path in clip.frame_paths])


@contextmanager
def _timed(seconds: list[float]) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds.append(time.perf_counter() - started)


@contextmanager
def _one_core() -> Iterator[None]:
    """Keep this process, and those that it starts, on one core."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    yield
    os.sched_setaffinity(0, cores)


def measure_steps(work: Work, repeats: int, folder: Path) -> dict[str, list[float]]:
    """Seconds of each step alone, for each clip and repeat; "one core" is decoding on a single one."""
    seconds: dict[str, list[float]] = defaultdict(list)
    config = work.config
    (path,) = make_clip_stores(work.manifest, "all", config, work.distances, folder / "attributes")
    with ClipStore(path) as store:
        attributes, identities = store.attributes, store.identities()
    path = folder / "steps.h5"
    for _ in range(repeats):
        with create_stores({path: (attributes, identities)}) as writers:
            for index, clip in enumerate(_plan(work)):
                with _timed(seconds["read"]):
                    frames = _read_frames(clip)
                with _timed(seconds["encode"]):
                    bitstream = encode_clip(frames, config).bitstream
                with _timed(seconds["decode + vectors"]):
                    decoded = read_clip(bitstream, config.codec)
                with _one_core(), _timed(seconds["one core"]):
                    read_clip(bitstream, config.codec)
                with _timed(seconds["compose"]):
                    composer = MotionComposer(decoded.height, decoded.width)
                    for motion_qpel, ref_back in zip(decoded.block_motion_qpel, decoded.block_ref_back, strict=True):
                        composer.push(motion_qpel, ref_back)
                    composed = composer.compose()
                with _timed(seconds["to RGB"]):
                    keyframe, frame = decoded.rgb(0), decoded.rgb(len(decoded) - 1)
                intra = decoded.block_ref_back[-1] == 0
                with _timed(seconds["store"]):
                    writers[path].write(index, keyframe=keyframe, frame=frame, motion_qpel=composed, intra=intra)
    return dict(seconds)


def _encode_only(work: Work, shard: int, jobs: int, threads: int, start: Barrier, spans: Spans) -> None:
    clips = [_read_frames(clip) for clip in _plan(work, shard, jobs)]
    with _span_of_all(work, clips[0], threads, start, spans):
        for frames in clips:
            encode_clip(frames, work.config, threads=threads)


def _make_stores(work: Work, shard: int, jobs: int, threads: int, start: Barrier, spans: Spans) -> None:
    frames = _read_frames(_plan(work)[0])
    with TemporaryDirectory() as folder, _span_of_all(work, frames, threads, start, spans):
        make_clip_stores(
            work.manifest, "all", work.config, work.distances, folder, shard=shard, num_shards=jobs, threads=threads
        )


@contextmanager
def _span_of_all(work: Work, frames: NDArray[np.uint8], threads: int, start: Barrier, spans: Spans) -> Iterator[None]:
    """Record when work starts, at the same time in all jobs, and ends; programs are in memory by then."""
    read_clip(encode_clip(frames, work.config, threads=threads).bitstream, work.config.codec)
    start.wait()
    started, cpu_started = time.monotonic(), _cpu_seconds()
    yield
    spans.append((started, time.monotonic(), _cpu_seconds() - cpu_started))


def _cpu_seconds() -> float:
    """Processor time of this process and those that it has waited for."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def _measure_jobs(target: Callable[..., None], work: Work, jobs: int, threads: int) -> tuple[float, float]:
    """Seconds and core-seconds per clip of `jobs` processes that share the clips."""
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager:
        start, spans = context.Barrier(jobs), manager.list()
        processes = [
            context.Process(target=target, args=(work, shard, jobs, threads, start, spans)) for shard in range(jobs)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        if any(process.exitcode for process in processes):
            raise ArsegError("bench preprocess: a job failed; see its traceback above")
        starts, ends, cpu = zip(*spans, strict=True)
    num_clips = len(_plan(work))
    return (max(ends) - min(starts)) / num_clips, sum(cpu) / num_clips


def measure_runs(work: Work, repeats: int, shares: Sequence[tuple[int, int]]) -> Iterator[dict[str, Any]]:
    """Time the whole and the encoder alone, for numbers of jobs and of the encoder's threads in each.

    The two measurements of a pair follow each other, so that a machine that is busy with something else is so for
    both.
    """
    for jobs, threads in shares:
        pairs = [
            (_measure_jobs(_encode_only, work, jobs, threads), _measure_jobs(_make_stores, work, jobs, threads))
            for _ in range(repeats)
        ]
        encoder, whole = (np.array(measured) for measured in zip(*pairs, strict=True))  # (repeats, 2)
        yield {
            "distances": "all" if len(work.distances) > 1 else "largest",
            "jobs": jobs,
            "threads": threads,
            **_pair("whole", whole),
            **_pair("encoder", encoder),
            **_pair("ratio", whole / encoder),
        }


def _pair(name: str, values: NDArray[np.float64]) -> dict[str, float]:
    """Medians of (repeats, 2): seconds and core-seconds."""
    wall, cores = np.median(values, axis=0)
    return {name: round(float(wall), 4), f"{name}_core": round(float(cores), 4)}
