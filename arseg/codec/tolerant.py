"""Go on where a stream is damaged: leave out what cannot be decoded, and count it."""

import logging
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain

import av.error
from av.packet import Packet
from av.video.frame import VideoFrame

from arseg.codec.stream import PacketStream, fresh_decoder

LOG = logging.getLogger(__name__)

MAX_MESSAGES = 5
"""Damaged places that are reported one by one; all are counted."""

MAX_KEPT_BYTES = 64 * 2**20
"""Compressed frames that are kept: they are decoded once more if their motion turns out to be of no use."""


@dataclass
class Damage:
    """What could not be read of a stream so far."""

    num_lost: int = 0
    """Frames that were left out."""
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
            LOG.warning("%s: left out %d frames; going on at the next keyframe", message, num_lost)

    def skip(self) -> None:
        """Note that a frame cannot be decoded, because one before it was lost."""
        self.num_lost += 1


def until_unreadable(packets: Iterator[Packet], damage: Damage) -> Iterator[Packet]:
    """Pass packets on until no more can be read, which `damage` is told."""
    try:
        yield from packets
    except (av.error.FFmpegError, OSError) as error:
        damage.ended_early = str(error)
        LOG.warning("the video cannot be read any further: %s", error)


def decode_pixels(stream: PacketStream, damage: Damage) -> Iterator[VideoFrame]:
    """Decode what FFmpeg can decode of a stream, in display order, without motion; `damage` is told what it cannot."""
    decoder, num_sent, num_shown, waits = fresh_decoder(stream), 0, 0, True
    for packet in chain(stream.packets, [None]):  # None ends the stream
        if packet is not None:
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
            decoder, num_sent, num_shown, waits = fresh_decoder(stream), 0, 0, True


class KeptPackets:
    """Packets since the keyframe before the last one, and which of their frames have been shown."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.num_packets = 0
        self._forget()

    def _forget(self) -> None:
        self._groups: deque[list[Packet]] = deque(maxlen=2)
        self._shown: set[int | None] = set()
        self._num_bytes = 0

    def keep(self, packets: Iterator[Packet]) -> Iterator[Packet]:
        """Pass packets on, keeping them from the first keyframe on; a GOP that is too large is dropped."""
        for packet in packets:
            self.num_packets += 1
            if packet.is_keyframe:
                self._groups.append([])
                self._shown &= {kept.pts for group in self._groups for kept in group}
                self._num_bytes = sum(kept.size for group in self._groups for kept in group)
            if self._groups:
                self._groups[-1].append(packet)
                self._num_bytes += packet.size
            if self._num_bytes > MAX_KEPT_BYTES:
                self._forget()
            yield packet

    def note_shown(self, frame: VideoFrame) -> None:
        """Remember that a frame has been shown."""
        if self._groups:
            self._shown.add(frame.pts)

    def has_shown(self, frame: VideoFrame) -> bool:
        """Whether a frame that is decoded once more has been shown already."""
        return frame.pts in self._shown

    def recent(self) -> list[Packet]:
        """Return what is kept, from a keyframe on."""
        return [packet for group in self._groups for packet in group]
