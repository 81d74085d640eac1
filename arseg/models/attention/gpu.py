"""The local attention on a GPU, by Triton kernels (``gpu_kernels.py``), forward and backward."""

import importlib.util
import os
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

TILE = 4096
"""Channels times pixels of a program. A program of four warps has 128 threads: 32 numbers a thread for each of the up
to four tiles that are held at once, half of a thread's 255 registers."""

LEAST_PIXELS = 16
"""Fewest pixels of a program: their float32 values are two sectors of memory."""


@cache
def available() -> bool:
    """Whether the kernels can run: on a CUDA device, or in Triton's interpreter (``TRITON_INTERPRET=1``)."""
    if importlib.util.find_spec("triton") is None:
        return False
    return torch.cuda.is_available() or os.environ.get("TRITON_INTERPRET") == "1"


def attend(query: Tensor, key: Tensor, value: Tensor, window: int) -> Tensor:
    """Attend from each pixel to the window around it; see `arseg.models.attention.local_attention`.

    Parameters
    ----------
    query, key, value : Tensor, shape (N, C, H, W)
        In float32, bfloat16 or float16; any strides.
    window : int
        Side length of the window, odd.

    Returns
    -------
    attended : Tensor, shape (N, C, H, W)
        In the dtype of `value`. One float32 number for each pixel is kept for the backward pass.
    """
    attended: Tensor = _TritonAttention.apply(query, key, value, window)
    return attended


class _TritonAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, window: int) -> Tensor:
        from arseg.models.attention.gpu_kernels import forward_kernel  # noqa: PLC0415  needs Triton

        batch, channels, height, width = value.shape
        attended = torch.empty_like(value)
        log_sum_exp = torch.empty(batch, height, width, dtype=torch.float32, device=value.device)
        sizes = _tile(channels, width)
        strides = [step for x in (query, key, value, attended) for step in x.stride()]
        with torch.cuda.device_of(value):  # Triton launches on the current device
            forward_kernel[_grid(value, sizes["pixels"])](
                query, key, value, attended, log_sum_exp, channels, height, width, *strides, window=window, **sizes
            )
        ctx.save_for_backward(query, key, value, attended, log_sum_exp)
        ctx.window = window
        return attended

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_attended: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        from arseg.models.attention import gpu_kernels  # noqa: PLC0415  needs Triton

        query, key, value, attended, log_sum_exp = ctx.saved_tensors
        channels, height, width = value.shape[1:]
        expected = (grad_attended.float() * attended.float()).sum(dim=1)  # (N, H, W)
        gradients = [torch.empty_like(x, memory_format=torch.contiguous_format) for x in (query, key, value)]
        sizes = _tile(channels, width)
        grid = _grid(value, sizes["pixels"])
        shared = query, key, value, grad_attended, log_sum_exp, expected.contiguous()
        strides = [step for x in (query, key, value, grad_attended, gradients[0]) for step in x.stride()]
        rest = channels, height, width, *strides
        with torch.cuda.device_of(value):
            gpu_kernels.query_gradient_kernel[grid](*shared, gradients[0], *rest, window=ctx.window, **sizes)
            gpu_kernels.key_value_gradient_kernel[grid](*shared, *gradients[1:], *rest, window=ctx.window, **sizes)
        return gradients[0], gradients[1], gradients[2], None


def _tile(channels: int, width: int) -> dict[str, int]:
    """Choose how many channels and pixels a program holds: powers of two, as Triton needs them."""
    whole_channels = _power_of_two(channels)
    pixels = max(LEAST_PIXELS, TILE // whole_channels)
    return {"whole_channels": whole_channels, "pixels": min(pixels, max(LEAST_PIXELS, _power_of_two(width)))}


def _grid(x: Tensor, pixels: int) -> tuple[int, int, int]:
    batch, _, height, width = x.shape
    return -(-width // pixels), height, batch


def _power_of_two(number: int) -> int:
    return 1 << max(0, number - 1).bit_length()
