"""Sections of a video, each of which can be decoded without what is before it: where long videos are cut into parts.

A section begins at the first keyframe, `SECTION_SECONDS` or more after the beginning of the last one, that no later
frame refers or is shown across. Found by packets alone: their flags, their times and the kinds of their units.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from av.packet import Packet

from arseg.errors import ConfigError

SECTION_SECONDS = 10
"""Least length of a section. Encoding again, too, begins anew at each, so that a part is encoded as in one run."""

SELF_CONTAINED = ("mpeg1video", "mpeg2video", "vp8", "vp9", "av1", "mjpeg", "prores", "dnxhd")
"""Standards, beside H.264 and HEVC, in which no frame after a keyframe refers to frames before it, by FFmpeg's names;
unless it is shown before it."""

H264_SETS, H264_IDR = (7, 8), 5
HEVC_SETS, HEVC_RANDOM_ACCESS, HEVC_LEADING = range(32, 35), range(16, 24), range(6, 10)
"""Kinds of units (H.264, table 7-1; H.265, table 7-1)."""

Units = list[bytes]


@dataclass(frozen=True)
class Part:
    """A part of a video that is segmented for itself: one of several of about the same duration."""

    number: int
    """From 1."""
    total: int

    @classmethod
    def parse(cls, text: str) -> "Part":
        """Read ``2/8``; a ConfigError says what is wrong with it."""
        number, slash, total = text.partition("/")
        if not (slash and number.isdecimal() and total.isdecimal() and 1 <= int(number) <= int(total)):
            raise ConfigError(f"--part {text}: expected NUMBER/TOTAL, from 1/TOTAL to TOTAL/TOTAL, as in 2/8")
        return cls(int(number), int(total))

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"


class Sections:
    """Numbers the sections of a stream, from 0.

    `codec` is FFmpeg's name of the coding standard, `second` how many units of the packets' times are one (None if they
    have no times: then all is one section).
    """

    def __init__(self, codec: str, second: float | None) -> None:
        self._codec, self._second = codec, second
        self._has_sets_inside = False
        self._first: float | None = None
        self._last = 0.0

    def split(self, packets: Iterator[tuple[Packet, Units]]) -> Iterator[tuple[Packet, Units, int, float]]:
        """Yield packets with their units, the number of their section, and its first second, from 0.

        A packet at which a section may begin waits for the next one.
        """
        number, began = 0, 0.0
        waiting: tuple[Packet, Units, float] | None = None
        for index, (packet, units) in enumerate(packets):
            if waiting:
                if not self._is_before(packet, units, waiting[0]):
                    number, began = number + 1, waiting[2]
                    self._last = began
                yield *waiting[:2], number, began
                waiting = None
            seconds = self._seconds(packet)
            if seconds is not None and seconds >= self._last + SECTION_SECONDS and self._may_begin(packet, units):
                waiting = packet, units, seconds
            else:
                yield packet, units, number, began
            # FFmpeg finds those of the first packet when it opens the stream.
            self._has_sets_inside |= index > 0 and bool(self._sets(units))
        if waiting:
            yield *waiting[:2], number + 1, waiting[2]

    def _seconds(self, packet: Packet) -> float | None:
        if self._second is None or packet.pts is None:
            return None
        if self._first is None:
            self._first = packet.pts / self._second
        return packet.pts / self._second - self._first

    def _may_begin(self, packet: Packet, units: Units) -> bool:
        """Whether it is a keyframe, with all parameter sets that it may need."""
        if packet.is_discard or not packet.is_keyframe:
            return False
        if self._codec == "h264":
            begins = any(unit[0] & 0x1F == H264_IDR for unit in units)
        elif self._codec == "hevc":
            begins = any(unit[0] >> 1 in HEVC_RANDOM_ACCESS for unit in units)
        else:
            return self._codec in SELF_CONTAINED
        return begins and (not self._has_sets_inside or self._sets(units) >= self._needed_sets)

    @property
    def _needed_sets(self) -> set[int]:
        return {*H264_SETS} if self._codec == "h264" else {*HEVC_SETS}

    def _sets(self, units: Units) -> set[int]:
        """Return the kinds of parameter sets that a packet has."""
        if self._codec not in ("h264", "hevc"):
            return set()
        kinds = {unit[0] & 0x1F if self._codec == "h264" else unit[0] >> 1 for unit in units}
        return kinds & self._needed_sets

    def _is_before(self, packet: Packet, units: Units, keyframe: Packet) -> bool:
        """Whether a frame that follows a keyframe in the stream is shown before it."""
        if self._codec == "hevc" and any(unit[0] >> 1 in HEVC_LEADING for unit in units):
            return True
        return packet.pts is None or keyframe.pts is None or packet.pts < keyframe.pts


def part_of(began: float, duration: float | None, total: int) -> int:
    """Return the number, from 1, of the part that a section belongs to, by its first second."""
    if not duration:
        return 1
    return min(total, 1 + int(total * began / duration))
