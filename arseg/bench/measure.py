"""Time and memory of what a benchmark runs, in turns: whatever else the machine does then disturbs all alike."""

import ctypes
import gc
import resource
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.benchmark import Measurement, Timer

MIN_SECONDS = 0.1
"""How long PyTorch's timer repeats an action in each round, at least; what takes longer runs once."""

Action = Callable[[], object]


def time_networks(actions: Mapping[str, Action], rounds: int) -> dict[str, Measurement]:
    """Return the wall-clock times of actions, in seconds.

    In each round an action runs once before it counts; a GPU's queue is empty when a run begins and when it ends.
    """
    threads = torch.get_num_threads()
    timers = {name: Timer("run()", globals={"run": run}, num_threads=threads) for name, run in actions.items()}
    times: dict[str, list[Measurement]] = {name: [] for name in actions}
    for _ in range(rounds):
        for name, timer in timers.items():
            times[name].append(timer.blocked_autorange(min_run_time=MIN_SECONDS))
    return {name: Measurement.merge(measured)[0] for name, measured in times.items()}


def in_milliseconds(measurement: Measurement) -> dict[str, float]:
    """Return the least time, the median and the interquartile range as columns of a table."""
    seconds = {"min_ms": min(measurement.times), "median_ms": measurement.median, "iqr_ms": measurement.iqr}
    return {name: 1000 * value for name, value in seconds.items()}


def core_seconds() -> float:
    """Return the processor time of this process and of those that it has waited for."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def time_programs(actions: Mapping[str, Action], rounds: int, warmup: int = 0) -> dict[str, NDArray[np.float64]]:
    """Return seconds and core-seconds of each run of actions, shape (rounds, 2), after rounds that do not count."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in actions}
    for _ in range(warmup + rounds):
        for name, run in actions.items():
            started, core_started = time.perf_counter(), core_seconds()
            run()
            times[name].append((time.perf_counter() - started, core_seconds() - core_started))
    return {name: np.array(measured[warmup:]) for name, measured in times.items()}


def peak_mib(run: Action, device: torch.device) -> float | None:
    """Return the memory in MiB that a second run of an action takes at most beyond what is taken before it.

    On a GPU PyTorch's allocator knows, on the CPU Linux: its record of the process's highest resident memory is begun
    anew. None where neither tells.
    """
    run()
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        torch.cuda.synchronize(device)
        return (torch.cuda.max_memory_allocated(device) - before) / 2**20
    with suppress(AttributeError, OSError):  # what GNU's C library keeps of freed memory would be taken again unseen
        ctypes.CDLL(None).malloc_trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        resident = _memory_kib("VmRSS")
        run()
        return (_memory_kib("VmHWM") - resident) / 2**10
    except OSError:
        return None


def _memory_kib(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
