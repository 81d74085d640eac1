"""Compress one clip to an Annex-B bitstream with FFmpeg's libx264 or libx265 (spec section 3).

Frames go in through a pipe and the bitstream comes out of one, so nothing touches the disk. Reading the
bitstream back is `arseg.codec.decode`.
"""

import re
import shlex
import subprocess
from dataclasses import dataclass

import ffmpeg
import numpy as np
from numpy.typing import NDArray

from arseg.codec.ffmpeg import ffmpeg_version, find_ffmpeg
from arseg.config import RATE_PATTERN, Codec, EncodeConfig
from arseg.errors import CodecError

ENCODERS: dict[Codec, str] = {"h264": "libx264", "hevc": "libx265"}
"""FFmpeg's name of the encoder of each codec."""

P4X4_PRESETS = ("slower", "veryslow", "placebo")
"""Presets of x264 that split 8x8 blocks further when they search for motion."""

STDERR_LINES = 12
"""Last lines of FFmpeg's messages that an error repeats."""


@dataclass(frozen=True)
class EncodedClip:
    """A compressed clip and what made it."""

    bitstream: bytes
    """Annex-B byte stream, one intra picture followed by inter pictures."""
    encoder: str
    """Name and version of encoder and FFmpeg, for example ``x264 - core 165, FFmpeg n9.0.2``."""
    parameters: str
    """The encoder's complete effective settings, as it wrote them into the bitstream itself."""


def encode_clip(frames: NDArray[np.uint8], config: EncodeConfig, ffmpeg_path: str | None = None) -> EncodedClip:
    """Compress a clip whose first frame becomes the keyframe.

    The same frames give the same bytes: whatever an encoder would otherwise choose by the number of processor
    cores is pinned. RGB becomes yuv420p by FFmpeg's default conversion (BT.601, limited range).

    Parameters
    ----------
    frames : ndarray of uint8, shape (T, H, W, 3)
        RGB frames in display order. H and W must be even, T at least 1.
    config : EncodeConfig
        Codec, rate, GOP length, frame rate and preset.
    ffmpeg_path : str, optional
        The FFmpeg program; by default as `arseg.codec.ffmpeg.find_ffmpeg` finds it.

    Returns
    -------
    clip : EncodedClip
        The bitstream and a record of its encoder.

    Raises
    ------
    CodecError
        If a side is odd, or FFmpeg fails; then with the command and the end of FFmpeg's own messages.

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
    command = _command(ffmpeg_path or find_ffmpeg(), num_frames, height, width, config)
    try:
        pixels = np.ascontiguousarray(frames).reshape(-1).data
        run = subprocess.run(command, input=pixels, capture_output=True, check=False)
    except OSError as error:
        raise CodecError(f"{command[0]}: cannot be run as FFmpeg: {error}") from error
    if run.returncode or not run.stdout:
        words = run.stderr.decode(errors="replace").strip().splitlines()[-STDERR_LINES:]
        raise CodecError(
            f"FFmpeg failed with exit status {run.returncode}. The command was:\n  {shlex.join(command)}\n"
            "It said:\n" + "\n".join(f"  {line}" for line in words or ["(nothing)"])
        )
    encoder, parameters = _read_signature(run.stdout)
    return EncodedClip(run.stdout, f"{encoder}, FFmpeg {ffmpeg_version(command[0])}", parameters)


def _command(ffmpeg_path: str, num_frames: int, height: int, width: int, config: EncodeConfig) -> list[str]:
    settings: dict[str, str | int] = {"keyint": config.gop, "bframes": 0}
    options: dict[str, str | int] = {}
    if config.codec == "h264":
        # FFmpeg exports vectors without their reference index: with one reference there is no question.
        settings |= {"ref": 1, "cpu-independent": 1}
        if config.preset in P4X4_PRESETS:
            # FFmpeg exports one vector for each 8x8 quarter of a macroblock: of four 4x4 vectors, the first.
            settings |= {"partitions": "p8x8,i8x8,i4x4"}
        # x264's lookahead and rate control see other frames at other thread counts, and so choose other bits.
        options["threads"] = 1
    else:
        # x265's output depends on frame-threads, whose default is the core count, but not on the pool's size.
        # Without total-frames its rate control overspends on a clip as short as this by a third.
        settings |= {"rect": 1, "amp": 1, "total-frames": num_frames, "frame-threads": 1, "pools": 1}
    options["x264-params" if config.codec == "h264" else "x265-params"] = ":".join(
        f"{name}={value}" for name, value in settings.items()
    )
    source = ffmpeg.input("pipe:", format="rawvideo", pix_fmt="rgb24", video_size=(width, height), framerate=config.fps)
    stream = source.output(
        "pipe:",
        format=config.codec,
        vcodec=ENCODERS[config.codec],
        pix_fmt="yuv420p",
        preset=config.preset,
        **_rate_options(config.rate),
        **options,
    ).global_args("-hide_banner", "-nostats", "-loglevel", "warning")
    return ffmpeg.compile(stream, cmd=ffmpeg_path)


def _rate_options(rate: str) -> dict[str, str]:
    match = RATE_PATTERN.fullmatch(rate)
    assert match, rate  # EncodeConfig has checked it
    if match["kbps"]:
        return {"b:v": f"{match['kbps']}k"}
    return {"qp": match["qp"]} if match["qp"] else {"crf": match["crf"]}


def _read_signature(bitstream: bytes) -> tuple[str, str]:
    """Find the text with encoder and settings that x264 and x265 put in front of the first picture."""
    match = re.search(rb"(x26[45] [ -~]+?) - H\.26[45][ -~]+? - options: ([ -~]+)", bitstream)
    if not match:
        raise CodecError(
            "the bitstream does not say which encoder made it; x264 and x265 do. Use an FFmpeg with libx264 "
            "and libx265, for example the one that the package imageio-ffmpeg brings along"
        )
    return match[1].decode(), match[2].decode()
