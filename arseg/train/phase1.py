"""Phase 1: train one branch at one resolution on stills."""

import logging
from dataclasses import asdict
from pathlib import Path

import torch

from arseg.config import TrainConfig
from arseg.data.manifest import read_manifest
from arseg.models.imagenet import initialize_network
from arseg.models.registry import build_network, get_architecture
from arseg.spec import NetworkSpec, TrainedOn
from arseg.stages import STAGES
from arseg.train.data import StillDataset, training_loader, validation_loader
from arseg.train.fit import Machine, train_branch
from arseg.train.phases import Phase1

LOG = logging.getLogger(__name__)


def train_phase1(
    *,
    manifest: Path,
    train_split: str,
    val_split: str,
    backbone: str,
    scale_percent: int,
    seed: int,
    config: TrainConfig,
    machine: Machine,
    workers: int,
    output: Path,
    history: Path,
) -> float:
    """Train the HR branch (100 %) or the LR baseline (below 100 %) and save its best epoch.

    Parameters
    ----------
    manifest : Path
        Manifest with both splits.
    train_split, val_split : str
        Splits to learn from, and to choose the best epoch by.
    backbone : str
        Name in `arseg.networks.networks`.
    scale_percent : int
        Resolution that the network sees, in percent of the crop's and the frame's.
    seed : int
        Seed of initial weights, order, augmentation and dropout.
    config : TrainConfig
        Constants of the run.
    machine : Machine
        Devices to train on, and where the resumable state is kept.
    workers : int
        Processes that load samples for each device; changes no result.
    output, history : Path
        Checkpoint to write, and CSV of losses and scores per epoch.

    Returns
    -------
    miou : float
        Validation mIoU of the saved epoch.

    Raises
    ------
    DataError, ConfigError, CheckpointError
        If an input is missing or does not fit.
    """
    data = read_manifest(manifest)
    architecture = get_architecture(backbone)
    train = StillDataset(
        data.split(train_split), data.num_classes, config, augmented=True, edges=architecture.boundaries
    )
    val = StillDataset(data.split(val_split), data.num_classes, config, augmented=False)
    processes = len(machine.devices)
    loader = training_loader(train, config, seed, workers, processes)

    torch.manual_seed(seed)
    network = build_network(backbone, data.num_classes, fusion=False)
    initialized = initialize_network(network, backbone, config.initial_weights)

    spec = NetworkSpec(
        backbone=backbone,
        num_classes=data.num_classes,
        scale_percent=scale_percent,
        normalization=config.normalization,
        classes=data.classes,
    )
    trained_on = TrainedOn(
        stage=STAGES["phase1"],
        seed=seed,
        manifest_digest=data.digest,
        train_split=train_split,
        val_split=val_split,
        constants=asdict(config),
        frame_size=train.frame_size,
        initialized_from=initialized,
    )
    LOG.info("phase 1: %s at %d %%, %d samples, validated on %d", backbone, scale_percent, len(train), len(val))
    return train_branch(
        Phase1(network, architecture, config, scale_percent, seed),
        loader,
        validation_loader(val, workers, processes),
        machine=machine,
        output=output,
        history=history,
        spec=spec,
        trained_on=trained_on,
    )
