"""Extra parameters for x264 and x265, in their own ``name=value:name=value`` form, and those that are refused.

What an encoder can do is its own documentation's matter; this module only knows what would break a promise: the same
frames give the same bytes, the motion reader can read them, and an encoding's name says how it was made.
"""

import hashlib
import re

from arseg.errors import ConfigError

DIGEST_LENGTH = 8
"""Hexadecimal digits of a digest."""

OWN_SETTINGS = {
    "bitrate": "rate",
    "crf": "rate",
    "fps": "fps",
    "frameref": "references",
    "keyint": "gop",
    "qp": "rate",
    "ref": "references",
}
"""Parameters of either encoder that a setting of ours stands for."""

FILES = "a file beside the clip would decide, or be written, which the encoding's name does not say"

REFUSALS: dict[str, dict[str, str]] = {
    "hevc": {
        "the bytes of a clip would depend on the number of cores or on timing": (
            "frame-threads lookahead-slices lookahead-threads numa-pools pme pmode pools strict-cbr threaded-me"
            " vbv-bufsize vbv-maxrate wpp"
        ),
        "the motion reader needs I- and P-pictures, 4:2:0, limited range, progressive, one slice each, with headers": (
            "alpha annexb bframes field frame-dup input-csp input-res interlace multiview-config num-views range"
            " repeat-headers scc slices svt temporal-layers uhd-bd"
        ),
        FILES: (
            "analysis-load analysis-load-reuse-level analysis-reuse-file analysis-save csv dhdr10-info lambda-file"
            " multi-pass-opt-analysis multi-pass-opt-distortion nalu-file pass stats"
        ),
        "arseg sets it for each clip": "info log log-level total-frames",
    },
    "h264": {
        "the bytes of a clip would depend on the number of cores, on timing or on the processor": (
            "cpu-independent deterministic lookahead-threads n-deterministic opencl sliced-threads sync-lookahead"
            " threads"
        ),
        "the motion reader needs I- and P-pictures, limited range, progressive, blocks of 8x8 or more, with headers": (
            "analyse annexb avcintra-class bff bframes fake-interlaced fullrange interlaced partitions repeat-headers"
            " tff"
        ),
        FILES: "cqmfile dump-yuv opencl-clbin pass stats",
    },
}
"""For each codec, why parameters are refused, and their names as the encoders' documentation writes them."""


def read_parameters(text: str, codec: str) -> dict[str, str]:
    """Return extra encoder parameters (``aq-mode=1:psy-rd=0``, may be empty) by name, in order.

    Raises `ConfigError` if the text has another form, names a parameter twice, or names one that would break a promise.
    Whether the others exist and their values are possible, only the encoder knows: `arseg.codec.encode` passes on its
    answer.
    """
    parameters: dict[str, str] = {}
    for item in text.split(":") if text else []:
        match = re.fullmatch(r"([a-z0-9][a-z0-9_-]*)=([A-Za-z0-9_.,+*/%-]+)", item)
        if not match:
            raise ConfigError(f"parameters: {item!r} in {text!r}: expected name=value, joined by colons")
        name, value = match[1].replace("_", "-"), match[2]  # encoders take one for the other
        if name in parameters:
            raise ConfigError(f"parameters: {name} is given twice in {text!r}")
        if reason := _refusal(name, codec):
            raise ConfigError(f"parameters: {item!r} is refused: {reason}. Leave it out")
        parameters[name] = value
    return parameters


def digest_parameters(text: str) -> str:
    """Return a short digest of a set of parameters as it is written, for the name of an encoding."""
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_LENGTH]


def _refusal(name: str, codec: str) -> str | None:
    meant = re.sub(r"^no-?", "", name)  # "no-wpp" and "nowpp" are ways of setting wpp
    for spelling in (name, meant):
        if setting := OWN_SETTINGS.get(spelling):
            return f"{setting} is the setting for it"
        for reason, names in REFUSALS[codec].items():
            if spelling in names.split():
                return reason
    return None
