"""Compressed frames that may have to be decoded once more."""

from collections import deque
from collections.abc import Iterator

from av.packet import Packet
from av.video.frame import VideoFrame

MAX_KEPT_BYTES = 64 * 2**20
"""Compressed frames that are kept: they are decoded once more if their motion turns out to be of no use."""


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
