"""Go on where a stream is damaged: leave out what cannot be decoded, and count it."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast

import av.error
from av.codec.context import CodecContext
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from arseg.codec.stream import PacketStream

LOG = logging.getLogger(__name__)

MAX_MESSAGES = 5
"""Damaged places that are reported one by one; all are counted."""


@dataclass
class Damage:
    """What could not be read of a stream so far."""

    num_lost: int = 0
    """Pictures that were left out."""
    num_places: int = 0
    """Places where decoding broke off; it goes on at the next keyframe."""
    messages: list[str] = field(default_factory=list)
    """What was wrong at the first few of them."""
    ended_early: str = ""
    """Why nothing could be read from some place on, if so."""

    def add(self, message: str, num_lost: int) -> None:
        """Note that decoding broke off."""
        self.num_places += 1
        self.num_lost += num_lost
        if len(self.messages) < MAX_MESSAGES:
            self.messages.append(message)
            LOG.warning("%s: left out %d pictures; going on at the next keyframe", message, num_lost)

    def skip(self) -> None:
        """Note that a picture cannot be decoded, because one before it was lost."""
        self.num_lost += 1


def until_unreadable(packets: Iterator[Packet], damage: Damage) -> Iterator[Packet]:
    """Pass packets on until no more can be read.

    Parameters
    ----------
    packets : iterator of Packet
        Compressed pictures.
    damage : Damage
        Notified if reading failed before the end.

    Yields
    ------
    packet : Packet
        The same.
    """
    try:
        yield from packets
    except (av.error.FFmpegError, OSError) as error:
        damage.ended_early = str(error)
        LOG.warning("the video cannot be read any further: %s", error)


def decode_pixels(stream: PacketStream, damage: Damage) -> Iterator[VideoFrame]:
    """Decode what can be decoded, without motion.

    Parameters
    ----------
    stream : PacketStream
        Of any codec that FFmpeg decodes.
    damage : Damage
        Notified of what was left out.

    Yields
    ------
    frame : VideoFrame
        In display order.
    """
    decoder, num_sent, num_shown, waits = _decoder(stream), 0, 0, True
    for packet in stream.packets:
        waits = waits and not packet.is_keyframe
        if waits:
            damage.skip()
            continue
        num_sent += 1
        try:
            for frame in decoder.decode(packet):
                num_shown += 1
                yield frame
        except av.error.FFmpegError as error:
            damage.add(f"{stream.codec}: {error.strerror}", num_sent - num_shown)
            decoder, num_sent, num_shown, waits = _decoder(stream), 0, 0, True
    try:
        for frame in decoder.decode(None):
            num_shown += 1
            yield frame
    except av.error.FFmpegError as error:
        damage.add(f"{stream.codec}: {error.strerror}", num_sent - num_shown)


def _decoder(stream: PacketStream) -> VideoCodecContext:
    """Make a decoder that remembers nothing."""
    if stream.decoder is not None and stream.decoder.is_open:
        stream.decoder.flush_buffers()
        return stream.decoder
    decoder = stream.decoder or cast(VideoCodecContext, CodecContext.create(stream.codec, "r"))
    decoder.thread_count = 1  # with frame threads a damaged stream decodes differently from run to run
    decoder.options = {"err_detect": "explode"}
    return decoder
