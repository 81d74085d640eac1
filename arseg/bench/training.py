"""Time both phases of training: their samples, their steps, and how long a process takes to its first batch."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain, repeat
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from arseg.bench.loading import loading_rows, start_rows
from arseg.bench.report import Report, Table, check_positive, parse_size
from arseg.bench.timing import Memory, Timing, synchronize, watch_memory
from arseg.config import TrainConfig
from arseg.data.clips import make_clip_stores
from arseg.data.frames import frames_manifest
from arseg.data.manifest import Manifest, read_manifest, write_manifest
from arseg.data.synthetic.dataset import synthesize
from arseg.errors import ArsegError
from arseg.models.registry import build_network, get_architecture
from arseg.spec import Encoding
from arseg.split import open_training_stores
from arseg.train.data import PairDataset, StillDataset, training_loader
from arseg.train.fit import prepare_batch
from arseg.train.optimizer import Optimization
from arseg.train.phases import Phase1, Phase2
from arseg.train.step import start_phase2

QUICK_SIZE = "96x64"
GOP = 2
"""Of the clips whose motion is loaded: loading takes as long whatever the distance."""

Batch = Mapping[str, Tensor]


@dataclass(frozen=True)
class TrainingOptions:
    """What to measure."""

    size: str = "960x720"
    """WIDTHxHEIGHT of frames and crops."""
    backbones: tuple[str, ...] = ("psp18", "bise18")
    """Architectures."""
    scale_percent: int = 50
    """Resolution of the LR branch in phase 2."""
    batch_size: int = 2
    """Samples of a step; the paper's runs take 8."""
    steps: int = 3
    """Steps that count."""
    workers: int = 0
    """Processes that load samples."""
    starts: int = 3
    """How often a training is started to see its first batch."""


def bench_training(options: TrainingOptions, device: torch.device, *, quick: bool = False) -> Report:
    """Measure steps of phase 1 at full resolution and of phase 2 with fusion and feature similarity.

    Samples are drawn, encoded, loaded and augmented as in training. The first step does not count. Beside that, loading
    alone and starting alone (`arseg.bench.loading`).

    Parameters
    ----------
    options : TrainingOptions
        What to measure.
    device : torch.device
        Where.
    quick : bool
        Small frames, one step and one start, for a first look.

    Returns
    -------
    report : Report

    Raises
    ------
    ConfigError
        If an option cannot be.
    """
    if quick:
        options = replace(options, size=QUICK_SIZE, steps=1, starts=1)
    check_positive(
        batch_size=options.batch_size, steps=options.steps, scale_percent=options.scale_percent, starts=options.starts
    )
    height, width = parse_size(options.size)
    for backbone in options.backbones:
        get_architecture(backbone)  # refuses unknown ones
    # As many epochs as a real run has: loader processes are not worth starting for few samples.
    config = TrainConfig(crop=options.size, batch_size=options.batch_size, initial_weights="none")
    rows = []
    with TemporaryDirectory() as name:
        manifest, stores = _draw_dataset(Path(name), options.batch_size, height, width)
        loading = loading_rows(manifest, stores, config)
        starts = start_rows(_training(Path(name), options), options.starts)
        stills = StillDataset(manifest.split("train"), manifest.num_classes, config, augmented=True)
        pairs = PairDataset(open_training_stores(stores, manifest), manifest.num_classes, config, augmented=True)
        for backbone in options.backbones:
            for phase, dataset in (("phase 1", stills), ("phase 2", pairs)):
                loader = training_loader(dataset, config, 0, options.workers)
                step = _steps(phase, backbone, manifest.num_classes, config, options.scale_percent, device)
                rows.append({"backbone": backbone, "phase": phase, **_time_steps(loader, step, options, device)})
    tables = [
        Table(f"training steps of {options.batch_size} samples of {options.size}", rows),
        Table(f"samples of {options.size}, loaded by one process; mean over the random scales", loading),
        Table(f"from the start of a process, least of {options.starts}", starts),
    ]
    return Report("training", vars(options) | {"quick": quick}, tables)


def _draw_dataset(folder: Path, num_samples: int, height: int, width: int) -> tuple[Manifest, list[Path]]:
    root, path = folder / "frames", folder / "manifest.csv"
    synthesize(
        root,
        num_train_sequences=1,
        num_val_sequences=1,
        num_test_sequences=1,
        frames_per_sequence=max(2 * GOP - 1, num_samples + GOP - 1),
        annotate_every=1,
        width=width,
        height=height,
        gop=GOP,
    )
    write_manifest(path, *frames_manifest("benchmark", root, root / "classes.csv", root / "splits.csv"))
    manifest = read_manifest(path)
    encoding = Encoding("h264", gop=GOP, preset="ultrafast")
    return manifest, make_clip_stores(manifest, "train", encoding, [GOP - 1], folder / "stores")


def _training(folder: Path, options: TrainingOptions) -> list[str]:
    """Say how `arseg` is told to train on what was drawn."""
    named = {
        "manifest": folder / "manifest.csv",
        "train-split": "train",
        "val-split": "val",
        "backbone": options.backbones[0],
        "output": folder / "weights.pt",
        "crop": options.size,
        "batch-size": options.batch_size,
        "initial-weights": "none",
        "workers": 0,
    }
    return ["train", "phase1", *(f"--{name}={value}" for name, value in named.items())]


def _steps(
    phase: str, backbone: str, num_classes: int, config: TrainConfig, scale_percent: int, device: torch.device
) -> Callable[[Batch], None]:
    """Make what one optimisation step of a phase does with a batch."""
    with torch.random.fork_rng(devices=[]):
        hr = build_network(backbone, num_classes, fusion=False).to(device)
        lr = build_network(backbone, num_classes, fusion=True).to(device)
    if phase == "phase 2":
        start_phase2(hr, lr, config.feature_similarity)
    learning = lr if phase == "phase 2" else hr
    options = (get_architecture(backbone), config, scale_percent if phase == "phase 2" else 100, 0)
    trained = Phase2(hr, learning, *options) if phase == "phase 2" else Phase1(learning, *options)
    trained.epoch = config.unfused_epochs
    optimization = Optimization(learning, config, t_max=config.epochs)

    def step(batch: Batch) -> None:
        optimization.step(0, lambda: trained.batch_loss(prepare_batch(batch, config, device)))

    return step


def _time_steps(
    loader: DataLoader[Any], step: Callable[[Batch], None], options: TrainingOptions, device: torch.device
) -> dict[str, Any]:
    waiting, working = [], []
    batches = _batches(loader)
    memory: Memory | None = None
    for index in range(options.steps + 1):
        started = time.perf_counter()
        batch = next(batches)
        synchronize(device)
        loaded = time.perf_counter()
        if index == 0:
            with watch_memory(device) as memory:
                step(batch)
            continue
        step(batch)
        synchronize(device)
        waiting.append(1000 * (loaded - started))
        working.append(1000 * (time.perf_counter() - loaded))
    total = sum(waiting) + sum(working)
    peak = memory.peak_mib if memory is not None else None
    return {
        **Timing(tuple(working)).row(),
        "waiting_median_ms": round(Timing(tuple(waiting)).median, 3),
        "waiting_share": round(sum(waiting) / total, 4),
        "samples_per_s": round(1000 * options.batch_size * options.steps / total, 4),
        "peak_MiB": None if peak is None else round(peak, 1),
    }


def _batches(loader: DataLoader[Any]) -> Iterator[Batch]:
    """Go through the samples again and again."""
    for batch in chain.from_iterable(repeat(loader)):
        if isinstance(batch, ArsegError):
            raise batch
        yield batch
