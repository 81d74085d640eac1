"""Processes that load samples beside a network."""

import multiprocessing
from multiprocessing.context import BaseContext

FEW_SAMPLES = 100
"""A process of its own takes longer to import PyTorch (about five seconds) than one that is there to read so many."""


def worthwhile_workers(workers: int, num_samples: int) -> int:
    """Say how many processes shall load samples: none for few samples.

    Parameters
    ----------
    workers : int
        Number of processes that are allowed.
    num_samples : int
        Samples to load, over all epochs.

    Returns
    -------
    workers : int
        `workers` or 0; changes no sample.
    """
    return workers if num_samples >= FEW_SAMPLES else 0


def loader_context(workers: int, module: str) -> BaseContext | None:
    """Say how a `torch.utils.data.DataLoader` shall start its processes.

    They come from a fork server, not from a fork of this process: PyTorch, HDF5 and progress bars run threads
    here, and a fork copies the locks that a thread happens to hold, which now and then hangs for ever.

    Parameters
    ----------
    workers : int
        Number of processes; with none there is nothing to start.
    module : str
        Module to import once in the server instead of once in every process.

    Returns
    -------
    context : BaseContext or None
        For the argument ``multiprocessing_context``.
    """
    if not workers:
        return None
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([module])
    return context
