"""The local attention, and CReFF around it, compiled for the CPU of this machine (``native/attention.cpp``).

The compiler of the machine makes a library of it at first use, in some seconds, and keeps it in the user's cache.
"""

import ctypes
import logging
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from arseg.compilation import build_folder, cached_path, find_compiler, install
from arseg.errors import ArsegError, KernelError
from arseg.machine import processor_features

LOG = logging.getLogger(__name__)

PART = "the local attention"
SOURCE = Path(__file__).with_name("native") / "attention.cpp"

FLAGS = (
    "-std=c++17",
    "-O3",
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-shared",
    "-fPIC",
    "-pthread",
)
OWN_PROCESSOR = "-march=native"
"""Four times as fast on processors with AVX2; compilers for some processors do not know it."""

MAX_WINDOW = 9
"""Largest window that is compiled."""

HALF = (torch.bfloat16, torch.float16)


def supports(x: Tensor, window: int) -> bool:
    """Whether such features can be attended to here: on the CPU, in single or half precision."""
    return x.device.type == "cpu" and x.dtype in (torch.float32, *HALF) and window <= MAX_WINDOW


@cache
def why_not() -> str:
    """Return why the library cannot be had, and warn of it once; empty if it can."""
    try:
        _library()
    except ArsegError as error:
        LOG.warning("the local attention runs in plain PyTorch, about ten times as slow: %s", error)
        return str(error)
    return ""


def attend(query: Tensor, key: Tensor, value: Tensor, window: int) -> Tensor:
    """Attend from each pixel to the window around it; see `arseg.models.attention.local_attention`.

    The forward pass moves each feature map once (4 N C H W elements) and keeps one number for each pixel (the log of
    the softmax's sum); the backward pass computes the weights again. Results do not depend on the number of threads.

    Raises
    ------
    KernelError
        If the library cannot be built.
    """
    out_dtype = value.dtype
    query, key, value = (x.float().contiguous() for x in (query, key, value))
    if torch.is_grad_enabled() and any(x.requires_grad for x in (query, key, value)):
        attended: Tensor = _NativeAttention.apply(query, key, value, window)
    else:
        attended = _forward(query, key, value, window, None)
    return attended.to(out_dtype)


def fuse(warped: Tensor, low: Tensor, convolutions: Sequence[Tensor], window: int) -> Tensor:
    """Run CReFF in one pass: resize, depthwise convolutions, attention and sum.

    Reads the warped feature and the low-resolution one, and writes the fused one, once each.

    Parameters
    ----------
    warped : Tensor of float32, shape (N, C, H, W)
        Feature of the keyframe, warped to the frame.
    low : Tensor of float32, shape (N, C, h, w)
        Feature of the frame.
    convolutions : sequence of Tensor
        Weight (C, 1, 3, 3) and bias (C,) of the query's, the key's and the value's convolution.
    window : int
        7.

    Returns
    -------
    fused : Tensor of float32, shape (N, C, H, W)

    Raises
    ------
    KernelError
        If the library cannot be built, or the window is another.
    """
    if window != 7:
        raise KernelError(f"attention window {window}: CReFF is compiled for 7. Use ARSEG_ATTENTION=eager")
    warped, low = warped.contiguous(), low.contiguous()
    kept = [x.detach().contiguous() for x in convolutions]
    pointers = (ctypes.c_void_p * len(kept))(*(x.data_ptr() for x in kept))
    fused = torch.empty_like(warped)
    sizes = *warped.shape[1:], *low.shape[2:], torch.get_num_threads()
    for index in range(len(fused)):
        _library().arseg_creff(_at(warped, index), _at(low, index), pointers, _at(fused, index), *sizes)
    return fused


class _NativeAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, window: int) -> Tensor:
        log_sum_exp = query.new_empty(query.shape[0], *query.shape[2:])
        attended = _forward(query, key, value, window, log_sum_exp)
        ctx.save_for_backward(query, key, value, attended, log_sum_exp)
        ctx.window = window
        return attended

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_attended: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        saved = [*ctx.saved_tensors, grad_attended.contiguous()]
        gradients = [torch.empty_like(saved[0]) for _ in range(3)]
        sizes = *saved[0].shape[1:], ctx.window, torch.get_num_threads()
        for index in range(len(grad_attended)):
            _library().arseg_attention_backward(*(_at(x, index) for x in (*saved, *gradients)), *sizes)
        return gradients[0], gradients[1], gradients[2], None


def _forward(query: Tensor, key: Tensor, value: Tensor, window: int, log_sum_exp: Tensor | None) -> Tensor:
    attended = torch.empty_like(value)
    sizes = *value.shape[1:], window, torch.get_num_threads()
    for index in range(len(value)):
        maps = [_at(x, index) for x in (query, key, value, attended)]
        kept = None if log_sum_exp is None else _at(log_sum_exp, index)
        _library().arseg_attention_forward(*maps, kept, *sizes)
    return attended


def _at(x: Tensor, index: int) -> ctypes.c_void_p:
    """Where a sample of a contiguous batch begins."""
    return ctypes.c_void_p(x.data_ptr() + index * x.stride(0) * x.element_size())


@cache
def _library() -> ctypes.CDLL:
    """Load the library; build it before if it is not there."""
    compiler = find_compiler(PART)
    # The code is for this processor: a cache that several machines share holds a library for each kind.
    path = cached_path("attention.so", [SOURCE], *FLAGS, compiler.version, processor_features())
    with build_folder(path) as folder:
        if not path.is_file():
            LOG.info("compiling the local attention for this processor, once, some seconds")
            command = (compiler.path, *FLAGS, SOURCE, "-o", folder / path.name)
            try:
                compiler.run(*command, OWN_PROCESSOR)
            except KernelError:
                compiler.run(*command)
            install(folder / path.name, path)
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise KernelError(f"{path}: cannot be loaded: {error}. Delete it, or set ARSEG_CACHE") from error
