"""Time the making of clip stores, step by step and as a whole, against the encoder's own time as the limit.

Takes any folder of PNG frames, in order of name a video, or draws one. Steps are measured on clips that follow each
other without overlap, each for one sample at the largest distance; the whole on these too (what a training split
needs), and on all distances of one frame, whose clips overlap (what a test split needs). The steps of the published
programs, measured elsewhere, stand beside ours (``baseline-preprocess.csv``).
"""

import csv
import statistics
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from PIL import Image

from arseg.bench.clip_jobs import Work, measure_runs, measure_steps
from arseg.bench.examples import draw_frames
from arseg.bench.report import Report, Table, check_positive, parse_size
from arseg.codec.decode import check_readable
from arseg.data.manifest import Manifest, ManifestRow
from arseg.errors import DataError
from arseg.machine import usable_cores
from arseg.spec import Encoding, Rate

BASELINE = Path(__file__).with_name("baseline-preprocess.csv")
QUICK_SIZE = "96x64"
DRAWN_SIZE = 720, 960
STEPS = ("read", "encode", "decode + vectors", "compose", "to RGB", "store")


@dataclass(frozen=True)
class PreprocessOptions:
    """What to measure."""

    frames: Path | None = None
    """Folder of PNG frames, in order of name a video; drawn if left out."""
    size: str = ""
    """WIDTHxHEIGHT to resize them to; 960x720 where they are drawn."""
    codec: Literal["hevc", "h264"] = "hevc"
    """Of the clips."""
    rate: str = "3000k"
    """Rate of the clips: 3000k, qp27 or crf23."""
    preset: str = "medium"
    """Speed preset of the encoder."""
    clips: int = 8
    """Clips to make, at most."""
    repeats: int = 3
    """How often to measure everything."""


def bench_preprocess(options: PreprocessOptions, *, quick: bool = False) -> Report:
    """Measure the steps on one thread; then the whole and the encoder alone, on one core and on all.

    Parameters
    ----------
    options : PreprocessOptions
        What to measure.
    quick : bool
        Two small clips of four pictures, once and in one job, for a first look.

    Returns
    -------
    report : Report

    Raises
    ------
    ConfigError
        If an option cannot be.
    DataError
        If the folder holds too few frames.
    CodecError
        If clips of that codec cannot be made here.
    """
    config = Encoding(options.codec, Rate(options.rate), preset=options.preset)
    if quick:
        options = replace(options, size=QUICK_SIZE, clips=2, repeats=1)
        config = replace(config, gop=4, preset="ultrafast")
    check_positive(clips=options.clips, repeats=options.repeats)
    check_readable(config.codec)
    cores = usable_cores()
    shares = [(1, 1)] if quick else [(1, 1), (1, cores), (cores, 1)]
    with TemporaryDirectory() as name:
        folder = Path(name)
        manifest = _write_frames(options, folder, config.gop)
        largest = Work(manifest, config, (config.gop - 1,))
        first = Manifest(manifest.rows[:1], (), manifest.digest)
        everything = Work(first, config, tuple(range(config.gop)))
        works = [largest] if quick else [largest, everything]
        seconds = measure_steps(largest, options.repeats, folder)
        bytes_per_sample = (folder / "steps.h5").stat().st_size / len(manifest.rows)
        runs = [run for work in works for run in measure_runs(work, options.repeats, shares)]
    tables = [Table("seconds per clip", _step_rows(seconds)), Table("seconds, and core-seconds, per clip", runs)]
    facts = {
        "clips": f"{len(manifest.rows)} of {config.gop} pictures, {config.name}",
        "decoding_with_vectors_on_one_core_in_frames_per_s": config.gop / statistics.median(seconds["one core"]),
        "bytes_per_sample": bytes_per_sample,
    }
    return Report("preprocess", vars(options) | {"quick": quick}, tables, facts)


def _write_frames(options: PreprocessOptions, folder: Path, gop: int) -> Manifest:
    """Write the frames in the size that is asked for; list the last one of each clip."""
    paths = [folder / f"{index:06d}.png" for index in range(gop * options.clips)]
    size = parse_size(options.size) if options.size else None
    if options.frames is None:
        for path, frame in zip(paths, draw_frames(len(paths), *(size or DRAWN_SIZE)), strict=True):
            Image.fromarray(frame).save(path)
    else:
        sources = sorted(options.frames.glob("*.png"))[: len(paths)]
        if len(sources) < 2 * gop:
            raise DataError(
                f"--frames {options.frames}: {len(sources)} PNG files, but two clips have {2 * gop} frames. Name "
                "another folder"
            )
        paths = paths[: len(sources)]
        for source, path in zip(sources, paths, strict=True):
            picture = Image.open(source).convert("RGB")
            picture = picture.resize(size[::-1], Image.Resampling.BICUBIC) if size else picture
            picture.save(path)
    pattern = f"{folder}/{{index:06d}}.png"
    rows = [
        ManifestRow("benchmark", "all", "video", index, pattern.format(index=index), "", pattern, 1)
        for index in range(gop - 1, len(paths), gop)
    ]
    return Manifest(tuple(rows), (), "benchmark")


def _step_rows(seconds: dict[str, list[float]]) -> list[dict[str, Any]]:
    with BASELINE.open(newline="", encoding="utf-8") as file:
        baseline = {row["step"]: float(row["seconds"]) for row in csv.DictReader(file)}
    medians = {step: statistics.median(seconds[step]) for step in STEPS}
    medians["sum of the steps"] = sum(medians.values())
    baseline["sum of the steps"] = baseline["total"]
    return [
        {"step": step, "seconds": round(value, 4), "published_programs": baseline.get(step)}
        for step, value in medians.items()
    ]
