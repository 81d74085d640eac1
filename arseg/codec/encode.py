"""Compress one clip to a byte stream with FFmpeg, as its codec says (docs/method.md, 'Re-encoding').

Frames go in through a pipe and the bitstream comes out of one, so nothing touches the disk. What makes the same frames
give the same bytes, and what that costs, is in ``docs/encoding.md``. Reading the bitstream back is
`arseg.codec.decode`.
"""

import os
import re
import shlex
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from threading import Thread

import ffmpeg
import numpy as np
from numpy.typing import NDArray

from arseg.codec.ffmpeg import ffmpeg_version, find_ffmpeg, last_lines
from arseg.codecs import Settings, codecs
from arseg.errors import CodecError
from arseg.spec import Encoding

STDERR_LINES = 12
"""Last lines of FFmpeg's messages that an error repeats."""

START_CODE = b"\0\0\1"

SIGNATURE_PATTERN = re.compile(rb"(x26[45] [ -~]+?) - H\.26[45][ -~]+? - options: ([ -~]+)")
"""The text that x264 and x265 put in front of the first frame: who they are, and all settings."""

RUN_TIME_SETTINGS = re.compile(r"(?<!\S)(cpuid=\d+|numa-pools=\S*|info) ")
"""Settings in x265's text that differ from run to run, or from the clip's own, and change no frame."""

REJECTED_PARAMETER = re.compile(r"(Unknown option: .+|Invalid value for .+|Error parsing option .+)")
"""What FFmpeg's encoders say about a parameter that they then leave out."""


@dataclass(frozen=True)
class EncodedClip:
    """A compressed clip and what made it."""

    bitstream: bytes
    """Byte stream, one keyframe followed by inter frames; of x264 and x265 without text about them."""
    encoder: str
    """Name and version of encoder and FFmpeg, for example ``x264 - core 165, FFmpeg n9.0.2``."""
    parameters: str
    """The encoder's complete effective settings as it writes them itself; those it was given, if it does not."""


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
        Threads that the encoder works with. Changes no byte; x264 has one, because its bytes would depend on it.

    Returns
    -------
    clip : EncodedClip
        The bitstream and a record of its encoder.

    Raises
    ------
    CodecError
        If a side is odd, FFmpeg fails (then with the command and the end of FFmpeg's own messages), or the encoder
        does not take one of the configuration's `parameters`.
    """
    num_frames, height, width, _ = frames.shape
    if height % 2 or width % 2:
        raise CodecError(
            f"frames of {width}x{height} pixels: yuv420p halves both sides for its colour planes, so they "
            f"must be even, for example {width - width % 2}x{height - height % 2}. Crop or resize the frames"
        )
    program = ffmpeg_path or find_ffmpeg()
    codec = codecs.get(config.codec)
    settings = codec.settings(config, num_frames, threads) | codec.read_parameters(config.parameters)
    command = _command(program, config, height, width, settings)
    bitstream = _run(command, np.ascontiguousarray(frames).reshape(-1).data)
    if codec.signing:
        encoder, parameters = _ask_signature(program, config, height, width, num_frames)
    elif signature := SIGNATURE_PATTERN.search(bitstream):
        bitstream, encoder, parameters = _cut(bitstream, signature), signature[1].decode(), signature[2].decode()
    else:
        told = codec.settings(config, num_frames, 1)  # which threads do not change
        encoder, parameters = codec.encoder, " ".join(f"{name}={value}" for name, value in told.items())
    return EncodedClip(bitstream, f"{encoder}, FFmpeg {ffmpeg_version(program)}", parameters)


def _command(program: str, config: Encoding, height: int, width: int, settings: Settings) -> list[str]:
    codec = codecs.get(config.codec)
    source = ffmpeg.input(
        "pipe:", format="rawvideo", pix_fmt="rgb24", video_size=(width, height), framerate=str(config.fps)
    )
    options: Settings = {"format": codec.stream_format, "vcodec": codec.encoder, "pix_fmt": "yuv420p"}
    if len(codec.presets) > 1:
        options["preset"] = config.preset
    options[codec.rates[config.rate.kind]] = str(config.rate) if config.rate.kind == "kbps" else config.rate.value
    if codec.parameters_option:
        options[codec.parameters_option] = ":".join(f"{name}={value}" for name, value in settings.items())
    else:
        options |= settings
    stream = source.output("pipe:", **options).global_args("-hide_banner", "-nostats", "-loglevel", "warning")
    return ffmpeg.compile(stream, cmd=program)


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
        raise CodecError(
            f"FFmpeg failed with exit status {run.returncode}. The command was:\n  {shlex.join(command)}\n"
            f"It said:\n{last_lines(words, STDERR_LINES)}"
        )
    return run.stdout


def _feed(descriptor: int, pixels: memoryview) -> None:
    with suppress(BrokenPipeError), open(descriptor, "wb") as pipe:  # FFmpeg says itself why it ended early
        pipe.write(pixels)


@cache
def _ask_signature(program: str, config: Encoding, height: int, width: int, num_frames: int) -> tuple[str, str]:
    """Ask for encoder and settings of a clip that does not say them: a single black frame that does."""
    codec = codecs.get(config.codec)
    settings = codec.settings(config, num_frames, 1) | codec.read_parameters(config.parameters) | (codec.signing or {})
    bitstream = _run(_command(program, config, height, width, settings), memoryview(bytes(height * width * 3)))
    match = SIGNATURE_PATTERN.search(bitstream)
    if not match:
        raise CodecError(
            f"the bitstream does not say which encoder made it; {codec.encoder} does. Use an FFmpeg with "
            f"{codec.encoder}, for example the one that the package imageio-ffmpeg brings along"
        )
    return match[1].decode(), RUN_TIME_SETTINGS.sub("", match[2].decode())


def _cut(bitstream: bytes, signature: re.Match[bytes]) -> bytes:
    """Return a stream without the unit that holds the encoder's text about itself."""
    start = bitstream.rindex(START_CODE, 0, signature.start())
    return bitstream[:start] + bitstream[bitstream.index(START_CODE, signature.end()) :]
