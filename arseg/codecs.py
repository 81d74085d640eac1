"""The codecs by name: how clips are compressed with each, and what reads their motion back (docs/extending.md).

What an encoder can do is its own documentation's matter; this module only knows what would break a promise: the same
frames give the same bytes, the motion reader can read them, and an encoding's name says how it was made.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from arseg.errors import ConfigError
from arseg.plugins import Registry

if TYPE_CHECKING:
    from arseg.codec.frame import DecodedFrame
    from arseg.codec.stream import PacketStream
    from arseg.spec import Encoding

MAX_REFERENCES = 16
"""Frames that a decoder of H.264 or HEVC can hold."""

PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo")
"""Those of x264 and x265."""

EXPORTED = "arseg.codec.exported:read_exported"
"""Reader of all vectors that FFmpeg's decoders export."""

HEVC_READER = "arseg.codec.native_build:prepare_native_reader"
"""What compiles the program that reads HEVC."""

Settings = dict[str, str | int]


@dataclass(frozen=True)
class Codec:
    """A way to compress clips so that their motion can be read back."""

    standard: str
    """FFmpeg's name of the coding standard, for example ``hevc``; another codec may have the same."""
    label: str
    """Name in figures."""
    encoder: str
    """FFmpeg's name of the encoder."""
    stream_format: str
    """FFmpeg's name of a byte stream without container, which the encoder's output is written as."""
    settings: "Callable[[Encoding, int, int], Settings]"
    """Given an encoding, the number of frames of a clip and the number of threads, returns the encoder's parameters for
    one keyframe, then frames that refer to earlier ones only, the same bytes from the same frames on any machine."""
    parameters_option: str | None = None
    """FFmpeg's option for the parameters, joined as ``name=value:name=value``. None if they are options of FFmpeg
    themselves; then the `parameters` of an encoding are refused."""
    refusals: Mapping[str, str] = field(default_factory=dict)
    """Why parameters are refused, and their names with spaces between, as the encoder's documentation has them."""
    presets: tuple[str, ...] = ("medium",)
    """Speed presets; an encoder without any has `medium` alone, and is not told."""
    rates: Mapping[str, str] = field(default_factory=lambda: {"kbps": "b:v", "qp": "qp", "crf": "crf"})
    """FFmpeg's option for each form of rate control that the encoder has: ``kbps``, ``qp``, ``crf``."""
    max_references: int = MAX_REFERENCES
    """How many earlier frames a block may choose its reference from: 1 where the reader cannot tell them apart."""
    signing: Settings | None = None
    """Parameters that make the encoder write its name and settings into the stream, if it does not without."""
    read: "str | Callable[[PacketStream], Iterator[DecodedFrame]]" = EXPORTED
    """Reads frames and motion, see `arseg.codec.decode.read_frames`: a function, or where one is, as
    ``package.module:NAME``, which is not imported before a stream is read."""
    prepare: str | Callable[[], str] | None = None
    """Makes what reads the motion ready for use and returns its name and version: likewise. None if PyAV is enough."""
    block_size: int = 8
    """Side in pixels of the smallest blocks that the reader distinguishes, 4 or 8."""

    @property
    def reader(self) -> "Callable[[PacketStream], Iterator[DecodedFrame]]":
        """What `read` is or names."""
        return resolve_name(self.read) if isinstance(self.read, str) else self.read

    def make_ready(self) -> str:
        """Make what reads the motion ready for use; return its name and version, empty if that is PyAV alone."""
        prepare = resolve_name(self.prepare) if isinstance(self.prepare, str) else self.prepare
        return "" if prepare is None else prepare()

    def check(self, encoding: "Encoding") -> None:
        """Raise ConfigError if the encoder cannot encode so; the message begins with the setting's name."""
        if encoding.references is not None and encoding.references > self.max_references:
            raise ConfigError(
                f"references {encoding.references}: {self.label} takes {self.max_references} at most, because decoders "
                "do not tell which of several frames a vector points to. Leave it out, or use codec hevc"
            )
        if encoding.preset not in self.presets:
            close = get_close_matches(encoding.preset, self.presets, n=1)
            nearest = f" Did you mean {close[0]!r}?" if close else ""
            raise ConfigError(f"preset {encoding.preset!r}: {self.label} has {', '.join(self.presets)}.{nearest}")
        if encoding.rate.kind not in self.rates:
            kinds = " and ".join(self.rates)
            raise ConfigError(f"rate {encoding.rate}: {self.label} has {kinds} only. Choose another rate")
        self.read_parameters(encoding.parameters)

    def read_parameters(self, text: str) -> Settings:
        """Return extra encoder parameters by name, in order, for example those of ``aq-mode=1:psy-rd=0``.

        Whether they exist and their values are possible, only the encoder knows: `arseg.codec.encode` passes on its
        answer.

        Raises
        ------
        ConfigError
            If the text has another form, names a parameter twice, or names one that would break a promise.
        """
        if text and self.parameters_option is None:
            raise ConfigError(f"parameters: {text!r}: {self.label} takes none here. Leave it out")
        parameters: Settings = {}
        for item in text.split(":") if text else []:
            match = re.fullmatch(r"([a-z0-9][a-z0-9_-]*)=([A-Za-z0-9_.,+*/%-]+)", item)
            if not match:
                raise ConfigError(f"parameters: {item!r} in {text!r}: expected name=value, joined by colons")
            name, value = match[1].replace("_", "-"), match[2]  # encoders take one for the other
            if name in parameters:
                raise ConfigError(f"parameters: {name} is given twice in {text!r}")
            if reason := self._refusal(name):
                raise ConfigError(f"parameters: {item!r} is refused: {reason}. Leave it out")
            parameters[name] = value
        return parameters

    def _refusal(self, name: str) -> str | None:
        meant = re.sub(r"^no-?", "", name)  # "no-wpp" and "nowpp" are ways of setting wpp
        for spelling in (name, meant):
            if setting := OWN_SETTINGS.get(spelling):
                return f"{setting} is the setting for it"
            for reason, names in self.refusals.items():
                if spelling in names.split():
                    return reason
        return None


codecs: Registry[Codec] = Registry("codec", "arseg.codecs")


def find_codec(name: str) -> Codec | None:
    """Return a codec by its name, or the first one of a coding standard by FFmpeg's name of that; None if none is."""
    return codecs.find(name) or next(
        (codec for codec in map(codecs.get, codecs.names()) if codec.standard == name), None
    )


OWN_SETTINGS = {
    "bitrate": "rate",
    "crf": "rate",
    "fps": "fps",
    "frameref": "references",
    "keyint": "gop",
    "qp": "rate",
    "ref": "references",
}
"""Parameters of x264 and x265 that a setting of ours stands for."""

FILES = "a file beside the clip would decide, or be written, which the encoding's name does not say"


def _x264_settings(encoding: "Encoding", num_frames: int, threads: int) -> Settings:
    # FFmpeg exports vectors without their reference index: with one reference there is no question. x264's lookahead
    # and rate control see other frames at other thread counts, and so choose other bits.
    settings: Settings = {"keyint": encoding.gop, "bframes": 0, "ref": 1, "threads": 1, "cpu-independent": 1}
    if encoding.preset in ("slower", "veryslow", "placebo"):  # which split 8x8 blocks further
        # FFmpeg exports one vector for each 8x8 quarter of a macroblock: of four 4x4 vectors, the first.
        settings["partitions"] = "p8x8,i8x8,i4x4"
    return settings


def _x265_settings(encoding: "Encoding", num_frames: int, threads: int) -> Settings:
    # x265 takes frame-threads from the number of cores unless it is set. Without total-frames its rate control
    # overspends on a clip as short as this by a third. The text about itself (info), whose length depends on the
    # machine, would count as bits spent.
    settings: Settings = {"keyint": encoding.gop, "bframes": 0, "rect": 1, "amp": 1}
    settings |= {"total-frames": num_frames, "frame-threads": 1, "pools": threads, "info": 0}
    return settings if encoding.references is None else settings | {"ref": encoding.references}


codecs.register("h264")(
    Codec(
        standard="h264",
        label="H.264",
        encoder="libx264",
        stream_format="h264",
        settings=_x264_settings,
        parameters_option="x264-params",
        refusals={
            "the bytes of a clip would depend on the number of cores, on timing or on the processor": (
                "cpu-independent deterministic lookahead-threads n-deterministic opencl sliced-threads sync-lookahead"
                " threads"
            ),
            "the motion reader needs I- and P-frames, limited range, progressive, blocks of 8x8 or more, headers": (
                "analyse annexb avcintra-class bff bframes fake-interlaced fullrange interlaced partitions"
                " repeat-headers tff"
            ),
            FILES: "cqmfile dump-yuv opencl-clbin pass stats",
        },
        presets=PRESETS,
        max_references=1,
    )
)
codecs.register("hevc")(
    Codec(
        standard="hevc",
        label="HEVC",
        encoder="libx265",
        stream_format="hevc",
        settings=_x265_settings,
        parameters_option="x265-params",
        refusals={
            "the bytes of a clip would depend on the number of cores or on timing": (
                "frame-threads lookahead-slices lookahead-threads numa-pools pme pmode pools strict-cbr threaded-me"
                " vbv-bufsize vbv-maxrate wpp"
            ),
            "the motion reader needs I- and P-frames, 4:2:0, limited range, progressive, one slice each, headers": (
                "alpha annexb bframes field frame-dup input-csp input-res interlace multiview-config num-views range"
                " repeat-headers scc slices svt temporal-layers uhd-bd"
            ),
            FILES: (
                "analysis-load analysis-load-reuse-level analysis-reuse-file analysis-save csv dhdr10-info lambda-file"
                " multi-pass-opt-analysis multi-pass-opt-distortion nalu-file pass stats"
            ),
            "arseg sets it for each clip": "info log log-level total-frames",
        },
        presets=PRESETS,
        signing={"pools": 1, "info": 1},
        read="arseg.codec.hevc:read_hevc",
        prepare=HEVC_READER,
        block_size=4,
    )
)
