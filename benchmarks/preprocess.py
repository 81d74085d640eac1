"""Measure the making of clip stores, step by step and as a whole, against the encoder's own time as the limit.

Takes any folder of PNG frames; in order of name they are a video. Steps are measured on clips that follow each other
without overlap, each for one sample at the largest distance; the whole on these too (what a training split needs), and
on all distances of one frame, whose clips overlap (what a test split needs). Prints Markdown tables, with the steps of
the published programs beside ours (``baseline-preprocess.csv``).

    python benchmarks/preprocess.py --frames camvid/val --size 960x720 --codec hevc --json preprocess.json
"""

import argparse
import csv
import json
import multiprocessing
import os
import platform
import resource
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from arseg.codec.decode import check_readable, read_clip
from arseg.codec.encode import encode_clip
from arseg.config import EncodeConfig
from arseg.data.clip_plans import ClipPlan, plan_clips
from arseg.data.clips import make_clip_stores
from arseg.data.images import read_image
from arseg.data.manifest import Manifest, ManifestRow
from arseg.motion.compose import MotionComposer
from arseg.store import ClipStore, create_stores

BASELINE = Path(__file__).with_name("baseline-preprocess.csv")
STEPS = ("read", "encode", "decode + vectors", "compose", "to RGB", "store")


@dataclass(frozen=True)
class Work:
    """Clips to make, and how."""

    manifest: Manifest
    config: EncodeConfig
    distances: tuple[int, ...]


def write_frames(source: Path, folder: Path, size: tuple[int, int] | None, gop: int, num_clips: int) -> Manifest:
    """Write the frames in the size that is asked for; list the last one of each clip."""
    paths = sorted(source.glob("*.png"))[: gop * num_clips]
    if len(paths) < 2 * gop:
        raise SystemExit(f"{source}: {len(paths)} PNG files, but two clips have {2 * gop} frames. Name another folder")
    for index, path in enumerate(paths):
        picture = Image.open(path).convert("RGB")
        picture = picture.resize(size, Image.Resampling.BICUBIC) if size else picture
        picture.save(folder / f"{index:06d}.png")
    pattern = f"{folder}/{{index:06d}}.png"
    rows = [
        ManifestRow("benchmark", "all", "video", index, pattern.format(index=index), "", pattern, 1)
        for index in range(gop - 1, len(paths), gop)
    ]
    return Manifest(tuple(rows), (), "benchmark")


def plan(work: Work, shard: int = 0, num_shards: int = 1) -> list[ClipPlan]:
    return plan_clips(work.manifest.rows, work.config.gop, work.distances, shard=shard, num_shards=num_shards)


def read_frames(clip: ClipPlan) -> NDArray[np.uint8]:
    return np.stack([read_image(path) for path in clip.frame_paths])


@contextmanager
def timed(seconds: list[float]) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds.append(time.perf_counter() - started)


@contextmanager
def one_core() -> Iterator[None]:
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
            for index, clip in enumerate(plan(work)):
                with timed(seconds["read"]):
                    frames = read_frames(clip)
                with timed(seconds["encode"]):
                    bitstream = encode_clip(frames, config).bitstream
                with timed(seconds["decode + vectors"]):
                    decoded = read_clip(bitstream, config.codec)
                with one_core(), timed(seconds["one core"]):
                    read_clip(bitstream, config.codec)
                with timed(seconds["compose"]):
                    composer = MotionComposer(decoded.height, decoded.width)
                    for motion_qpel, ref_back in zip(decoded.block_motion_qpel, decoded.block_ref_back, strict=True):
                        composer.push(motion_qpel, ref_back)
                    composed = composer.compose()
                with timed(seconds["to RGB"]):
                    keyframe, frame = decoded.rgb(0), decoded.rgb(len(decoded) - 1)
                intra = decoded.block_ref_back[-1] == 0
                with timed(seconds["store"]):
                    writers[path].write(index, keyframe=keyframe, frame=frame, motion_qpel=composed, intra=intra)
    return dict(seconds)


def encode_only(work: Work, shard: int, jobs: int, threads: int, start: Barrier, spans: list) -> None:
    clips = [read_frames(clip) for clip in plan(work, shard, jobs)]
    with span_of_all(work, clips[0], threads, start, spans):
        for frames in clips:
            encode_clip(frames, work.config, threads=threads)


def make_stores(work: Work, shard: int, jobs: int, threads: int, start: Barrier, spans: list) -> None:
    options = {"shard": shard, "num_shards": jobs, "threads": threads}
    frames = read_frames(plan(work)[0])
    with TemporaryDirectory() as folder, span_of_all(work, frames, threads, start, spans):
        make_clip_stores(work.manifest, "all", work.config, work.distances, folder, **options)


@contextmanager
def span_of_all(
    work: Work, frames: NDArray[np.uint8], threads: int, start: Barrier, spans: list[tuple[float, float, float]]
) -> Iterator[None]:
    """Record when work starts, at the same time in all jobs, and ends; programs are in memory by then."""
    read_clip(encode_clip(frames, work.config, threads=threads).bitstream, work.config.codec)
    start.wait()
    started, cpu_started = time.monotonic(), cpu_seconds()
    yield
    spans.append((started, time.monotonic(), cpu_seconds() - cpu_started))


def cpu_seconds() -> float:
    """Processor time of this process and those that it has waited for."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def measure_jobs(target: Callable[..., None], work: Work, jobs: int, threads: int) -> tuple[float, float]:
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
            raise SystemExit("a job failed; see its traceback above")
        starts, ends, cpu = zip(*spans, strict=True)
    num_clips = len(plan(work))
    return (max(ends) - min(starts)) / num_clips, sum(cpu) / num_clips


def measure_runs(work: Work, repeats: int, cores: int) -> Iterator[dict]:
    """One job of one core, one that has all cores, and as many jobs as cores.

    The two measurements of a pair follow each other, so that a machine that is busy with something else is so for
    both.
    """
    for jobs, threads in ((1, 1), (1, cores), (cores, 1)):
        pairs = [
            (measure_jobs(encode_only, work, jobs, threads), measure_jobs(make_stores, work, jobs, threads))
            for _ in range(repeats)
        ]
        encoder, whole = (np.array(measured) for measured in zip(*pairs, strict=True))  # (repeats, 2)
        yield {
            "distances": "all" if len(work.distances) > 1 else "largest",
            "jobs": jobs,
            "threads": threads,
            "encoder": encoder.tolist(),
            "whole": whole.tolist(),
            "ratio": np.median(whole / encoder, axis=0).tolist(),
        }


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def print_steps(result: dict) -> None:
    with BASELINE.open(newline="") as file:
        baseline = {row["step"]: row["seconds"] for row in csv.DictReader(file)}
    print("| step | seconds per clip | published programs |")
    print("| --- | ---: | ---: |")
    for step in STEPS:
        print(f"| {step} | {result['steps'][step]:.3f} | {baseline.get(step, '-')} |")
    print(
        f"| **sum of the steps** | **{sum(result['steps'][step] for step in STEPS):.3f}** | **{baseline['total']}** |"
    )
    print()
    print(
        f"Decoding with vectors on one core: {result['frames_per_second']:.0f} frames/s. "
        f"Bytes per sample: {result['bytes_per_sample']:,.0f}."
    )
    print()
    print("Seconds, and core-seconds, per clip:")
    print()
    print("| distances | jobs | encoder's threads | whole | | encoder alone | | ratio | |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for run in result["runs"]:
        whole, encoder = (np.median(run[name], axis=0) for name in ("whole", "encoder"))
        figures = " | ".join(f"{value:.2f}" for value in (*whole, *encoder, *run["ratio"]))
        print(f"| {run['distances']} | {run['jobs']} | {run['threads']} | {figures} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=Path, required=True, help="folder of PNG frames; in order of name, a video")
    parser.add_argument("--size", help="resize the frames to WIDTHxHEIGHT first")
    parser.add_argument("--codec", choices=("hevc", "h264"), default="hevc")
    parser.add_argument("--rate", default="3000k", help="3000k, qp27 or crf23")
    parser.add_argument("--clips", type=int, default=8, help="clips to make, at most")
    parser.add_argument("--repeats", type=int, default=3, help="how often to measure everything")
    parser.add_argument("--json", type=Path, help="write all figures to this file too")
    arguments = parser.parse_args()
    size = tuple(int(side) for side in arguments.size.split("x")) if arguments.size else None
    config = EncodeConfig(arguments.codec, arguments.rate)
    check_readable(config.codec)
    cores = len(os.sched_getaffinity(0))
    with TemporaryDirectory() as name:
        folder = Path(name)
        manifest = write_frames(arguments.frames, folder, size, config.gop, arguments.clips)
        largest = Work(manifest, config, (config.gop - 1,))
        first = Manifest(manifest.rows[:1], (), manifest.digest)
        everything = Work(first, config, tuple(range(config.gop)))
        seconds = measure_steps(largest, arguments.repeats, folder)
        result = {
            "machine": f"{cores} cores of {processor()}",
            "config": asdict(config),
            "size": arguments.size or "as they are",
            "clips": len(manifest.rows),
            "steps": {step: statistics.median(values) for step, values in seconds.items()},
            "frames_per_second": config.gop / statistics.median(seconds["one core"]),
            "bytes_per_sample": (folder / "steps.h5").stat().st_size / len(manifest.rows),
            "runs": [run for work in (largest, everything) for run in measure_runs(work, arguments.repeats, cores)],
        }
    print(f"{result['clips']} clips of {config.gop} frames, {result['size']}, {config.name}; {result['machine']}\n")
    print_steps(result)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
