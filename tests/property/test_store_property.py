from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from arseg.codec.frame import num_blocks
from arseg.spec import Encoding, Rate
from arseg.store import ClipIdentity, ClipSample, ClipStore, StoreAttributes
from arseg.store_writer import create_stores

ARRAYS = ("keyframe", "frame", "motion_qpel", "intra", "evidence")
words = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
counts = st.integers(0, 2**31)


@st.composite
def samples(draw):
    """Samples of one size, with any pixels, vectors, paths and numbers."""
    height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    identity = st.builds(ClipIdentity, words, counts, st.integers(-100, 2**31), words, words, words)
    sample = st.builds(
        ClipSample,
        keyframe=hnp.arrays(np.uint8, (height, width, 3)),
        frame=hnp.arrays(np.uint8, (height, width, 3)),
        motion_qpel=hnp.arrays(np.int16, (height, width, 2)),
        intra=hnp.arrays(np.bool_, (num_blocks(height), num_blocks(width))),
        identity=identity,
        evidence=hnp.arrays(np.uint8, (num_blocks(height), num_blocks(width), 3)),
    )
    return draw(st.lists(sample, max_size=4))


encodings = st.builds(
    Encoding,
    codec=st.just("hevc"),
    rate=st.builds(Rate, st.sampled_from(["3000k", "qp27", "crf23"])),
    gop=st.integers(2, 2**31),
    fps=st.fractions(min_value=1, max_value=240),
    preset=st.sampled_from(["ultrafast", "medium", "placebo"]),
    references=st.none() | st.integers(1, 16),
    parameters=st.sampled_from(["", "aq-mode=1:psy-rd=0"]),
    tail=st.sampled_from(["gop", "annotated"]),
    subpixel=st.booleans(),
)

attributes = st.builds(
    StoreAttributes,
    **dict.fromkeys(["dataset", "split", "manifest_digest", "encoder", "encoder_parameters"], words),
    **dict.fromkeys(["shard", "num_shards"], counts),
    encoding=encodings,
    distance=st.integers(1, 11),
)


@settings(deadline=None, max_examples=40)  # each example writes and reads a file
@given(samples(), attributes, st.randoms(use_true_random=False))
def test_what_is_written_is_read(written, stored_attributes, random):
    order = random.sample(range(len(written)), len(written))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "store.h5"
        with create_stores({path: (stored_attributes, [sample.identity for sample in written])}) as writers:
            for index in order:
                writers[path].write(index, **{name: getattr(written[index], name) for name in ARRAYS})
        with ClipStore(path) as store:
            assert len(store) == len(written)
            assert store.attributes == stored_attributes
            assert store.identities() == [sample.identity for sample in written]
            for index, sample in enumerate(written):
                read = store.read(index)
                assert read.identity == sample.identity
                for name in ARRAYS:
                    np.testing.assert_array_equal(getattr(read, name), getattr(sample, name))
