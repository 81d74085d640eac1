"""The resumable state of a training: saved every few minutes and after each epoch, on a signal too, never half.

A state is everything that the next step depends on: weights, optimiser, schedule, place in the epoch, sums of the
losses, best score. Random numbers need no state, because they are seeded by epoch and batch. A training that is killed
at any moment therefore goes on from its last state to the same weights.
"""

import json
import logging
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as L
import torch
from filelock import FileLock, Timeout
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Callback

from arseg.errors import ArsegError, CheckpointError, StoppedError
from arseg.files import atomic_path
from arseg.models.checkpoint import read_tensors
from arseg.train.module import SELECTION_SCORE, BranchTraining

LOG = logging.getLogger(__name__)

LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "best.ckpt"
"""The newest state, the one before it in case that the newest is damaged, and the weights of the best epoch."""

IDENTITY, LOCK = "identity.json", "lock"

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
"""What schedulers send before a time limit or a preemption, and what a user types."""


@contextmanager
def sole_training(folder: Path) -> Iterator[None]:
    """Hold the folder of a state alone; wait as long as another process trains there.

    A job that a scheduler started twice, or one that outlived the Snakemake that started it, must not write the same
    state. The lock is the operating system's and ends with the process, however that ends.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            LOG.info("%s: another process trains here; waiting until it ends", folder)
            lock.acquire()
    except OSError as error:
        raise CheckpointError(
            f"{folder}: cannot keep the state of a training there ({error}). Name another."
        ) from error
    try:
        yield
    finally:
        lock.release()


def claim_state(folder: Path, identity: dict[str, Any]) -> Path | None:
    """Find the newest whole state of a run with this identity; clear away that of any other.

    Parameters
    ----------
    folder : Path
        Folder of the state; made if missing.
    identity : dict
        All that the result depends on.

    Returns
    -------
    state : Path or None
        What to resume from; None if the training begins.

    Raises
    ------
    CheckpointError
        If there are states and all are damaged, or if the folder holds something else.
    """
    record = folder / IDENTITY
    text = json.dumps(identity, indent=1, sort_keys=True, default=str)
    if not record.exists() and {path.name for path in folder.iterdir()} - {LOCK}:
        raise CheckpointError(f"{folder}: is not the state of a training. Name an empty or a new folder with --resume.")
    if record.exists() and record.read_text(encoding="utf-8") != text:
        LOG.info("%s: belongs to a run with other settings; starting anew", folder)
        for name in (LAST, PREVIOUS, BEST):
            (folder / name).unlink(missing_ok=True)
    with atomic_path(record) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return newest_state(folder)


def newest_state(folder: Path) -> Path | None:
    """Find the newest whole state in a folder; a damaged one is passed over for the one before it."""
    states = [folder / name for name in (LAST, PREVIOUS) if (folder / name).exists()]
    damage: CheckpointError | None = None
    for path in states:
        try:
            state = read_tensors(path, f"Delete {folder} and train again")
            if (best := folder / BEST).exists() or state["callbacks"][ResumableState.__name__][
                "best_score"
            ] is not None:
                read_tensors(best, f"Delete {folder} and train again")
        except CheckpointError as error:
            damage = damage or error
            LOG.warning("%s; looking for the state before it", str(error).rpartition("; ")[0])
            continue
        LOG.info("resuming after epoch %d, step %d from %s", state["epoch"], state["global_step"], path)
        return path
    if damage:
        raise damage
    return None


def load_best(folder: Path, module: BranchTraining) -> tuple[float, int]:
    """Give a module the weights of its best epoch; return their validation mIoU's rank score and the epoch."""
    best = read_tensors(folder / BEST, f"Delete {folder} and train again")
    module.load_state_dict(best["state_dict"])
    return best["score"], best["epoch"]


class StateFiles(TorchCheckpointIO):
    """How Lightning writes a state: under a temporary name, the newest beside the one before it.

    A state that cannot be written, on a full disk say, is no reason to lose a training: it goes on.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write the newest state; called in the first process only."""
        path = Path(path)
        try:
            with atomic_path(path) as temporary:
                torch.save(checkpoint, temporary)
                if path.exists():
                    path.replace(path.with_name(PREVIOUS))
        except (OSError, RuntimeError, ArsegError) as error:  # PyTorch reports a full disk as a RuntimeError
            LOG.warning("%s: this state could not be saved (%s); training goes on", path, error)


class ResumableState(Callback):
    """Save the state in time, keep the best epoch's weights, and stop on a signal.

    Parameters
    ----------
    folder : Path
        Where the states lie.
    save_minutes : float
        Longest time between two states, as far as validation does not take longer.
    """

    state_key = "ResumableState"

    def __init__(self, folder: Path, save_minutes: float) -> None:
        self._folder = folder
        self._seconds = 60 * save_minutes
        self._saved_at = time.monotonic()
        self._best_score: float | None = None
        self._signal: int | None = None
        self._handlers: dict[int, Any] = {}

    def state_dict(self) -> dict[str, Any]:
        """Score of the best epoch so far."""
        return {"best_score": self._best_score}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the best score of an earlier run."""
        self._best_score = state_dict["best_score"]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Listen to signals, in place of Lightning, which would stop without saving."""
        self._saved_at = time.monotonic()
        self._handlers = {number: signal.signal(number, self._remember) for number in SIGNALS}

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Give signals their former meaning."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        """Save if it is time, or a signal says so; the last batch's turn comes at the end of the epoch."""
        if trainer.is_last_batch:
            return
        due = time.monotonic() - self._saved_at >= self._seconds
        # All processes must save at the same step. Only where there are several does this cost a message.
        stop = trainer.strategy.reduce_boolean_decision(self._signal is not None, all=False)
        if stop or trainer.strategy.reduce_boolean_decision(due, all=False):
            self._save(trainer)
        if stop:
            self._stop(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Keep the weights if the epoch is the best yet, and save; then stop if a signal came meanwhile."""
        assert isinstance(pl_module, BranchTraining)
        epoch = trainer.current_epoch
        if (epoch + 1) % (trainer.check_val_every_n_epoch or 1) == 0:
            score = float(trainer.callback_metrics[SELECTION_SCORE])
            if self._best_score is None or score > self._best_score:
                self._best_score = score
                if trainer.is_global_zero:
                    best = {"state_dict": pl_module.state_dict(), "score": score, "epoch": epoch}
                    with atomic_path(self._folder / BEST) as temporary:
                        torch.save(best, temporary)
        self._save(trainer)
        stop = trainer.strategy.reduce_boolean_decision(self._signal is not None, all=False)
        if stop and epoch + 1 < (trainer.max_epochs or 0):
            self._stop(trainer)

    def _save(self, trainer: L.Trainer) -> None:
        trainer.save_checkpoint(self._folder / LAST)
        self._saved_at = time.monotonic()

    def _stop(self, trainer: L.Trainer) -> None:
        if not trainer.is_global_zero:  # the first process speaks for all
            os._exit(0)
        name = "a signal to another process" if self._signal is None else signal.Signals(self._signal).name
        raise StoppedError(
            f"{self._folder}: stopped by {name} in epoch {trainer.current_epoch} after step {trainer.global_step}; "
            "the state is saved, and the same command goes on from it."
        )

    def _remember(self, number: int, _frame: FrameType | None) -> None:
        if self._signal is not None and number == signal.SIGINT:  # asked twice: at once
            raise KeyboardInterrupt
        self._signal = number
        LOG.info("%s: stopping after this batch, or after the validation that runs", signal.Signals(number).name)
