"""Composition against motion that the published pre-processing made from two HEVC clips: equality."""

from pathlib import Path

import numpy as np
import pytest

from arseg.motion.compose import compose_motion

DATA = Path(__file__).parent / "data" / "motion"


@pytest.fixture(params=["clip_000", "clip_060"])
def clip(request):
    with np.load(DATA / f"{request.param}.npz") as arrays:
        return dict(arrays)


def compose(clip, ref_idx):
    # Both are constant on 4x4 blocks; the files count references from 0 and mark intra blocks by -1.
    ref_back = (ref_idx[:, ::4, ::4] + 1).astype(np.uint8)
    return compose_motion(clip["mv"][:, ::4, ::4], ref_back, *clip["mv"].shape[1:3])


def test_composed_motion_equals_the_published(clip):
    np.testing.assert_array_equal(compose(clip, clip["ref_idx"]), clip["merged"])


def test_data_tell_reference_frames_apart(clip):
    only_previous = compose(clip, np.minimum(clip["ref_idx"], 0))
    differs = (only_previous[11] != clip["merged"][11]).any(axis=-1)
    assert differs.mean() > 0.3, "the golden clips would not notice a reader that ignores the reference index"
