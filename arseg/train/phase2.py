"""Phase 2: train the LR branch with fusion, beside a frozen HR branch."""

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from arseg.config import TrainConfig
from arseg.data.manifest import read_manifest
from arseg.errors import ConfigError
from arseg.models.branch import load_branch
from arseg.models.imagenet import initialize_network
from arseg.models.network import SegmentationNetwork
from arseg.models.registry import build_network, get_architecture
from arseg.spec import NORMALIZATIONS, NetworkSpec, TrainedOn
from arseg.split import open_training_stores
from arseg.stages import STAGES
from arseg.train.data import PairDataset, training_loader, validation_loader
from arseg.train.fit import Machine, train_branch
from arseg.train.phases import Phase2
from arseg.train.step import start_phase2

LOG = logging.getLogger(__name__)


def train_phase2(
    *,
    manifest: Path,
    hr: Path,
    train_stores: Sequence[Path],
    val_stores: Sequence[Path],
    scale_percent: int,
    seed: int,
    config: TrainConfig,
    machine: Machine,
    workers: int,
    output: Path,
    history: Path,
) -> float:
    """Train the LR branch of AR-Seg and save its best epoch.

    Parameters
    ----------
    manifest : Path
        Manifest that the clip stores were made from.
    hr : Path
        Checkpoint of the HR branch, which also names the backbone.
    train_stores, val_stores : sequence of Path
        Clip stores (all shards) at the largest distance: to learn from, and to choose the best epoch by.
    scale_percent : int
        Resolution that the LR branch sees, in percent.
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
    DataError, ConfigError, StoreError, CheckpointError
        If an input is missing or does not fit.
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
    if branch.normalization != NORMALIZATIONS[config.normalization]:
        raise ConfigError(
            f"training.normalization is {config.normalization}, and {hr} was trained with another. "
            "Both phases need the same one."
        )
    stores = open_training_stores(train_stores, data)
    backbone = branch.spec.backbone
    architecture = get_architecture(backbone)
    train = PairDataset(stores, data.num_classes, config, augmented=True, edges=architecture.boundaries)
    val = PairDataset(open_training_stores(val_stores, data), data.num_classes, config, augmented=False)
    processes = len(machine.devices)
    loader = training_loader(train, config, seed, workers, processes)

    torch.manual_seed(seed)
    network = build_network(backbone, data.num_classes, fusion=True)
    if config.start_from == "hr":
        initialized = None
        _copy_branch(branch.network, network)
    else:
        initialized = initialize_network(network, backbone, config.initial_weights)
    start_phase2(branch.network, network, config.feature_similarity)

    spec = NetworkSpec(
        backbone=backbone,
        num_classes=data.num_classes,
        fusion=True,
        scale_percent=scale_percent,
        normalization=config.normalization,
        warp_alignment=config.warp_alignment,
        classes=data.classes,
    )
    trained_on = TrainedOn(
        stage=STAGES["phase2"],
        seed=seed,
        manifest_digest=data.digest,
        train_split=train.split,
        val_split=val.split,
        encoding=stores.attributes.encoding,
        hr_digest=branch.digest,
        constants=asdict(config),
        frame_size=train.frame_size,
        initialized_from=initialized,
    )
    LOG.info("phase 2: %s at %d %%, %d samples, validated on %d", backbone, scale_percent, len(train), len(val))
    return train_branch(
        Phase2(branch.network, network, architecture, config, scale_percent, seed),
        loader,
        validation_loader(val, workers, processes),
        machine=machine,
        output=output,
        history=history,
        spec=spec,
        trained_on=trained_on,
    )


def _copy_branch(hr: SegmentationNetwork, lr: SegmentationNetwork) -> None:
    """Copy all of the HR branch's weights to the LR branch; the fusion, which the HR branch lacks, keeps its own."""
    for name, module in hr.named_children():
        lr.get_submodule(name).load_state_dict(module.state_dict())
