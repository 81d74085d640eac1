import gc
import subprocess
from itertools import pairwise

import numpy as np
import pytest
from av.packet import Packet
from av.video.frame import VideoFrame
from motion_examples import compose_clip, rgb_of
from video_examples import encode_with, encode_with_x264, moving_texture

from arseg.codec import exported
from arseg.codec.decode import read_clip, read_frames
from arseg.codec.encode import encode_clip
from arseg.codec.ffmpeg import find_ffmpeg
from arseg.codec.frame import NO_REFERENCE, UNKNOWN_REFERENCE, PredictionMode, num_blocks
from arseg.codec.stream import PacketStream, open_video, split_bitstream
from arseg.errors import CodecError, MotionError
from arseg.spec import Encoding

HIGH_QUALITY = Encoding("h264", "qp18")


@pytest.fixture(params=["h264", "hevc"])
def codec(request):
    if request.param == "hevc":
        request.getfixturevalue("hevc_reader")
    return request.param


@pytest.mark.parametrize("step", [(3, 2), (-4, 1), (0, -2)])
def test_motion_of_a_known_translation_is_found(step, codec):
    frames = moving_texture(6, 112, 144, step)
    clip = read_clip(encode_clip(frames, Encoding(codec, "qp18")).bitstream, codec)
    back = clip.block_ref_back[1:, 6:-6, 6:-6, None]
    expected = back * np.multiply(step, 4)
    assert (clip.block_vectors_qpel[1:, 6:-6, 6:-6] == expected).all(axis=-1).mean() > 0.9
    assert (back == 1 if codec == "h264" else back > 0).mean() > 0.9
    composed = compose_clip(clip)
    assert (composed[5, 30:-30, 30:-30] == np.multiply(step, 4 * 5)).all(axis=-1).mean() > 0.9


def test_frame_is_predicted_whatever_the_size_of_its_blocks():
    # Two textures that move apart: blocks at their border are split, and all four block shapes occur.
    frames = moving_texture(8, 96, 160, (2, 0))
    frames[:, 20:70, 45:101] = moving_texture(8, 50, 56, (-3, 2), seed=1)
    clip = read_clip(encode_clip(frames, Encoding("h264", "qp18", preset="slow")).bitstream, "h264")
    mover = clip.block_vectors_qpel[2:, 8:14, 14:20]
    assert (mover == (-12, 8)).all(axis=-1).mean() > 0.8
    still = clip.block_vectors_qpel[2:, 3:20, 32:36]
    assert (still == (8, 0)).all(axis=-1).mean() > 0.8


def test_arrays_have_the_documented_form():
    # 50x38 is no multiple of macroblocks or of 4: vectors reach beyond the displayed frame.
    frames = moving_texture(3, 38, 50, (1, 0))
    clip = read_clip(encode_clip(frames, HIGH_QUALITY).bitstream, "h264")
    assert (rgb_of(clip).shape, rgb_of(clip).dtype) == (frames.shape, np.uint8)
    assert (clip.block_vectors_qpel.shape, clip.block_vectors_qpel.dtype) == ((3, 10, 13, 2), np.int16)
    assert (clip.block_ref_back.shape, clip.block_ref_back.dtype) == ((3, 10, 13), np.uint8)
    assert not clip.block_ref_back[0].any()
    assert not clip.block_vectors_qpel[clip.block_ref_back == 0].any()
    assert (num_blocks(38), num_blocks(40), num_blocks(41)) == (10, 10, 11)


@pytest.mark.parametrize("color", [(0, 0, 0), (255, 255, 255), (128, 128, 128), (200, 30, 40), (20, 90, 220)])
def test_colors_survive_the_way_there_and_back(color):
    # BT.709 or full range on one of the two ways would be off by 10 and more for the saturated colours.
    frames = np.broadcast_to(np.array(color, np.uint8), (2, 32, 32, 3))
    clip = read_clip(encode_clip(frames, Encoding("h264", "qp4")).bitstream, "h264")
    np.testing.assert_allclose(rgb_of(clip).astype(int), frames, atol=3)


def test_scene_cut_becomes_a_frame_of_intra_blocks():
    frames = np.concatenate([moving_texture(4, 64, 96, (1, 0)), moving_texture(4, 64, 96, (1, 0), seed=9)])
    clip = read_clip(encode_clip(frames, HIGH_QUALITY).bitstream, "h264")
    assert [bool(back.any()) for back in clip.block_ref_back] == [False, True, True, True] * 2


def test_vectors_are_painted_block_by_block():
    fields = [("source", "i4"), ("w", "u1"), ("h", "u1"), ("dst_x", "i2"), ("dst_y", "i2")]
    fields += [("motion_x", "i4"), ("motion_y", "i4"), ("motion_scale", "u2")]
    vectors = np.array(
        [
            (-1, 16, 8, 8, 4, 5, -6, 4),  # upper half of the first macroblock
            (-1, 8, 8, 4, 12, 7, 8, 4),  # its third quarter; its fourth is intra
            (-1, 16, 16, 24, 8, 1, 2, 4),  # the second macroblock, of which 8 pixels are displayed
        ],
        dtype=fields,
    )
    lists = np.full((1, 3, 6, 2), 99, np.int16)
    (covered,), (motion,) = exported.paint(vectors, lists), lists
    np.testing.assert_array_equal(motion[..., 0], [[5, 5, 5, 5, 1, 1]] * 2 + [[7, 7, 0, 0, 1, 1]])
    np.testing.assert_array_equal(motion[..., 1], [[-6, -6, -6, -6, 2, 2]] * 2 + [[8, 8, 0, 0, 2, 2]])
    np.testing.assert_array_equal(covered, [[1] * 6] * 2 + [[1, 1, 0, 0, 1, 1]])
    vectors["motion_scale"] = 2  # half pixels, as MPEG-4 has them
    exported.paint(vectors, lists)
    np.testing.assert_array_equal(motion[0, :, 0], [10, 10, 10, 10, 2, 2])
    vectors["source"][1:] = 1  # of a later frame
    lists = np.full((2, 3, 6, 2), 99, np.int16)
    covered = exported.paint(vectors, lists)
    np.testing.assert_array_equal(
        covered, [[[1, 1, 1, 1, 0, 0]] * 2 + [[0] * 6], [[0, 0, 0, 0, 1, 1]] * 2 + [[1, 1, 0, 0, 1, 1]]]
    )
    np.testing.assert_array_equal(lists[..., 0].max(axis=(1, 2)), [10, 14])


@pytest.mark.parametrize(("left", "top", "right", "bottom"), [(32, 16, 0, 0), (64, 12, 6, 2), (0, 0, 24, 40)])
def test_vectors_of_cropped_frames_are_where_the_blocks_are(left, top, right, bottom, tmp_path):
    frames = moving_texture(4, 96, 128, (2, 0))
    frames[:, 20:70, 45:101] = moving_texture(4, 50, 56, (-3, 2), seed=1)
    (tmp_path / "own.264").write_bytes(encode_with_x264(frames, "bframes=0:ref=1:qp=18"))
    window = f"crop_left={left}:crop_top={top}:crop_right={right}:crop_bottom={bottom}"
    command = [find_ffmpeg(), "-loglevel", "error", "-i", tmp_path / "own.264", "-c", "copy"]
    subprocess.run([*command, "-bsf:v", f"h264_metadata={window}", tmp_path / "cropped.264"], check=True)
    whole = read_clip((tmp_path / "own.264").read_bytes(), "h264")
    cropped = read_clip((tmp_path / "cropped.264").read_bytes(), "h264")
    assert cropped.height == 96 - top - bottom
    left = 128 - right - cropped.width  # FFmpeg rounds it down
    rows, columns = (
        (first + 2 + np.arange(0, size, 4)) // 4 for first, size in ((top, cropped.height), (left, cropped.width))
    )
    expected = whole.block_vectors_qpel[:, rows[:, None], columns]
    np.testing.assert_array_equal(cropped.block_vectors_qpel, expected)
    assert len(np.unique(expected[2].reshape(-1, 2), axis=0)) > 1


def test_frames_that_are_let_go_leave_memory():
    """Without the garbage collector, which counts objects and not their pixels."""

    def frames_in_memory():
        return sum(type(thing) is VideoFrame for thing in gc.get_objects())

    bitstream = encode_clip(moving_texture(12, 32, 48, (2, 0)), HIGH_QUALITY).bitstream
    gc.collect()
    gc.disable()
    try:
        before = frames_in_memory()
        for frame in read_frames(split_bitstream(bitstream, "h264")):
            assert frames_in_memory() <= before + 3, frame.index
    finally:
        gc.enable()


def test_codec_without_reader_is_refused_before_decoding():
    with pytest.raises(
        CodecError, match=r"motion vectors of vp9 cannot be read; they can of flv1, h261, h263, h264, hevc, mpeg1"
    ):
        read_clip(b"", "vp9")


@pytest.mark.parametrize("bitstream", [b"", b"no video", b"\0\0\0\1" + bytes(range(200))])
def test_stream_without_frames_is_refused(bitstream, codec):
    with pytest.raises(CodecError, match=rf"{codec} stream (holds no frame|cannot be decoded)|HEVC: FFmpeg says"):
        read_clip(bitstream, codec)


def test_bidirectional_frames_are_read_but_make_no_clip():
    bitstream = encode_with_x264(moving_texture(8, 64, 96, (2, 0)), "bframes=2:b-adapt=0:ref=1")
    decoded = list(read_frames(split_bitstream(bitstream, "h264")))
    assert "".join(frame.kind for frame in decoded) == "IBBPBBPP"
    both = decoded[1].ref_poc[:, decoded[1].mode == PredictionMode.INTER]
    assert (both == UNKNOWN_REFERENCE).any(axis=0).all()
    with pytest.raises(MotionError, match=r"frame 1 is a B-frame.*without B-frames"):
        read_clip(bitstream, "h264")


@pytest.mark.parametrize("profile", ["baseline", "high"])
def test_several_reference_frames_leave_the_reference_unknown(profile):
    extra = "no-8x8dct=1:no-cabac=1:weightp=0" if profile == "baseline" else "cqm=jvt"
    frames = moving_texture(8, 64, 96, (2, 0))
    bitstream = encode_with_x264(frames, f"bframes=0:ref=3:{extra}")
    decoded = list(read_frames(split_bitstream(bitstream, "h264")))
    assert (decoded[3].ref_poc[0, 4:-4, 6:-6] == UNKNOWN_REFERENCE).mean() > 0.9
    with pytest.raises(MotionError, match=r"frame 1 has vectors, but .* which of several reference frames"):
        read_clip(bitstream, "h264")
    assert read_clip(encode_with_x264(frames, f"bframes=0:ref=1:{extra}"), "h264").block_ref_back.any()


def test_only_the_first_frames_are_decoded_if_no_more_are_wanted(codec):
    bitstream = encode_clip(moving_texture(6, 64, 96, (2, 1)), Encoding(codec, "qp18")).bitstream
    whole, beginning = read_clip(bitstream, codec), read_clip(bitstream, codec, length=3)
    assert (len(whole), len(beginning)) == (6, 3)
    np.testing.assert_array_equal(beginning.block_vectors_qpel, whole.block_vectors_qpel[:3])
    np.testing.assert_array_equal(beginning.frames[2].to_rgb(), whole.frames[2].to_rgb())


def test_bidirectional_frames_refer_to_the_frames_around_them(tmp_path):
    video = tmp_path / "video.ts"
    frames = moving_texture(10, 64, 96, (2, 0))
    video.write_bytes(encode_with("mpeg2video", frames, "-bf", "2", "-b_strategy", "0", "-q:v", "2", form="mpegts"))
    with open_video(video) as stream:
        decoded = list(read_frames(stream))
    assert "".join(frame.kind for frame in decoded) == "IBBPBBPBBP"
    for index, past, future in ((1, 4 * 2, -4 * 4), (2, 4 * 4, -4 * 2)):
        for number, (poc, motion) in enumerate(((0, past), (3, future))):
            references, vectors = decoded[index].ref_poc[number], decoded[index].vectors_qpel[number]
            assert set(np.unique(references)) == {NO_REFERENCE, poc}
            assert (vectors[references == poc] == (motion, 0)).all(axis=-1).mean() > 0.9


OTHERS = [
    ("mpeg1video", "mpegts", "mpeg1video"),
    ("mpeg2video", "mpegts", "mpeg2video"),
    ("mpeg4", "avi", "mpeg4"),
    ("h261", "avi", "h261"),
    ("h263", "avi", "h263"),
    ("h263p", "avi", "h263"),
    ("msmpeg4v2", "avi", "msmpeg4v2"),
    ("msmpeg4", "avi", "msmpeg4v3"),
    ("wmv1", "asf", "wmv1"),
    ("wmv2", "asf", "wmv2"),
    ("flv", "flv", "flv1"),
    ("rv10", "rm", "rv10"),
    ("rv20", "rm", "rv20"),
]
"""Encoder, container and standard of all others that FFmpeg exports vectors of."""


def write_other(path, encoder, form, frames):
    path.write_bytes(encode_with(encoder, frames, "-q:v", "2", form=form))
    return path


def psnr(first, second):
    return 10 * np.log10(255**2 / np.mean((first.astype(float) - second) ** 2))


@pytest.mark.parametrize(("encoder", "form", "codec"), OTHERS)
def test_motion_of_every_exported_standard_predicts_its_frames(encoder, form, codec, tmp_path):
    step, inside = (2, 1), slice(16, -16)
    with open_video(write_other(tmp_path / "video", encoder, form, moving_texture(6, 144, 176, step))) as stream:
        assert stream.codec == codec
        decoded = list(read_frames(stream))
    assert [frame.kind for frame in decoded] == ["I", *"PPPPP"]
    rows, columns = np.indices((144, 176))
    for before, frame in pairwise(decoded[:5]):
        assert set(np.unique(frame.ref_poc[0])) <= {NO_REFERENCE, before.index}
        x, y = np.rint(frame.vectors_qpel[0] / 4).astype(int).repeat(4, axis=0).repeat(4, axis=1).transpose(2, 0, 1)
        predicted = before.to_rgb()[np.clip(rows + y, 0, 143), np.clip(columns + x, 0, 175)]
        still, moved = (psnr(frame.to_rgb()[inside, inside], p[inside, inside]) for p in (before.to_rgb(), predicted))
        assert moved > still + 5
        assert (frame.vectors_qpel[0][4:-4, 4:-4] == np.multiply(4, step)).all(axis=-1).mean() > 0.9


def test_every_exported_standard_is_tested():
    assert {codec for *_, codec in OTHERS} | {"h264"} == {*exported.EXPORTED_STANDARDS}


def test_disposable_frames_of_flash_are_no_reference(tmp_path):
    with open_video(write_other(tmp_path / "video", "flv", "flv", moving_texture(6, 144, 176, (2, 0)))) as stream:
        packets = [bytearray(bytes(packet)) for packet in stream.packets]
    for packet in (packets[2], packets[4]):  # the kind of frame follows 17 + 5 + 8 + 3 bits
        packet[4] = packet[4] & 0b10011111 | exported.FLV_DISPOSABLE << 5
    decoded = list(read_frames(PacketStream("flv1", (Packet(bytes(packet)) for packet in packets))))
    references = [np.unique(frame.ref_poc[0][frame.mode != PredictionMode.INTRA]).tolist() for frame in decoded]
    assert references == [[], [0], [1], [1], [3], [3]]


def test_bidirectional_mpeg4_frames_are_refused(tmp_path):
    # FFmpeg exports zeros for them.
    video = tmp_path / "video.avi"
    frames = moving_texture(10, 64, 96, (2, 0))
    video.write_bytes(encode_with("mpeg4", frames, "-bf", "2", "-b_strategy", "0", form="avi"))
    with open_video(video) as stream, pytest.raises(MotionError, match=r"mpeg4: frame 1 is a B-frame"):
        list(read_frames(stream))


def test_a_video_of_intra_blocks_only_has_no_motion():
    frames = np.broadcast_to(50 * np.arange(4, dtype=np.uint8)[:, None, None, None], (4, 16, 16, 3))
    with pytest.raises(MotionError, match=r"none of its 3 P- and B-frames has a motion vector: .* are intra-coded"):
        list(read_frames(split_bitstream(encode_with_x264(frames, "bframes=0:ref=1:scenecut=0"), "h264")))
