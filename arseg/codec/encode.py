"""Compress one clip to an Annex-B bitstream with FFmpeg's libx264 or libx265 (docs/method.md, 'Re-encoding').

Frames go in through a pipe and the bitstream comes out of one, so nothing touches the disk. What makes the same frames
give the same bytes, and what that costs, is in ``docs/encoding.md``. Reading the bitstream back is
`arseg.codec.decode`.
"""

import os
import re
import shlex
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from threading import Thread

import ffmpeg
import numpy as np
from numpy.typing import NDArray

from arseg.codec.ffmpeg import ffmpeg_version, find_ffmpeg
from arseg.encoder_parameters import read_parameters
from arseg.errors import CodecError
from arseg.spec import Codec, Encoding, Rate

ENCODERS: dict[Codec, str] = {"h264": "libx264", "hevc": "libx265"}
"""FFmpeg's name of the encoder of each codec."""

P4X4_PRESETS = ("slower", "veryslow", "placebo")
"""Presets of x264 that split 8x8 blocks further when they search for motion."""

STDERR_LINES = 12
"""Last lines of FFmpeg's messages that an error repeats."""

START_CODE = b"\0\0\1"

SIGNATURE_PATTERN = re.compile(rb"(x26[45] [ -~]+?) - H\.26[45][ -~]+? - options: ([ -~]+)")
"""The text that x264 and x265 put in front of the first picture: who they are, and all settings."""

RUN_TIME_SETTINGS = re.compile(r"(?<!\S)(cpuid=\d+|numa-pools=\S*|info) ")
"""Settings in x265's text that differ from run to run, or from the clip's own, and change no picture."""

REJECTED_PARAMETER = re.compile(r"(Unknown option: .+|Invalid value for .+|Error parsing option .+)")
"""What FFmpeg's encoders say about a parameter that they then leave out."""


@dataclass(frozen=True)
class EncodedClip:
    """A compressed clip and what made it."""

    bitstream: bytes
    """Annex-B byte stream, one intra picture followed by inter pictures, without text about its encoder."""
    encoder: str
    """Name and version of encoder and FFmpeg, for example ``x264 - core 165, FFmpeg n9.0.2``."""
    parameters: str
    """The encoder's complete effective settings, as it writes them itself."""


def encode_clip(
    frames: NDArray[np.uint8], config: Encoding, ffmpeg_path: str | None = None, threads: int = 1
) -> EncodedClip:
    """Compress a clip whose first frame becomes the keyframe.

    The same frames give the same bytes on any number of processor cores. RGB becomes yuv420p by FFmpeg's default
    conversion (BT.601, limited range).

    Parameters
    ----------
    frames : ndarray of uint8, shape (T, H, W, 3)
        RGB frames in display order. H and W must be even, T at least 1.
    config : Encoding
        How to compress.
    ffmpeg_path : str, optional
        The FFmpeg program; by default as `arseg.codec.ffmpeg.find_ffmpeg` finds it.
    threads : int
        Threads that the encoder works with. Changes no byte. HEVC only: x264's bytes would depend on it.

    Returns
    -------
    clip : EncodedClip
        The bitstream and a record of its encoder.

    Raises
    ------
    CodecError
        If a side is odd, FFmpeg fails (then with the command and the end of FFmpeg's own messages), or the encoder
        does not take one of the configuration's `parameters`.

    References
    ----------
    .. [1] Hu et al., AR-Seg, CVPR 2023, arXiv:2303.07224 (experimental setup).
    """
    num_frames, height, width, _ = frames.shape
    if height % 2 or width % 2:
        raise CodecError(
            f"frames of {width}x{height} pixels: yuv420p halves both sides for its colour planes, so they "
            f"must be even, for example {width - width % 2}x{height - height % 2}. Crop or resize the frames"
        )
    program = ffmpeg_path or find_ffmpeg()
    settings = _settings(config, num_frames)
    threading = {"pools": threads} if config.codec == "hevc" else {}
    bitstream = _run(
        _command(program, config, height, width, settings | threading), np.ascontiguousarray(frames).reshape(-1).data
    )
    if config.codec == "hevc":
        encoder, parameters = _x265_signature(program, config, height, width, num_frames)
    else:
        bitstream, encoder, parameters = _cut_signature(bitstream)
    return EncodedClip(bitstream, f"{encoder}, FFmpeg {ffmpeg_version(program)}", parameters)


def _settings(config: Encoding, num_frames: int) -> dict[str, str | int]:
    settings: dict[str, str | int] = {"keyint": config.gop, "bframes": 0}
    if config.codec == "h264":
        # FFmpeg exports vectors without their reference index: with one reference there is no question. x264's
        # lookahead and rate control see other frames at other thread counts, and so choose other bits.
        settings |= {"ref": 1, "threads": 1, "cpu-independent": 1}
        if config.preset in P4X4_PRESETS:
            # FFmpeg exports one vector for each 8x8 quarter of a macroblock: of four 4x4 vectors, the first.
            settings["partitions"] = "p8x8,i8x8,i4x4"
    else:
        # x265 takes frame-threads from the number of cores unless it is set. Without total-frames its rate control
        # overspends on a clip as short as this by a third. The text about itself, whose length depends on the
        # machine, would count as bits spent.
        settings |= {"rect": 1, "amp": 1, "total-frames": num_frames, "frame-threads": 1, "info": 0}
        if config.references is not None:
            settings["ref"] = config.references
    return settings | read_parameters(config.parameters, config.codec)


def _command(program: str, config: Encoding, height: int, width: int, settings: Mapping[str, str | int]) -> list[str]:
    source = ffmpeg.input(
        "pipe:", format="rawvideo", pix_fmt="rgb24", video_size=(width, height), framerate=str(config.fps)
    )
    text = ":".join(f"{name}={value}" for name, value in settings.items())
    stream = source.output(
        "pipe:",
        format=config.codec,
        vcodec=ENCODERS[config.codec],
        pix_fmt="yuv420p",
        preset=config.preset,
        **_rate_options(config.rate),
        **{"x264-params" if config.codec == "h264" else "x265-params": text},
    ).global_args("-hide_banner", "-nostats", "-loglevel", "warning")
    return ffmpeg.compile(stream, cmd=program)


def _rate_options(rate: Rate) -> dict[str, str]:
    return {"b:v": str(rate)} if rate.kind == "kbps" else {rate.kind: str(rate.value)}


def _run(command: list[str], pixels: memoryview) -> bytes:
    # A thread feeds the pipe in one call: subprocess would do it 4 KiB at a time, 40 ms for a clip at 960x720.
    reading, writing = os.pipe()
    feeder = Thread(target=_feed, args=(writing, pixels))
    feeder.start()
    try:
        run = subprocess.run(command, stdin=reading, capture_output=True, check=False)
    except OSError as error:
        raise CodecError(f"{command[0]}: cannot be run as FFmpeg: {error}") from error
    finally:
        os.close(reading)  # lets the feeder go, if FFmpeg ended before it had read all
        feeder.join()
    words = run.stderr.decode(errors="replace").strip()
    if rejected := REJECTED_PARAMETER.findall(words):
        raise CodecError(
            f"parameters: the encoder does not take one: {' '.join(rejected)} Correct the encoder's parameters; its "
            "own documentation lists them"
        )
    if run.returncode or not run.stdout:
        lines = words.splitlines()[-STDERR_LINES:]
        raise CodecError(
            f"FFmpeg failed with exit status {run.returncode}. The command was:\n  {shlex.join(command)}\n"
            "It said:\n" + "\n".join(f"  {line}" for line in lines or ["(nothing)"])
        )
    return run.stdout


def _feed(descriptor: int, pixels: memoryview) -> None:
    with suppress(BrokenPipeError), open(descriptor, "wb") as pipe:  # FFmpeg says itself why it ended early
        pipe.write(pixels)


@cache
def _x265_signature(program: str, config: Encoding, height: int, width: int, num_frames: int) -> tuple[str, str]:
    """Ask for encoder and settings of a clip that does not say them: a single black frame that does."""
    settings = _settings(config, num_frames) | {"pools": 1, "info": 1}
    bitstream = _run(_command(program, config, height, width, settings), memoryview(bytes(height * width * 3)))
    encoder, parameters = _read_signature(bitstream)
    return encoder, RUN_TIME_SETTINGS.sub("", parameters)


def _cut_signature(bitstream: bytes) -> tuple[bytes, str, str]:
    """Take x264's text about itself out of a stream: give the stream without it, encoder, and settings."""
    encoder, parameters = _read_signature(bitstream)
    text = bitstream.index(parameters.encode())
    start = bitstream.rindex(START_CODE, 0, text)
    return bitstream[:start] + bitstream[bitstream.index(START_CODE, text) :], encoder, parameters


def _read_signature(bitstream: bytes) -> tuple[str, str]:
    match = SIGNATURE_PATTERN.search(bitstream)
    if not match:
        raise CodecError(
            "the bitstream does not say which encoder made it; x264 and x265 do. Use an FFmpeg with libx264 "
            "and libx265, for example the one that the package imageio-ffmpeg brings along"
        )
    return match[1].decode(), match[2].decode()
