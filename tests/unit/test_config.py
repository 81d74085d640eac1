import hashlib
import re
from dataclasses import replace
from fractions import Fraction

import pytest

from arseg.config import TrainConfig, parse_size, scaled_size
from arseg.errors import ConfigError
from arseg.spec import Encoding, parse_fps

AQ_MODE_1 = hashlib.sha256(b"aq-mode=1").hexdigest()[:8]


@pytest.mark.parametrize("rate", ["3000k", "375k", "qp27", "crf23"])
def test_rates_that_exist(rate):
    assert Encoding(rate=rate).rate == rate


@pytest.mark.parametrize("rate", ["3M", "0k", "qp", "27", "3000", ""])
def test_rates_that_do_not_exist_are_refused_with_an_example(rate):
    with pytest.raises(ConfigError, match="expected a bitrate like 3000k, or qp27, or crf23"):
        Encoding(rate=rate)


def test_the_papers_encoding_is_the_default():
    assert Encoding() == Encoding("hevc", "3000k", 12, 30, "medium", None, "")


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (Encoding(), "hevc-3000k-gop12-medium"),
        (Encoding("h264", "qp27", gop=30, fps=17, preset="slow"), "h264-qp27-gop30-slow"),
        (Encoding(references=4), "hevc-3000k-gop12-medium-ref4"),
        (Encoding(parameters="aq-mode=1"), f"hevc-3000k-gop12-medium-x{AQ_MODE_1}"),
    ],
)
def test_an_encoding_is_named_by_what_was_chosen(config, name):
    assert config.name == name
    assert replace(config, subpixel=True).name == f"{name}-subpixel"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gop": 1}, "gop 1: a group of pictures has at least 2 frames"),
        ({"references": 0}, "references 0: expected 1 to 16"),
        ({"references": 17}, "references 17: expected 1 to 16"),
        ({"codec": "h264", "references": 3}, r"references 3: H\.264 takes 1 at most, because decoders do not tell wh"),
        ({"parameters": "aq-mode=1:aq_mode=2"}, "parameters: aq-mode is given twice in 'aq-mode=1:aq_mode=2'"),
    ],
)
def test_encodings_that_cannot_be_are_refused(settings, message):
    assert Encoding("h264", references=1).references == 1
    with pytest.raises(ConfigError, match=message):
        Encoding(**settings)


@pytest.mark.parametrize(
    ("codec", "parameters", "reason"),
    [
        ("hevc", "keyint=24", r"parameters: 'keyint=24' is refused: gop is the setting for it\. Leave it out"),
        ("h264", "crf=20", "rate is the setting for it"),
        ("hevc", "psy-rd=0:ref=2", "parameters: 'ref=2' is refused: references is the setting"),
        ("h264", "frameref=2", "references is the setting"),
        *[
            ("hevc", f"{name}=1", "number of cores")
            for name in ("frame-threads", "pools", "wpp", "no-wpp", "nowpp", "lookahead-slices", "lookahead_threads")
        ],
        *[("h264", f"{name}=1", "number of cores") for name in ("threads", "sliced-threads", "non-deterministic")],
        *[
            ("hevc", f"{name}=1", "motion reader needs I- and P-frames, .* one slice each")
            for name in ("bframes", "slices", "annexb", "no-repeat-headers", "interlace", "input-csp")
        ],
        *[("h264", f"{name}=1", "motion reader needs") for name in ("bframes", "partitions", "tff", "no-annexb")],
        *[(codec, "stats=x.log", "a file beside the clip") for codec in ("h264", "hevc")],
        *[("hevc", f"{name}=1", "arseg sets it for each clip") for name in ("total-frames", "info", "no-info")],
    ],
)
def test_parameters_that_would_break_a_promise_are_refused_with_the_reason(codec, parameters, reason):
    with pytest.raises(ConfigError, match=reason):
        Encoding(codec, parameters=parameters)


def test_parameters_of_one_encoder_may_be_unknown_to_the_other():
    assert Encoding("h264", parameters="vbv-maxrate=400:vbv-bufsize=100:deblock=-1,-1")
    with pytest.raises(ConfigError, match=r"'vbv-maxrate=400' is refused: the bytes .* timing"):
        Encoding("hevc", parameters="vbv-maxrate=400:vbv-bufsize=100")


@pytest.mark.parametrize(
    "text", ["aq-mode", "aq-mode=", "=1", "aq mode=1", "--aq-mode=1", "aq-mode=1:", "a='b'", "A=1"]
)
def test_parameters_have_a_form(text):
    with pytest.raises(ConfigError, match=r"parameters: .*expected name=value, joined by colons"):
        Encoding(parameters=text)


def test_a_size_is_width_by_height():
    assert TrainConfig(crop="960x720").crop_size == (960, 720)
    assert parse_size("960x720", least=720) == (720, 960)


@pytest.mark.parametrize("size", ["960", "960x", "0x720", "a x b", "960*720", "960x-720", "960x720x3"])
def test_sizes_that_cannot_be_are_refused(size):
    expected = re.escape(f"{size}: expected WIDTHxHEIGHT in pixels, for example 960x720")
    with pytest.raises(ConfigError, match=f"^--size {expected}"):
        parse_size(size)
    with pytest.raises(ConfigError, match=f"^crop {expected}"):
        TrainConfig(crop=size)
    with pytest.raises(ConfigError, match="--size 31x720: expected WIDTHxHEIGHT in pixels, 32 or more each, for"):
        parse_size("31x720", least=32)


@pytest.mark.parametrize(
    ("percent", "size"), [(100, (720, 960)), (70, (503, 672)), (50, (360, 480)), (30, (216, 288)), (90, (648, 864))]
)
def test_low_resolution_is_truncated_as_published(percent, size):
    assert scaled_size(720, 960, percent) == size


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (30, Fraction(30)),
        ("25", Fraction(25)),
        (12.5, Fraction(25, 2)),
        ("30000/1001", Fraction(30000, 1001)),
        (29.97, Fraction(30000, 1001)),
        ("29.97", Fraction(30000, 1001)),
        (23.976, Fraction(24000, 1001)),
        (23.98, Fraction(24000, 1001)),
        (59.94, Fraction(60000, 1001)),
        (29.9, Fraction(299, 10)),
    ],
)
def test_frames_per_second_are_the_fraction_that_is_meant(written, meant):
    assert parse_fps(written) == meant
    assert Encoding(fps=written).fps == meant
    assert Encoding.from_dict(Encoding(fps=written).to_dict()).fps == meant


@pytest.mark.parametrize("written", [0, -30, "0", "30/0", "fast", "", float("nan"), True])
def test_frames_per_second_that_cannot_be_are_refused(written):
    with pytest.raises(ConfigError, match=r"expected a positive number, like 30, 29\.97 or 30000/1001"):
        parse_fps(written)
