"""``arseg bench training``: samples, steps of both phases, and how long a process takes to its first batch."""

import cProfile
import pstats
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from arseg.bench.measure import peak_mib, time_programs
from arseg.bench.report import DEFAULTS, Options, Row, benchmark, publish
from arseg.config import TrainConfig, parse_size
from arseg.data.augmentation import draw_augmentation
from arseg.data.clips import make_clip_stores
from arseg.data.images import read_image, read_label
from arseg.data.manifest import Manifest, read_manifest, write_manifest
from arseg.data.transforms import apply
from arseg.datasets.frames.manifest import frames_manifest
from arseg.datasets.synthetic.dataset import synthesize
from arseg.models.device import resolve_device
from arseg.models.registry import build_network, get_architecture
from arseg.options import Count, Device
from arseg.spec import Encoding, NetworkSpec
from arseg.split import SplitStores, open_training_stores
from arseg.stopwatch import Stopwatch
from arseg.store import ClipStore
from arseg.train.data import Draw, Item, PairDataset, StillDataset, training_loader
from arseg.train.fit import prepare_batch
from arseg.train.optimizer import Optimization
from arseg.train.phases import Phase1, Phase2

GOP = 2
"""Of the clips whose motion is loaded: loading takes as long whatever the distance."""

STAGES: dict[str, tuple[Callable[..., object], ...]] = {
    "decode": (read_image, read_label),
    "motion": (ClipStore.read_motion,),
    "augmentation": (draw_augmentation, apply),
}
"""Of a sample, by the functions that do them."""

SAMPLES_PER_SECOND = {"phase 2": 12.0}
"""What a core must at least make at 960x720."""

TIMES_IMPORT = 1.6
"""How many times as long as ``import torch`` a training may at most take to its first batch."""

IMPORT, TRAIN = "import torch", "arseg train, to its first batch"

LEAVE = "import os; os._exit(0)"
"""Ends a process at once: what clearing up takes is not asked for."""

TO_THE_FIRST_BATCH = """
import os
from arseg.train.phases import Phase1, Phase2
def reached(*_):
    os._exit(0)
Phase1.batch_loss = Phase2.batch_loss = reached
from arseg.cli.main import main
from arseg.spec import Encoding
main()
os._exit(1)
"""
"""The command `arseg` up to where it would compute the loss of the first batch."""

Dataset = StillDataset | PairDataset


@benchmark(size="96x64")
def training(
    *,
    size: str = "960x720",
    backbones: tuple[str, ...] = ("psp18", "bise18"),
    scale_percent: Count = 50,
    batch_size: Count = 2,
    workers: int = 0,
    device: Device = "auto",
    common: Options = DEFAULTS,
) -> None:
    """Time both phases of training: samples alone, steps and their waiting, and the start up to the first batch.

    Samples are drawn, encoded, loaded and augmented as in training; phase 1 sees full resolution, phase 2 fuses and
    compares features. As many steps count as there are rounds, after two that do not.

    Parameters
    ----------
    size : str
        WIDTHxHEIGHT of frames and crops.
    backbones : tuple of str
        Architectures.
    scale_percent : int
        Resolution of the LR branch in phase 2.
    batch_size : int
        Samples of a step; the paper's runs take 8.
    workers : int
        Processes that load samples.
    """
    repeats, where = common.repeats, resolve_device(device)
    for backbone in backbones:
        get_architecture(backbone)  # refuses unknown ones
    # As many epochs as a real run has: loader processes are not worth starting for few samples.
    config = TrainConfig(crop=size, batch_size=batch_size, initial_weights="none")
    with TemporaryDirectory() as name:
        manifest, stores = _draw_dataset(Path(name), batch_size, *parse_size(size))
        datasets: dict[str, Callable[[TrainConfig], Dataset]] = {
            "phase 1": partial(StillDataset, manifest.split("train"), manifest.num_classes, augmented=True),
            "phase 2": partial(PairDataset, stores, manifest.num_classes, augmented=True),
        }
        samples = [{"phase": phase, **_time_samples(make, config)} for phase, make in datasets.items()]
        for row in samples:
            row["limit"] = SAMPLES_PER_SECOND.get(row["phase"])
        started = time_starts(_words(Path(name), backbones[0], config), repeats)
        steps = []
        for backbone in backbones:
            for phase, make in datasets.items():
                loader = training_loader(make(config), config, 0, workers)
                trained = _phase(phase, backbone, manifest.num_classes, config, scale_percent, where)
                steps.append({"backbone": backbone, "phase": phase, **_time_steps(loader, trained, repeats, where)})
    tables = {
        f"training steps of {batch_size} samples of {size}": steps,
        f"samples of {size}, loaded by one process; processor time, mean over the random scales": samples,
        f"from the start of a process, least of {repeats}": started,
    }
    publish(tables, common.output, where)


def _draw_dataset(folder: Path, num_samples: int, height: int, width: int) -> tuple[Manifest, SplitStores]:
    root, path = folder / "frames", folder / "manifest.csv"
    counts = dict.fromkeys(("num_train_sequences", "num_val_sequences", "num_test_sequences"), 1)
    length = max(2 * GOP - 1, num_samples + GOP - 1)
    synthesize(root, frames_per_sequence=length, annotate_every=1, width=width, height=height, gop=GOP, **counts)
    write_manifest(path, *frames_manifest("benchmark", root, root / "classes.csv", root / "splits.csv"))
    manifest = read_manifest(path)
    encoding = Encoding("h264", gop=GOP, preset="ultrafast")
    stores = make_clip_stores(manifest, "train", encoding, [GOP - 1], folder / "stores")
    return manifest, open_training_stores(stores, manifest)


def _time_samples(make_dataset: Callable[[TrainConfig], Dataset], config: TrainConfig) -> Row:
    """Time samples from files to tensors, each once at each random scale, after a pass that fills the file cache."""
    datasets = {scale: make_dataset(replace(config, random_scales=(scale,))) for scale in config.random_scales}
    draws = [
        partial(dataset.__getitem__, Draw(index, f"{scale}/{index}"))
        for scale, dataset in datasets.items()
        for index in range(len(dataset))
    ]
    for draw in draws[: len(draws) // len(datasets)]:
        draw()
    profile, started = cProfile.Profile(time.process_time), time.process_time()
    for draw in draws:
        profile.runcall(draw)
    seconds = {"whole": time.process_time() - started}
    calls = pstats.Stats(profile).stats  # type: ignore[attr-defined]  # cumulative time is the fourth figure of each
    for stage, functions in STAGES.items():
        codes = [(function.__name__, function.__code__) for function in functions]
        keys = [(code.co_filename, code.co_firstlineno, name) for name, code in codes]
        seconds[stage] = sum(calls[key][3] for key in keys if key in calls)
    row: Row = {f"{stage}_ms": 1000 * spent / len(draws) for stage, spent in seconds.items()}
    return row | {"samples_per_core_s": len(draws) / seconds["whole"]}


def _words(folder: Path, backbone: str, config: TrainConfig) -> list[str]:
    """Return how `arseg` is told to train on what was drawn."""
    named = {"manifest": folder / "manifest.csv", "train-split": "train", "val-split": "val", "backbone": backbone}
    named |= {"output": folder / "weights.pt", "crop": config.crop, "batch-size": config.batch_size}
    named |= {"initial-weights": "none", "workers": 0}
    return ["train", "phase1", *(f"--{name}={value}" for name, value in named.items())]


def time_starts(words: Sequence[str], rounds: int) -> list[Row]:
    """Time a training from the start of its process to its first batch, beside ``import torch``.

    `words` are those after `arseg`. Rows have the least seconds and core-seconds: on a busy machine, compare the
    latter. A CalledProcessError says that the training ended before its first batch; it has itself said why.
    """
    programs = {IMPORT: [f"{IMPORT}; {LEAVE}"], TRAIN: [TO_THE_FIRST_BATCH, *words]}
    start = partial(subprocess.run, stdout=subprocess.DEVNULL, check=True)
    actions = {name: partial(start, [sys.executable, "-c", *program]) for name, program in programs.items()}
    least = {name: measured.min(axis=0) for name, measured in time_programs(actions, rounds).items()}
    rows = []
    for name, (seconds, cores) in least.items():
        wall_ratio, core_ratio = least[name] / least[IMPORT]
        row = {"process": name, "s": seconds, "core_s": cores, "times_import": wall_ratio}
        rows.append(row | {"times_import_core": core_ratio, "limit": TIMES_IMPORT if name == TRAIN else None})
    return rows


def _phase(
    phase: str, backbone: str, num_classes: int, config: TrainConfig, scale_percent: int, device: torch.device
) -> Phase1 | Phase2:
    with torch.random.fork_rng(devices=[]):
        hr = build_network(backbone, num_classes, fusion=False).to(device)
        lr = build_network(backbone, num_classes, fusion=True).to(device)
    trained: Phase1 | Phase2
    if phase == "phase 1":
        trained = Phase1(hr, NetworkSpec(backbone, num_classes), config, 0)
    else:
        trained = Phase2(hr, lr, NetworkSpec(backbone, num_classes, True, scale_percent), config, 0)
    trained.epoch = config.unfused_epochs
    return trained


def _time_steps(loader: DataLoader[Item], trained: Phase1 | Phase2, num_steps: int, device: torch.device) -> Row:
    config = trained.config
    optimization = Optimization(trained.network, config, t_max=config.epochs)

    def step(batch: Mapping[str, Tensor]) -> None:
        optimization.step(0, lambda: trained.batch_loss(prepare_batch(batch, config, device)))

    batches = chain.from_iterable(repeat(loader))
    watch = Stopwatch(torch.cuda.synchronize if device.type == "cuda" else None)
    peak = peak_mib(partial(step, next(batches)), device)
    for _ in range(num_steps):
        with watch("waiting"):
            batch = next(batches)
        with watch("step", on_device=True):
            step(batch)
    waiting, working = watch.seconds["waiting"], watch.seconds["step"]
    return {
        "step_ms": 1000 * working / num_steps,
        "waiting_ms": 1000 * waiting / num_steps,
        "waiting_share": waiting / (waiting + working),
        "samples_per_s": config.batch_size * num_steps / (waiting + working),
        "peak_MiB": peak,
    }
