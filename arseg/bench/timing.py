"""Time and memory of what runs on the CPU or on a GPU: medians and percentiles after a warm-up."""

import ctypes
import gc
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

STATUS = Path("/proc/self/status")
MEMORY_INTERVAL_SECONDS = 0.002


@dataclass(frozen=True)
class Timing:
    """How long something took, run by run."""

    milliseconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Half of the runs took at most this."""
        return float(np.median(self.milliseconds))

    @property
    def p95(self) -> float:
        """95 % of the runs took at most this; the longest run where there are few."""
        return float(np.percentile(self.milliseconds, 95, method="higher"))

    @property
    def least(self) -> float:
        """What the machine can do when nothing disturbs it."""
        return min(self.milliseconds)

    def row(self) -> dict[str, float | int]:
        """Give the figures as columns of a table."""
        return {
            "min_ms": round(self.least, 3),
            "median_ms": round(self.median, 3),
            "p95_ms": round(self.p95, 3),
            "runs": len(self.milliseconds),
        }


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure(action: Callable[[], object], device: torch.device, *, repeats: int, warmup: int = 1) -> Timing:
    """Run something several times.

    Parameters
    ----------
    action : callable
        What to time.
    device : torch.device
        Where it works: its queue is empty when a run begins, and when it ends.
    repeats, warmup : int
        Runs that count, and runs before them that do not: they load programs, fill caches and choose algorithms.

    Returns
    -------
    timing : Timing
    """
    for _ in range(warmup):
        action()
    milliseconds = []
    for _ in range(repeats):
        synchronize(device)
        started = time.perf_counter()
        result = action()
        synchronize(device)
        milliseconds.append(1000 * (time.perf_counter() - started))
        del result  # the next run may have its memory
    return Timing(tuple(milliseconds))


class Memory:
    """Peak of memory, in MiB, that was found by `watch_memory`; None where the machine does not tell."""

    peak_mib: float | None = None


@contextmanager
def watch_memory(device: torch.device) -> Iterator[Memory]:
    """Find how much memory a ``with`` block takes at most, beyond what was taken before it.

    On a GPU, PyTorch's allocator knows. On the CPU, the process's resident memory is looked at every 2 ms (on Linux),
    in a thread of its own: do not time what runs inside.

    Parameters
    ----------
    device : torch.device
        Whose memory.

    Yields
    ------
    memory : Memory
        Filled in at the end.
    """
    memory = Memory()
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        yield memory
        synchronize(device)
        memory.peak_mib = (torch.cuda.max_memory_allocated(device) - before) / 2**20
        return
    _give_back()
    resident = resident_mib()
    if resident is None:  # not Linux
        yield memory
        return
    peak, stop = [resident], threading.Event()

    def look() -> None:
        while not stop.wait(MEMORY_INTERVAL_SECONDS):
            peak[0] = max(peak[0], resident_mib() or 0.0)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield memory
    finally:
        stop.set()
        thread.join()
    memory.peak_mib = max(peak[0], resident_mib() or 0.0) - resident


def _give_back() -> None:
    """Return what the C library keeps of freed memory; taking it again would not be seen."""
    with suppress(AttributeError, OSError):  # GNU's has the function
        ctypes.CDLL(None).malloc_trim(0)


def resident_mib() -> float | None:
    """Give the resident memory of this process in MiB; None where the machine does not tell."""
    try:
        line = next(line for line in STATUS.read_text(encoding="ascii").splitlines() if line.startswith("VmRSS:"))
    except (OSError, StopIteration):
        return None
    return int(line.split()[1]) / 1024
