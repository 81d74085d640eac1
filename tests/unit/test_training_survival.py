"""Trainings that are killed, stopped, damaged or divided among processes end with the weights of one that was not."""

import errno
import logging
import multiprocessing
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from command_line import phase1_words
from training_examples import phase1, phase2

from arseg.config import TrainConfig
from arseg.errors import ArsegError, ConfigError, StoppedError
from arseg.models.checkpoint import load_checkpoint
from arseg.train.phases import Phase1
from arseg.train.state import sole_training

CONFIG = TrainConfig(
    crop="64x48", random_scales=(1.0,), epochs=3, batch_size=2, unfused_epochs=1, initial_weights="none", jitter=0.2
)
ARSEG = Path(sys.executable).with_name("arseg")
DROPOUT = replace(CONFIG, epochs=2, batch_size=4)


@dataclass(frozen=True)
class Training:
    """What a process is told to train; picklable."""

    manifest: Path
    folder: Path
    config: TrainConfig = CONFIG
    hr: Path | None = None
    stores: tuple[list[Path], list[Path]] = ([], [])
    devices: int = 1
    save_minutes: float = 0.0
    workers: int = 0
    dropout: bool = True
    pause: float = 0.0
    """Seconds before each batch."""

    @property
    def weights(self) -> Path:
        return self.folder / "weights.pt"

    @property
    def state(self) -> Path:
        return self.folder / "resume/last.ckpt"

    def run(self) -> float:
        options = {"save_minutes": self.save_minutes, "devices": self.devices, "workers": self.workers}
        if self.hr is None:
            return phase1(self.manifest, self.folder, self.config, **options)
        train, val = self.stores
        return phase2(self.manifest, self.hr, self.folder, self.config, train_stores=train, val_stores=val, **options)


def run_in_process(training: Training, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    torch.set_num_threads(1)
    if not training.dropout:
        torch.nn.Dropout2d.forward = lambda _module, features: features
    ordinary = Phase1.begin_batch

    def announced(*words: object) -> None:
        if not (training.folder / "at-work").exists():
            (training.folder / "at-work").touch()
            time.sleep(0.5)
        time.sleep(training.pause)
        ordinary(*words)

    Phase1.begin_batch = announced
    try:
        training.run()
    except ArsegError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


def start(training: Training, **environment: str) -> multiprocessing.Process:
    """Train in a process of its own, made by a server that has imported PyTorch once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["arseg.train.run"])
    process = context.Process(target=run_in_process, args=(training, environment))
    process.start()
    return process


def wait_for(path: Path, process: multiprocessing.Process | subprocess.Popen) -> None:
    alive = process.is_alive if isinstance(process, multiprocessing.process.BaseProcess) else lambda: not process.poll()
    while not path.exists():
        assert alive(), "ended before it began to train"
        time.sleep(0.02)


def train_alone(training: Training) -> None:
    process = start(training)
    process.join()
    assert process.exitcode == 0


def train_together(training: Training) -> None:
    """Train with as many processes as the training has devices."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    processes = [
        start(
            training,
            LOCAL_RANK=str(index),
            NODE_RANK="0",
            WORLD_SIZE=str(training.devices),
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=str(port),
        )
        for index in range(training.devices)
    ]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * training.devices


def assert_same(first: Training, second: Training) -> None:
    one, other = (load_checkpoint(training.weights)[0].state_dict() for training in (first, second))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert (first.folder / "history.csv").read_bytes() == (second.folder / "history.csv").read_bytes()


def assert_same_first_epoch(together: Training, alone: Training) -> None:
    ours, expected = (pd.read_csv(training.folder / "history.csv")[:1] for training in (together, alone))
    pd.testing.assert_frame_equal(ours, expected, rtol=2e-3, atol=2e-4)


def assert_same_way(together: Training, alone: Training, tolerance: float) -> None:
    still = replace(alone, folder=alone.folder / "still", config=replace(alone.config, learning_rate=1e-12))
    train_alone(still)
    one, other, start = (load_checkpoint(training.weights)[0] for training in (together, alone, still))
    one, other, start = (torch.nn.utils.parameters_to_vector(network.parameters()) for network in (one, other, start))
    # In a step with a wrong gradient the difference would be as long as the way.
    assert (one - other).norm() < tolerance * (other - start).norm()


@pytest.fixture(autouse=True)
def _one_thread():
    """As the processes: sums in another order would be other weights."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def reference(tiny_dataset, tmp_path_factory) -> Training:
    """A training that nothing disturbed: three epochs of five batches."""
    training = Training(tiny_dataset.manifest, tmp_path_factory.mktemp("reference"), save_minutes=5)
    train_alone(training)
    return training


@pytest.fixture(scope="module")
def large_batches(reference, tmp_path_factory) -> Training:
    """The same with batches of four, which two processes can share."""
    # Two steps, and not Adam's, which divide by the roots of tiny squares: rounding grows from step to step.
    config = replace(CONFIG, epochs=1, batch_size=4, optimizer="sgd", learning_rate=1e-3)
    # Nor with dropout, which each process draws for its own samples.
    training = replace(reference, folder=tmp_path_factory.mktemp("alone"), config=config, dropout=False)
    train_alone(training)
    return training


def test_killed_at_any_moment(reference, tmp_path):
    training, moment, kills = replace(reference, folder=tmp_path, save_minutes=0, pause=0.15), random.Random(1), 0
    while True:
        process = start(training)
        process.join(timeout=moment.uniform(0.3, 1.5) if kills < 8 else None)
        if process.exitcode is not None:
            break
        process.kill()
        process.join()
        kills += 1
    assert process.exitcode == 0
    assert kills >= 2
    assert_same(training, reference)


def test_killed_after_each_batch(tiny_dataset, tmp_path, monkeypatch):
    """Dropout, a schedule, means of losses and loader processes: all of it goes on where it was."""
    monkeypatch.setattr("arseg.workers.FEW_SAMPLES", 0)
    whole = Training(tiny_dataset.manifest, tmp_path / "whole", DROPOUT)
    whole.run()
    pieces = replace(whole, folder=tmp_path / "pieces", workers=1)
    ordinary, steps, budget = Phase1.begin_batch, [], [0]

    def lose_power(phase, batch, process):
        if len(steps) == budget[0]:
            raise KeyError("power failure")
        steps.append((phase.epoch, batch))
        ordinary(phase, batch, process)

    monkeypatch.setattr(Phase1, "begin_batch", lose_power)
    for budget[0] in range(1, 4):
        with pytest.raises(KeyError, match="power failure"):
            pieces.run()
        assert not pieces.weights.exists()
    budget[0] = 99
    pieces.run()
    assert steps == [(0, 0), (0, 1), (1, 0), (1, 1)], "no batch was left out or trained twice"
    assert_same(pieces, whole)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_saves_the_state(reference, tmp_path, number):
    training = replace(reference, folder=tmp_path, save_minutes=60)  # so that the signal alone makes it save
    process = start(training)
    wait_for(tmp_path / "at-work", process)
    os.kill(process.pid, number)
    process.join()
    assert process.exitcode == StoppedError.exit_code == 75
    assert torch.load(training.state)["state"]["progress"]["step"] == 1
    assert not training.weights.exists()
    train_alone(training)
    assert_same(training, reference)


def test_a_damaged_state_is_passed_over(reference, tmp_path, monkeypatch, caplog):
    training, ordinary = replace(reference, folder=tmp_path, save_minutes=0), Phase1.predict_frame
    with monkeypatch.context() as patch:
        patch.setattr(Phase1, "predict_frame", lambda phase, batch: ordinary(phase, batch) / (2 - phase.epoch or None))
        with pytest.raises(TypeError):
            training.run()
    training.state.write_bytes(training.state.read_bytes()[:-1000])
    with caplog.at_level(logging.INFO):
        training.run()
    assert "last.ckpt: not a readable checkpoint" in caplog.text
    assert re.search(r"resuming in epoch .* from .*previous\.ckpt", caplog.text)
    assert_same(training, reference)


def test_killed_after_its_last_epoch(reference, tmp_path, monkeypatch):
    """Snakemake then deletes the history, which is an output, but not the state."""
    training = replace(reference, folder=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("arseg.train.run.save_checkpoint", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            training.run()
    (tmp_path / "history.csv").unlink()
    training.run()
    assert_same(training, reference)


def test_a_full_disk_does_not_end_the_training(reference, tmp_path, monkeypatch, caplog):
    training = replace(reference, folder=tmp_path, save_minutes=0)
    save, failures = torch.save, []

    def full_now_and_then(content, path):
        if "settings" in content and len(failures) < 3:
            failures.append(path)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(content, path)

    monkeypatch.setattr(torch, "save", full_now_and_then)
    training.run()
    assert len(failures) == 3
    assert "last.ckpt: this state could not be saved" in caplog.text
    assert_same(training, reference)


def test_a_second_training_waits_for_the_first(reference, tmp_path):
    training = replace(reference, folder=tmp_path)
    with sole_training(tmp_path / "resume"):
        process = start(training)
        process.join(timeout=6)
        assert process.is_alive()
        assert not training.weights.exists()
    process.join()
    assert process.exitcode == 0
    assert_same(training, reference)


def processes_with(mark: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # ends meanwhile
            found += [int(path.parent.name)] if mark.encode() in path.read_bytes() else []
    return found


def test_loader_processes_end_with_a_killed_training(tiny_dataset, tmp_path):
    mark = f"ARSEG_TEST_MARK={tmp_path.name}-{os.getpid()}"
    words = phase1_words(tiny_dataset.manifest, tmp_path / "weights.pt", epochs=1000, workers=2)
    name, _, value = mark.partition("=")
    process = subprocess.Popen([ARSEG, *words], env=os.environ | {name: value})
    wait_for(tmp_path / "history.csv", process)
    assert len(processes_with(mark)) >= 4, "the training, two loaders, and the server that they come from"
    process.kill()
    process.wait()
    deadline = time.monotonic() + 60
    while left := processes_with(mark):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def test_two_processes_train_as_one(large_batches, tmp_path):
    training = replace(large_batches, folder=tmp_path, devices=2)
    train_together(training)
    assert_same_first_epoch(training, large_batches)
    assert_same_way(training, large_batches, tolerance=2e-3)


@pytest.mark.parametrize("unfused", [0, 1])
def test_two_processes_train_phase_2(large_batches, tiny_dataset, tmp_path, unfused):
    stores = (tiny_dataset.train_stores, tiny_dataset.val_stores)
    config = replace(large_batches.config, unfused_epochs=unfused, epochs=1 + unfused)
    alone = replace(large_batches, folder=tmp_path / "alone", config=config, hr=large_batches.weights, stores=stores)
    train_alone(alone)
    together = replace(alone, folder=tmp_path / "together", devices=2)
    train_together(together)
    assert_same_first_epoch(together, alone)
    if not unfused:  # rounding grows from step to step: after two it is a fiftieth of the way, after four a fifth
        assert_same_way(together, alone, tolerance=0.1)


def test_a_command_with_two_processes_stops_and_goes_on(large_batches, tiny_dataset, tmp_path):
    config = replace(large_batches.config, epochs=3)
    training = replace(large_batches, folder=tmp_path, config=config, devices=2, dropout=True)
    constants = ("crop", "epochs", "batch_size", "optimizer", "learning_rate", "unfused_epochs", "jitter")
    options = {name: getattr(config, name) for name in constants} | {"random_scales": 1.0}
    options |= {"seed": 3, "devices": 2, "save_minutes": 0}
    command = [ARSEG, *phase1_words(tiny_dataset.manifest, training.weights, **options)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    first = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    wait_for(training.state, first)
    first.terminate()
    _, log = first.communicate()
    assert first.returncode == 75, log
    assert "stopped by SIGTERM in epoch" in log
    assert "the same command goes on from it" in log
    assert torch.load(training.state)["state"]["progress"]["step"] < 6
    train_together(training)
    uninterrupted = replace(training, folder=tmp_path / "uninterrupted")
    train_together(uninterrupted)
    assert_same(training, uninterrupted)


def test_devices_that_cannot_share_a_batch_are_refused(large_batches, tmp_path):
    with pytest.raises(ConfigError, match=r"training\.batch_size is 4, which 3 devices cannot share evenly"):
        replace(large_batches, folder=tmp_path, devices=3).run()
