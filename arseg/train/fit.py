"""The training loop: batches, validation, history, the best epoch, and the state to go on from.

Everything that can happen to a training happens here, in order; what a phase computes is in `arseg.train.phases`.
"""

import logging
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed
from torch.utils.data import DataLoader

from arseg.config import TrainConfig
from arseg.errors import ArsegError, DataError, StoppedError
from arseg.metrics.confusion import confusion_matrix
from arseg.metrics.iou import mean_iou
from arseg.models.checkpoint import read_description, save_checkpoint
from arseg.models.inference import labels_of
from arseg.models.pixels import normalize
from arseg.models.processes import num_processes, process_index, sum_over_processes
from arseg.progress import track
from arseg.spec import NORMALIZATIONS, NetworkSpec, TrainedOn
from arseg.train.data import SeededSampler
from arseg.train.optimizer import Optimization, autocast, schedule_length
from arseg.train.parallel import joined_processes, span_processes
from arseg.train.phases import Batch, Phase
from arseg.train.state import Progress, Signals, StateFolder, sole_training

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Machine:
    """How a training runs on a machine; changes no result but for rounding."""

    devices: tuple[torch.device, ...]
    """Where to train: one process each."""
    resume: Path
    """Folder of the resumable state; it is removed when the training ends."""
    save_minutes: float = 5.0
    """Longest time between two states."""


def train_branch(
    phase: Phase,
    train: DataLoader[Any],
    val: DataLoader[Any],
    *,
    machine: Machine,
    output: Path,
    history: Path,
    spec: NetworkSpec,
    trained_on: TrainedOn,
) -> float:
    """Train, or go on where an earlier run with the same settings stopped, and save the best epoch's weights.

    Several devices train as one: each takes its share of every batch, batch normalisation and losses span all shares,
    gradients are averaged. This command is started once more for each further device.

    Parameters
    ----------
    phase : Phase
        The network and what it learns by.
    train, val : DataLoader
        Batches of training samples, and single validation frames.
    machine : Machine
        Devices, and where the state is kept.
    output : Path
        Checkpoint to write. If it is there already, with these settings and its history, nothing is done.
    history : Path
        CSV file of losses and scores, a row per epoch.
    spec, trained_on : NetworkSpec, TrainedOn
        What the checkpoint says of itself: all that the result depends on.

    Returns
    -------
    miou : float
        Validation score of the saved epoch.

    Raises
    ------
    CheckpointError
        If the state to resume from is unreadable, or its folder holds something else.
    StoppedError
        If a signal asked for it; the state is saved.
    ArsegError
        If a sample cannot be read, the loss stops being finite, or another process of the training fails.
    """
    settings = {"network": spec.to_dict(), "trained_on": trained_on.to_dict()}
    if process_index():  # the first process holds the folder, writes the files and speaks for all
        with joined_processes(machine.devices), suppress(StoppedError):
            states = StateFolder(machine.resume, settings)
            _fit(phase, train, val, machine, history, states, states.read())
        raise SystemExit(0)
    with sole_training(machine.resume):
        states = StateFolder(machine.resume, settings)
        score = _finished(output, history, spec, trained_on)
        if score is None:
            state = states.read()
            with joined_processes(machine.devices):
                progress = _fit(phase, train, val, machine, history, states, state)
            assert progress.best_score is not None
            score = progress.best_score
            phase.network.load_state_dict(progress.best_weights)
            outcome = replace(trained_on, score=score, epoch=progress.best_epoch)
            save_checkpoint(output, phase.network, spec, outcome)
        states.remove()
    return score


def _fit(
    phase: Phase,
    train: DataLoader[Any],
    val: DataLoader[Any],
    machine: Machine,
    history: Path,
    states: StateFolder,
    state: dict[str, Any] | None,
) -> Progress:
    """Run all epochs that are left; the first process writes the files."""
    config, index = phase.config, process_index()
    device = machine.devices[index]
    sampler = train.sampler
    assert isinstance(sampler, SeededSampler)
    phase.to(device)
    span_processes(phase.network)
    t_max = schedule_length(config.epochs, sampler.num_samples, config.batch_size, config.schedule)
    optimization = Optimization(phase.network, config, t_max)
    progress = Progress()
    if state is not None:
        phase.network.load_state_dict(state["network"])
        optimization.load_state_dict(state["optimization"])
        progress = Progress(**state["progress"])
        if progress.rows and not index:  # Snakemake has deleted the file, and no epoch may be left to run
            progress.write_history(history)
    saved_at = time.monotonic()

    def save_in_time(signals: Signals) -> None:
        """Save a state if it is due, and on a signal, to stop then; all processes at the same step."""
        nonlocal saved_at
        due = time.monotonic() - saved_at >= 60 * machine.save_minutes
        stop, due = _in_any_process(signals.received is not None, due, device=device)
        if not (stop or due):
            return
        if not index:
            parts = {"network": phase.network.state_dict(), "optimization": optimization.state_dict()}
            states.write(parts | {"progress": vars(progress)})
        saved_at = time.monotonic()
        if stop:
            name = "a signal to another process" if signals.received is None else signals.received.name
            raise StoppedError(
                f"{machine.resume}: stopped by {name} in epoch {progress.epoch} after step {progress.step}; "
                "the state is saved, and the same command goes on from it."
            )

    with Signals() as signals:
        while progress.epoch < config.epochs:
            phase.epoch = progress.epoch
            phase.network.train()
            sampler.begin_epoch(progress.epoch, first_batch=progress.batch)
            for batch in _batches(train, phase, device, f"epoch {progress.epoch}", progress.batch):
                phase.begin_batch(progress.batch, index)
                parts = optimization.step(progress.step, partial(phase.batch_loss, batch))
                progress.add_batch(parts, batch["labels"])
                if progress.batch < len(train):  # the last batch's turn comes after the validation
                    save_in_time(signals)
            row = _end_epoch(phase, train, val, device, progress)
            if not index:
                progress.write_history(history)
                LOG.info("%s", ", ".join(f"{name} {value:.4g}" for name, value in row.items()))
            if not math.isfinite(row["train_loss"]):
                raise ArsegError(
                    f"{history}: the training loss is {row['train_loss']} in epoch {row['epoch']}. "
                    "Lower training.learning_rate, or train in precision 32-true."
                )
            if progress.epoch < config.epochs:
                save_in_time(signals)
    return progress


def _end_epoch(
    phase: Phase, train: DataLoader[Any], val: DataLoader[Any], device: torch.device, progress: Progress
) -> dict[str, float]:
    """Validate if it is time, write the epoch's row, keep its weights if they are the best yet, and go to the next."""
    config = phase.config
    if not sum_over_processes(progress.labelled):
        raise _unlabelled(train)
    totals = {name: float(sum_over_processes(total)) / num_processes() for name, total in progress.sums.items()}
    row = {f"train_{name}": total / progress.batch for name, total in totals.items()}
    if (progress.epoch + 1) % min(config.validate_every, config.epochs) == 0:
        miou = _validate(phase, val, device)
        score = phase.selection_score(miou)
        row |= {"val_miou": miou, "selection_score": score}
        if progress.best_score is None or score > progress.best_score:
            progress.best_score, progress.best_epoch = score, progress.epoch
            progress.best_weights = {
                name: tensor.detach().cpu().clone() for name, tensor in phase.network.state_dict().items()
            }
    row = {"epoch": progress.epoch} | dict(sorted(row.items()))
    progress.rows.append(row)
    progress.sums, progress.labelled, progress.batch = {}, torch.zeros_like(progress.labelled), 0
    progress.epoch += 1
    return row


def _validate(phase: Phase, val: DataLoader[Any], device: torch.device) -> float:
    """Return the mIoU of the validation split."""
    phase.network.eval()
    classes = phase.network.num_classes
    confusion = torch.zeros((classes, classes), dtype=torch.int64, device=device)
    with torch.inference_mode(), autocast(phase.config, device):
        for batch in _batches(val, phase, device, "validation"):
            confusion += confusion_matrix(batch["labels"], labels_of(phase.predict_frame(batch)), classes)
    counted = sum_over_processes(confusion).cpu().numpy()
    if not counted.any():
        raise _unlabelled(val)
    return float(mean_iou(counted))


def _unlabelled(loader: DataLoader[Any]) -> DataError:
    split = getattr(loader.dataset, "split", "")
    return DataError(f"split {split!r}: no pixel has a label; all are 255 (ignored). Name another split, or label it.")


def _batches(
    loader: DataLoader[Any], phase: Phase, device: torch.device, title: str, first: int = 0
) -> Iterator[Batch]:
    """Bring batches to the device, normalised there, and report how many are done."""
    started = asked = time.monotonic()
    waited = 0.0
    for batch in loader if process_index() else track(loader, title, len(loader) - first):
        if isinstance(batch, ArsegError):  # a sample that could not be read, with the message that says why
            raise batch
        waited += time.monotonic() - asked
        yield prepare_batch(batch, phase.config, device)
        asked = time.monotonic()
    LOG.info("%s: %.1f %% of the time spent waiting for data", title, 100 * waited / (time.monotonic() - started))


def prepare_batch(batch: Mapping[str, Tensor], config: TrainConfig, device: torch.device) -> Batch:
    """Bring a batch of `arseg.train.data` to the device, and normalise its pictures there."""
    tensors = {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
    layout = torch.channels_last if config.channels_last else torch.contiguous_format
    for name in {"image", "keyframe"} & tensors.keys():
        image = normalize(tensors[name], NORMALIZATIONS[config.normalization])
        tensors[name] = image.contiguous(memory_format=layout)
    return tensors


def _in_any_process(*flags: bool, device: torch.device) -> list[bool]:
    """Return for each flag whether it is set in any process."""
    if num_processes() == 1:
        return list(flags)
    votes = torch.tensor(flags, dtype=torch.int32, device=device)
    distributed.all_reduce(votes, distributed.ReduceOp.MAX)
    return [bool(vote) for vote in votes.tolist()]


def _finished(output: Path, history: Path, spec: NetworkSpec, trained_on: TrainedOn) -> float | None:
    """Return the score of a training that is finished already, for example by a process that this one waited for."""
    if not (output.is_file() and history.is_file()):
        return None
    found_spec, found = read_description(output)
    if (found_spec, replace(found, score=None, epoch=None, arseg_version=None)) != (spec, trained_on):
        return None
    LOG.info("%s: is there already, trained with these settings. Delete it to train again", output)
    return found.score
