"""Run a training to its end, whatever run it is: trainer, devices, resumable state, history, best epoch."""

import logging
import sys
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch.utils.data import DataLoader

from arseg.config import TrainConfig
from arseg.models.processes import process_index
from arseg.train.batch_norm import BatchNormOfAllProcesses
from arseg.train.history import DataWait, History
from arseg.train.module import BranchTraining
from arseg.train.state import ResumableState, StateFiles, claim_state, load_best, newest_state, sole_training


@dataclass(frozen=True)
class Machine:
    """How a training runs on a machine; changes no result but for rounding."""

    devices: tuple[torch.device, ...]
    """Where to train: one process each."""
    resume: Path
    """Folder of the resumable state."""
    save_minutes: float = 5.0
    """Longest time between two states."""


@dataclass(frozen=True)
class BestEpoch:
    """The validation mIoU and number (from 0) of the epoch whose weights the network now has."""

    miou: float
    epoch: int


def fit(
    module: BranchTraining,
    train: DataLoader[Any],
    val: DataLoader[Any],
    *,
    config: TrainConfig,
    machine: Machine,
    history: Path,
    identity: dict[str, Any],
) -> BestEpoch:
    """Train, or go on where an earlier run with the same identity stopped, and load the best epoch's weights.

    Several devices train as one: each takes its share of every batch, batch normalisation and losses span all shares,
    gradients are averaged. Lightning starts this command once more for each further device; those processes end here.

    Parameters
    ----------
    module : BranchTraining
        The phase; its network has the best epoch's weights afterwards.
    train, val : DataLoader
        Batches of training samples, and single validation frames.
    config : TrainConfig
        Constants of the run.
    machine : Machine
        Devices, and where the state is kept.
    history : Path
        CSV file of losses and scores, a row per epoch.
    identity : dict
        All that the result depends on. A state that belongs to another identity is deleted, not resumed.

    Returns
    -------
    best : BestEpoch
        What the best epoch scored.

    Raises
    ------
    CheckpointError
        If the state to resume from is unreadable, or the folder holds something else.
    StoppedError
        If a signal asked for it; the state is saved.
    ArsegError
        If the loss stops being finite.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    if process_index():  # the first process holds the folder
        _run(module, train, val, config, machine, history, newest_state(machine.resume))
        sys.exit(0)
    with sole_training(machine.resume):
        state = claim_state(machine.resume, identity | {"config": asdict(config)})
        _run(module, train, val, config, machine, history, state)
        score, epoch = load_best(machine.resume, module)
    return BestEpoch(score, epoch)


def _run(
    module: BranchTraining,
    train: DataLoader[Any],
    val: DataLoader[Any],
    config: TrainConfig,
    machine: Machine,
    history: Path,
    state: Path | None,
) -> None:
    devices = machine.devices
    shows_bar = sys.stderr.isatty() and not process_index()
    plugins: list[Any] = [
        StateFiles(),
        # Named, because Lightning would otherwise look for a scheduler and obey its variables.
        LightningEnvironment(),
        *([BatchNormOfAllProcesses()] if len(devices) > 1 else []),
    ]
    with warnings.catch_warnings():
        # Hints about loader processes, log intervals and schedulers: all are chosen here on purpose.
        warnings.filterwarnings("ignore", module="lightning")
        trainer = L.Trainer(
            accelerator="gpu" if devices[0].type == "cuda" else "cpu",
            devices=[device.index or 0 for device in devices] if devices[0].type == "cuda" else len(devices),
            strategy=DDPStrategy(find_unused_parameters=module.leaves_parameters_unused)
            if len(devices) > 1
            else "auto",
            plugins=plugins,
            use_distributed_sampler=False,
            precision=config.precision,
            max_epochs=config.epochs,
            check_val_every_n_epoch=min(config.validate_every, config.epochs),
            num_sanity_val_steps=0,
            logger=False,
            enable_model_summary=False,
            enable_checkpointing=False,
            enable_progress_bar=shows_bar,
            callbacks=[
                History(history),
                DataWait(),
                ResumableState(machine.resume, machine.save_minutes),
                *([TQDMProgressBar()] if shows_bar else []),
            ],
            default_root_dir=machine.resume,
        )
        trainer.fit(module, train, val, ckpt_path=state, weights_only=True)
