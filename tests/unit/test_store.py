import multiprocessing
import os
import pickle
from dataclasses import replace

import h5py
import numpy as np
import pytest

import arseg
from arseg.errors import StoreError
from arseg.spec import Encoding
from arseg.stages import STAGES
from arseg.store import FORMAT_VERSION, ClipIdentity, ClipStore, StoreAttributes
from arseg.store_writer import create_stores

ATTRIBUTES = StoreAttributes(
    dataset="camvid",
    split="test",
    manifest_digest="0123abcd",
    encoding=Encoding("h264"),
    distance=3,
    shard=1,
    num_shards=4,
)
IDENTITIES = [
    ClipIdentity("0001TP", 31 + 30 * i, 28 + 30 * i, f"frames/ä{i}.png", f"frames/key{i}.png", f"labels/{i}.png")
    for i in range(3)
]


def arrays(index, height=24, width=36):
    generator = np.random.default_rng(index)
    return {
        "keyframe": generator.integers(0, 256, (height, width, 3), np.uint8),
        "frame": generator.integers(0, 256, (height, width, 3), np.uint8),
        "motion_qpel": generator.integers(-32768, 32768, (height, width, 2), np.int16),
        "intra": generator.random((-(-height // 4), -(-width // 4))) < 0.5,
        "evidence": generator.integers(0, 256, (-(-height // 4), -(-width // 4), 3), np.uint8),
    }


def write_store(path, attributes=ATTRIBUTES, identities=IDENTITIES, order=(2, 0, 1)):
    with create_stores({path: (attributes, identities)}) as writers:
        writers[path].record_encoder("x264 - core 0", "ref=1")
        for index in order:
            writers[path].write(index, **arrays(index))


@pytest.fixture
def path(tmp_path):
    write_store(tmp_path / "store.h5")
    return tmp_path / "store.h5"


def assert_is_sample(sample, index):
    for name, value in arrays(index).items():
        stored = getattr(sample, name)
        np.testing.assert_array_equal(stored, value)
        assert stored.dtype == value.dtype
    assert sample.identity == IDENTITIES[index]


def test_what_is_written_comes_back_with_what_wrote_it(path):
    """Whatever is written, in any order: tests/property."""
    with ClipStore(path) as store:
        for index in (1, 0, 2):
            assert_is_sample(store.read(index), index)
        np.testing.assert_array_equal(store.read_motion(2), arrays(2)["motion_qpel"])
        with pytest.raises(IndexError, match=r"store.h5: sample 3 of 3"):
            store.read(3)
        attributes = store.attributes
    assert attributes == replace(ATTRIBUTES, encoder="x264 - core 0", encoder_parameters="ref=1")
    assert type(attributes.distance) is int
    assert attributes.format_version == FORMAT_VERSION
    assert (attributes.stage, attributes.arseg_version) == (STAGES["clips"], arseg.__version__)


def test_layout_is_the_documented_one(path):
    with h5py.File(path) as file:
        layout = {name: (item.shape, item.dtype, item.chunks) for name, item in file.items() if name != "identity"}
        assert layout == {
            "keyframe": ((3, 24, 36, 3), np.uint8, (1, 24, 36, 3)),
            "frame": ((3, 24, 36, 3), np.uint8, (1, 24, 36, 3)),
            "motion_qpel": ((3, 24, 36, 2), np.int16, (1, 24, 36, 1)),
            "intra": ((3, 6, 9), np.bool_, (1, 6, 9)),
            "evidence": ((3, 6, 9, 3), np.uint8, (1, 6, 9, 3)),
        }
        assert all("axes" in file[name].attrs for name in layout)
        assert "quarter pixel" in file["motion_qpel"].attrs["axes"].decode()
        assert file["identity/image"].asstr()[1] == "frames/ä1.png"
        assert file.attrs["complete"]
        assert [file[name].compression for name in layout] == ["gzip"] * 5
        assert [name for name in layout if file[name].shuffle] == ["motion_qpel"]
        for name in layout:  # by HDF5's own filters, without this package
            np.testing.assert_array_equal(file[name][2], arrays(2)[name])


def test_same_samples_give_the_same_bytes(path, tmp_path):
    write_store(tmp_path / "again.h5")
    assert (tmp_path / "again.h5").read_bytes() == path.read_bytes()


def test_at_distance_0_there_is_the_frame_and_nothing_else(tmp_path, path):
    write_store(tmp_path / "d00.h5", replace(ATTRIBUTES, distance=0))
    with h5py.File(tmp_path / "d00.h5") as file:
        assert file["keyframe"] == file["frame"]
        assert file["frame"].id.get_num_chunks() == 3
        assert [file[name].id.get_num_chunks() for name in ("motion_qpel", "intra", "evidence")] == [0, 0, 0]
    with ClipStore(tmp_path / "d00.h5") as store:
        sample = store.read(1)
    np.testing.assert_array_equal(sample.frame, arrays(1)["frame"])
    np.testing.assert_array_equal(sample.keyframe, arrays(1)["frame"])
    np.testing.assert_array_equal(sample.motion_qpel, np.zeros((24, 36, 2), np.int16))
    np.testing.assert_array_equal(sample.intra, np.ones((6, 9), bool))
    np.testing.assert_array_equal(sample.evidence, np.zeros((6, 9, 3)))


def test_imported_samples_may_lack_intra_blocks_and_evidence(tmp_path):
    with create_stores({tmp_path / "d03.h5": (ATTRIBUTES, IDENTITIES)}) as writers:
        for index in range(3):
            writers[tmp_path / "d03.h5"].write(index, **arrays(index) | {"intra": None, "evidence": None})
    with ClipStore(tmp_path / "d03.h5") as store:
        sample = store.read(1)
    assert sample.intra is sample.evidence is None
    with pytest.raises(StoreError, match=r"d03.h5: holds no evidence of the codec.* Delete the file and run again"):
        store.require_evidence()
    np.testing.assert_array_equal(sample.motion_qpel, arrays(1)["motion_qpel"])


def test_store_travels_to_other_processes(path):
    store = ClipStore(path)
    assert_is_sample(pickle.loads(pickle.dumps(store)).read(0), 0)  # before it is opened
    assert_is_sample(store.read(1), 1)
    assert_is_sample(pickle.loads(pickle.dumps(store)).read(2), 2)  # and after
    store.close()
    assert_is_sample(store.read(0), 0)  # opens again


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_forked_process_opens_the_file_again(path):
    with ClipStore(path) as store:
        handle = store._open().id.id
        queue = multiprocessing.get_context("fork").SimpleQueue()
        child = multiprocessing.get_context("fork").Process(
            target=lambda: queue.put((store._process, store.read(2), store._process))
        )
        child.start()
        before, sample, after = queue.get()
        child.join()
        assert (before, after) == (os.getpid(), child.pid)
        assert_is_sample(sample, 2)
        assert store._open().id.id == handle
        assert_is_sample(store.read(0), 0)


def set_attribute(path, name, value):
    with h5py.File(path, "a") as file:
        file.attrs[name] = value


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-2000]), r".*truncated.*Delete the file and run again"),
        (lambda path: path.write_text("no HDF5"), r"expected a clip store \(HDF5\)"),
        (lambda path: h5py.File(path, "w").close(), r".*an HDF5 file without its attributes"),
        (lambda path: path.unlink(), r"no such clip store. Make it: arseg clips"),
        (
            lambda path: set_attribute(path, "format_version", FORMAT_VERSION + 1),
            rf"expected clip store format {FORMAT_VERSION}, found {FORMAT_VERSION + 1}. Delete",
        ),
        (lambda path: set_attribute(path, "complete", False), r"expected a complete clip store"),
    ],
    ids=["truncated", "text", "foreign", "missing", "newer", "incomplete"],
)
def test_what_is_no_finished_store_is_refused(path, spoil, message):
    spoil(path)
    with pytest.raises(StoreError, match=rf"store\.h5: {message}"):
        len(ClipStore(path))


@pytest.mark.parametrize("version", [2, 3, 4])
def test_stores_of_earlier_versions_are_read(path, tmp_path, version):
    """They had no evidence; before version 4, an attribute for each setting of the encoding; in version 2, strings of
    variable length."""
    old = tmp_path / "old.h5"
    with h5py.File(path) as ours, h5py.File(old, "w") as theirs:
        for name, value in ours.attrs.items():
            theirs.attrs[name] = value.decode() if isinstance(value, bytes) else value
        encoding = ATTRIBUTES.encoding
        earlier = encoding.to_dict() | {"fps": 30, "references": 0, "encoding": encoding.name}
        for name, value in ((earlier if version < 4 else {}) | {"format_version": version}).items():
            theirs.attrs[name] = value
        for name in ours:
            if name not in ("identity", "evidence"):
                ours.copy(name, theirs)
        for name, column in ours["identity"].items():
            is_text = column.dtype.kind == "S" and version == 2
            dtype = h5py.string_dtype() if is_text else column.dtype
            theirs.create_dataset(f"identity/{name}", data=column.asstr()[:] if is_text else column[:], dtype=dtype)
    with ClipStore(old) as store, ClipStore(path) as new:
        sample = store.read(1)
        assert sample.evidence is None
        assert_is_sample(replace(sample, evidence=new.read_evidence(1)), 1)
        assert store.identities() == IDENTITIES
        assert replace(store.attributes, format_version=FORMAT_VERSION) == new.attributes


def test_everything_has_a_checksum(path):
    content = path.read_bytes()
    assert content[8] == 3  # of the superblock: since version 2 it has a checksum, as object headers then have
    # The heap of strings of variable length, and the structures of HDF5 before 1.8, have none.
    assert [mark for mark in (b"GCOL", b"TREE", b"HEAP", b"SNOD") if mark in content] == []
    with h5py.File(path) as file:
        filters = {name: (item.compression, item.fletcher32) for name, item in file["identity"].items()}
    assert set(filters.values()) == {("gzip", True)}


def write_first_samples(counts, failure=None):
    """Write the first `counts[path]` samples of each store, and perhaps fail then."""
    with create_stores(dict.fromkeys(counts, (ATTRIBUTES, IDENTITIES))) as writers:
        for path, count in counts.items():
            for index in range(count):
                writers[path].write(index, **arrays(index))
        if failure:
            raise failure


def test_failed_or_unfinished_writers_leave_no_file(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write_first_samples({tmp_path / "d00.h5": 1, tmp_path / "d01.h5": 0}, failure=KeyboardInterrupt())
    with pytest.raises(AssertionError, match=r"samples \[2\] were never written"):
        write_first_samples({tmp_path / "d00.h5": 3, tmp_path / "d01.h5": 2})
    assert list(tmp_path.iterdir()) == []


def test_frames_of_two_sizes_are_refused(tmp_path):
    path = tmp_path / "store.h5"
    with create_stores({path: (ATTRIBUTES, IDENTITIES[:2])}) as writers:
        writers[path].write(0, **arrays(0))
        message = r"frames/ä1.png: the frame has 40x24 pixels, those before it 36x24"
        with pytest.raises(StoreError, match=message):
            writers[path].write(1, **arrays(1, width=40))
        writers[path].write(1, **arrays(1))
