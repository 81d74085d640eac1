"""Run a training to its end, whatever run it is: trainer, resumable state, history, best epoch."""

import json
import logging
import sys
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning as L
import pandas as pd
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, TQDMProgressBar
from torch.utils.data import DataLoader

from arseg.config import TrainConfig
from arseg.errors import ArsegError, CheckpointError
from arseg.files import atomic_path
from arseg.models.checkpoint import read_tensors
from arseg.train.module import SELECTION_SCORE, BranchTraining

LOG = logging.getLogger(__name__)

STATE_FILES = ("last.ckpt", "best.ckpt")
"""Everything of the last epoch, and the weights of the best one."""


@dataclass(frozen=True)
class BestEpoch:
    """The validation mIoU and number (from 0) of the epoch whose weights the network now has."""

    miou: float
    epoch: int


class History(Callback):
    """One row per epoch: losses and scores, in the log and in a CSV file.

    The rows are part of the resumable state, so that the file of a resumed run is whole. (Lightning's CSV logger
    begins its file anew.)
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: list[dict[str, float]] = []

    def state_dict(self) -> dict[str, Any]:
        """Rows so far."""
        return {"rows": self._rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on behind the rows of an earlier run."""
        self._rows = state_dict["rows"]

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Record the epoch that ends."""
        validated = (trainer.current_epoch + 1) % (trainer.check_val_every_n_epoch or 1) == 0
        row = {"epoch": trainer.current_epoch} | {
            name: float(value)
            for name, value in sorted(trainer.callback_metrics.items())
            if name != "train_loss_now" and (validated or name.startswith("train_"))
        }
        self._rows.append(row)
        with atomic_path(self._path) as temporary:
            pd.DataFrame(self._rows).to_csv(temporary, index=False, float_format="%.6g")
        LOG.info("%s", ", ".join(f"{name} {value:.4g}" for name, value in row.items()))
        if not torch.isfinite(trainer.callback_metrics["train_loss"]):
            raise ArsegError(
                f"{self._path}: the training loss is {row['train_loss']} in epoch {trainer.current_epoch}. "
                "Lower training.learning_rate, or train in precision 32-true."
            )


def fit(
    module: BranchTraining,
    train: DataLoader[Any],
    val: DataLoader[Any],
    *,
    config: TrainConfig,
    device: torch.device,
    resume: Path,
    history: Path,
    identity: dict[str, Any],
) -> BestEpoch:
    """Train, or go on where an earlier run with the same identity stopped, and load the best epoch's weights.

    Parameters
    ----------
    module : BranchTraining
        The phase; its network has the best epoch's weights afterwards.
    train, val : DataLoader
        Batches of training samples, and single validation frames.
    config : TrainConfig
        Constants of the run.
    device : torch.device
        Where to train.
    resume : Path
        Folder of the resumable state: ``last.ckpt`` (everything, each epoch), ``best.ckpt`` (weights).
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
    ArsegError
        If the loss stops being finite.
    """
    last = _state_to_resume(resume, identity | {"config": asdict(config)})
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    log = History(history)
    best = ModelCheckpoint(
        resume,
        "best",
        monitor=SELECTION_SCORE,
        mode="max",
        save_weights_only=True,
        enable_version_counter=False,
    )
    state = ModelCheckpoint(resume, "last", save_on_train_epoch_end=True, enable_version_counter=False)
    with warnings.catch_warnings():
        # Hints about loader processes and log intervals: both are chosen here on purpose.
        warnings.filterwarnings("ignore", module="lightning.pytorch")
        trainer = L.Trainer(
            accelerator="gpu" if device.type == "cuda" else "cpu",
            devices=[device.index or 0] if device.type == "cuda" else 1,
            precision=config.precision,
            max_epochs=config.epochs,
            check_val_every_n_epoch=min(config.validate_every, config.epochs),
            num_sanity_val_steps=0,
            logger=False,
            enable_model_summary=False,
            enable_progress_bar=sys.stderr.isatty(),
            callbacks=[log, best, state, *([TQDMProgressBar()] if sys.stderr.isatty() else [])],
            default_root_dir=resume,
        )
        trainer.fit(module, train, val, ckpt_path=last, weights_only=True)
    weights = torch.load(best.best_model_path, map_location="cpu", weights_only=True)
    module.load_state_dict(weights["state_dict"])
    return BestEpoch(float(best.best_model_score or 0.0), int(weights["epoch"]))


def _state_to_resume(resume: Path, identity: dict[str, Any]) -> Path | None:
    """Find the last state of a run with this identity; clear away that of any other."""
    record, last = resume / "identity.json", resume / "last.ckpt"
    text = json.dumps(identity, indent=1, sort_keys=True, default=str)
    if resume.exists() and any(resume.iterdir()) and not record.exists():
        raise CheckpointError(f"{resume}: is not the state of a training. Name an empty or a new folder with --resume.")
    if record.exists() and record.read_text(encoding="utf-8") != text:
        LOG.info("%s: belongs to a run with other settings; starting anew", resume)
        for name in STATE_FILES:
            (resume / name).unlink(missing_ok=True)
    with atomic_path(record) as temporary:
        temporary.write_text(text, encoding="utf-8")
    if not last.exists():
        return None
    state = read_tensors(last, f"Delete {resume} and train again")
    LOG.info("resuming after epoch %d from %s", state["epoch"], last)
    return last
