import re
from dataclasses import replace
from pathlib import Path

import av
import h5py
import numpy as np
import pytest
from video_examples import encode_with, encode_with_x264, encode_with_x265, moving_texture

from arseg.codec.decode import read_clip, read_pictures
from arseg.codec.picture import NO_REFERENCE, PredictionMode
from arseg.codec.stream import split_bitstream
from arseg.errors import CodecError, MotionError, StoreError
from arseg.motion.compose import compose_motion
from arseg.motion.extract import extract_motion
from arseg.motion.file import MotionAttributes, MotionFile
from arseg.motion.file_writer import create_motion_file
from arseg.motion.video import KeyframeFollower

STEP = (3, 2)
HEIGHT, WIDTH = 96, 128
BLOCKS = HEIGHT // 4, WIDTH // 4
INTERIOR = np.s_[6:-6, 6:-6]
"""Blocks whose source is inside the picture."""
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


def agreeing(vectors, expected):
    return (vectors == np.asarray(expected)).all(axis=-1).mean()


def test_motion_of_a_known_translation_is_recorded(tmp_path):
    fragments = "-movflags", "frag_keyframe+empty_moov"
    parameters = "-x264-params", GOP.format(4)
    frames = moving_texture(10, HEIGHT, WIDTH, STEP)
    video = write(tmp_path / "own.mp4", encode_with("libx264", frames, *parameters, *fragments, form="mp4"))
    returned = extract_motion(video, tmp_path / "motion.h5", composed=True)
    attributes, pictures = read_all(tmp_path / "motion.h5")
    assert attributes == returned
    assert (attributes.source, attributes.codec, attributes.frames_per_second) == ("own.mp4", "h264", 30)
    assert (attributes.width, attributes.height, attributes.composed) == (WIDTH, HEIGHT, True)
    assert attributes.decoder == f"FFmpeg {av.ffmpeg_version_info} (PyAV {av.__version__})"
    assert "".join(picture.kind for picture in pictures) == "IPPPIPPPIP"
    assert [picture.keyframe_index for picture in pictures] == [0, 0, 0, 0, 4, 4, 4, 4, 8, 8]
    assert [picture.is_keyframe for picture in pictures] == [index in (0, 4, 8) for index in range(10)]
    for index, picture in enumerate(pictures):
        distance = index - picture.keyframe_index
        assert picture.poc == index
        assert picture.composed_qpel.shape == (HEIGHT, WIDTH, 2)
        assert agreeing(picture.composed_qpel[30:-30, 30:-30], np.multiply(STEP, 4 * distance)) > 0.9
        assert (picture.ref_poc[1] == NO_REFERENCE).all()
        if distance:
            assert agreeing(picture.motion_qpel[0][INTERIOR], np.multiply(STEP, 4)) > 0.9
            assert (picture.ref_poc[0][INTERIOR] == index - 1).mean() > 0.9
            assert (picture.mode[INTERIOR] == PredictionMode.INTER).mean() > 0.9
        else:
            assert (picture.mode == PredictionMode.INTRA).all()
            assert not picture.motion_qpel.any()
            assert not picture.composed_qpel.any()


@pytest.mark.parametrize("subpixel", [False, True])
def test_composition_is_that_of_clips(subpixel, tmp_path):
    bitstream = h264()
    extract_motion(write(tmp_path / "own.264", bitstream), tmp_path / "motion.h5", composed=True, subpixel=subpixel)
    attributes, pictures = read_all(tmp_path / "motion.h5")
    assert attributes.subpixel is subpixel
    clip = read_clip(bitstream, "h264")
    composed = compose_motion(clip.block_motion_qpel, clip.block_ref_back, HEIGHT, WIDTH, subpixel=subpixel)
    np.testing.assert_array_equal([picture.composed_qpel for picture in pictures], composed)
    np.testing.assert_array_equal([picture.motion_qpel[0] for picture in pictures], clip.block_motion_qpel)


@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (HEIGHT - 6, WIDTH - 2)])
def test_what_is_read_is_what_the_decoder_gave(size, tmp_path):
    bitstream = encode_with_x264(moving_texture(6, *size, STEP), "bframes=2:b-adapt=0:qp=18")
    extract_motion(write(tmp_path / "own.264", bitstream), tmp_path / "motion.h5")
    _, pictures = read_all(tmp_path / "motion.h5")
    assert "B" in {picture.kind for picture in pictures}
    for recorded, decoded in zip(pictures, read_pictures(split_bitstream(bitstream, "h264")), strict=True):
        for name in ("poc", "kind", "is_keyframe", "mode", "motion_qpel", "ref_poc"):
            np.testing.assert_array_equal(getattr(recorded, name), getattr(decoded, name))


def test_layout_is_the_documented_one(tmp_path):
    extract_motion(write(tmp_path / "own.264", h264(num_frames=3)), tmp_path / "motion.h5", composed=True)
    with h5py.File(tmp_path / "motion.h5") as file:
        layout = {name: (dataset.shape, str(dataset.dtype)) for name, dataset in file.items()}
        cells = HEIGHT // 8, WIDTH // 8  # FFmpeg exports no smaller blocks
        assert file.attrs["block_size"] == 8
        assert layout == {
            "poc": ((3,), "int32"),
            "kind": ((3,), "|S1"),
            "is_keyframe": ((3,), "bool"),
            "keyframe_index": ((3,), "int64"),
            "mode": ((3, *cells), "uint8"),
            "motion_qpel": ((3, 2, *cells, 2), "int16"),
            "ref_poc": ((3, 2, *cells), "int32"),
            "ref_back": ((3, *cells), "uint8"),
        }
        assert all(dataset.attrs["axes"] for dataset in file.values())
        assert h5py.check_enum_dtype(file["mode"].dtype) == {"INTRA": 0, "INTER": 1, "SKIP": 2}
        # The keyframe, and list 1 of P-pictures, take no room.
        stored = {name: file[name].id.get_num_chunks() for name in ("mode", "motion_qpel", "ref_poc", "ref_back")}
        assert set(stored.values()) == {2}


@needs_hevc
def test_hevc_tells_order_counts_and_skipped_blocks(tmp_path):
    frames = moving_texture(12, HEIGHT, WIDTH, STEP)
    bitstream = encode_with_x265(frames, "keyint=6:min-keyint=6:no-open-gop=1:scenecut=0:bframes=0:qp=18")
    video = write(tmp_path / "own.hevc", bitstream)
    extract_motion(video, tmp_path / "motion.h5", composed=True)
    attributes, pictures = read_all(tmp_path / "motion.h5")
    assert "libde265" in attributes.decoder
    assert [picture.poc for picture in pictures] == [0, 1, 2, 3, 4, 5] * 2
    assert [picture.keyframe_index for picture in pictures] == [0] * 6 + [6] * 6
    last = pictures[-1]
    back = 5 - last.ref_poc[0][INTERIOR]
    inter = last.mode[INTERIOR] != PredictionMode.INTRA
    assert set(np.unique(back[inter]).tolist()) <= {1, 2, 3}
    assert agreeing(last.motion_qpel[0][INTERIOR][inter], 4 * np.multiply(STEP, back[inter][:, None])) > 0.9
    assert agreeing(last.composed_qpel[30:-30, 30:-30], np.multiply(STEP, 20)) > 0.9
    assert (last.mode == PredictionMode.SKIP).any()


@needs_hevc
def test_composition_ends_for_good_at_the_first_bidirectional_picture(tmp_path):
    frames = moving_texture(6, HEIGHT, WIDTH, STEP)
    forward = encode_with_x265(frames, "keyint=6:bframes=0:qp=18")
    both = encode_with_x265(frames, "keyint=6:bframes=2:b-adapt=0:qp=18")
    extract_motion(write(tmp_path / "own.hevc", forward + both), tmp_path / "motion.h5", composed=True)
    attributes, pictures = read_all(tmp_path / "motion.h5")
    assert not attributes.composed
    assert attributes.composed_reason.startswith("picture 7 is a B-picture, which refers to later pictures. Encode")
    assert "".join(picture.kind for picture in pictures) == "IPPPPPIBBPBP"
    assert all(picture.composed_qpel is None for picture in pictures)
    assert agreeing(pictures[5].motion_qpel[0][INTERIOR][:4], np.multiply(STEP, 4)) > 0.5
    later = pictures[7].ref_poc[1] > pictures[7].poc
    assert later.any()
    assert pictures[7].motion_qpel[1][later].any()


def test_mpeg4_is_composed(tmp_path):
    frames = moving_texture(6, HEIGHT, WIDTH, STEP)
    video = write(tmp_path / "own.avi", encode_with("mpeg4", frames, "-q:v", "2", form="avi"))
    extract_motion(video, tmp_path / "motion.h5", composed=True)
    attributes, pictures = read_all(tmp_path / "motion.h5")
    assert (attributes.codec, attributes.composed) == ("mpeg4", True)
    assert agreeing(pictures[5].composed_qpel[30:-30, 30:-30], np.multiply(STEP, 20)) > 0.9


def test_only_what_is_asked_for_is_recorded(tmp_path):
    video = write(tmp_path / "own.264", h264())
    attributes = extract_motion(video, tmp_path / "motion.h5", max_frames=3)
    assert (attributes.composed, attributes.composed_reason) == (False, "not asked for")
    _, pictures = read_all(tmp_path / "motion.h5")
    assert len(pictures) == 3
    assert pictures[2].composed_qpel is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda: b"", r"own\.bin: cannot be read as a video"),
        (lambda: np.random.default_rng(0).bytes(10_000), r"own\.bin: cannot be read as a video"),
        (lambda: h264()[:-200], r"own\.bin: the h264 stream cannot be decoded"),
        (lambda: h264() + h264(size=(64, 80)), r"own\.bin: frame 10 has 80x64 pixels, those before it 128x96"),
        (
            lambda: encode_with("mjpeg", moving_texture(2, 32, 48, STEP), form="avi", pix_fmt="yuvj420p"),
            r"own\.bin: motion vectors of mjpeg cannot be read; they can of h264, hevc",
        ),
        (
            lambda: encode_with("libvpx-vp9", moving_texture(2, 32, 48, STEP), form="webm"),
            r"own\.bin: motion vectors of .*vp9 cannot be read",
        ),
    ],
    ids=["empty", "noise", "truncated", "resized", "mjpeg", "vp9"],
)
def test_what_cannot_be_read_is_refused_and_leaves_nothing(content, words, tmp_path):
    video = write(tmp_path / "own.bin", content())
    with pytest.raises(CodecError, match=words):
        extract_motion(video, tmp_path / "motion.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["own.bin"]


def test_nothing_is_followed_without_a_keyframe():
    first = next(read_pictures(split_bitstream(h264(), "h264")))
    with pytest.raises(MotionError, match="frame 0, the first, is not a keyframe"):
        KeyframeFollower().follow(replace(first, is_keyframe=False))


@pytest.mark.parametrize(("max_ref_back", "displacement"), [(1, 8), (2, 4)])
def test_a_follower_counts_what_lies_too_far_back_as_still(max_ref_back, displacement):
    keyframe, *_ = read_pictures(split_bitstream(h264(num_frames=1), "h264"))
    inter = np.full(BLOCKS, PredictionMode.INTER, np.uint8)
    first, second = (
        replace(
            keyframe,
            index=index,
            poc=index,
            kind="P",
            is_keyframe=False,
            mode=inter,
            motion_qpel=np.full((2, *BLOCKS, 2), vector, np.int16),
            ref_poc=np.zeros((2, *BLOCKS), np.int32),  # both from the keyframe
        )
        for index, vector in ((1, 8), (2, 4))
    )
    follower = KeyframeFollower(max_ref_back=max_ref_back)
    follower.follow(keyframe)
    follower.follow(first)
    assert (follower.follow(second)[:-2, :-2] == displacement).all()


@pytest.fixture
def recorded(tmp_path):
    extract_motion(write(tmp_path / "own.264", h264(num_frames=3)), tmp_path / "motion.h5", composed=True)
    return tmp_path / "motion.h5"


def test_picture_that_is_not_there(recorded):
    with MotionFile(recorded) as file, pytest.raises(IndexError, match=r"motion\.h5: picture 3 of 3"):
        file.read(3)


def test_files_that_are_no_motion_files_are_refused(recorded, tmp_path):
    with pytest.raises(StoreError, match=r"none\.h5: no such motion file. Make it: arseg motion VIDEO -o"):
        MotionFile(tmp_path / "none.h5")
    with pytest.raises(StoreError, match=r"own\.264: expected a motion file \(HDF5\)"):
        MotionFile(tmp_path / "own.264")
    with h5py.File(tmp_path / "other.h5", "w"):
        pass
    with pytest.raises(StoreError, match="an HDF5 file without its attributes"):
        MotionFile(tmp_path / "other.h5")
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
        with pytest.raises(StoreError, match=f"{name} of picture 1 is damaged"):
            file.read(1)


def test_motion_to_the_keyframe_is_the_same_in_any_order_of_reading(tmp_path):
    extract_motion(write(tmp_path / "own.264", h264(gop=6, num_frames=14)), tmp_path / "motion.h5", composed=True)
    _, pictures = read_all(tmp_path / "motion.h5")
    with MotionFile(tmp_path / "motion.h5") as file:
        for index in (13, 3, 4, 4, 2, 11, 6, 8, 0, 7):
            np.testing.assert_array_equal(file.read(index).composed_qpel, pictures[index].composed_qpel)


def test_a_long_video_is_written_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("arseg.motion.file_writer.ROWS_PER_CHUNK", 4)
    video = write(tmp_path / "own.264", h264(gop=6, num_frames=12))
    for length in (4, 9, 12):
        extract_motion(video, tmp_path / "motion.h5", max_frames=length)
        _, pictures = read_all(tmp_path / "motion.h5")
        assert [picture.poc for picture in pictures] == list(range(length))
        assert "".join(picture.kind for picture in pictures) == "IPPPPPIPPPPP"[:length]
        assert pictures[-1].motion_qpel.any()


def test_far_references_count_as_still(tmp_path):
    """What is further back than a decoder keeps pictures is not followed, nor stored as if it were."""
    picture, *_ = read_pictures(split_bitstream(h264(num_frames=1), "h264"))
    attributes = MotionAttributes("own.264", "h264", WIDTH, HEIGHT, 25.0, "none", composed=True)
    moving = replace(picture, index=1, kind="P", is_keyframe=False, motion_qpel=np.full((2, *BLOCKS, 2), 8, np.int16))
    with create_motion_file(tmp_path / "motion.h5", attributes) as writer:
        writer.append(picture, np.zeros(BLOCKS, np.uint8))
        writer.append(moving, np.full(BLOCKS, 16, np.uint8))
        writer.append(moving, np.full(BLOCKS, 17, np.uint8))
    _, (_, near, far) = read_all(tmp_path / "motion.h5")
    assert (near.composed_qpel[:-2, :-2] == 8).all()
    np.testing.assert_array_equal(far.composed_qpel, near.composed_qpel)
    with h5py.File(tmp_path / "motion.h5") as file:
        assert [int(references.max()) for references in file["ref_back"]] == [0, 16, 0]


@needs_hevc
def test_files_of_format_2_are_read(tmp_path):
    frames = moving_texture(3, HEIGHT, WIDTH, STEP)
    video = write(tmp_path / "own.hevc", encode_with_x265(frames, "bframes=0:qp=18"))
    recorded = tmp_path / "motion.h5"
    extract_motion(video, recorded, composed=True)
    _, pictures = read_all(recorded)
    with h5py.File(recorded, "a") as file:  # as it was written then
        file.attrs["format_version"] = 2
        del file.attrs["block_size"]
        file["composed_qpel"] = [picture.composed_qpel for picture in pictures]
        del file["ref_back"]
    attributes, found = read_all(recorded)
    assert attributes.format_version == 2
    for before, after in zip(pictures, found, strict=True):
        np.testing.assert_array_equal(before.motion_qpel, after.motion_qpel)
        np.testing.assert_array_equal(before.composed_qpel, after.composed_qpel)


@pytest.mark.parametrize("subpixel", [False, True])
def test_the_page_composes_as_arseg_does(subpixel, tmp_path, monkeypatch, capsys):
    """Runs the programs of docs/motion.md."""
    video = write(tmp_path / "own.264", h264(gop=6, num_frames=8, size=(HEIGHT - 2, WIDTH - 2)))
    extract_motion(video, tmp_path / "motion.h5", composed=True, subpixel=subpixel)
    _, pictures = read_all(tmp_path / "motion.h5")
    page = Path(__file__).parents[2].joinpath("docs/motion.md").read_text()
    look, compose, _ = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(look, "docs/motion.md", "exec"), names)
    assert capsys.readouterr().out.startswith("P mean length 3.")
    exec(compile(compose, "docs/motion.md", "exec"), names)
    with h5py.File("motion.h5") as file:
        composed = list(names["motion_to_keyframes"](file))
    for found, picture in zip(composed, pictures, strict=True):
        assert found.dtype == np.int16
        np.testing.assert_array_equal(found, picture.composed_qpel)
