"""Take compressed packets out of byte strings, files and network streams, without decoding them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import av.error
from av.bitstream import BitStreamFilterContext
from av.codec.context import CodecContext
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext

from arseg.access import access_error, find_refusal
from arseg.errors import CodecError

START_CODES = {"h264": "h264_mp4toannexb", "hevc": "hevc_mp4toannexb"}
"""Filters that give packets of containers the start codes and headers of a byte stream (Annex B)."""

STANDARD_INPUT = "pipe:0"
"""FFmpeg's name of the standard input."""


@dataclass(frozen=True, eq=False)
class PacketStream:
    """Compressed frames in decode order."""

    codec: str
    """FFmpeg's name of the coding standard, for example ``hevc``."""
    packets: Iterator[Packet]
    """One access unit each; H.264 and HEVC with start codes."""
    decoder: VideoCodecContext | None = None
    """Decoder that knows all that the container says, for standards other than H.264 and HEVC; not opened yet."""
    frames_per_second: Fraction | None = None
    """Average, where the container says it."""
    time_base: Fraction | None = None
    """Seconds in a unit of the packets' times."""
    num_frames: int | None = None
    """How many frames there are, where the container says it."""


def fresh_decoder(stream: PacketStream, **options: str) -> VideoCodecContext:
    """Return a decoder of a stream that remembers nothing and stops at damage."""
    if stream.decoder is not None and stream.decoder.is_open:
        stream.decoder.flush_buffers()
        return stream.decoder
    decoder = stream.decoder or cast(VideoCodecContext, CodecContext.create(stream.codec, "r"))
    decoder.thread_count = 1  # with frame threads a damaged stream decodes differently from run to run
    decoder.options = {"err_detect": "explode"} | options
    return decoder


def split_bitstream(bitstream: bytes, codec: str) -> PacketStream:
    """Cut a whole byte stream without container into its frames; `codec` is FFmpeg's name of its coding standard."""
    parser = CodecContext.create(codec, "r")
    return PacketStream(codec, iter([*parser.parse(bitstream), *parser.parse()]))


@contextmanager
def open_video(source: str | Path) -> Iterator[PacketStream]:
    """Yield the first video stream of anything that FFmpeg opens, its packets read as they are asked for.

    Parameters
    ----------
    source : str or Path
        File, network address, or ``-`` for the standard input.

    Raises
    ------
    CodecError, FileAccessError
        If it cannot be opened or read, or has no video.
    """
    try:
        with av.open(STANDARD_INPUT if str(source) == "-" else str(source)) as container:
            if not container.streams.video:
                raise CodecError(f"{source}: has no video stream. Name a video")
            stream = container.streams.video[0]
            codec = stream.codec_context.name
            packets: Iterator[Packet] = (packet for packet in container.demux(stream) if packet.size)
            if codec in START_CODES:
                packets = _filtered(packets, BitStreamFilterContext(START_CODES[codec], stream))
            yield PacketStream(
                codec,
                packets,
                decoder=None if codec in START_CODES else stream.codec_context,
                frames_per_second=stream.average_rate,
                time_base=stream.time_base,
                num_frames=stream.frames or None,
            )
    except av.error.FFmpegError as error:
        if (refusal := find_refusal(error)) and Path(source).exists():
            raise access_error(Path(source), refusal) from error
        raise CodecError(
            f"{source}: cannot be read as a video: {error.strerror}. Name a file or stream that FFmpeg opens"
        ) from error


def _filtered(packets: Iterator[Packet], bitstream_filter: BitStreamFilterContext) -> Iterator[Packet]:
    for packet in packets:
        yield from bitstream_filter.filter(packet)
    yield from bitstream_filter.filter(None)
