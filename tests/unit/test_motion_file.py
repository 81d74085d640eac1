import re
from dataclasses import replace
from pathlib import Path

import av
import h5py
import numpy as np
import pytest
from motion_examples import compose_clip
from video_examples import encode_with, encode_with_x264, encode_with_x265, moving_texture

from arseg.codec.decode import read_clip, read_frames
from arseg.codec.frame import NO_REFERENCE, PredictionMode
from arseg.codec.stream import split_bitstream
from arseg.errors import CodecError, MotionError, StoreError
from arseg.motion.extract import extract_motion
from arseg.motion.file import MotionAttributes, MotionFile
from arseg.motion.file_writer import create_motion_file
from arseg.motion.follow import KeyframeFollower

STEP = (3, 2)
HEIGHT, WIDTH = 96, 128
BLOCKS = HEIGHT // 4, WIDTH // 4
INTERIOR = np.s_[6:-6, 6:-6]
"""Blocks whose source is inside the frame."""
GOP = "keyint={}:min-keyint=1:scenecut=0:bframes=0:ref=1:qp=18"

needs_hevc = pytest.mark.usefixtures("hevc_reader")


def write(path, content):
    path.write_bytes(content)
    return str(path)


def h264(gop=99, num_frames=10, size=(HEIGHT, WIDTH)):
    return encode_with_x264(moving_texture(num_frames, *size, STEP), GOP.format(gop))


def read_all(path):
    with MotionFile(path) as file:
        return file.attributes, [file.read(index) for index in range(len(file))]


def record(folder, content, name="own.264", **options):
    """Record the motion of a video; return the file's attributes and frames."""
    extract_motion(write(folder / name, content), folder / "motion.h5", **options)
    return read_all(folder / "motion.h5")


def agreeing(vectors, expected):
    return (vectors == np.asarray(expected)).all(axis=-1).mean()


def test_motion_of_a_known_translation_is_recorded(tmp_path):
    fragments = "-movflags", "frag_keyframe+empty_moov"
    parameters = "-x264-params", GOP.format(4)
    frames = moving_texture(10, HEIGHT, WIDTH, STEP)
    video = write(tmp_path / "own.mp4", encode_with("libx264", frames, *parameters, *fragments, form="mp4"))
    returned = extract_motion(video, tmp_path / "motion.h5", composed=True)
    attributes, read = read_all(tmp_path / "motion.h5")
    assert attributes == returned
    assert (attributes.source, attributes.codec, attributes.frames_per_second) == ("own.mp4", "h264", 30)
    assert (attributes.width, attributes.height, attributes.composed) == (WIDTH, HEIGHT, True)
    assert attributes.decoder == f"FFmpeg {av.ffmpeg_version_info} (PyAV {av.__version__})"
    assert "".join(frame.kind for frame in read) == "IPPPIPPPIP"
    assert [frame.keyframe_index for frame in read] == [0, 0, 0, 0, 4, 4, 4, 4, 8, 8]
    assert [frame.is_keyframe for frame in read] == [index in (0, 4, 8) for index in range(10)]
    for index, frame in enumerate(read):
        distance = index - frame.keyframe_index
        assert frame.poc == index
        assert frame.motion_qpel.shape == (HEIGHT, WIDTH, 2)
        assert agreeing(frame.motion_qpel[30:-30, 30:-30], np.multiply(STEP, 4 * distance)) > 0.9
        assert (frame.ref_poc[1] == NO_REFERENCE).all()
        if distance:
            assert agreeing(frame.vectors_qpel[0][INTERIOR], np.multiply(STEP, 4)) > 0.9
            assert (frame.ref_poc[0][INTERIOR] == index - 1).mean() > 0.9
            assert (frame.mode[INTERIOR] == PredictionMode.INTER).mean() > 0.9
        else:
            assert (frame.mode == PredictionMode.INTRA).all()
            assert not frame.vectors_qpel.any()
            assert not frame.motion_qpel.any()


@pytest.mark.parametrize("subpixel", [False, True])
def test_composition_is_that_of_clips(subpixel, tmp_path):
    bitstream = h264()
    attributes, read = record(tmp_path, bitstream, composed=True, subpixel=subpixel)
    assert attributes.subpixel is subpixel
    clip = read_clip(bitstream, "h264")
    composed = compose_clip(clip, subpixel=subpixel)
    np.testing.assert_array_equal([frame.motion_qpel for frame in read], composed)
    np.testing.assert_array_equal([frame.vectors_qpel[0] for frame in read], clip.block_vectors_qpel)


@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (HEIGHT - 6, WIDTH - 2)])
def test_what_is_read_is_what_the_decoder_gave(size, tmp_path):
    bitstream = encode_with_x264(moving_texture(6, *size, STEP), "bframes=2:b-adapt=0:qp=18")
    _, read = record(tmp_path, bitstream)
    assert "B" in {frame.kind for frame in read}
    for recorded, decoded in zip(read, read_frames(split_bitstream(bitstream, "h264")), strict=True):
        for name in ("poc", "kind", "is_keyframe", "mode", "vectors_qpel", "ref_poc"):
            np.testing.assert_array_equal(getattr(recorded, name), getattr(decoded, name))


def test_layout_is_the_documented_one(tmp_path):
    record(tmp_path, h264(num_frames=3), composed=True)
    with h5py.File(tmp_path / "motion.h5") as file:
        layout = {name: (dataset.shape, str(dataset.dtype)) for name, dataset in file.items()}
        cells = HEIGHT // 8, WIDTH // 8  # FFmpeg exports no smaller blocks
        assert file.attrs["block_size"] == 8
        assert layout == {
            "poc": ((3,), "int32"),
            "kind": ((3,), "|S1"),
            "is_keyframe": ((3,), "bool"),
            "keyframe_index": ((3,), "int64"),
            "is_damaged": ((3,), "bool"),
            "mode": ((3, *cells), "uint8"),
            "motion_qpel": ((3, 2, *cells, 2), "int16"),
            "ref_poc": ((3, 2, *cells), "int32"),
            "ref_back": ((3, *cells), "uint8"),
        }
        assert all(dataset.attrs["axes"] for dataset in file.values())
        assert h5py.check_enum_dtype(file["mode"].dtype) == {"INTRA": 0, "INTER": 1, "SKIP": 2}
        # The keyframe, and list 1 of P-frames, take no room.
        stored = {name: file[name].id.get_num_chunks() for name in ("mode", "motion_qpel", "ref_poc", "ref_back")}
        assert set(stored.values()) == {2}


@needs_hevc
def test_composition_ends_for_good_at_the_first_bidirectional_frame(tmp_path):
    frames = moving_texture(6, HEIGHT, WIDTH, STEP)
    forward = encode_with_x265(frames, "keyint=6:bframes=0:qp=18")
    both = encode_with_x265(frames, "keyint=6:bframes=2:b-adapt=0:qp=18")
    attributes, read = record(tmp_path, forward + both, "own.hevc", composed=True)
    assert "libde265" in attributes.decoder
    assert (attributes.composed, attributes.block_size) == (False, 4)
    assert attributes.composed_reason.startswith("frame 7 is a B-frame, which refers to later frames. Encode")
    assert "".join(frame.kind for frame in read) == "IPPPPPIBBPBP"
    assert all(frame.motion_qpel is None for frame in read)
    assert agreeing(read[5].vectors_qpel[0][INTERIOR][:4], np.multiply(STEP, 4)) > 0.5
    later = read[7].ref_poc[1] > read[7].poc
    assert later.any()
    assert read[7].vectors_qpel[1][later].any()


def test_only_what_is_asked_for_is_recorded(tmp_path):
    attributes, read = record(tmp_path, h264(), max_frames=3)
    assert (attributes.composed, attributes.composed_reason) == (False, "not asked for")
    assert len(read) == 3
    assert read[2].motion_qpel is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda: b"", r"own\.bin: cannot be read as a video"),
        (lambda: np.random.default_rng(0).bytes(10_000), r"own\.bin: cannot be read as a video"),
        (
            lambda: encode_with("mjpeg", moving_texture(2, 32, 48, STEP), form="avi", pix_fmt="yuvj420p"),
            r"own\.bin: motion vectors of mjpeg cannot be read; they can of flv1, h261",
        ),
        (
            lambda: encode_with("libvpx-vp9", moving_texture(2, 32, 48, STEP), form="webm"),
            r"own\.bin: motion vectors of .*vp9 cannot be read",
        ),
    ],
    ids=["empty", "noise", "mjpeg", "vp9"],
)
def test_what_cannot_be_read_is_refused_and_leaves_nothing(content, words, tmp_path):
    video = write(tmp_path / "own.bin", content())
    with pytest.raises(CodecError, match=words):
        extract_motion(video, tmp_path / "motion.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["own.bin"]


@pytest.mark.parametrize("composed", [False, True])
def test_a_video_whose_size_changes_is_recorded_in_parts(composed, tmp_path):
    first, second = h264(gop=4, num_frames=6), h264(gop=3, size=(64, 80), num_frames=5)
    attributes, read = record(tmp_path, first + second + first, composed=composed)
    assert (attributes.parts, attributes.width, attributes.height) == (3, WIDTH, HEIGHT)
    assert [frame.keyframe_index for frame in read] == [0, 0, 0, 0, 4, 4, 6, 6, 6, 9, 9, 11, 11, 11, 11, 15, 15]
    parts = [record(tmp_path, part, composed=composed)[1] for part in (first, second, first)]
    alone = [frame for part in parts for frame in part]
    for found, expected in zip(read, alone, strict=True):
        assert (found.height, found.width) == (expected.height, expected.width)
        np.testing.assert_array_equal(found.vectors_qpel, expected.vectors_qpel)
        np.testing.assert_array_equal(found.motion_qpel, expected.motion_qpel)


@needs_hevc
def test_composition_that_ends_in_a_later_part_is_left_out_of_all(tmp_path):
    frames = moving_texture(4, 64, 80, STEP)
    both = encode_with_x265(frames, "keyint=6:bframes=2:b-adapt=0:qp=18")
    forward = encode_with_x265(moving_texture(4, HEIGHT, WIDTH, STEP), "keyint=6:bframes=0:qp=18")
    attributes, read = record(tmp_path, forward + both + forward, "own.hevc", composed=True)
    assert (attributes.parts, attributes.composed) == (3, False)
    assert attributes.composed_reason.startswith("frame 5 is a B-frame")
    assert all(frame.motion_qpel is None for frame in read)


def test_damaged_frames_are_marked_and_have_no_motion_to_a_keyframe(tmp_path):
    packets = [bytes(packet) for packet in split_bitstream(h264(gop=5, num_frames=15), "h264").packets]
    packets[7] = packets[7][: len(packets[7]) // 2]
    attributes, read = record(tmp_path, b"".join(packets), composed=True)
    assert (attributes.frames_lost, attributes.frames_damaged, attributes.composed) == (0, 3, True)
    assert [index for index, frame in enumerate(read) if frame.is_damaged] == [7, 8, 9]
    assert [frame.keyframe_index for frame in read] == [*[0] * 5, 5, 5, -1, -1, -1, *[10] * 5]
    assert [index for index, frame in enumerate(read) if frame.motion_qpel is None] == [7, 8, 9]
    for index in (4, 6, 14):
        expected = np.multiply(STEP, 4 * (index % 5))
        assert agreeing(read[index].motion_qpel[30:-30, 30:-30], expected) > 0.9


def test_nothing_is_followed_without_a_keyframe():
    first = next(read_frames(split_bitstream(h264(), "h264")))
    with pytest.raises(MotionError, match="frame 0, the first, is not a keyframe"):
        KeyframeFollower().follow(replace(first, is_keyframe=False))


@pytest.fixture
def recorded(tmp_path):
    record(tmp_path, h264(num_frames=3), composed=True)
    return tmp_path / "motion.h5"


def test_files_that_are_no_motion_files_are_refused(recorded, tmp_path):
    with MotionFile(recorded) as file, pytest.raises(IndexError, match=r"motion\.h5: frame 3 of 3"):
        file.read(3)
    with h5py.File(tmp_path / "other.h5", "w"):
        pass
    for name, words in {
        "none.h5": r"none\.h5: no such motion file. Make it: arseg motion VIDEO -o",
        "own.264": r"own\.264: expected a motion file \(HDF5\)",
        "other.h5": "an HDF5 file without its attributes",
    }.items():
        with pytest.raises(StoreError, match=words):
            MotionFile(tmp_path / name)
    with h5py.File(recorded, "a") as file:
        del file.attrs["complete"]
    with pytest.raises(StoreError, match="one whose writer was interrupted"):
        MotionFile(recorded)
    with h5py.File(recorded, "a") as file:
        file.attrs["format_version"] = 99
    with pytest.raises(StoreError, match="expected motion file format 3, found 99"):
        MotionFile(recorded)


@pytest.mark.parametrize("name", ["mode", "motion_qpel", "ref_poc", "ref_back"])
def test_damage_is_noticed(name, recorded):
    with h5py.File(recorded) as file:
        place = file[name].id.get_chunk_info(0)
    content = bytearray(recorded.read_bytes())
    content[place.byte_offset + place.size // 2] ^= 255
    recorded.write_bytes(content)
    with MotionFile(recorded) as file:
        file.read(0)
        with pytest.raises(StoreError, match=f"{name} of frame 1 is damaged"):
            file.read(1)


def test_motion_to_the_keyframe_is_the_same_in_any_order_of_reading(tmp_path):
    _, read = record(tmp_path, h264(gop=6, num_frames=14), composed=True)
    with MotionFile(tmp_path / "motion.h5") as file:
        for index in (13, 3, 4, 4, 2, 11, 6, 8, 0, 7):
            np.testing.assert_array_equal(file.read(index).motion_qpel, read[index].motion_qpel)


def test_a_long_video_is_written_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("arseg.motion.file_writer.ROWS_PER_CHUNK", 4)
    for length in (4, 9, 12):
        _, read = record(tmp_path, h264(gop=6, num_frames=12), max_frames=length)
        assert [frame.poc for frame in read] == list(range(length))
        assert "".join(frame.kind for frame in read) == "IPPPPPIPPPPP"[:length]
        assert read[-1].vectors_qpel.any()


def test_far_references_count_as_still(tmp_path):
    """What is further back than a decoder keeps frames is not followed, nor stored as if it were."""
    frame, *_ = read_frames(split_bitstream(h264(num_frames=1), "h264"))
    attributes = MotionAttributes("own.264", "h264", WIDTH, HEIGHT, 25.0, "none", composed=True)
    moving = replace(frame, index=1, kind="P", is_keyframe=False, vectors_qpel=np.full((2, *BLOCKS, 2), 8, np.int16))
    with create_motion_file(tmp_path / "motion.h5", attributes) as writer:
        writer.append(frame, np.zeros(BLOCKS, np.uint8))
        writer.append(moving, np.full(BLOCKS, 16, np.uint8))
        writer.append(moving, np.full(BLOCKS, 17, np.uint8))
    _, (_, near, far) = read_all(tmp_path / "motion.h5")
    assert (near.motion_qpel[:-2, :-2] == 8).all()
    np.testing.assert_array_equal(far.motion_qpel, near.motion_qpel)
    with h5py.File(tmp_path / "motion.h5") as file:
        assert [int(references.max()) for references in file["ref_back"]] == [0, 16, 0]


@needs_hevc
def test_files_of_format_2_are_read(tmp_path):
    frames = moving_texture(3, HEIGHT, WIDTH, STEP)
    _, read = record(tmp_path, encode_with_x265(frames, "bframes=0:qp=18"), "own.hevc", composed=True)
    recorded = tmp_path / "motion.h5"
    with h5py.File(recorded, "a") as file:  # as it was written then
        file.attrs["format_version"] = 2
        del file.attrs["block_size"]
        file["composed_qpel"] = [frame.motion_qpel for frame in read]
        del file["ref_back"]
    attributes, found = read_all(recorded)
    assert attributes.format_version == 2
    for before, after in zip(read, found, strict=True):
        np.testing.assert_array_equal(before.vectors_qpel, after.vectors_qpel)
        np.testing.assert_array_equal(before.motion_qpel, after.motion_qpel)


@pytest.mark.parametrize("subpixel", [False, True])
def test_the_page_composes_as_arseg_does(subpixel, tmp_path, monkeypatch, capsys):
    """Runs the programs of docs/motion.md."""
    content = h264(gop=6, num_frames=8, size=(HEIGHT - 2, WIDTH - 2))
    _, read = record(tmp_path, content, composed=True, subpixel=subpixel)
    page = Path(__file__).parents[2].joinpath("docs/motion.md").read_text()
    look, compose, _ = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(look, "docs/motion.md", "exec"), names)
    assert capsys.readouterr().out.startswith("P mean length 3.")
    exec(compile(compose, "docs/motion.md", "exec"), names)
    with h5py.File("motion.h5") as file:
        composed = list(names["motion_to_keyframes"](file))
    for found, frame in zip(composed, read, strict=True):
        assert found.dtype == np.int16
        np.testing.assert_array_equal(found, frame.motion_qpel)
