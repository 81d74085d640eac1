"""What the machine can do at most, measured: the limits that programs are held against."""

from dataclasses import dataclass

import torch

from arseg.bench.timing import measure

COPY_BYTES = {"cpu": 256 * 2**20, "cuda": 2**30}
"""Far more than caches hold."""
MATRIX_SIDE = {"cpu": 1536, "cuda": 8192}
REPEATS = 7


@dataclass(frozen=True)
class Limits:
    """Speeds of a device."""

    gigabytes_per_second: float
    """Bytes read and bytes written while copying a large tensor."""
    gigaflops: float
    """Operations of a product of large matrices, each multiplication and each addition counted, in its type."""

    def floor_ms(self, num_bytes: float, flops: float) -> float:
        """Give the time below which a program that moves and computes so much cannot fall, in milliseconds."""
        return max(num_bytes / self.gigabytes_per_second, flops / self.gigaflops) / 1e6


def measure_limits(device: torch.device, dtype: torch.dtype = torch.float32) -> Limits:
    """Measure a device; the best of several runs.

    Parameters
    ----------
    device : torch.device
        With as many threads as PyTorch uses.
    dtype : torch.dtype
        Type of the matrices.

    Returns
    -------
    limits : Limits
    """
    source = torch.ones(COPY_BYTES[device.type], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copying = measure(lambda: target.copy_(source), device, repeats=REPEATS, warmup=2)
    side = MATRIX_SIDE[device.type]
    matrix = torch.randn(side, side, device=device).to(dtype)
    product = torch.empty_like(matrix)
    multiplying = measure(lambda: torch.mm(matrix, matrix, out=product), device, repeats=REPEATS, warmup=2)
    return Limits(2 * source.numel() / copying.least / 1e6, 2 * side**3 / multiplying.least / 1e6)
