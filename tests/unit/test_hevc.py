"""The HEVC reader on streams of all kinds: right, or refused in words."""

import subprocess

import numpy as np
import pytest
from av.codec.context import CodecContext
from motion_examples import rgb_of
from video_examples import encode_with_x265, moving_texture

from arseg.codec import hevc
from arseg.codec.bitstream import nal_units
from arseg.codec.decode import read_clip, read_frames
from arseg.codec.encode import encode_clip
from arseg.codec.ffmpeg import find_ffmpeg
from arseg.codec.frame import NO_REFERENCE, PredictionMode, num_blocks
from arseg.codec.stream import open_video, split_bitstream
from arseg.errors import CodecError, MotionError
from arseg.spec import Encoding

pytestmark = pytest.mark.usefixtures("hevc_reader")

P_ONLY = "keyint=30:bframes=0:qp=18:hash=1"


def frames_of(bitstream):
    return list(read_frames(split_bitstream(bitstream, "hevc")))


def test_pixels_are_ffmpegs_own():
    bitstream = encode_clip(moving_texture(4, 64, 96, (2, 1)), Encoding("hevc", "300k")).bitstream
    luma = [np.asarray(frame.pixels.planes[0]) for frame in frames_of(bitstream)]
    decoder = CodecContext.create("hevc", "r")
    packets = [*split_bitstream(bitstream, "hevc").packets, None]
    expected = [np.asarray(frame.planes[0]) for packet in packets for frame in decoder.decode(packet)]
    np.testing.assert_array_equal(luma, expected)


def test_blocks_of_a_still_frame_are_skipped():
    frames = np.repeat(moving_texture(1, 64, 96, (0, 0)), 4, axis=0)
    decoded = frames_of(encode_with_x265(frames, P_ONLY))
    assert (decoded[0].mode == PredictionMode.INTRA).all()
    assert (decoded[2].mode == PredictionMode.SKIP).mean() > 0.8
    assert not decoded[2].vectors_qpel.any()


@pytest.mark.parametrize(("height", "width"), [(38, 50), (58, 94), (64, 96)])
def test_arrays_cover_the_displayed_frame(height, width):
    # x265 codes whole 8x8 blocks and crops: the last blocks may be seen in part only.
    clip = read_clip(encode_with_x265(moving_texture(3, height, width, (1, 0)), P_ONLY), "hevc")
    assert rgb_of(clip).shape == (3, height, width, 3)
    assert clip.block_vectors_qpel.shape == (3, num_blocks(height), num_blocks(width), 2)
    assert (clip.block_vectors_qpel[1, 2:-3, 3:-4] == (4, 0)).all(axis=-1).mean() > 0.8


def test_vectors_of_both_lists_name_the_frames_they_point_to():
    bitstream = encode_with_x265(moving_texture(9, 128, 192, (2, 0)), "keyint=30:bframes=3:b-adapt=0:qp=18:hash=1")
    decoded = frames_of(bitstream)
    assert "".join(frame.kind for frame in decoded) == "IBBBPBBBP"
    assert [frame.poc for frame in decoded] == list(range(9))
    for frame in decoded:
        for vectors, references in zip(frame.vectors_qpel, frame.ref_poc, strict=True):
            used = references != NO_REFERENCE
            assert not vectors[~used].any()
            used[:6] = used[-6:] = used[:, :10] = used[:, -10:] = False
            distance = frame.poc - references[used]
            if used.any():
                assert (vectors[used] == np.stack([8 * distance, 0 * distance], axis=-1)).all(axis=-1).mean() > 0.9
    assert (decoded[2].ref_poc[1] > 2).any()
    # In decode order, each is named before, or is, the first frame that is shown and may refer to it.
    assert [[ahead.poc for ahead in frame.ahead] for frame in decoded] == [[], [4, 2], [], [], [], [8, 6], [], [], []]
    assert [frame.is_reference for frame in decoded] == [True, False] * 4 + [True]
    with pytest.raises(MotionError, match=r"frame 1 is a B-frame"):
        read_clip(bitstream, "hevc")


def test_several_slices_a_frame_have_right_vectors_and_pixels():
    # libde265 filters across such slices wrongly; the reader takes no pixel from it.
    frames = moving_texture(6, 256, 192, (3, 1))
    bitstream = encode_with_x265(frames, f"{P_ONLY}:slices=2")
    # Units of trailing frames (type 1); the first bit behind the header begins a frame.
    first = [unit[2] >> 7 for unit in nal_units(bitstream) if unit[0] >> 1 == 1]
    assert first == [1, 0] * 5
    clip = read_clip(bitstream, "hevc")
    expected = clip.block_ref_back[1:, 6:-6, 6:-6, None] * np.array([12, 4])
    assert (clip.block_vectors_qpel[1:, 6:-6, 6:-6] == expected).all(axis=-1).mean() > 0.9
    luma = np.array([0.299, 0.587, 0.114])  # the colour planes have half the resolution
    assert np.abs((rgb_of(clip) - frames.astype(float)) @ luma).mean() < 3


def test_keyframes_of_open_groups_begin_no_new_count():
    frames = moving_texture(20, 64, 96, (1, 0))
    bitstream = encode_with_x265(frames, "keyint=8:min-keyint=8:bframes=2:open-gop=1:qp=24:hash=1:scenecut=0")
    decoded = frames_of(bitstream)
    assert len(decoded) == 20
    assert [frame.index for frame in decoded if frame.is_keyframe] == [0, 8, 16]
    assert [frame.poc for frame in decoded] == list(range(20))


def test_order_counts_begin_anew_at_keyframes_of_closed_groups():
    groups = "keyint=4:min-keyint=4:bframes=0:open-gop=0:qp=24:hash=1:scenecut=0"
    bitstream = encode_with_x265(moving_texture(9, 64, 96, (1, 0)), groups)
    assert [frame.poc for frame in frames_of(bitstream)] == [0, 1, 2, 3, 0, 1, 2, 3, 0]
    clip = read_clip(bitstream, "hevc")
    assert [int(back.max()) for back in clip.block_ref_back][::4] == [0, 0, 0]
    assert clip.block_ref_back[5].max() == 1


def test_fields_are_refused():
    bitstream = encode_with_x265(moving_texture(4, 64, 96, (1, 0)), f"{P_ONLY}:interlace=tff")
    with pytest.raises(CodecError, match=r"HEVC: .*(interlaced|disagree)"):
        read_clip(bitstream, "hevc")


@pytest.mark.parametrize("edge", ["left", "top"])
def test_frames_cropped_where_no_encoder_pads_are_refused(edge, tmp_path):
    (tmp_path / "raw.hevc").write_bytes(encode_with_x265(moving_texture(2, 64, 96, (1, 0)), P_ONLY))
    command = [find_ffmpeg(), "-loglevel", "error", "-i", tmp_path / "raw.hevc", "-c", "copy"]
    subprocess.run([*command, "-bsf:v", f"hevc_metadata=crop_{edge}=8", tmp_path / "cropped.hevc"], check=True)
    with pytest.raises(CodecError, match=r"HEVC: libde265 says: pictures are cropped on the left or at the top"):
        read_clip((tmp_path / "cropped.hevc").read_bytes(), "hevc")


def test_other_standards_are_refused():
    bitstream = encode_clip(moving_texture(2, 64, 96, (1, 0)), Encoding("h264", "qp30")).bitstream
    with pytest.raises(CodecError, match=r"the hevc stream holds no frame|HEVC: "):
        read_clip(bitstream, "hevc")


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "hevc"])
def test_containers_hold_what_the_byte_stream_holds(suffix, tmp_path):
    frames = moving_texture(5, 64, 96, (2, 0))
    raw = encode_with_x265(frames, P_ONLY)
    path = tmp_path / f"video.{suffix}"
    (tmp_path / "raw.hevc").write_bytes(raw)
    command = [find_ffmpeg(), "-loglevel", "error", "-i", tmp_path / "raw.hevc", "-c", "copy", path]
    subprocess.run(command, check=True)
    with open_video(path) as stream:
        decoded = list(read_frames(stream))
    for frame, expected in zip(decoded, frames_of(raw), strict=True):
        np.testing.assert_array_equal(frame.vectors_qpel, expected.vectors_qpel)
        np.testing.assert_array_equal(frame.to_rgb(), expected.to_rgb())


@pytest.mark.parametrize(
    ("script", "words"),
    [("kill -SEGV $$", "signal SIGSEGV"), ("exit 7", "exit status 7"), ("exec true", "exit status 0")],
)
def test_crash_of_the_decoder_is_an_error_on_that_clip(script, words, tmp_path, monkeypatch):
    program = tmp_path / "hevc-motion"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(hevc, "_program", lambda: program)
    bitstream = encode_clip(moving_texture(2, 64, 96, (2, 1)), Encoding("hevc", "300k")).bitstream
    with pytest.raises(CodecError, match=rf"HEVC: the decoder ended with {words}"):
        read_clip(bitstream, "hevc")
