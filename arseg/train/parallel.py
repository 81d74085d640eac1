"""Several processes, one per device, that train as one: starting them, their gradients, their batch normalisation."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, distributed, nn

from arseg.errors import ArsegError, ConfigError
from arseg.models.network import SegmentationNetwork
from arseg.models.processes import SumWithGradient, num_processes, process_index

ADDRESS = "127.0.0.1"


@contextmanager
def joined_processes(devices: Sequence[torch.device]) -> Iterator[None]:
    """Be one of the processes that train together, one for each device; with a single device, nothing happens.

    The first process starts the others, unless they have been started. An ArsegError says that one ended too early.
    """
    if len(devices) == 1:
        yield
        return
    index, device = process_index(), devices[process_index()]
    others = []
    if "LOCAL_RANK" not in os.environ:
        with socket.create_server((ADDRESS, 0)) as server:
            os.environ |= {"MASTER_ADDR": ADDRESS, "MASTER_PORT": str(server.getsockname()[1])}
        for rank in range(1, len(devices)):
            # This command, in the words that it was started with.
            command = [sys.executable, *sys.orig_argv[1:]]
            others.append(subprocess.Popen(command, env=os.environ | {"LOCAL_RANK": str(rank)}))
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    try:
        distributed.init_process_group(backend, rank=index, world_size=len(devices))
        try:
            yield
        finally:
            distributed.destroy_process_group()
    except RuntimeError as error:
        failed = [(rank, code) for rank, process in enumerate(others, start=1) if (code := process.poll())]
        if not failed:
            raise
        raise ArsegError(
            f"process {failed[0][0]} of {len(devices)} that train together ended with {failed[0][1]}; see its own "
            "message above"
        ) from error
    finally:
        for process in others:
            process.terminate()  # does nothing to one that has ended
            process.wait()


def average_gradients(network: nn.Module) -> None:
    """Replace each gradient by its mean over all processes; all processes lack the same ones."""
    if num_processes() == 1:
        return
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    joined = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(joined)
    joined /= num_processes()
    for gradient, part in zip(gradients, joined.split([gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def span_processes(network: SegmentationNetwork) -> None:
    """Make batch normalisation take the statistics of all processes' samples; keys of the state dict stay.

    A ConfigError refuses norms of a library's own class, which may do more than normalise.
    """
    if num_processes() == 1:
        return
    for name, module in network.named_modules():
        if isinstance(module, nn.BatchNorm2d) and type(module) is not nn.BatchNorm2d:
            raise ConfigError(
                f"devices: {name} is a {type(module).__name__}, whose statistics processes cannot share as a "
                "BatchNorm2d's. Train this network on one device"
            )
    if distributed.get_backend() == "nccl":
        nn.SyncBatchNorm.convert_sync_batchnorm(network)
        return
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = GatheredBatchNorm2d


class GatheredBatchNorm2d(nn.BatchNorm2d):
    """`torch.nn.SyncBatchNorm` for processors: PyTorch's own is for GPUs only.

    Parameters, buffers and their names are those of `torch.nn.BatchNorm2d`.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Normalise features (N, C, H, W) with the statistics of all processes' samples, or the running ones."""
        if not self.training:
            return super().forward(features)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.momentum is not None
        count = features.new_tensor([features.numel() / features.shape[1]])
        # Two passes, mean first: the difference of two large sums would lose the small variance of float32.
        sums = SumWithGradient.apply(torch.cat([features.sum(dim=(0, 2, 3)), count]))
        total = sums[-1].detach()
        mean = sums[:-1] / total
        centred = features - mean[:, None, None]
        variance = SumWithGradient.apply(centred.square().sum(dim=(0, 2, 3))) / total
        with torch.no_grad():
            self.running_mean += self.momentum * (mean - self.running_mean)
            unbiased = variance * total / (total - 1).clamp(min=1)
            self.running_var += self.momentum * (unbiased - self.running_var)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked += 1
        normalized = centred * torch.rsqrt(variance + self.eps)[:, None, None]
        if not self.affine:
            return normalized
        return normalized * self.weight[:, None, None] + self.bias[:, None, None]
