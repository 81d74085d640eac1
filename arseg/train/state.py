"""The resumable state of a training: saved every few minutes and on a signal, never half, and removed at the end.

A state is everything that the next step depends on: weights, optimiser, place in the epoch, sums of the losses, the
best epoch. Random numbers and the learning rate need no state, because they follow from the number of the batch. A
training that is killed at any moment therefore goes on from its last state to the same weights.
"""

import csv
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from arseg.access import access_error, reading
from arseg.config import IGNORE_INDEX
from arseg.errors import CheckpointError
from arseg.files import atomic_path
from arseg.models.checkpoint import read_tensors

LOG = logging.getLogger(__name__)

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"
"""The newest state, and the one before it in case that the newest is damaged."""

SET_ASIDE = "settings-{}.ckpt"
"""Numbered states of runs with other settings."""

LOCK = "lock"


@dataclass
class Progress:
    """How far a training has come."""

    epoch: int = 0
    """The epoch that runs, from 0."""
    batch: int = 0
    """Batches of it that have been trained."""
    step: int = 0
    """Batches of all epochs that have been trained."""
    sums: dict[str, Tensor] = field(default_factory=dict)
    """Sums of each part of the loss over the batches of this epoch."""
    labelled: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.int64))
    """Pixels with a label in the batches of this epoch."""
    rows: list[dict[str, float]] = field(default_factory=list)
    """The history: a row per epoch that has ended."""
    best_score: float | None = None
    """Score of the best epoch so far."""
    best_epoch: int = -1
    """Its number."""
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    """Its weights, on the CPU."""

    def add_batch(self, parts: dict[str, Tensor], labels: Tensor) -> None:
        """Count a trained batch and its labelled pixels, and add up its losses, without waiting for the device."""
        self.labelled = self.labelled.to(labels.device) + (labels != IGNORE_INDEX).sum()
        for name, value in parts.items():
            before = self.sums.get(name, torch.zeros((), dtype=torch.float64))
            self.sums[name] = before.to(value.device) + value.double()
        self.batch += 1
        self.step += 1

    def write_history(self, path: Path) -> None:
        """Write all rows anew as a CSV file, so that the one of a resumed training is whole and equal."""
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            for row in self.rows:
                writer.writerow({name: f"{value:.6g}" for name, value in row.items()})


@contextmanager
def sole_training(folder: Path) -> Iterator[None]:
    """Hold the folder of a state alone, which is made if need be; wait as long as another process trains there.

    A job that a scheduler started twice, or one that outlived the Snakemake that started it, must not write the same
    state. The lock is the operating system's and ends with the process, however that ends.
    """
    waits = False
    while True:
        lock = FileLock(folder / LOCK)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except (Timeout, FileNotFoundError):  # held, or removed at this moment by a training that has ended
            if not waits:
                LOG.info("%s: another process trains here; waiting until it ends", folder)
            waits = True
            time.sleep(0.2)
            continue
        except OSError as error:
            raise access_error(folder / LOCK, error, writes=True) from error
        if (folder / LOCK).exists():
            break
        lock.release()  # of a file that has been removed
    try:
        yield
    finally:
        lock.release()


class StateFolder:
    """The states of one training on disk; to be used under `sole_training`.

    `settings`, builtins, are all that the result depends on: states with others are set aside, not resumed. A folder
    that holds anything else is refused with a CheckpointError.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder = folder
        self._settings = settings
        ours = (LAST, PREVIOUS, SET_ASIDE.format("*"), LOCK, ".last.*")
        with reading(folder):
            found = list(folder.iterdir())
        if any(not any(path.match(pattern) for pattern in ours) for path in found):
            raise CheckpointError(
                f"{folder}: is not the state of a training. Name an empty or a new folder with --resume."
            )

    def read(self) -> dict[str, Any] | None:
        """Return what `write` was given last for these settings; None if the training begins.

        A damaged state is passed over for the one before it; a CheckpointError is raised if all are damaged.
        """
        damage: CheckpointError | None = None
        for path in (self.folder / LAST, self.folder / PREVIOUS):
            if not path.exists():
                continue
            try:
                content = read_tensors(path, f"Delete {self.folder} and train again")
            except CheckpointError as error:
                damage = damage or error
                LOG.warning("%s; looking for the state before it", str(error).rpartition("; ")[0])
                continue
            if (settings := content.get("settings", {})) != self._settings:
                self._set_aside(path, "; ".join(_differences(settings, self._settings)))
                continue
            state: dict[str, Any] = content["state"]
            progress = state["progress"]
            LOG.info("resuming in epoch %d, after step %d, from %s", progress["epoch"], progress["step"], path)
            return state
        if damage:
            raise damage
        return None

    def write(self, state: dict[str, Any]) -> None:
        """Write the newest state, and keep the one before it.

        One that cannot be written, on a full disk say, is no reason to lose a training: a warning, and it goes on.
        """
        path = self.folder / LAST
        try:
            with atomic_path(path) as temporary:
                with temporary.open("wb") as file:  # given a path, PyTorch would not say that the disk is full
                    torch.save({"settings": self._settings, "state": state}, file)
                if path.exists():
                    path.replace(self.folder / PREVIOUS)
        except OSError as error:
            LOG.warning("%s: this state could not be saved (%s); training goes on", path, error)

    def remove(self) -> None:
        """Delete the states of a training that has ended, and the folder unless other runs' states lie there."""
        for name in (LAST, PREVIOUS, LOCK):
            (self.folder / name).unlink(missing_ok=True)
        if not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _set_aside(self, path: Path, differences: str) -> None:
        free = (self.folder / SET_ASIDE.format(number) for number in count(1))
        aside = next(name for name in free if not name.exists())
        path.rename(aside)
        message = "%s: belongs to a run with other settings (%s); kept as %s, starting anew"
        LOG.warning(message, path, differences, aside.name)


def _differences(theirs: dict[str, Any], ours: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield each setting that differs, with both values."""
    for name in dict.fromkeys([*theirs, *ours]):
        first, second = theirs.get(name), ours.get(name)
        if isinstance(first, dict) and isinstance(second, dict):
            yield from _differences(first, second, f"{prefix}{name}.")
        elif first != second:
            yield f"{prefix}{name} {first} there, {second} now"
