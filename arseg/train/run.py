"""A training from its files to its checkpoint: ``train_phase1`` and ``train_phase2``.

What a phase computes is in `arseg.train.phases`, the loop over epochs and batches in `arseg.train.fit`.
"""

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

import torch

from arseg.config import TrainConfig
from arseg.data.manifest import Manifest, read_manifest
from arseg.errors import ConfigError, StoppedError
from arseg.metrics.metric import AGREEMENT
from arseg.models.branch import Branch, load_branch
from arseg.models.checkpoint import read_checkpoint, save_checkpoint
from arseg.models.device import resolve_devices
from arseg.models.imagenet import initialize_network
from arseg.models.network import SegmentationNetwork
from arseg.models.processes import process_index
from arseg.models.registry import build_network, get_architecture
from arseg.spec import NetworkSpec, Normalization, TrainedOn
from arseg.split import open_training_stores
from arseg.stages import STAGES
from arseg.train.data import PairDataset, StillDataset, training_loader, validation_loader
from arseg.train.fit import fit
from arseg.train.options import RunOptions
from arseg.train.parallel import joined_processes
from arseg.train.phases import Phase, Phase1, Phase2
from arseg.train.state import StateFolder, sole_training

LOG = logging.getLogger(__name__)


def train_phase1(
    *,
    manifest: Path,
    train_split: str,
    val_split: str,
    backbone: str,
    scale_percent: int,
    output: Path,
    run: RunOptions,
    config: TrainConfig,
) -> TrainedOn:
    """Train the HR branch (100 %) or the LR baseline (below 100 %) and save its best epoch.

    A training that was stopped goes on from its state; one that is finished, with these settings, is not repeated.

    What is returned has that epoch's score. A DataError, ConfigError or CheckpointError says that an input is
    missing or does not fit; a StoppedError, that a signal asked for it and the state is saved; another ArsegError, that
    a sample cannot be read, the loss stops being finite, or another process of the training fails.
    """
    data = read_manifest(manifest)
    edges = get_architecture(backbone).boundaries
    train, val = (
        StillDataset(data.split(split), data.num_classes, config, augmented=augmented, edges=edges)
        for split, augmented in ((train_split, True), (val_split, False))
    )
    spec = NetworkSpec(
        backbone=backbone,
        num_classes=data.num_classes,
        scale_percent=scale_percent,
        normalization=config.normalization,
        classes=data.classes,
    )
    return _train(spec, None, data, train, val, output, run, config)


def train_phase2(
    *,
    manifest: Path,
    hr: Path,
    train_stores: Sequence[Path],
    val_stores: Sequence[Path],
    scale_percent: int,
    output: Path,
    run: RunOptions,
    config: TrainConfig,
) -> TrainedOn:
    """Train the LR branch of AR-Seg beside a frozen HR branch and save its best epoch.

    The clip stores are made from the manifest: all shards at the largest distance, of the training split at every one
    if the configuration's `distances` says so. The HR branch's checkpoint names the backbone, too. Result and errors
    are those of `train_phase1`, and a StoreError if the stores do not fit.
    """
    interval = min(config.validate_every, config.epochs)
    if config.unfused_epochs >= config.epochs // interval * interval:
        raise ConfigError(
            f"training.unfused_epochs is {config.unfused_epochs} of training.epochs {config.epochs}, validated "
            f"every {config.validate_every}: no epoch with fusion would be validated. "
            "Lower the first or raise the second."
        )
    data = read_manifest(manifest)
    cpu = torch.device("cpu")
    branch = load_branch(hr, role="hr", scale_percent=100, class_names=data.class_names, device=cpu, prepared=False)
    if branch.normalization != Normalization.parse(config.normalization):
        raise ConfigError(
            f"training.normalization is {config.normalization}, and {hr} was trained with another. "
            "Both phases need the same one."
        )
    edges = get_architecture(branch.spec.backbone).boundaries
    train, val = (
        PairDataset(
            open_training_stores(stores, data, every_distance=augmented and config.distances == "all"),
            *(data.num_classes, config),
            augmented=augmented,
            edges=edges,
        )
        for stores, augmented in ((train_stores, True), (val_stores, False))
    )
    spec = NetworkSpec(
        backbone=branch.spec.backbone,
        num_classes=data.num_classes,
        fusion=config.fusion,
        scale_percent=scale_percent,
        normalization=config.normalization,
        warp_alignment=config.warp_alignment,
        classes=data.classes,
    )
    return _train(spec, branch, data, train, val, output, run, config)


def _train(
    spec: NetworkSpec,
    hr: Branch | None,
    data: Manifest,
    train: StillDataset | PairDataset,
    val: StillDataset | PairDataset,
    output: Path,
    run: RunOptions,
    config: TrainConfig,
) -> TrainedOn:
    """Train a network, in phase 2 beside `hr`, in one process for each device.

    The first process starts this command once more for each further device, holds the folder of the state, writes the
    files and speaks for all. The further ones exit here.
    """
    devices = resolve_devices(run.device, run.devices)
    loader = training_loader(train, config, run.seed, run.workers, len(devices))
    val_loader = validation_loader(val, run.workers, len(devices))

    torch.manual_seed(run.seed)
    network = build_network(spec.backbone, spec.num_classes, spec.fusion)
    initialized = None
    if hr is not None and config.start_from == "hr":
        _copy_branch(hr.network, network)
    else:
        initialized = initialize_network(network, spec.backbone, config.initial_weights)
    phase: Phase = (
        Phase1(network, spec, config, run.seed) if hr is None else Phase2(hr.network, network, spec, config, run.seed)
    )
    number = 1 if hr is None else 2
    trained_on = TrainedOn(
        stage=STAGES[f"phase{number}"],
        seed=run.seed,
        manifest_digest=data.digest,
        train_split=train.split,
        val_split=val.split,
        encoding=train.encoding,
        hr_digest=None if hr is None else hr.digest,
        constants=asdict(config),
        frame_size=train.frame_size,
        labelled_by=data.labelled_by(val.split) or None,
        initialized_from=initialized,
    )
    what = f"{spec.backbone} at {spec.scale_percent} %"
    LOG.info("phase %d: %s, %d samples, validated on %d", number, what, len(train), len(val))

    score_name = AGREEMENT if trained_on.labelled_by else "miou"
    settings = {"network": spec.to_dict(), "trained_on": trained_on.to_dict()}
    history, folder = run.history_beside(output), run.resume_beside(output)
    if process_index():
        with joined_processes(devices), suppress(StoppedError):
            states = StateFolder(folder, settings)
            fit(phase, loader, val_loader, devices, states, states.read(), run.save_minutes, history, score_name)
        raise SystemExit(0)
    with sole_training(folder):
        states = StateFolder(folder, settings)
        finished = _finished(output, history, spec, trained_on)
        if finished is None:
            state = states.read()  # before other processes are there, because it may set files aside
            with joined_processes(devices):
                progress = fit(phase, loader, val_loader, devices, states, state, run.save_minutes, history, score_name)
            finished = replace(trained_on, score=progress.best_score, epoch=progress.best_epoch)
            network.load_state_dict(progress.best_weights)
            save_checkpoint(output, network, spec, finished)
        states.remove()
    return finished


def _copy_branch(hr: SegmentationNetwork, lr: SegmentationNetwork) -> None:
    """Copy all of the HR branch's weights to the LR branch; the fusion, which the HR branch lacks, keeps its own."""
    for name, module in hr.named_children():
        lr.get_submodule(name).load_state_dict(module.state_dict())


def _finished(output: Path, history: Path, spec: NetworkSpec, trained_on: TrainedOn) -> TrainedOn | None:
    """Return what came of a training that is finished already, for example by a process that this one waited for."""
    if not (output.is_file() and history.is_file()):
        return None
    found_spec, found = read_checkpoint(output)[1:3]
    if (found_spec, replace(found, score=None, epoch=None, arseg_version=None)) != (spec, trained_on):
        return None
    LOG.info("%s: is there already, trained with these settings. Delete it to train again", output)
    return found
