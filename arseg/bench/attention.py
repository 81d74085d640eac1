"""``arseg bench attention``: the local attention, and CReFF around it, in each implementation that runs here."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

from arseg.bench.measure import in_milliseconds, peak_mib, time_networks
from arseg.bench.report import DEFAULTS, Options, benchmark, publish
from arseg.config import parse_size
from arseg.models.attention import ATTENTION_VARIABLE, implementations, local_attention
from arseg.models.creff import WINDOW, CReFF
from arseg.models.device import resolve_device
from arseg.options import Count, Device

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
COPY_BYTES = {"cpu": 256 * 2**20, "cuda": 2**30}
"""Far more than caches hold."""
MATRIX_SIDE = {"cpu": 1536, "cuda": 8192}
ROUNDS_OF_LIMITS = 5


@benchmark(size="64x48", channels=16)
def attention(
    *,
    size: str = "960x720",
    channels: Count = 64,
    dtype: Literal["float32", "bfloat16", "float16"] = "float32",
    device: Device = "auto",
    common: Options = DEFAULTS,
) -> None:
    """Time the local attention, and CReFF around it, against what the machine's memory and arithmetic allow.

    Floors count each input read once and each output written once, and the arithmetic of similarities and weighted
    sums: a multiplication and an addition for each channel and entry of the window, twice forward; in the backward pass
    those of four gradients and, as no weights are kept, of the similarities again.

    Parameters
    ----------
    size : str
        WIDTHxHEIGHT of the features; by default those of PSPNet-18 on CamVid.
    channels : int
        Channels of the features.
    dtype : str
        Type of the features.
    """
    where, kind, (height, width) = resolve_device(device), DTYPES[dtype], parse_size(size)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        query, key, value = (torch.randn(1, channels, height, width).to(where, kind) for _ in range(3))
        low = torch.randn(1, channels, max(1, height // 2), max(1, width // 2)).to(where, kind)
        fusion = CReFF(channels).to(where, kind)
        bytes_per_second, operations_per_second = _limits(where, kind)
    leaves = [feature.clone().requires_grad_() for feature in (query, key, value)]

    @torch.inference_mode()
    def forward() -> object:
        return local_attention(query, key, value)

    def both_passes() -> object:
        attended = local_attention(leaves[0], leaves[1], leaves[2])
        return torch.autograd.grad(attended, leaves, torch.ones_like(attended))

    @torch.inference_mode()
    def creff() -> object:
        return fusion(query, low)

    count, entry = query.numel(), query.element_size()
    rows = []
    for what, run, num_bytes, operations in (
        ("forward", forward, 4 * count * entry, 4 * WINDOW**2 * count),
        ("forward + backward", both_passes, 11 * count * entry, 14 * WINDOW**2 * count),
        ("CReFF forward", creff, (2 * count + low.numel()) * entry, (4 * WINDOW**2 + 3 * 2 * 9) * count),
    ):
        floor = max(num_bytes / bytes_per_second, operations / operations_per_second)
        for name in implementations(query, WINDOW):
            with _chosen(name):
                peak = peak_mib(run, where)
                measured = time_networks({name: run}, common.repeats)[name]
            row = {"implementation": name, "what": what, **in_milliseconds(measured), "peak_MiB": peak}
            row |= {"GB_per_s": num_bytes / measured.median / 1e9, "GFLOP_per_s": operations / measured.median / 1e9}
            rows.append(row | {"floor_ms": 1000 * floor, "times_floor": measured.median / floor})
    limits = {"memory_bandwidth_GB_per_s": bytes_per_second, "matrix_product_GFLOP_per_s": operations_per_second}
    title = f"local attention, {channels} x {height} x {width}, window {WINDOW}, {dtype}"
    publish({title: rows}, common.output, where, **{name: limit / 1e9 for name, limit in limits.items()})


def _limits(device: torch.device, dtype: torch.dtype) -> tuple[float, float]:
    """Return bytes per second of copying a large tensor, and operations per second of a product of large matrices."""
    source = torch.ones(COPY_BYTES[device.type], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    side = MATRIX_SIDE[device.type]
    matrix = torch.randn(side, side, device=device).to(dtype)
    actions = {"copy": lambda: target.copy_(source), "multiply": lambda: torch.mm(matrix, matrix)}
    least = {name: min(found.times) for name, found in time_networks(actions, ROUNDS_OF_LIMITS).items()}
    return 2 * source.numel() / least["copy"], 2 * side**3 / least["multiply"]


@contextmanager
def _chosen(name: str) -> Iterator[None]:
    """Choose the implementation of the attention, also inside CReFF."""
    before = os.environ.get(ATTENTION_VARIABLE)
    os.environ[ATTENTION_VARIABLE] = name
    try:
        yield
    finally:
        del os.environ[ATTENTION_VARIABLE]
        if before is not None:
            os.environ[ATTENTION_VARIABLE] = before
