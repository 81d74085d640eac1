"""Time the local attention, and CReFF around it, in each implementation that runs here."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from arseg.bench.limits import Limits, measure_limits
from arseg.bench.report import Report, Table, check_positive, parse_size
from arseg.bench.timing import measure, watch_memory
from arseg.errors import ConfigError
from arseg.models.attention import ATTENTION_VARIABLE, eager, implementations, local_attention
from arseg.models.creff import WINDOW, CReFF

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
QUICK_SIZE = "64x48"


@dataclass(frozen=True)
class AttentionOptions:
    """What to measure."""

    size: str = "960x720"
    """WIDTHxHEIGHT of the features; by default those of PSPNet-18 on CamVid."""
    channels: int = 64
    """Channels of the features."""
    window: int = WINDOW
    """Side length of the window."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Type of the features."""
    repeats: int = 7
    """Runs that count."""
    compiled: bool = False
    """Measure torch.compile of the plain form as well; compiling takes a minute."""


def bench_attention(options: AttentionOptions, device: torch.device, *, quick: bool = False) -> Report:
    """Measure forward, forward and backward, and CReFF from two features to one.

    Floors count each input read once and each output written once, and the arithmetic of similarities and weighted
    sums: a multiplication and an addition for each channel and entry of the window, twice forward; in the backward pass
    those of four gradients and, as no weights are kept, of the similarities again.

    Parameters
    ----------
    options : AttentionOptions
        What to measure.
    device : torch.device
        Where.
    quick : bool
        Small features and two runs, for a first look.

    Returns
    -------
    report : Report

    Raises
    ------
    ConfigError
        If an option cannot be.
    """
    if quick:
        options = replace(options, size=QUICK_SIZE, channels=16, repeats=2)
    check_positive(channels=options.channels, repeats=options.repeats)
    if options.window < 1 or options.window % 2 == 0:
        raise ConfigError(f"--window {options.window}: expected an odd side length, for example {WINDOW}")
    height, width = parse_size(options.size)
    dtype = DTYPES[options.dtype]
    limits = measure_limits(device, dtype)
    shape = (1, options.channels, height, width)
    rows = list(_attention_rows(options, shape, dtype, device, limits))
    rows += _creff_rows(options, shape, dtype, device, limits)
    facts = {
        "memory_bandwidth_GB_per_s": round(limits.gigabytes_per_second, 2),
        "matrix_product_GFLOP_per_s": round(limits.gigaflops, 1),
    }
    title = f"local attention, {options.channels} x {height} x {width}, k {options.window}, {options.dtype}"
    return Report("attention", vars(options) | {"quick": quick}, [Table(title, rows)], facts)


def _attention_rows(
    options: AttentionOptions, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device, limits: Limits
) -> Iterator[dict[str, Any]]:
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(shape, generator=generator).to(device, dtype) for _ in range(3)]
    size = inputs[0].numel() * inputs[0].element_size()
    flops = 4 * inputs[0].numel() * options.window**2
    programs: dict[str, Callable[..., Tensor]] = {
        name: _with_implementation(name, options.window) for name in implementations(inputs[0], options.window)
    }
    for name, program in programs.items():
        with torch.inference_mode():
            yield _row(name, "forward", partial(program, *inputs), 4 * size, flops, options, device, limits)
    if options.compiled:
        compiled: Callable[..., Tensor] = torch.compile(eager.attend)
        with torch.no_grad():
            yield _row(
                "eager, torch.compile",
                "forward",
                partial(compiled, *inputs, options.window),
                4 * size,
                flops,
                options,
                device,
                limits,
            )
    leaves = [x.clone().requires_grad_() for x in inputs]
    given = torch.ones_like(inputs[0])
    for name, program in programs.items():

        def both_passes(program: Callable[..., Tensor] = program) -> tuple[Tensor, ...]:
            return torch.autograd.grad(program(*leaves), leaves, given)

        yield _row(name, "forward + backward", both_passes, 11 * size, 3.5 * flops, options, device, limits)


def _creff_rows(
    options: AttentionOptions, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device, limits: Limits
) -> Iterator[dict[str, Any]]:
    """CReFF at scale 0.5, as it runs in inference, under each implementation of its attention."""
    channels, height, width = shape[1:]
    generator = torch.Generator().manual_seed(0)
    warped = torch.randn(shape, generator=generator).to(device, dtype)
    low = torch.randn(1, channels, max(1, height // 2), max(1, width // 2), generator=generator).to(device, dtype)
    with torch.random.fork_rng(devices=[]):
        fusion = CReFF(channels).to(device, dtype).requires_grad_(False)
    size = warped.numel() * warped.element_size()
    flops = warped.numel() * (4 * WINDOW**2 + 3 * 2 * 9)
    num_bytes = 2 * size + low.numel() * low.element_size()
    for name in implementations(warped, WINDOW):
        with torch.inference_mode(), _chosen(name):
            yield _row(name, "CReFF forward", lambda: fusion(warped, low), num_bytes, flops, options, device, limits)


@contextmanager
def _chosen(name: str) -> Iterator[None]:
    """Choose the attention of CReFF, which has no option for it."""
    before = os.environ.get(ATTENTION_VARIABLE)
    os.environ[ATTENTION_VARIABLE] = name
    try:
        yield
    finally:
        if before is None:
            del os.environ[ATTENTION_VARIABLE]
        else:
            os.environ[ATTENTION_VARIABLE] = before


def _with_implementation(name: str, window: int) -> Callable[..., Tensor]:
    return lambda query, key, value: local_attention(query, key, value, window, implementation=name)


def _row(
    name: str,
    what: str,
    action: Callable[[], object],
    num_bytes: float,
    flops: float,
    options: AttentionOptions,
    device: torch.device,
    limits: Limits,
) -> dict[str, Any]:
    action()  # compiles, where something must be compiled
    with watch_memory(device) as memory:
        result = action()
    del result
    timing = measure(action, device, repeats=options.repeats, warmup=0)
    floor = limits.floor_ms(num_bytes, flops)
    return {
        "implementation": name,
        "what": what,
        **timing.row(),
        "peak_MiB": None if memory.peak_mib is None else round(memory.peak_mib, 1),
        "GB_per_s": round(num_bytes / timing.median / 1e6, 3),
        "GFLOP_per_s": round(flops / timing.median / 1e6, 2),
        "floor_ms": round(floor, 3),
        "times_floor": round(timing.median / floor, 2),
    }
