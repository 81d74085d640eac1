"""Which implementation of the local attention runs: one that the machine has, or the one that was asked for."""

import os
from typing import Literal, get_args

import torch
from torch import Tensor

from arseg.errors import ConfigError

Implementation = Literal["auto", "eager", "native", "triton"]
"""``eager``: plain PyTorch. ``native``: compiled, on the CPU. ``triton``: compiled, on a GPU."""

ATTENTION_VARIABLE = "ARSEG_ATTENTION"
"""Environment variable that names the implementation where the caller does not."""


def requested(implementation: str | None) -> Implementation:
    """Read what is asked for, by the caller or the environment.

    Raises
    ------
    ConfigError
        If it is no implementation.
    """
    wanted = implementation or os.environ.get(ATTENTION_VARIABLE) or "auto"
    names: tuple[Implementation, ...] = get_args(Implementation)
    for known in names:
        if wanted == known:
            return known
    place = "implementation" if implementation else ATTENTION_VARIABLE
    raise ConfigError(f"{place} {wanted!r}: expected one of {', '.join(names)}")


def is_traced(x: Tensor) -> bool:
    """Whether operations are recorded instead of run: for an export, a compilation, or for shapes only.

    The first two tell of ONNX exports as well; to ask `torch.onnx` would be to load it.
    """
    return (
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or x.is_meta
        or type(x) not in (Tensor, torch.nn.Parameter)
    )
