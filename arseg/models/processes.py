"""Training in several processes, one per device: who this process is, and sums over all of them.

One process trains a batch of N samples; D processes train N/D of them each, and average their gradients. That is the
same step only if whatever couples the samples of a batch spans all processes: the means of the losses (here) and
batch normalisation (`arseg.train.parallel`). Without `torch.distributed` everything here does nothing.
"""

import os
from typing import Any

import torch
from torch import Tensor, distributed


def process_index() -> int:
    """Give this process's number, 0 in the one that was started by hand and starts the others."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def num_processes() -> int:
    """Give the number of processes that train together; 1 outside of such a training."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def sum_over_processes(value: Tensor) -> Tensor:
    """Add up a tensor over all processes; without gradient."""
    if num_processes() == 1:
        return value
    total = value.detach().clone()
    distributed.all_reduce(total)
    return total


class SumWithGradient(torch.autograd.Function):
    """Add up a tensor over all processes; what each makes of the sum comes back as gradient."""

    @staticmethod
    def forward(_context: Any, value: Tensor) -> Tensor:
        """Sum the values."""
        return sum_over_processes(value)

    @staticmethod
    def backward(_context: Any, gradient: Tensor) -> Tensor:
        """Sum the gradients."""
        return sum_over_processes(gradient)


def gather_over_processes(values: Tensor) -> Tensor:
    """Join the values of all processes, in the order of their numbers.

    Parameters
    ----------
    values : Tensor, shape (n,)
        This process's; n may differ between processes.

    Returns
    -------
    joined : Tensor, shape (sum of all n,)
        The gradient reaches this process's own values only, multiplied by the number of processes, because gradients
        are averaged over the processes afterwards.
    """
    count = num_processes()
    if count == 1:
        return values
    lengths = [torch.zeros(1, dtype=torch.int64, device=values.device) for _ in range(count)]
    distributed.all_gather(lengths, torch.tensor([len(values)], device=values.device))
    longest = int(max(lengths))
    padded = torch.nn.functional.pad(values.detach(), (0, longest - len(values)))
    parts = [torch.empty_like(padded) for _ in range(count)]
    distributed.all_gather(parts, padded)
    parts = [part[: int(length)] for part, length in zip(parts, lengths, strict=True)]
    parts[distributed.get_rank()] = count * values - (count - 1) * values.detach()
    return torch.cat(parts)
