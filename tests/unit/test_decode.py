import subprocess

import numpy as np
import pytest
from av.codec.context import CodecContext
from PIL import Image

from arseg.codec import h264
from arseg.codec.clip import num_blocks
from arseg.codec.decode import read_clip
from arseg.codec.encode import encode_clip
from arseg.codec.ffmpeg import find_ffmpeg
from arseg.config import EncodeConfig
from arseg.errors import CodecError, MotionError
from arseg.motion.compose import compose_motion

HIGH_QUALITY = EncodeConfig("h264", "qp18")


def texture(height, width, seed):
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def moving_texture(num_frames, height, width, step, seed=0):
    """A texture seen through a window that moves by `step` = (x, y) pixels a frame, so the motion is
    `step`."""
    x, y = step
    canvas = texture(height + abs(y) * num_frames, width + abs(x) * num_frames, seed)
    views = []
    for frame in range(num_frames):
        left = x * frame if x >= 0 else -x * (num_frames - frame)
        top = y * frame if y >= 0 else -y * (num_frames - frame)
        views.append(canvas[top : top + height, left : left + width])
    return np.stack(views)


def encode_with_x264(frames, parameters):
    """Encode with settings that arseg itself never uses."""
    _, height, width, _ = frames.shape
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-i", "-"]
    settings = ["-pix_fmt", "yuv420p", "-c:v", "libx264", "-x264-params", parameters, "-f", "h264", "-"]
    command = [find_ffmpeg(), "-loglevel", "error", *source, *settings]
    return subprocess.run(command, input=frames.tobytes(), capture_output=True, check=True).stdout


@pytest.mark.parametrize("step", [(3, 2), (-4, 1), (0, -2)])
def test_motion_of_a_known_translation_is_found(step):
    frames = moving_texture(6, 112, 144, step)
    clip = read_clip(encode_clip(frames, HIGH_QUALITY).bitstream, "h264")
    interior = clip.block_motion_qpel[1:, 6:-6, 6:-6]
    assert (interior == np.multiply(step, 4)).all(axis=-1).mean() > 0.9
    assert (clip.block_ref_back[1:, 6:-6, 6:-6] == 1).mean() > 0.9
    composed = compose_motion(clip.block_motion_qpel, clip.block_ref_back, 112, 144)
    assert (composed[5, 30:-30, 30:-30] == np.multiply(step, 4 * 5)).all(axis=-1).mean() > 0.9


def test_composed_motion_predicts_the_frame_from_the_keyframe():
    frames = moving_texture(6, 112, 144, (3, 2))
    clip = read_clip(encode_clip(frames, HIGH_QUALITY).bitstream, "h264")
    x, y = np.moveaxis(compose_motion(clip.block_motion_qpel, clip.block_ref_back, 112, 144)[5] // 4, -1, 0)
    rows, columns = np.indices((112, 144))
    luma = clip.frames @ np.array([0.299, 0.587, 0.114])  # the colour planes have half the resolution
    interior = np.s_[24:-24, 24:-24]
    assert np.abs(luma[0][rows + y, columns + x] - luma[5])[interior].mean() < 6
    assert np.abs(luma[0] - luma[5])[interior].mean() > 25


def test_frame_is_predicted_whatever_the_size_of_its_blocks():
    # Two textures that move apart: blocks at their border are split, and all four block shapes occur.
    frames = moving_texture(8, 96, 160, (2, 0))
    frames[:, 20:70, 45:101] = moving_texture(8, 50, 56, (-3, 2), seed=1)
    clip = read_clip(encode_clip(frames, EncodeConfig("h264", "qp18", preset="slow")).bitstream, "h264")
    mover = clip.block_motion_qpel[2:, 8:14, 14:20]
    assert (mover == (-12, 8)).all(axis=-1).mean() > 0.8
    still = clip.block_motion_qpel[2:, 3:20, 32:36]
    assert (still == (8, 0)).all(axis=-1).mean() > 0.8


def test_arrays_have_the_documented_form():
    # 50x38 is no multiple of macroblocks or of 4: vectors reach beyond the displayed picture.
    frames = moving_texture(3, 38, 50, (1, 0))
    clip = read_clip(encode_clip(frames, HIGH_QUALITY).bitstream, "h264")
    assert (clip.frames.shape, clip.frames.dtype) == (frames.shape, np.uint8)
    assert (clip.block_motion_qpel.shape, clip.block_motion_qpel.dtype) == ((3, 10, 13, 2), np.int16)
    assert (clip.block_ref_back.shape, clip.block_ref_back.dtype) == ((3, 10, 13), np.uint8)
    assert not clip.block_ref_back[0].any()
    assert not clip.block_motion_qpel[clip.block_ref_back == 0].any()
    assert (num_blocks(38), num_blocks(40), num_blocks(41)) == (10, 10, 11)


def test_decoding_twice_gives_the_same():
    bitstream = encode_clip(moving_texture(4, 64, 96, (2, 1)), EncodeConfig("h264", "200k")).bitstream
    first, second = read_clip(bitstream, "h264"), read_clip(bitstream, "h264")
    np.testing.assert_array_equal(first.frames, second.frames)
    np.testing.assert_array_equal(first.block_motion_qpel, second.block_motion_qpel)
    np.testing.assert_array_equal(first.block_ref_back, second.block_ref_back)


@pytest.mark.parametrize("color", [(0, 0, 0), (255, 255, 255), (128, 128, 128), (200, 30, 40), (20, 90, 220)])
def test_colors_survive_the_way_there_and_back(color):
    # BT.709 or full range on one of the two ways would be off by 10 and more for the saturated colours.
    frames = np.broadcast_to(np.array(color, np.uint8), (2, 32, 32, 3))
    clip = read_clip(encode_clip(frames, EncodeConfig("h264", "qp4")).bitstream, "h264")
    np.testing.assert_allclose(clip.frames.astype(int), frames, atol=3)


def test_scene_cut_becomes_a_frame_of_intra_blocks():
    frames = np.concatenate([moving_texture(4, 64, 96, (1, 0)), moving_texture(4, 64, 96, (1, 0), seed=9)])
    clip = read_clip(encode_clip(frames, HIGH_QUALITY).bitstream, "h264")
    assert [bool(back.any()) for back in clip.block_ref_back] == [
        False,
        True,
        True,
        True,
        False,
        True,
        True,
        True,
    ]


def test_single_frame_is_a_clip():
    clip = read_clip(encode_clip(texture(32, 48, 0)[None], HIGH_QUALITY).bitstream, "h264")
    assert clip.frames.shape == (1, 32, 48, 3)


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
    motion, ref_back = np.full((3, 6, 2), 99, np.int16), np.full((3, 6), 99, np.uint8)
    h264._paint(vectors, motion, ref_back)
    np.testing.assert_array_equal(motion[..., 0], [[5, 5, 5, 5, 1, 1]] * 2 + [[7, 7, 0, 0, 1, 1]])
    np.testing.assert_array_equal(motion[..., 1], [[-6, -6, -6, -6, 2, 2]] * 2 + [[8, 8, 0, 0, 2, 2]])
    np.testing.assert_array_equal(ref_back, [[1] * 6] * 2 + [[1, 1, 0, 0, 1, 1]])
    for name, value in (("motion_scale", 2), ("source", 1)):
        wrong = vectors.copy()
        wrong[name][1] = value
        with pytest.raises(MotionError, match=r"expected vectors in quarter pixels to past pictures"):
            h264._paint(wrong, motion, ref_back)


def test_codec_without_reader_is_refused_before_decoding():
    with pytest.raises(CodecError, match=r"codec hevc has no motion reader in this version; set codecs: \[h264\]"):
        read_clip(b"", "hevc")


@pytest.mark.parametrize("bitstream", [b"", b"no video", b"\0\0\0\1" + bytes(range(200))])
def test_stream_without_pictures_is_refused(bitstream):
    with pytest.raises(CodecError, match=r"H\.264 stream .*Encode the clip again"):
        read_clip(bitstream, "h264")


def test_bidirectional_pictures_are_refused():
    bitstream = encode_with_x264(moving_texture(8, 64, 96, (2, 0)), "bframes=2:b-adapt=0:ref=1")
    with pytest.raises(MotionError, match=r"picture \d is of kind B, expected I or P.*bframes=0 and ref=1"):
        read_clip(bitstream, "h264")


@pytest.mark.parametrize("profile", ["baseline", "high"])
def test_several_reference_frames_are_refused(profile):
    extra = "no-8x8dct=1:no-cabac=1:weightp=0" if profile == "baseline" else "cqm=jvt"
    frames = moving_texture(8, 64, 96, (2, 0))
    with pytest.raises(MotionError, match=r"3 reference frames.*expected 1"):
        read_clip(encode_with_x264(frames, f"bframes=0:ref=3:{extra}"), "h264")
    assert read_clip(encode_with_x264(frames, f"bframes=0:ref=1:{extra}"), "h264").block_ref_back.any()


def test_decoder_that_exports_no_vectors_is_noticed(monkeypatch):
    def decode_plainly(bitstream):
        decoder = CodecContext.create("h264", "r")
        packets = [*decoder.parse(bitstream), *decoder.parse(), None]
        return [picture for packet in packets for picture in decoder.decode(packet)]

    bitstream = encode_clip(moving_texture(4, 64, 96, (2, 0)), HIGH_QUALITY).bitstream
    monkeypatch.setattr(h264, "_decode", decode_plainly)
    with pytest.raises(MotionError, match=r"no motion vectors in 3 P-pictures"):
        read_clip(bitstream, "h264")
