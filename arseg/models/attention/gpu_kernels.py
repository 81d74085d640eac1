"""Triton kernels of the local attention; `arseg.models.attention.gpu` launches them.

Each program holds a row segment of pixels with all their channels in registers and walks over the window. Neighbours
come through the caches: a segment's windows overlap those of the segments around it. No weights go to memory: the
forward pass rescales its sums when it meets a larger score (online softmax), the backward passes compute the weights
again from the log of the softmax's sum. Gradients of keys and values are gathered from the pixels that look at them,
so nothing is added in an order that varies.

Layouts are given by strides, so channels-last features need no copy. Sums are taken in float32.
"""

import triton
import triton.language as tl


@triton.jit
def _inside(row, column, height, width):
    """Return which columns of a row lie in the feature map."""
    return (column >= 0) & (column < tl.where((row >= 0) & (row < height), width, 0))


@triton.jit
def forward_kernel(
    query, key, value, attended, log_sum_exp, channels, height, width,
    qn, qc, qy, qx, kn, kc, ky, kx, vn, vc, vy, vx, an, ac, ay, ax,
    window: tl.constexpr, whole_channels: tl.constexpr, pixels: tl.constexpr,
):  # fmt: skip
    """Attend from the pixels of one row segment."""
    x = tl.program_id(0) * pixels + tl.arange(0, pixels)
    y = tl.program_id(1)
    sample = tl.program_id(2).to(tl.int64)
    c = tl.arange(0, whole_channels).to(tl.int64)  # a feature may have more than 2^31 elements
    present = (c < channels)[:, None] & (x < width)[None, :]
    q = tl.load(query + sample * qn + c[:, None] * qc + y * qy + x[None, :] * qx, mask=present, other=0.0)
    q = q.to(tl.float32)
    most = tl.full((pixels,), float("-inf"), tl.float32)
    total = tl.zeros((pixels,), tl.float32)
    sums = tl.zeros((whole_channels, pixels), tl.float32)
    for entry in range(window * window):
        row = y + entry // window - window // 2
        column = x + entry % window - window // 2
        # Outside the map, keys and values are zeros: they score zero and weigh in the softmax, as published.
        inside = (c < channels)[:, None] & _inside(row, column, height, width)[None, :]
        k = tl.load(key + sample * kn + c[:, None] * kc + row * ky + column[None, :] * kx, mask=inside, other=0.0)
        v = tl.load(value + sample * vn + c[:, None] * vc + row * vy + column[None, :] * vx, mask=inside, other=0.0)
        score = tl.sum(q * k.to(tl.float32), axis=0)
        larger = tl.maximum(most, score)
        shrink = tl.exp(most - larger)
        weight = tl.exp(score - larger)
        total = total * shrink + weight
        sums = sums * shrink[None, :] + weight[None, :] * v.to(tl.float32)
        most = larger
    result = (sums / total[None, :]).to(attended.dtype.element_ty)
    tl.store(attended + sample * an + c[:, None] * ac + y * ay + x[None, :] * ax, result, mask=present)
    place = (sample * height + y) * width + x
    tl.store(log_sum_exp + place, most + tl.log(total), mask=x < width)


@triton.jit
def query_gradient_kernel(
    query, key, value, grad, log_sum_exp, expected, grad_query, channels, height, width,
    qn, qc, qy, qx, kn, kc, ky, kx, vn, vc, vy, vx, gn, gc, gy, gx, on, oc, oy, ox,
    window: tl.constexpr, whole_channels: tl.constexpr, pixels: tl.constexpr,
):  # fmt: skip
    """Gather the queries' gradient from the keys that they look at."""
    x = tl.program_id(0) * pixels + tl.arange(0, pixels)
    y = tl.program_id(1)
    sample = tl.program_id(2).to(tl.int64)
    c = tl.arange(0, whole_channels).to(tl.int64)  # a feature may have more than 2^31 elements
    present = (c < channels)[:, None] & (x < width)[None, :]
    q = tl.load(query + sample * qn + c[:, None] * qc + y * qy + x[None, :] * qx, mask=present, other=0.0)
    g = tl.load(grad + sample * gn + c[:, None] * gc + y * gy + x[None, :] * gx, mask=present, other=0.0)
    q, g = q.to(tl.float32), g.to(tl.float32)
    place = (sample * height + y) * width + x
    lse = tl.load(log_sum_exp + place, mask=x < width, other=0.0)
    mean = tl.load(expected + place, mask=x < width, other=0.0)
    sums = tl.zeros((whole_channels, pixels), tl.float32)
    for entry in range(window * window):
        row = y + entry // window - window // 2
        column = x + entry % window - window // 2
        inside = (c < channels)[:, None] & _inside(row, column, height, width)[None, :]
        k = tl.load(key + sample * kn + c[:, None] * kc + row * ky + column[None, :] * kx, mask=inside, other=0.0)
        v = tl.load(value + sample * vn + c[:, None] * vc + row * vy + column[None, :] * vx, mask=inside, other=0.0)
        k, v = k.to(tl.float32), v.to(tl.float32)
        weight = tl.exp(tl.sum(q * k, axis=0) - lse)
        slope = weight * (tl.sum(g * v, axis=0) - mean)
        sums += slope[None, :] * k
    result = sums.to(grad_query.dtype.element_ty)
    tl.store(grad_query + sample * on + c[:, None] * oc + y * oy + x[None, :] * ox, result, mask=present)


@triton.jit
def key_value_gradient_kernel(
    query, key, value, grad, log_sum_exp, expected, grad_key, grad_value, channels, height, width,
    qn, qc, qy, qx, kn, kc, ky, kx, vn, vc, vy, vx, gn, gc, gy, gx, on, oc, oy, ox,
    window: tl.constexpr, whole_channels: tl.constexpr, pixels: tl.constexpr,
):  # fmt: skip
    """Gather the gradients of keys and values from the pixels that look at them."""
    x = tl.program_id(0) * pixels + tl.arange(0, pixels)
    y = tl.program_id(1)
    sample = tl.program_id(2).to(tl.int64)
    c = tl.arange(0, whole_channels).to(tl.int64)  # a feature may have more than 2^31 elements
    present = (c < channels)[:, None] & (x < width)[None, :]
    k = tl.load(key + sample * kn + c[:, None] * kc + y * ky + x[None, :] * kx, mask=present, other=0.0)
    v = tl.load(value + sample * vn + c[:, None] * vc + y * vy + x[None, :] * vx, mask=present, other=0.0)
    k, v = k.to(tl.float32), v.to(tl.float32)
    key_sums = tl.zeros((whole_channels, pixels), tl.float32)
    value_sums = tl.zeros((whole_channels, pixels), tl.float32)
    for entry in range(window * window):
        row = y - (entry // window - window // 2)
        column = x - (entry % window - window // 2)
        looks = _inside(row, column, height, width)
        inside = (c < channels)[:, None] & looks[None, :]
        q = tl.load(query + sample * qn + c[:, None] * qc + row * qy + column[None, :] * qx, mask=inside, other=0.0)
        g = tl.load(grad + sample * gn + c[:, None] * gc + row * gy + column[None, :] * gx, mask=inside, other=0.0)
        q, g = q.to(tl.float32), g.to(tl.float32)
        place = (sample * height + row) * width + column
        lse = tl.load(log_sum_exp + place, mask=looks, other=0.0)
        mean = tl.load(expected + place, mask=looks, other=0.0)
        # Where no pixel looks, q and g are zeros, and so is what comes of them.
        weight = tl.exp(tl.sum(q * k, axis=0) - lse)
        slope = weight * (tl.sum(g * v, axis=0) - mean)
        key_sums += slope[None, :] * q
        value_sums += weight[None, :] * g
    at = sample * on + c[:, None] * oc + y * oy + x[None, :] * ox
    tl.store(grad_key + at, key_sums.to(grad_key.dtype.element_ty), mask=present)
    tl.store(grad_value + at, value_sums.to(grad_value.dtype.element_ty), mask=present)
