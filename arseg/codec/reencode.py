"""Find the motion of pictures whose own stream has none of use: encode them again, as fast as that can be done."""

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

from arseg.codec.exported import read_exported
from arseg.codec.picture import DecodedPicture
from arseg.codec.stream import PacketStream
from arseg.errors import CodecError
from arseg.stopwatch import Stopwatch

NOMINAL_RATE = 25
"""Frames per second that the encoder is given; with a constant quality it decides nothing."""


@dataclass(frozen=True)
class Reencoding:
    """How pictures are encoded when only their motion is wanted."""

    preset: str = "veryfast"
    """Preset of x264. Faster ones than this look for vectors of whole macroblocks only."""
    crf: int = 23
    """Constant quality: vectors of a coarse picture follow its blocks rather than what moves."""


def reencode(
    pictures: Iterator[VideoFrame], gop: int, settings: Reencoding, watch: Stopwatch
) -> Iterator[DecodedPicture]:
    """Encode pictures with H.264, one at a time, and read the motion from that.

    P-pictures with one reference, in one thread: the same pictures give the same motion anywhere.

    Parameters
    ----------
    pictures : iterator of VideoFrame
        In display order, of one size. Their kind and time are taken from them.
    gop : int
        Most pictures from one keyframe to the next; a scene cut makes one as well.
    settings : Reencoding
        Preset and quality.
    watch : Stopwatch
        Given the time that encoding takes, as ``motion``.

    Yields
    ------
    picture : DecodedPicture
        With the motion that was found and the pixels that were given.

    Raises
    ------
    CodecError
        If PyAV has no x264, or it does not take the settings.
    """
    given: deque[VideoFrame] = deque()
    for picture in read_exported(PacketStream("h264", _encode(pictures, given, gop, settings, watch))):
        yield replace(picture, pixels=given.popleft())


def _encode(
    pictures: Iterator[VideoFrame], given: deque[VideoFrame], gop: int, settings: Reencoding, watch: Stopwatch
) -> Iterator[Packet]:
    encoder: VideoCodecContext | None = None
    try:
        for number, picture in enumerate(pictures):
            given.append(picture)
            with watch("motion"):
                # The colour planes of an odd row or column need a second one. The grid of 4x4 blocks stays the same.
                width, height = picture.width + picture.width % 2, picture.height + picture.height % 2
                if encoder is None:
                    encoder = _encoder(width, height, gop, settings)
                packets = encoder.encode(_planes(picture, width, height, number))
            yield from packets
        if encoder is not None:
            yield from encoder.encode(None)
    except (av.error.FFmpegError, UnknownCodecError) as error:
        raise CodecError(
            f"the video cannot be encoded again with preset {settings.preset}, crf {settings.crf}: {error}. Name a "
            "preset of x264, and install the wheel of the package av, which has x264"
        ) from error


def _planes(picture: VideoFrame, width: int, height: int, number: int) -> VideoFrame:
    """Copy a picture for the encoder; what the source says of its kind would force the encoder's decisions."""
    planes = picture.reformat(width, height, "yuv420p")
    if planes is picture:
        planes = VideoFrame.from_ndarray(picture.to_ndarray(), format="yuv420p")
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
        "tune": "zerolatency",  # a picture goes in, and its motion comes out
        "crf": str(settings.crf),
        "x264-params": parameters,
    }
    return encoder
