"""Time what training waits for: its samples, stage by stage, and its first batch."""

import random
import resource
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from arseg.config import TrainConfig
from arseg.data.augmentation import draw_augmentation
from arseg.data.images import read_image, read_label
from arseg.data.manifest import Manifest
from arseg.data.transforms import PairSample, apply
from arseg.errors import ArsegError
from arseg.split import open_training_stores
from arseg.store import ClipStore
from arseg.train.data import Draw, PairDataset, StillDataset

SAMPLES_PER_SECOND = 12.0
"""What a core must at least make of phase 2 at 960x720."""

TIMES_IMPORT = 1.6
"""How many times as long as ``import torch`` a training may at most take to its first batch."""

IMPORT = "import torch"

LEAVE = "import os; os._exit(0)"
"""Ends a process at once: what clearing up takes is not asked for."""

TO_THE_FIRST_BATCH = """
import os
from arseg.train import step
def reached(*_, **__):
    os._exit(0)
step.phase1_loss = step.phase2_loss = reached  # modules that are imported from here on take these
from arseg.cli.main import main
main()
os._exit(1)
"""
"""The command `arseg` up to where it would compute the loss of the first batch."""


class _Source(NamedTuple):
    """Where a sample comes from."""

    images: tuple[str, ...]
    label: str
    read_motion: Callable[[], NDArray[Any]] | None


def loading_rows(manifest: Manifest, stores: Sequence[Path], config: TrainConfig) -> list[dict[str, Any]]:
    """Measure samples of both phases from files to tensors, in this process.

    Parameters
    ----------
    manifest : Manifest
        Data set; of its split `train` each sample is made once at each of the random scales.
    stores : sequence of Path
        Its clip stores.
    config : TrainConfig
        Crop and augmentation.

    Returns
    -------
    rows : list of dict
        For each phase the processor's time in milliseconds per sample: of the stages one by one, and of the whole.
    """
    rows, split = manifest.split("train"), open_training_stores(stores, manifest)
    opened = [ClipStore(path) for path in split.paths]
    stills = [_Source((row.image,), row.label, None) for row in rows]
    pairs = [
        _Source(
            (sample.identity.image, sample.identity.keyframe_image),
            sample.identity.label,
            partial(opened[sample.store_index].read_motion, sample.index),
        )
        for sample in split.samples
    ]
    classes = manifest.num_classes
    return [
        _phase_row("phase 1", stills, lambda each: StillDataset(rows, classes, each, augmented=True), classes, config),
        _phase_row("phase 2", pairs, lambda each: PairDataset(split, classes, each, augmented=True), classes, config)
        | {"limit": SAMPLES_PER_SECOND},
    ]


def _phase_row(
    phase: str,
    sources: Sequence[_Source],
    make_dataset: Callable[[TrainConfig], StillDataset | PairDataset],
    num_classes: int,
    config: TrainConfig,
) -> dict[str, Any]:
    seconds: defaultdict[str, float] = defaultdict(float)
    for turn, scale in enumerate((config.random_scales[0], *config.random_scales)):
        if turn == 1:
            seconds.clear()  # the first pass fills the file cache
        constants = replace(config, random_scales=(scale,))
        dataset = make_dataset(constants)
        for index, source in enumerate(sources):
            seed = f"{scale}/{index}"
            with _counted(seconds, "decode"):
                images = [read_image(path) for path in source.images]
                labels = read_label(source.label, num_classes)
            with _counted(seconds, "motion"):
                motion = source.read_motion() if source.read_motion else None
            with _counted(seconds, "augmentation"):
                height, width = labels.shape
                augmentation = draw_augmentation((width, height), random.Random(seed), constants)
                apply(augmentation, PairSample(images[0], images[1] if images[1:] else None, labels, motion))
            with _counted(seconds, "whole"):
                item = dataset[Draw(index, seed)]
            if isinstance(item, ArsegError):
                raise item
    samples = len(sources) * len(config.random_scales)
    times = {f"{stage}_ms": round(1000 * spent / samples, 3) for stage, spent in seconds.items()}
    return {"phase": phase, **times, "samples_per_core_s": round(samples / seconds["whole"], 2), "limit": None}


@contextmanager
def _counted(seconds: defaultdict[str, float], stage: str) -> Iterator[None]:
    """Count the processor's time of a ``with`` block towards a stage."""
    started = time.process_time()
    yield
    seconds[stage] += time.process_time() - started


def start_rows(words: Sequence[str], repeats: int) -> list[dict[str, Any]]:
    """Measure a training from the start of its process to its first batch, beside ``import torch``.

    Parameters
    ----------
    words : sequence of str
        Those behind `arseg`.
    repeats : int
        How often each is started, in turns.

    Returns
    -------
    rows : list of dict
        The least seconds of each, and the least core-seconds: on a busy machine, compare those.

    Raises
    ------
    CalledProcessError
        If the training ends before its first batch; it has said why.
    """
    programs = {
        IMPORT: ["-c", f"{IMPORT}; {LEAVE}"],
        "arseg train, to its first batch": ["-c", TO_THE_FIRST_BATCH, *words],
    }
    runs = [{name: _start(program) for name, program in programs.items()} for _ in range(repeats)]
    least = {name: [min(run[name][kind] for run in runs) for kind in range(2)] for name in programs}
    return [
        {
            "process": name,
            "s": round(wall, 3),
            "core_s": round(core, 3),
            "times_import": round(wall / least[IMPORT][0], 3),
            "times_import_core": round(core / least[IMPORT][1], 3),
            "limit": None if name == IMPORT else TIMES_IMPORT,
        }
        for name, (wall, core) in least.items()
    ]


def _start(words: Sequence[str]) -> tuple[float, float]:
    """Run Python; give the seconds that pass, and those of the processor."""
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *words], stdout=subprocess.DEVNULL, check=True)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
