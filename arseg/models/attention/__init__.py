"""Local attention: each pixel attends to the k x k window around it (docs/method.md, 'CReFF').

`eager` is the reference in plain PyTorch, `cpu` and `gpu` are compiled; `choice` says how one is chosen.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from arseg.errors import DataError, KernelError
from arseg.models.attention import cpu, eager, gpu
from arseg.models.attention.choice import ATTENTION_VARIABLE, Implementation, is_traced, requested

__all__ = ["ATTENTION_VARIABLE", "fuse_on_cpu", "implementations", "local_attention"]


def local_attention(
    query: Tensor, key: Tensor, value: Tensor, window: int = 7, implementation: str | None = None
) -> Tensor:
    """Attend from each pixel to the window around it.

    The similarity is the plain dot product of query and key over the channels, without scaling. Positions
    outside the feature map have similarity zero and value zero but do take part in the softmax. Half-precision
    inputs are summed and normalised in float32.

    Parameters
    ----------
    query, key, value : Tensor, shape (N, C, H, W)
        Floating point, on one device.
    window : int
        Side length k of the window, odd.
    implementation : {"auto", "eager", "native", "triton"}, optional
        Which program to run: plain PyTorch, one compiled for the CPU, one compiled for a GPU; by default what the
        environment variable ``ARSEG_ATTENTION`` says, or the fastest that can run.

    Returns
    -------
    attended : Tensor, shape (N, C, H, W)
        Weighted sum of the values, in the dtype of `value`.

    Raises
    ------
    DataError
        If the shapes differ, or `window` is even.
    ConfigError
        If there is no such implementation.
    KernelError
        If the one that was asked for cannot run here.
    """
    if not query.shape == key.shape == value.shape or query.ndim != 4:
        raise DataError(
            f"query {tuple(query.shape)}, key {tuple(key.shape)}, value {tuple(value.shape)}: expected one "
            "shape (N, C, H, W)"
        )
    if window < 1 or window % 2 == 0:
        raise DataError(f"attention window {window}: expected an odd side length, for example 7")
    match _choose(value, window, requested(implementation)):
        case "native":
            return cpu.attend(query, key, value, window)
        case "triton":
            return gpu.attend(query, key, value, window)
        case _:
            return eager.attend(query, key, value, window)


def implementations(x: Tensor, window: int = 7) -> list[Implementation]:
    """List what can run on such features, the fastest first.

    Parameters
    ----------
    x : Tensor, shape (N, C, H, W)
        A feature.
    window : int
        Side length of the window.

    Returns
    -------
    names : list of str
        Values that `local_attention` takes as its `implementation`; ``eager`` is the last one.
    """
    found: list[Implementation] = []
    if not is_traced(x) and x.numel():
        if cpu.supports(x, window) and not cpu.why_not():
            found.append("native")
        if x.is_cuda and x.dtype != torch.float64 and gpu.available():
            found.append("triton")
    return [*found, "eager"]


def fuse_on_cpu(warped: Tensor, low: Tensor, convolutions: Sequence[Tensor], window: int) -> Tensor | None:
    """Run all of CReFF in one pass, where that can be done: on the CPU, in float32, without gradients.

    Parameters
    ----------
    warped, low, convolutions, window
        As `arseg.models.attention.cpu.fuse` takes them.

    Returns
    -------
    fused : Tensor, shape (N, C, H, W), or None
        None where it must be done step by step.
    """
    differentiated = torch.is_grad_enabled() and any(x.requires_grad for x in (warped, low, *convolutions))
    single = all(x.dtype == torch.float32 and x.device.type == "cpu" for x in (warped, low, *convolutions))
    if differentiated or not single or _choose(warped, window, requested(None)) != "native":
        return None
    return cpu.fuse(warped, low, convolutions, window)


def _choose(x: Tensor, window: int, wanted: Implementation) -> Implementation:
    if wanted == "auto":
        return implementations(x, window)[0]
    if wanted == "eager" or is_traced(x) or not x.numel():
        return "eager"
    if wanted not in implementations(x, window):
        reason = cpu.why_not() if wanted == "native" and cpu.supports(x, window) else f"{x.dtype} on {x.device}"
        raise KernelError(
            f"the local attention {wanted} cannot run here with a window of {window} ({reason}). Unset "
            f"{ATTENTION_VARIABLE}, or set it to auto"
        )
    return wanted
