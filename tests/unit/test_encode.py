import io
import os
import re
import stat
from fractions import Fraction

import av
import numpy as np
import pytest
from av.video.frame import PictureType
from video_examples import moving_texture

from arseg.codec import encode
from arseg.codec.bitstream import nal_units
from arseg.codec.encode import encode_clip
from arseg.codec.ffmpeg import ffmpeg_version, find_ffmpeg
from arseg.errors import CodecError
from arseg.spec import Encoding


def moving_frames(num_frames=6, height=96, width=128):
    return moving_texture(num_frames, height, width, (3, 2))


def assert_matches(text, pattern):
    assert re.search(pattern, text + " "), f"{pattern!r} not in {text!r}"


def decode(bitstream, codec):
    decoder = av.CodecContext.create(codec, "r")
    packets = [*decoder.parse(bitstream), *decoder.parse(), None]
    return [frame for packet in packets for frame in decoder.decode(packet)]


@pytest.fixture
def one_core():
    """Give the encoder a single processor core, as `taskset -c 0` does."""
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system cannot bind a process to a core")
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    yield
    os.sched_setaffinity(0, cores)


ENCODINGS = [
    Encoding("h264", "1500k"),
    Encoding("hevc", "1500k"),
    Encoding("hevc", "qp30", preset="slow", references=4, parameters="aq-mode=1"),
]


@pytest.fixture(scope="module", params=ENCODINGS, ids=lambda config: config.name)
def encoded(request):
    """A configuration and a clip, large enough for wavefronts, that it was encoded from with one thread."""
    frames = moving_frames(6, 192, 320)
    return request.param, frames, encode_clip(frames, request.param)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_change_no_byte_and_no_record(encoded, threads):
    config, frames, clip = encoded
    assert encode_clip(frames, config, threads=threads) == clip


@pytest.mark.usefixtures("one_core")
def test_one_core_changes_no_byte_and_no_record(encoded):
    config, frames, clip = encoded
    encode._ask_signature.cache_clear()
    assert encode_clip(frames, config, threads=3) == clip


def test_a_clip_is_one_keyframe_and_inter_frames(encoded):
    config, frames, clip = encoded
    assert clip.bitstream[:3] == b"\0\0\0"
    decoded = decode(clip.bitstream, config.codec)
    assert "".join(PictureType(frame.pict_type).name for frame in decoded) == "IPPPPP"
    shown = [frame.reformat(format="rgb24", src_colorspace="ITU601").to_ndarray().astype(int) for frame in decoded]
    differences = [[np.abs(rgb - frame).mean() for frame in frames] for rgb in shown]
    assert np.argmin(differences, axis=1).tolist() == [0, 1, 2, 3, 4, 5], "each shows its own frame"


def test_the_record_names_encoder_and_ffmpeg_and_the_stream_does_not(encoded):
    config, _, clip = encoded
    assert clip.encoder.startswith({"h264": "x264 - core ", "hevc": "x265 (build "}[config.codec])
    assert ffmpeg_version(find_ffmpeg()) in clip.encoder
    assert b"options: " not in clip.bitstream
    assert b"x26" not in clip.bitstream
    sei = {"h264": lambda unit: unit[0] & 0x1F == 6, "hevc": lambda unit: unit[0] >> 1 & 0x3F in (39, 40)}
    assert not any(map(sei[config.codec], nal_units(clip.bitstream)))
    for machine in ("cpuid", "pools"):
        assert machine not in clip.parameters


def test_x264s_text_is_cut_out_exactly(monkeypatch):
    frames = moving_frames()
    config = Encoding("h264", "300k")
    cut = encode_clip(frames, config)
    monkeypatch.setattr(encode, "_cut", lambda stream, _: stream)
    whole = encode_clip(frames, config)
    units, kept = list(nal_units(whole.bitstream)), list(nal_units(cut.bitstream))
    (text,) = (unit for unit in units if unit[0] & 0x1F == 6)
    assert b"x264 - core" in text
    assert kept == [unit for unit in units if unit is not text]
    assert len(whole.bitstream) - len(cut.bitstream) == len(b"\0\0\1" + text)
    for ours, theirs in zip(decode(cut.bitstream, "h264"), decode(whole.bitstream, "h264"), strict=True):
        np.testing.assert_array_equal(ours.to_ndarray(), theirs.to_ndarray())


def test_frames_need_not_be_contiguous():
    frames = moving_frames()
    config = Encoding("h264", "qp30")
    reversed_copy = np.ascontiguousarray(frames[::-1])
    assert encode_clip(frames[::-1], config).bitstream == encode_clip(reversed_copy, config).bitstream


@pytest.mark.parametrize(
    ("codec", "settings"),
    [
        ("h264", r"\bref=1 .*threads=1 .*bframes=0 .*keyint=5 .*scenecut=40 "),
        (
            "hevc",
            r"frame-threads=1 .*\bwpp .*total-frames=6 .*\bref=3 .*keyint=5 .*bframes=0 .*scenecut=40 .* rect amp ",
        ),
    ],
)
@pytest.mark.parametrize(
    ("rate", "recorded"),
    [("300k", "rc=abr .*bitrate=300 "), ("qp27", "rc=cqp .*qp=27 "), ("crf21", "rc=crf .*crf=21.0 ")],
)
def test_rate_control_and_settings_reach_the_encoder(codec, settings, rate, recorded):
    parameters = encode_clip(moving_frames(), Encoding(codec, rate, gop=5)).parameters
    assert_matches(parameters, recorded)
    assert_matches(parameters, settings)


def test_references_and_parameters_reach_the_encoders():
    config = Encoding("hevc", references=2, parameters="psy-rd=0.5:amp=0")
    assert_matches(encode_clip(moving_frames(2), config).parameters, r"\bref=2 .* rect no-amp .*psy-rd=0.50 ")
    config = Encoding("h264", references=1, parameters="subme=2:8x8dct=0")
    assert_matches(encode_clip(moving_frames(2), config).parameters, r"\bref=1 .*subme=2 .*8x8dct=0 ")


@pytest.mark.parametrize(
    ("codec", "parameters", "words"),
    [
        ("hevc", "aq-mood=1", r"Unknown option: aq-mood\."),
        ("hevc", "me=zigzag", r"Invalid value for me: zigzag\."),
        ("h264", "me=zigzag", r"Error parsing option 'me = zigzag'\."),
    ],
)
def test_parameters_that_the_encoder_would_ignore_are_an_error(codec, parameters, words):
    with pytest.raises(CodecError, match=rf"parameters: the encoder does not take one: {words}"):
        encode_clip(moving_frames(2), Encoding(codec, parameters=parameters))


@pytest.mark.parametrize("preset", ["medium", "slower", "placebo"])
def test_x264_makes_no_blocks_whose_vectors_ffmpeg_would_drop(preset):
    psub8x8 = 0x20  # x264's bit for partitions of 8x8 blocks
    parameters = encode_clip(moving_frames(2), Encoding("h264", "300k", preset=preset)).parameters
    analyse = parameters.split("analyse=0x")[1].split()[0].split(":0x")[1]
    assert not int(analyse, 16) & psub8x8


def test_odd_size_is_refused_by_name():
    with pytest.raises(CodecError, match=r"frames of 63x48 pixels.*must be even, for example 62x48"):
        encode_clip(np.zeros((2, 48, 63, 3), np.uint8), Encoding("h264"))


def test_failure_repeats_the_command_and_the_words_of_ffmpeg():
    with pytest.raises(CodecError) as caught:
        encode_clip(moving_frames(2, 8, 8), Encoding("hevc"))
    message = str(caught.value)
    assert "-preset medium" in message
    assert re.search(r"It said:\n.* @ 0x", message)  # as FFmpeg names its parts


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
    with pytest.raises(CodecError, match=r"true: not an FFmpeg program: -version printed ''"):
        ffmpeg_version("/bin/true")
    with pytest.raises(CodecError, match=r"FFmpeg failed with exit status 1(?s:.*)The command was:\n  /bin/false -f"):
        encode_clip(moving_frames(2), Encoding("h264"), "/bin/false")


def test_a_rate_of_frames_may_be_a_fraction():
    frames = np.zeros((3, 32, 48, 3), dtype=np.uint8)
    bitstream = encode_clip(frames, Encoding("h264", "300k", gop=3, fps="29.97", preset="ultrafast")).bitstream
    with av.open(io.BytesIO(bitstream), format="h264") as container:
        assert container.streams.video[0].codec_context.framerate == Fraction(30000, 1001)
