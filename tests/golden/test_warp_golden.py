"""Warping against the published programs (golden section D)."""

import pytest
import torch
from golden_weights import assert_matches, load_arrays

from arseg.models.warp import prepare_motion, warp

TOLERANCE = 3e-5


@pytest.fixture(scope="module")
def golden():
    return load_arrays("D_warp")


@pytest.mark.parametrize("case", ["zero", "integer", "constant", "quarterpel", "outside", "height1"])
def test_warp(golden, case):
    feature, motion = (torch.from_numpy(golden[f"{case}_{name}"]) for name in ("feature", "flow"))
    assert_matches(warp(feature, motion.double()), golden, f"{case}_out", TOLERANCE)
    # Single precision motion, as the networks may run with, stays within twice the tolerance.
    assert_matches(warp(feature, motion), golden, f"{case}_out", 2 * TOLERANCE)


@pytest.mark.parametrize("case", ["prep8", "prepodd", "prepanis"])
@pytest.mark.parametrize(("protocol", "mode"), [("eval", "bilinear"), ("train", "nearest")])
def test_motion_is_brought_to_the_feature(golden, case, protocol, mode):
    feature, motion_px = (torch.from_numpy(golden[f"{case}_{name}"]) for name in ("feature", "flow_px"))
    motion = prepare_motion(motion_px.double(), tuple(feature.shape[-2:]), mode)
    assert_matches(motion, golden, f"{case}_{protocol}_flow", TOLERANCE)
    assert_matches(warp(feature, motion), golden, f"{case}_{protocol}_out", TOLERANCE)
