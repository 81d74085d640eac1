"""Choosing the devices that networks run on: what ``--device`` and ``--devices`` mean, in one place."""

import logging
import os
import tempfile
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from arseg.errors import ConfigError
from arseg.models.processes import process_index

LOG = logging.getLogger(__name__)

LEASED = "ARSEG_LEASED_GPUS"
"""Environment variable by which further processes of one training learn which GPUs the first one took."""

_leases: list[FileLock] = []
"""Held until this process ends, however it ends."""


def resolve_device(name: str = "auto") -> torch.device:
    """Turn a device name of the command line into one device; see `resolve_devices`."""
    return resolve_devices(name)[0]


def resolve_devices(name: str = "auto", count: int = 1) -> tuple[torch.device, ...]:
    """Turn a device name of the command line into devices that exist.

    Of several GPUs, those are taken that no other process of this user's took through this function: jobs that run side
    by side on one machine share nothing as long as there are GPUs enough.

    Parameters
    ----------
    name : {"auto", "cpu", "cuda", "cuda:N"}
        "auto" is a CUDA device if there is one, otherwise the CPU; "cuda" is any CUDA device.
    count : int
        How many devices; on the CPU, how many processes.

    Returns
    -------
    devices : tuple of torch.device

    Raises
    ------
    ConfigError
        If the name is another, or asks for CUDA devices that this machine does not have.
    """
    if count < 1:
        raise ConfigError(f"--devices {count}: must be at least 1")
    num_cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "cpu" or (name == "auto" and not num_cuda):
        return (torch.device("cpu"),) * count
    kind, _, number = name.partition(":")
    if name != "auto" and (kind != "cuda" or not (number.isdecimal() or name == "cuda")):
        raise ConfigError(f"--device {name}: expected auto, cpu, or cuda:N with a number N from 0")
    asked = f"--device {name}" + (f" --devices {count}" if count > 1 else "")
    if number and count > 1:
        raise ConfigError(f"{asked}: one device was named. Write --device cuda")
    if int(number or 0) + count > num_cuda:
        found = f"{num_cuda} CUDA device(s)" if num_cuda else "no CUDA device"
        raise ConfigError(
            f"{asked}: PyTorch {torch.__version__} finds {found} here. Use --device cpu, or "
            "install a driver and a PyTorch built for CUDA."
        )
    if number:
        return (torch.device("cuda", int(number)),)
    return tuple(torch.device("cuda", index) for index in _lease(num_cuda, count))


def _lease(num_cuda: int, count: int) -> list[int]:
    """Take GPUs that nobody has; if there are too few, share the first ones."""
    if process_index():
        return [int(index) for index in os.environ[LEASED].split(",")]
    folder = Path(tempfile.gettempdir()) / f"arseg-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    taken: list[int] = []
    for index in range(num_cuda):
        # A scheduler may show each job other GPUs under the same numbers; their UUIDs do not change.
        lock = FileLock(folder / f"{torch.cuda.get_device_properties(index).uuid}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        _leases.append(lock)
        taken.append(index)
        if len(taken) == count:
            break
    if shared := [index for index in range(num_cuda) if index not in taken][: count - len(taken)]:
        LOG.warning("other processes of yours use %s; sharing", ", ".join(f"cuda:{index}" for index in shared))
    os.environ[LEASED] = ",".join(map(str, taken + shared))
    return taken + shared
