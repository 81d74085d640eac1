"""The loop of a training: epochs, batches, validation, history, the best epoch, and the state to go on from.

Everything that can happen to a training happens here, in order; what a phase computes is in `arseg.train.phases`.
"""

import logging
import math
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed
from torch.utils.data import DataLoader

from arseg.config import TrainConfig
from arseg.errors import ArsegError, DataError, StoppedError
from arseg.metrics.iou import AbsentRule
from arseg.metrics.metric import Context, MeanIoU
from arseg.models.inference import labels_of
from arseg.models.pixels import normalize
from arseg.models.processes import num_processes, process_index, sum_over_processes
from arseg.progress import track
from arseg.signals import noted_signals
from arseg.spec import Normalization
from arseg.train.data import SeededSampler
from arseg.train.optimizer import Optimization, autocast, schedule_length
from arseg.train.parallel import span_processes
from arseg.train.phases import Batch, Phase
from arseg.train.state import Progress, StateFolder

LOG = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
"""What schedulers send before a time limit or a preemption, and what a user types."""


def fit(
    phase: Phase,
    train: DataLoader[Any],
    val: DataLoader[Any],
    devices: Sequence[torch.device],
    states: StateFolder,
    state: dict[str, Any] | None,
    save_minutes: float,
    history: Path,
    score_name: str,
) -> Progress:
    """Run all epochs that are left; of several processes, each on its own device, the first one writes the files.

    They train as one: each takes its share of every batch, batch normalisation and losses span all shares, gradients
    are averaged. `state` is the one to go on from; another is saved in `states` every `save_minutes`. The validation's
    score is mIoU or agreement, as `score_name` says. What is returned has the weights of the best epoch.
    """
    config, index = phase.config, process_index()
    device = devices[index]
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

    def save_in_time(signals: Sequence[str]) -> None:
        """Save a state if it is due, and on a signal, to stop then; all processes at the same step."""
        nonlocal saved_at
        due = time.monotonic() - saved_at >= 60 * save_minutes
        stop, due = _in_any_process(bool(signals), due, device=device)
        if not (stop or due):
            return
        if not index:
            parts = {"network": phase.network.state_dict(), "optimization": optimization.state_dict()}
            states.write(parts | {"progress": vars(progress)})
        saved_at = time.monotonic()
        if stop:
            name = signals[0] if signals else "a signal to another process"
            raise StoppedError(
                f"{states.folder}: stopped by {name} in epoch {progress.epoch} after step {progress.step}; "
                "the state is saved, and the same command goes on from it."
            )

    with noted_signals(*SIGNALS, until="this batch, or after the validation that runs") as signals:
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
            row = _end_epoch(phase, train, val, device, progress, score_name)
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
    phase: Phase,
    train: DataLoader[Any],
    val: DataLoader[Any],
    device: torch.device,
    progress: Progress,
    score_name: str,
) -> dict[str, float]:
    """Validate if it is time, return the epoch's row, keep its weights if they are the best yet, and go to the next."""
    config = phase.config
    if not sum_over_processes(progress.labelled):
        raise _unlabelled(train)
    totals = {name: float(sum_over_processes(total)) / num_processes() for name, total in progress.sums.items()}
    row = {f"train_{name}": total / progress.batch for name, total in totals.items()}
    if (progress.epoch + 1) % min(config.validate_every, config.epochs) == 0:
        found = _validate(phase, val, device)
        score = phase.selection_score(found)
        row |= {f"val_{score_name}": found, "selection_score": score}
        best = progress.best_score
        if best is None or math.isnan(best) or score > best:
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
    """Return the score of the validation split, by the rules of the evaluation."""
    phase.network.eval()
    classes = phase.spec.classes
    absent: AbsentRule = "nan" if phase.config.original_quirks else "skip"  # as the workflow tells the evaluation
    context = Context(phase.spec.class_names, tuple(cls.void for cls in classes), absent)
    metric = MeanIoU()
    counts = torch.from_numpy(metric.empty(context)).to(device)
    with torch.inference_mode(), autocast(phase.config, device):
        for batch in _batches(val, phase, device, "validation"):
            metric.update(counts, batch["labels"], labels_of(phase.predict_frame(batch)), context)
    counted = sum_over_processes(counts).cpu().numpy()
    if not counted.any():
        raise _unlabelled(val)
    return float(metric.columns(counted[None], context)["miou"][0])


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
    """Bring a batch of `arseg.train.data` to the device, and normalise its images there."""
    tensors = {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
    layout = torch.channels_last if config.channels_last else torch.contiguous_format
    for name in {"image", "keyframe"} & tensors.keys():
        image = normalize(tensors[name], Normalization.parse(config.normalization))
        tensors[name] = image.contiguous(memory_format=layout)
    return tensors


def _in_any_process(*flags: bool, device: torch.device) -> list[bool]:
    """Return for each flag whether it is set in any process."""
    if num_processes() == 1:
        return list(flags)
    votes = torch.tensor(flags, dtype=torch.int32, device=device)
    distributed.all_reduce(votes, distributed.ReduceOp.MAX)
    return [bool(vote) for vote in votes.tolist()]
