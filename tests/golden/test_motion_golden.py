"""Composition against motion that the published pre-processing made from three HEVC clips: equality."""

from pathlib import Path

import numpy as np
import pytest
from motion_examples import compose_motion

DATA = Path(__file__).parent / "data" / "motion"


@pytest.fixture(params=["clip_000", "clip_030", "clip_060"])
def clip(request):
    with np.load(DATA / f"{request.param}.npz") as arrays:
        return dict(arrays)


def compose(clip, ref_idx, **options):
    # Both are constant on 4x4 blocks; the files count references from 0 and mark intra blocks by -1.
    ref_back = (ref_idx[:, ::4, ::4] + 1).astype(np.uint8)
    return compose_motion(clip["mv"][:, ::4, ::4], ref_back, *clip["mv"].shape[1:3], **options)


def test_composed_motion_equals_the_published(clip):
    np.testing.assert_array_equal(compose(clip, clip["ref_idx"]), clip["merged"])


def test_data_tell_reference_frames_apart(clip):
    only_previous = compose(clip, np.minimum(clip["ref_idx"], 0))
    differs = (only_previous[11] != clip["merged"][11]).any(axis=-1)
    assert differs.mean() > 0.3, "the golden clips would not notice a reader that ignores the reference index"


def test_composition_without_rounding_stays_near_the_published(clip):
    # Each of eleven steps rounds by at most half a pixel; where paths part they end on other objects.
    exact = compose(clip, clip["ref_idx"], subpixel=True)[11].astype(int)
    distance_qpel = np.abs(exact - clip["merged"][11]).max(axis=-1)
    assert (exact % 4).any()
    assert np.median(distance_qpel) < 11 * 2
