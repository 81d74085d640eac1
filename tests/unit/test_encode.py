import re
import stat

import numpy as np
import pytest
from PIL import Image

from arseg.codec.encode import encode_clip
from arseg.codec.ffmpeg import ffmpeg_version, find_ffmpeg
from arseg.config import EncodeConfig
from arseg.errors import CodecError


def moving_texture(num_frames=6, height=96, width=128, step=(3, 2)):
    """A smooth random texture seen through a window that moves by `step` = (x, y) pixels a frame."""
    generator = np.random.default_rng(0)
    size = (width + step[0] * num_frames, height + step[1] * num_frames)
    coarse = generator.integers(0, 256, (size[1] // 4, size[0] // 4, 3), dtype=np.uint8)
    canvas = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC))
    x, y = step
    return np.stack([canvas[y * f : y * f + height, x * f : x * f + width] for f in range(num_frames)])


def assert_matches(text, pattern):
    assert re.search(pattern, text + " "), f"{pattern!r} not in {text!r}"


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_same_frames_give_the_same_bytes(codec):
    frames = moving_texture()
    first, second = (encode_clip(frames, EncodeConfig(codec, "300k")) for _ in range(2))
    assert first == second
    assert first.bitstream[:3] == b"\0\0\0"
    assert first.encoder.startswith({"h264": "x264 - core ", "hevc": "x265 (build "}[codec])
    assert ffmpeg_version(find_ffmpeg()) in first.encoder


def test_frames_need_not_be_contiguous():
    frames = moving_texture()
    config = EncodeConfig("h264", "qp30")
    reversed_copy = np.ascontiguousarray(frames[::-1])
    assert encode_clip(frames[::-1], config).bitstream == encode_clip(reversed_copy, config).bitstream


@pytest.mark.parametrize(
    ("rate", "recorded"),
    [("300k", "rc=abr .*bitrate=300 "), ("qp27", "rc=cqp .*qp=27 "), ("crf21", "crf=21.0 ")],
)
def test_rate_control_reaches_x264(rate, recorded):
    parameters = encode_clip(moving_texture(), EncodeConfig("h264", rate, gop=5)).parameters
    assert_matches(parameters, recorded)
    assert_matches(parameters, r"\bref=1 .*threads=1 .*bframes=0 .*keyint=5 .*scenecut=40 ")


@pytest.mark.parametrize(
    ("rate", "recorded"),
    [("300k", "rc=abr bitrate=300 "), ("qp27", "rc=cqp qp=27 "), ("crf21", "rc=crf crf=21.0 ")],
)
def test_rate_control_and_partitions_reach_x265(rate, recorded):
    parameters = encode_clip(moving_texture(), EncodeConfig("hevc", rate, gop=5)).parameters
    assert_matches(parameters, recorded)
    assert_matches(
        parameters, r"frame-threads=1 .*\bwpp .*total-frames=6 .*\bref=3 .*keyint=5 .*bframes=0 .* rect amp "
    )


@pytest.mark.parametrize("preset", ["medium", "slower", "placebo"])
def test_x264_makes_no_blocks_whose_vectors_ffmpeg_would_drop(preset):
    psub8x8 = 0x20  # x264's bit for partitions of 8x8 blocks
    parameters = encode_clip(moving_texture(2), EncodeConfig("h264", "300k", preset=preset)).parameters
    analyse = parameters.split("analyse=0x")[1].split()[0].split(":0x")[1]
    assert not int(analyse, 16) & psub8x8


def test_odd_size_is_refused_by_name():
    with pytest.raises(CodecError, match=r"frames of 63x48 pixels.*must be even, for example 62x48"):
        encode_clip(np.zeros((2, 48, 63, 3), np.uint8), EncodeConfig("h264"))


def test_failure_repeats_the_command_and_the_words_of_ffmpeg():
    with pytest.raises(CodecError) as caught:
        encode_clip(moving_texture(2), EncodeConfig("h264", preset="no-such-preset"))
    message = str(caught.value)
    assert "-preset no-such-preset" in message
    assert "Error setting preset/tune no-such-preset" in message  # said by libx264's wrapper, not by us


def test_program_named_by_the_user_is_taken_first(tmp_path, monkeypatch):
    programs = [tmp_path / name for name in ("from-flag", "from-variable")]
    for program in programs:
        program.write_text("#!/bin/sh\necho ffmpeg version 1.2.3-test\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    bundled = find_ffmpeg()
    monkeypatch.setenv("ARSEG_FFMPEG", str(programs[1]))
    assert find_ffmpeg(str(programs[0])) == str(programs[0])
    assert find_ffmpeg() == str(programs[1])
    assert ffmpeg_version(str(programs[0])) == "1.2.3-test"
    monkeypatch.delenv("ARSEG_FFMPEG")
    assert find_ffmpeg() == bundled


def test_missing_program_is_named_with_its_origin(tmp_path, monkeypatch):
    with pytest.raises(CodecError, match=r"nowhere: the FFmpeg program named by --ffmpeg does not exist"):
        find_ffmpeg(str(tmp_path / "nowhere"))
    plain = tmp_path / "plain.txt"
    plain.write_text("no program")
    monkeypatch.setenv("ARSEG_FFMPEG", str(plain))
    with pytest.raises(CodecError, match=r"plain.txt: .* environment variable ARSEG_FFMPEG is not executable"):
        find_ffmpeg()


def test_other_program_is_no_ffmpeg():
    with pytest.raises(CodecError, match=r"does not answer -version as FFmpeg does"):
        ffmpeg_version("/bin/true")
    with pytest.raises(CodecError, match=r"FFmpeg failed with exit status 1(?s:.*)The command was:\n  /bin/false -f"):
        encode_clip(moving_texture(2), EncodeConfig("h264"), "/bin/false")
