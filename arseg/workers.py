"""Processes that load samples beside a network."""

import multiprocessing
import os
import threading
from functools import cache, partial
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from typing import Any

FEW_SAMPLES = 100
"""A process of its own takes longer to import PyTorch (about three seconds) than one that is there to read so many."""


def worthwhile_workers(workers: int, num_samples: int) -> int:
    """Return how many of `workers` processes load samples: none for few samples over all epochs. Changes no sample."""
    return workers if num_samples >= FEW_SAMPLES else 0


def loader_options(workers: int, num_samples: int, module: str) -> dict[str, Any]:
    """Return how a `torch.utils.data.DataLoader` starts its processes, as keyword arguments.

    They come from a fork server, not from a fork of this process: PyTorch, HDF5 and progress bars run threads
    here, and a fork copies the locks that a thread happens to hold, which now and then hangs for ever. They end when
    this process does, however it ends. `module` is imported once in the server instead of once in every process.
    """
    workers = worthwhile_workers(workers, num_samples)
    if not workers:
        return {"num_workers": 0}
    return {
        "num_workers": workers,
        "multiprocessing_context": _context(module),
        "worker_init_fn": partial(_end_with, _lifeline()[0]),
    }


def start_server(workers: int, num_samples: int, module: str) -> None:
    """Start the fork server if loader processes will be wanted, before this process has imported PyTorch.

    The server then imports it meanwhile, on another core. Otherwise the first batch would wait for one import after
    the other. The parameters are those of `loader_options`; an overestimated number of samples costs a server that
    nobody uses.
    """
    if worthwhile_workers(workers, num_samples):
        _context(module)
        forkserver.ensure_running()


def _context(module: str) -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([module])
    return context


@cache
def _lifeline() -> tuple[Connection, Connection]:
    """Open a pipe whose writing end this process alone has, and never uses: it closes when the process ends."""
    return multiprocessing.Pipe(duplex=False)


def _end_with(lifeline: Connection, _worker: int) -> None:
    """Let a loader process end with the one that it loads for; its parent is the server, which would wait for it."""

    def wait() -> None:
        lifeline.poll(None)  # nothing is ever sent
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()
