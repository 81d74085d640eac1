"""The HEVC reader against vectors that the published programs' decoder reads from three clips: equality."""

from pathlib import Path

import numpy as np
import pytest

from arseg.codec.decode import read_clip, read_frames
from arseg.codec.frame import NO_REFERENCE, PredictionMode
from arseg.codec.stream import split_bitstream

pytestmark = pytest.mark.usefixtures("hevc_reader")

DATA = Path(__file__).parent / "data" / "motion"


@pytest.fixture(params=["clip_000", "clip_030", "clip_060"])
def clip(request):
    """The bitstream, and its arrays at every fourth pixel: they are constant on 4x4 blocks."""
    bitstream = (DATA / f"{request.param}.hevc").read_bytes()
    with np.load(DATA / f"{request.param}.npz") as arrays:
        return bitstream, arrays["mv"][:, ::4, ::4], arrays["ref_idx"][:, ::4, ::4].astype(np.int32)


def test_vectors_and_references_equal_the_published(clip):
    bitstream, vectors, ref_idx = clip
    decoded = list(read_frames(split_bitstream(bitstream, "hevc")))
    assert [frame.poc for frame in decoded] == list(range(12))
    assert "".join(frame.kind for frame in decoded) == "IPPPPPPPPPPP"
    for frame in decoded:
        np.testing.assert_array_equal(frame.vectors_qpel[0], vectors[frame.index])
        expected = np.where(ref_idx[frame.index] < 0, NO_REFERENCE, frame.poc - 1 - ref_idx[frame.index])
        np.testing.assert_array_equal(frame.ref_poc[0], expected)
        np.testing.assert_array_equal(frame.mode == PredictionMode.INTRA, ref_idx[frame.index] < 0)
        assert (frame.ref_poc[1] == NO_REFERENCE).all()


def test_clip_counts_frames_back(clip):
    bitstream, vectors, ref_idx = clip
    decoded = read_clip(bitstream, "hevc")
    np.testing.assert_array_equal(decoded.block_vectors_qpel, vectors)
    np.testing.assert_array_equal(decoded.block_ref_back, ref_idx + 1)
    assert set(np.unique(decoded.block_ref_back)) == {0, 1, 2, 3}
