"""Warping: what must hold for any feature and any motion."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from arseg.errors import MotionError
from arseg.models.warp import prepare_motion, warp

# The first call into PyTorch can take seconds on a busy machine.
RELAXED = settings(deadline=None, max_examples=50)
SIDES = st.integers(2, 12)
SEEDS = st.integers(0, 2**16)


def random_feature(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def constant_motion(height, width, x, y, batch=1):
    return torch.tensor([x, y], dtype=torch.float64).expand(batch, height, width, 2)


@RELAXED
@given(height=st.integers(1, 12), width=st.integers(1, 12), seed=SEEDS)
def test_no_motion_is_the_identity_of_the_consistent_form(height, width, seed):
    feature = random_feature(seed, 2, 3, height, width)
    warped = warp(feature, constant_motion(height, width, 0, 0, batch=2), "consistent")
    torch.testing.assert_close(warped, feature, rtol=0, atol=1e-4)


@RELAXED
@given(height=SIDES, width=SIDES, x=st.integers(-5, 5), y=st.integers(-5, 5), seed=SEEDS)
def test_whole_pixels_shift_the_picture(height, width, x, y, seed):
    feature = random_feature(seed, 1, 2, height, width)
    warped = warp(feature, constant_motion(height, width, x, y), "consistent")
    rolled = feature.roll((-y, -x), dims=(2, 3))
    rows = slice(max(0, -y), max(0, height - max(0, y)))
    columns = slice(max(0, -x), max(0, width - max(0, x)))
    inside = (..., rows, columns)
    torch.testing.assert_close(warped[inside], rolled[inside], rtol=0, atol=1e-4)
    outside = torch.ones_like(feature, dtype=torch.bool)
    outside[inside] = False
    assert warped[outside].abs().sum() < 1e-3


@RELAXED
@given(height=SIDES, width=SIDES, seed=SEEDS, alignment=st.sampled_from(["published", "consistent"]))
def test_warping_is_linear_in_the_feature(height, width, seed, alignment):
    one, other = random_feature(seed, 2, 1, 2, height, width)
    motion = 3 * random_feature(seed + 1, 1, height, width, 2)
    together = warp(2 * one - other, motion, alignment)
    apart = 2 * warp(one, motion, alignment) - warp(other, motion, alignment)
    torch.testing.assert_close(together, apart)


@RELAXED
@given(
    height=SIDES,
    factor=st.integers(1, 4),
    x=st.floats(-20, 20),
    y=st.floats(-20, 20),
    mode=st.sampled_from(["bilinear", "nearest"]),
)
def test_constant_motion_scales_with_the_height(height, factor, x, y, mode):
    motion_px = constant_motion(height * factor, 3 * height, x, y)
    motion = prepare_motion(motion_px, (height, 7), mode)
    torch.testing.assert_close(motion, constant_motion(height, 7, x / factor, y / factor))


def test_low_precision_features_are_sampled_in_single_precision():
    feature = random_feature(0, 1, 4, 20, 300).bfloat16()
    motion = 10 * random_feature(1, 1, 20, 300, 2)
    warped = warp(feature, motion)
    assert warped.dtype == torch.bfloat16
    torch.testing.assert_close(warped, warp(feature.float(), motion).bfloat16())


def test_motion_that_does_not_fit_is_refused():
    with pytest.raises(MotionError, match=r"type torch.int16: expected floating-point pixels .* divide quarter"):
        prepare_motion(torch.zeros(1, 4, 4, 2, dtype=torch.int16), (2, 2), "bilinear")
    with pytest.raises(MotionError, match=r"shape \(1, 2, 4, 4\)"):
        prepare_motion(torch.zeros(1, 2, 4, 4), (2, 2), "bilinear")
    with pytest.raises(MotionError, match=r"expected \(1, 4, 5, 2\)"):
        warp(torch.zeros(1, 3, 4, 5), torch.zeros(1, 4, 4, 2))
