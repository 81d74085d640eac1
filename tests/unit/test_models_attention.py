"""Local attention: hand-computed values, gradients, precision, memory, devices."""

import math

import pytest
import torch

from arseg.errors import DataError
from arseg.models import attention
from arseg.models.attention import local_attention


def random_inputs(*shape, dtype=torch.float32, requires_grad=False, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_(requires_grad)
        for _ in range(3)
    ]


def test_uniform_similarity_averages_the_window_with_zeros_outside():
    # Zero queries make all nine similarities zero, inside the picture as outside.
    value = torch.tensor([[[[9.0, 18.0, 27.0]]]])
    attended = local_attention(torch.zeros_like(value), torch.ones_like(value), value, window=3)
    torch.testing.assert_close(attended, torch.tensor([[[[3.0, 6.0, 5.0]]]]))


def test_one_pixel_competes_with_the_border():
    # One pixel, similarity ln 8, eight border entries of similarity zero: weight 8 / (8 + 8).
    query = torch.tensor([[[[math.log(8.0)]]]])
    attended = local_attention(query, torch.ones(1, 1, 1, 1), torch.full((1, 1, 1, 1), 5.0), window=3)
    assert attended.item() == pytest.approx(2.5)


def test_similarity_is_not_scaled_by_the_channels():
    query = torch.full((1, 4, 1, 1), math.log(8.0) / 4)
    attended = local_attention(query, torch.ones(1, 4, 1, 1), torch.ones(1, 4, 1, 1), window=3)
    torch.testing.assert_close(attended, torch.full((1, 4, 1, 1), 0.5))


@pytest.mark.parametrize(("size", "window"), [((3, 4), 3), ((2, 3), 5)])
def test_gradients_in_double_precision(size, window):
    inputs = random_inputs(2, 3, *size, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *qkv: local_attention(*qkv, window), inputs)


def test_strips_change_nothing(monkeypatch):
    inputs = random_inputs(2, 5, 11, 6, requires_grad=True)
    whole = local_attention(*inputs)
    gradients = torch.autograd.grad(whole.square().sum(), inputs)
    for row_count in (1, 4):
        monkeypatch.setattr(attention, "_STRIP_BYTES", row_count * 2 * 5 * 6 * 4)
        strips = local_attention(*inputs)
        torch.testing.assert_close(strips, whole)
        for found, wanted in zip(torch.autograd.grad(strips.square().sum(), inputs), gradients, strict=True):
            torch.testing.assert_close(found, wanted)


def test_only_inputs_and_weights_are_kept():
    inputs = random_inputs(1, 16, 12, 10, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.numel()) or x, lambda x: x):
        local_attention(*inputs)
    assert sum(kept) == 3 * 16 * 12 * 10 + 49 * 12 * 10


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_close_to_single(dtype):
    inputs = [0.5 * x for x in random_inputs(1, 32, 16, 12)]
    halved = [x.to(dtype).requires_grad_() for x in inputs]
    attended = local_attention(*halved)
    assert attended.dtype == dtype
    # Compare on the rounded inputs: what is left is the rounding of the result, half of 2^-7 of its size.
    rounded = [x.detach().float().requires_grad_() for x in halved]
    wanted = local_attention(*rounded)
    torch.testing.assert_close(attended.float(), wanted, rtol=2**-8, atol=1e-6)
    attended.float().square().sum().backward()
    wanted.square().sum().backward()
    for found, single in zip(halved, rounded, strict=True):
        assert found.grad.dtype == dtype
        torch.testing.assert_close(found.grad.float(), single.grad, rtol=2e-2, atol=2e-2)


@pytest.mark.needs_cuda
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_cuda_agrees_with_cpu(dtype):
    on_cpu = random_inputs(2, 16, 40, 30, dtype=dtype, requires_grad=True)
    on_cuda = [x.detach().cuda().requires_grad_() for x in on_cpu]
    results = []
    for inputs in (on_cpu, on_cuda):
        attended = local_attention(*inputs)
        attended.float().square().sum().backward()
        results.append([attended.detach().cpu().float(), *(x.grad.cpu().float() for x in inputs)])
    # bfloat16 results may round to neighbouring numbers, 2^-7 apart.
    tolerance = {torch.float32: 1e-4, torch.bfloat16: 2**-6}[dtype]
    for cpu, cuda in zip(*results, strict=True):
        torch.testing.assert_close(cuda, cpu, rtol=tolerance, atol=tolerance)


def test_other_shapes_and_windows_are_refused():
    query, key, value = random_inputs(1, 3, 4, 5)
    with pytest.raises(DataError, match=r"key \(1, 3, 4, 4\).*one shape \(N, C, H, W\)"):
        local_attention(query, key[..., 1:], value)
    with pytest.raises(DataError, match="window 4: expected an odd side length"):
        local_attention(query, key, value, window=4)
