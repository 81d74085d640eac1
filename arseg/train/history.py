"""What a training reports: a row of losses and scores per epoch, and how long it waited for data."""

import logging
import time
from pathlib import Path
from typing import Any

import lightning as L
import pandas as pd
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from arseg.errors import ArsegError
from arseg.files import atomic_path

LOG = logging.getLogger(__name__)


class History(Callback):
    """One row per epoch: losses and scores, in the log and in a CSV file.

    Rows and the sums of the running epoch are part of the resumable state, so that the file of a resumed run is whole
    and equal. (Lightning's CSV logger begins its file anew, and its means forget what was before a restart.)
    """

    state_key = "History"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: list[dict[str, float]] = []
        self._sums: dict[str, Tensor] = {}
        self._batches = 0

    def state_dict(self) -> dict[str, Any]:
        """Rows so far, and sums of the epoch that runs."""
        return {"rows": self._rows, "sums": self._sums, "batches": self._batches}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on behind the rows and batches of an earlier run."""
        self._rows, self._sums = state_dict["rows"], state_dict["sums"]
        self._batches = state_dict["batches"]

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the rows of an earlier run: Snakemake has deleted the file, and there may be no epoch left to run."""
        if self._rows and trainer.is_global_zero:
            self._write()

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, *_: Any) -> None:
        """Add a batch's losses, without waiting for the device."""
        for name, value in outputs["parts"].items():
            mean = trainer.strategy.reduce(value.double(), reduce_op="mean")  # over the processes
            self._sums[name] = self._sums.get(name, torch.zeros_like(mean)).to(mean.device) + mean
        self._batches += 1

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Record the epoch that ends."""
        validated = (trainer.current_epoch + 1) % (trainer.check_val_every_n_epoch or 1) == 0
        means = {f"train_{name}": float(total) / self._batches for name, total in self._sums.items()}
        scores = {name: float(value) for name, value in trainer.callback_metrics.items()} if validated else {}
        scores.pop("train_loss_now", None)
        row = {"epoch": trainer.current_epoch} | dict(sorted((means | scores).items()))
        self._rows.append(row)
        self._sums, self._batches = {}, 0
        if trainer.is_global_zero:
            self._write()
            LOG.info("%s", ", ".join(f"{name} {value:.4g}" for name, value in row.items()))
        if not torch.isfinite(torch.tensor(row["train_loss"])):
            raise ArsegError(
                f"{self._path}: the training loss is {row['train_loss']} in epoch {trainer.current_epoch}. "
                "Lower training.learning_rate, or train in precision 32-true."
            )

    def _write(self) -> None:
        with atomic_path(self._path) as temporary:
            pd.DataFrame(self._rows).to_csv(temporary, index=False, float_format="%.6g")


class DataWait(Callback):
    """Measure which share of the training's time passes in waiting for the next batch."""

    def __init__(self) -> None:
        self._waited = self._worked = 0.0
        self._mark: float | None = None

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin anew; the first batch of an epoch is waited for as well."""
        self._waited = self._worked = 0.0
        self._mark = time.monotonic()

    def on_train_batch_start(self, *_: Any) -> None:
        """Count the wait for this batch."""
        now = time.monotonic()
        if self._mark is not None:
            self._waited += now - self._mark
        self._mark = now

    def on_train_batch_end(self, *_: Any) -> None:
        """Count the step, as far as this process waits for the device at all."""
        now = time.monotonic()
        if self._mark is not None:
            self._worked += now - self._mark
        self._mark = now

    def on_validation_start(self, *_: Any) -> None:
        """Stop the clock: validation is no waiting."""
        self._mark = None

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Say it in the log."""
        total = self._waited + self._worked
        if trainer.is_global_zero and total:
            LOG.info("%.1f s of training, %.1f %% of it waiting for data", total, 100 * self._waited / total)
