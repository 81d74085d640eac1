"""Processes that load samples beside a network."""

import multiprocessing
from multiprocessing.context import BaseContext


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
