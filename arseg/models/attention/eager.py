"""Local attention in plain PyTorch, for any device and floating type: the reference.

It is a loop over the k^2 shifts of the window, with a backward pass of its own. Left to autograd, the loop would keep
k^2 copies of the features; here the attention weights are all that is kept, and no window is ever unfolded.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_STRIP_BYTES = 2 * 1024**2
"""Size of the query in one strip on the CPU: what is multiplied shall still be cached when it is summed."""


class _Shift(NamedTuple):
    """Where one entry of the window meets a strip."""

    entry: int
    """Index of the entry in the window, row by row."""
    strip: tuple[Any, ...]
    """Those pixels of the strip whose neighbour lies inside the feature map."""
    pixel: tuple[Any, ...]
    """The same pixels, in the map."""
    neighbour: tuple[Any, ...]
    """Their neighbours, in the map."""


def _overlap(start: int, stop: int, shift: int, length: int) -> tuple[int, int]:
    """Bounds of the positions in start ... stop - 1 that stay in 0 ... length - 1 when shifted."""
    return max(start, -shift), min(stop, length - shift)


def _shifts(top: int, bottom: int, height: int, width: int, window: int) -> Iterator[_Shift]:
    """Walk over the window's entries, leaving out those which lie outside for the whole strip."""
    radius = window // 2
    for entry in range(window * window):
        down, right = entry // window - radius, entry % window - radius
        y0, y1 = _overlap(top, bottom, down, height)
        x0, x1 = _overlap(0, width, right, width)
        if y0 < y1 and x0 < x1:
            yield _Shift(
                entry,
                strip=(..., slice(y0 - top, y1 - top), slice(x0, x1)),
                pixel=(..., slice(y0, y1), slice(x0, x1)),
                neighbour=(..., slice(y0 + down, y1 + down), slice(x0 + right, x1 + right)),
            )


def _strips(query: Tensor) -> Iterator[tuple[int, int]]:
    """Cut the map into strips of rows: cache-sized on the CPU, a single one elsewhere."""
    height = query.shape[2]
    rows = height
    if query.device.type == "cpu":
        bytes_per_row = query.numel() // height * query.element_size()
        rows = max(1, _STRIP_BYTES // max(1, bytes_per_row))  # a batch may be empty
    for top in range(0, height, rows):
        yield top, min(top + rows, height)


def _accumulating(x: Tensor) -> Tensor:
    """Lift half-precision tensors to float32, in which sums over channels and the softmax are taken."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def _attend(query: Tensor, key: Tensor, value: Tensor, window: int, weights: Tensor | None) -> Tensor:
    """Compute the attention; leave its weights in `weights`, of shape (N, k^2, H, W), where given."""
    out_dtype = value.dtype
    query, key, value = _accumulating(query), _accumulating(key), _accumulating(value)
    batch, _, height, width = query.shape
    attended = torch.zeros_like(value)
    for top, bottom in _strips(query):
        # Entries outside the map keep similarity zero and take part in the softmax, as published.
        scores = query.new_zeros(batch, window * window, bottom - top, width)
        for shift in _shifts(top, bottom, height, width, window):
            product = query[shift.pixel] * key[shift.neighbour]
            torch.sum(product, dim=1, out=scores[:, shift.entry][shift.strip])
        strip_weights = scores.softmax(dim=1)
        for shift in _shifts(top, bottom, height, width, window):
            weight = strip_weights[:, shift.entry, None][shift.strip]
            attended[shift.pixel].addcmul_(weight, value[shift.neighbour])
        if weights is not None:
            weights[:, :, top:bottom] = strip_weights
    return attended.to(out_dtype)


class _LocalAttention(torch.autograd.Function):
    """The attention with a backward pass that keeps the inputs and the weights only."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, window: int) -> Tensor:
        batch, _, height, width = query.shape
        weights = _accumulating(query.new_empty(0)).new_empty(batch, window * window, height, width)
        attended = _attend(query, key, value, window, weights)
        ctx.save_for_backward(query, key, value, weights)
        ctx.window = window
        return attended

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_attended: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        saved_query, saved_key, saved_value, weights = ctx.saved_tensors
        query, key, value = map(_accumulating, (saved_query, saved_key, saved_value))
        grad_attended = _accumulating(grad_attended)
        grad_query, grad_key, grad_value = map(torch.zeros_like, (query, key, value))
        batch, _, height, width = query.shape
        for top, bottom in _strips(query):
            grad_weights = query.new_zeros(batch, ctx.window**2, bottom - top, width)
            for shift in _shifts(top, bottom, height, width, ctx.window):
                product = grad_attended[shift.pixel] * value[shift.neighbour]
                torch.sum(product, dim=1, out=grad_weights[:, shift.entry][shift.strip])
                weight = weights[:, shift.entry, None][shift.pixel]
                grad_value[shift.neighbour].addcmul_(weight, grad_attended[shift.pixel])
            strip_weights = weights[:, :, top:bottom]
            expected = (strip_weights * grad_weights).sum(dim=1, keepdim=True)
            grad_scores = strip_weights * (grad_weights - expected)
            for shift in _shifts(top, bottom, height, width, ctx.window):
                grad_score = grad_scores[:, shift.entry, None][shift.strip]
                grad_query[shift.pixel].addcmul_(grad_score, key[shift.neighbour])
                grad_key[shift.neighbour].addcmul_(grad_score, query[shift.pixel])
        return (
            grad_query.to(saved_query.dtype),
            grad_key.to(saved_key.dtype),
            grad_value.to(saved_value.dtype),
            None,
        )


def attend(query: Tensor, key: Tensor, value: Tensor, window: int) -> Tensor:
    """Attend from each pixel to the window around it; see `arseg.models.attention.local_attention`."""
    if torch.is_grad_enabled() and any(x.requires_grad for x in (query, key, value)):
        attended: Tensor = _LocalAttention.apply(query, key, value, window)
        return attended
    return _attend(query, key, value, window, weights=None)
