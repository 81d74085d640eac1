"""``arseg bench preprocess``: the making of clip stores, against the encoder's own time as the limit."""

import time
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Barrier

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from arseg.bench.examples import draw_frames
from arseg.bench.measure import Action, core_seconds, time_programs
from arseg.bench.report import DEFAULTS, Options, Row, benchmark, publish
from arseg.codec.decode import check_readable, read_clip
from arseg.codec.encode import encode_clip
from arseg.codec.frame import DecodedClip
from arseg.config import parse_size
from arseg.data.clips import make_clip_stores, plan_clips
from arseg.data.images import read_image
from arseg.data.manifest import Manifest, ManifestRow
from arseg.errors import DataError
from arseg.machine import usable_cores
from arseg.motion.compose import MotionComposer
from arseg.options import Count
from arseg.spec import Encoding, Rate
from arseg.store import ClipStore
from arseg.store_writer import create_stores


@benchmark(size="96x64", clips=2, preset="ultrafast")
def preprocess(
    *,
    frames: Path | None = None,
    size: str = "",
    codec: str = "hevc",
    rate: Rate = Encoding.rate,
    preset: str = "medium",
    clips: Count = 8,
    common: Options = DEFAULTS,
) -> None:
    """Time the making of clip stores against the encoder's own time.

    The steps one by one, on clips that follow each other without overlap, each for one sample at the largest distance;
    then the whole and the encoder alone, on one core and on all: on these clips (what a training split needs), and on
    all distances of one frame, whose clips overlap (what a test split needs).

    Parameters
    ----------
    frames : Path
        Folder of PNG frames, in order of name a video; drawn if left out.
    size : str
        WIDTHxHEIGHT to resize them to; 960x720 where they are drawn.
    codec : str
        Codec of the clips.
    rate : Rate
        Rate of the clips: 3000k, qp27 or crf23.
    preset : str
        Speed preset of the encoder.
    clips : int
        Clips to make, at most.
    """
    config = Encoding(codec, rate, gop=4 if common.quick else Encoding.gop, preset=preset)
    check_readable(codec)
    cores = usable_cores()
    with TemporaryDirectory() as name:
        manifest = _write_frames(frames, size, config.gop * clips, config.gop, Path(name))
        largest = Work(manifest, config, (config.gop - 1,))
        (made,) = make_clip_stores(manifest, "all", config, largest.distances, Path(name, "made"))
        steps = _steps(largest, made, common.repeats)
        works, shares = {"largest": largest}, dict.fromkeys([(1, 1)])
        if not common.quick:
            works["all"] = Work(replace(manifest, rows=manifest.rows[:1]), config, tuple(range(config.gop)))
            shares |= dict.fromkeys([(1, cores), (cores, 1)])
        runs = [
            {"distances": distances, "jobs": jobs, "threads": threads}
            | _against_encoder(work, jobs, threads, common.repeats)
            for distances, work in works.items()
            for jobs, threads in shares
        ]
    tables = {"seconds per clip": steps, "seconds, and core-seconds, per clip": runs}
    publish(tables, common.output, clips=f"{len(manifest.rows)} of {config.gop} frames, {config.name}")


def _write_frames(source: Path | None, size: str, count: int, gop: int, folder: Path) -> Manifest:
    """Write frames in the size that is asked for; list the last one of each clip."""
    if source is None:
        images = [Image.fromarray(frame) for frame in draw_frames(count, parse_size(size or "960x720"))]
    else:
        images = [Image.open(path).convert("RGB") for path in sorted(source.glob("*.png"))[:count]]
        if len(images) < 2 * gop:
            raise DataError(
                f"--frames {source}: {len(images)} PNG files, but two clips have {2 * gop} frames. Name another folder"
            )
    pattern = f"{folder}/{{index:06d}}.png"
    for index, image in enumerate(images):
        resized = image.resize(parse_size(size)[::-1], Image.Resampling.BICUBIC) if size else image
        resized.save(pattern.format(index=index))
    annotated = range(gop - 1, len(images), gop)
    row = partial(ManifestRow, "benchmark", "all", "video", label="", frame_pattern=pattern, frame_step=1)
    rows = tuple(row(frame_index=index, image=pattern.format(index=index)) for index in annotated)
    return Manifest(rows, (), "benchmark")


@dataclass(frozen=True)
class Work:
    """Clips to make, and how."""

    manifest: Manifest
    config: Encoding
    distances: tuple[int, ...]

    def read(self, shard: int = 0, num_shards: int = 1) -> list[NDArray[np.uint8]]:
        """Return the source frames of each clip, (T, H, W, 3)."""
        plans = plan_clips(self.manifest.rows, self.config.gop, self.distances, shard=shard, num_shards=num_shards)
        return [np.stack([read_image(path) for path in plan.frame_paths]) for plan in plans]


def _steps(work: Work, made: Path, repeats: int) -> list[Row]:
    """Time each step alone, on one thread; `made` is the store that they make."""
    with ClipStore(made) as store:
        contents = {made.with_name("steps.h5"): (store.attributes, store.identities())}
    frames = work.read()
    streams = [encode_clip(clip, work.config).bitstream for clip in frames]
    decoded = [read_clip(stream, work.config.codec) for stream in streams]
    pairs = [(clip.frames[0].to_rgb(), clip.frames[-1].to_rgb()) for clip in decoded]
    motion = [_compose(clip) for clip in decoded]

    def store_samples() -> None:
        with create_stores(contents) as writers:
            (writer,) = writers.values()
            for index, ((keyframe, frame), motion_qpel) in enumerate(zip(pairs, motion, strict=True)):
                intra = decoded[index].block_ref_back[-1] == 0
                writer.write(index, keyframe=keyframe, frame=frame, motion_qpel=motion_qpel, intra=intra)

    actions: dict[str, Action] = {
        "read": work.read,
        "encode": lambda: [encode_clip(clip, work.config) for clip in frames],
        "decode + vectors": lambda: [read_clip(stream, work.config.codec) for stream in streams],
        "compose": lambda: [_compose(clip) for clip in decoded],
        "to RGB": lambda: [(clip.frames[0].to_rgb(), clip.frames[-1].to_rgb()) for clip in decoded],
        "store": store_samples,
    }
    seconds = {
        step: float(np.median(times[:, 0])) / len(frames) for step, times in time_programs(actions, repeats).items()
    }
    seconds["sum of the steps"] = sum(seconds.values())
    return [{"step": step, "seconds": value} for step, value in seconds.items()]


def _compose(clip: DecodedClip) -> NDArray[np.int16]:
    composer = MotionComposer(clip.height, clip.width)
    for vectors, ref_back in zip(clip.block_vectors_qpel, clip.block_ref_back, strict=True):
        composer.push(vectors, ref_back)
    return composer.compose()


def _against_encoder(work: Work, jobs: int, threads: int, repeats: int) -> Row:
    """Time the whole and the encoder alone, one after the other, in processes that share the clips."""
    context = get_context("spawn")
    with context.Manager() as manager, context.Pool(jobs) as pool:
        start = manager.Barrier(jobs)
        shards = [(work, shard, jobs, threads, repeats, start) for shard in range(jobs)]
        times = np.array(pool.starmap(_job, shards, chunksize=1))
    seconds = times[..., 1].max(axis=0) - times[..., 0].min(axis=0)
    num_clips = len(plan_clips(work.manifest.rows, work.config.gop, work.distances))
    measured = np.stack([seconds, times[..., 2].sum(axis=0)], axis=-1) / num_clips
    whole, encoder = measured[:, 0], measured[:, 1]  # (repeats, 2): seconds and core-seconds
    row = {}
    for name, values in (("whole", whole), ("encoder", encoder), ("ratio", whole / encoder)):
        row[name], row[f"{name}_core"] = np.median(values, axis=0)
    return row


def _job(work: Work, shard: int, jobs: int, threads: int, repeats: int, start: Barrier) -> NDArray[np.float64]:
    """Return begin, end and core-seconds of a job's whole and encoder, shape (repeats, 2, 3); the jobs start together.

    Programs are in memory by then.
    """
    clips = work.read(shard, jobs)

    def whole() -> None:
        with TemporaryDirectory() as folder:
            make_clip_stores(
                work.manifest, "all", work.config, work.distances, folder, shard=shard, num_shards=jobs, threads=threads
            )

    def encoder() -> None:
        for frames in clips:
            encode_clip(frames, work.config, threads=threads)

    read_clip(encode_clip(clips[0], work.config, threads=threads).bitstream, work.config.codec)
    times = np.empty((repeats, 2, 3))
    for of_round in times:
        for measured, action in zip(of_round, (whole, encoder), strict=True):
            start.wait()
            begun, core_begun = time.monotonic(), core_seconds()
            action()
            measured[:] = begun, time.monotonic(), core_seconds() - core_begun
    return times
