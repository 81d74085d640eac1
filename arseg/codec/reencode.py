"""Find the motion of frames whose own stream has none of use: encode them again, as fast as that can be done."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import av.error
from av.codec.codec import UnknownCodecError
from av.codec.context import CodecContext
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame

from arseg.codec.decode import read_frames
from arseg.codec.frame import DecodedFrame
from arseg.codec.stream import PacketStream
from arseg.errors import CodecError
from arseg.stopwatch import Stopwatch

NOMINAL_RATE = 25
"""Frames per second that the encoder is given; with a constant quality it decides nothing."""


@dataclass(frozen=True)
class Reencoding:
    """How frames are encoded when only their motion is wanted."""

    preset: str = "veryfast"
    """Preset of x264. Faster ones than this look for vectors of whole macroblocks only."""
    crf: int = 23
    """Constant quality: vectors of a coarse frame follow its blocks rather than what moves."""


def reencode(frames: Iterator[VideoFrame], gop: int, settings: Reencoding, watch: Stopwatch) -> Iterator[DecodedFrame]:
    """Encode frames of one size with H.264, in display order, and yield them with the motion that was found.

    P-frames with one reference, in one thread: the same frames give the same motion anywhere. A keyframe is made after
    `gop` frames at most, and at a scene cut. `watch` is given the time that encoding takes, as ``motion``. Raises
    CodecError if PyAV has no x264, or it does not take the settings.
    """
    given: deque[VideoFrame] = deque()
    for frame in read_frames(PacketStream("h264", _encode(frames, given, gop, settings, watch))):
        pixels = given.popleft()
        yield replace(frame, pixels=pixels, height=pixels.height, width=pixels.width)


def _encode(
    frames: Iterator[VideoFrame], given: deque[VideoFrame], gop: int, settings: Reencoding, watch: Stopwatch
) -> Iterator[Packet]:
    encoder: VideoCodecContext | None = None
    try:
        for number, frame in enumerate(frames):
            given.append(frame)
            with watch("motion"):
                # The colour planes of an odd row or column need a second one. The grid of 4x4 blocks stays the same.
                width, height = frame.width + frame.width % 2, frame.height + frame.height % 2
                if encoder is None:
                    encoder = _encoder(width, height, gop, settings)
                packets = encoder.encode(_planes(frame, width, height, number))
            yield from packets
        if encoder is not None:
            yield from encoder.encode(None)
    except (av.error.FFmpegError, UnknownCodecError) as error:
        raise CodecError(
            f"the video cannot be encoded again with preset {settings.preset}, crf {settings.crf}: {error}. Name a "
            "preset of x264, and install the wheel of the package av, which has x264"
        ) from error


def _planes(frame: VideoFrame, width: int, height: int, number: int) -> VideoFrame:
    """Copy a frame for the encoder; what the source says of its kind would force the encoder's decisions."""
    planes = frame.reformat(width, height, "yuv420p", threads=1)
    if planes is frame:
        planes = VideoFrame.from_ndarray(frame.to_ndarray(), format="yuv420p")
    planes.pict_type = PictureType.NONE
    planes.pts, planes.time_base = number, Fraction(1, NOMINAL_RATE)
    return planes


def _encoder(width: int, height: int, gop: int, settings: Reencoding) -> VideoCodecContext:
    encoder = CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, NOMINAL_RATE), Fraction(NOMINAL_RATE)
    parameters = f"keyint={gop}:bframes=0:ref=1:threads=1:cpu-independent=1:log=-1"
    encoder.options = {
        "preset": settings.preset,
        "tune": "zerolatency",  # a frame goes in, and its motion comes out
        "crf": str(settings.crf),
        "x264-params": parameters,
    }
    return encoder
