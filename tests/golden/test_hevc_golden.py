"""The HEVC reader against vectors that the published programs' decoder reads from three clips: equality."""

from pathlib import Path

import numpy as np
import pytest

from arseg.codec.decode import read_clip, read_pictures
from arseg.codec.picture import NO_REFERENCE, PredictionMode
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
    pictures = list(read_pictures(split_bitstream(bitstream, "hevc")))
    assert [picture.poc for picture in pictures] == list(range(12))
    assert "".join(picture.kind for picture in pictures) == "IPPPPPPPPPPP"
    for picture in pictures:
        np.testing.assert_array_equal(picture.motion_qpel[0], vectors[picture.index])
        expected = np.where(ref_idx[picture.index] < 0, NO_REFERENCE, picture.poc - 1 - ref_idx[picture.index])
        np.testing.assert_array_equal(picture.ref_poc[0], expected)
        np.testing.assert_array_equal(picture.mode == PredictionMode.INTRA, ref_idx[picture.index] < 0)
        assert (picture.ref_poc[1] == NO_REFERENCE).all()


def test_clip_counts_pictures_back(clip):
    bitstream, vectors, ref_idx = clip
    decoded = read_clip(bitstream, "hevc")
    np.testing.assert_array_equal(decoded.block_motion_qpel, vectors)
    np.testing.assert_array_equal(decoded.block_ref_back, ref_idx + 1)
    assert set(np.unique(decoded.block_ref_back)) == {0, 1, 2, 3}
