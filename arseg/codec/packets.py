"""Read the packets of a video, or of a part of it, with what their headers say, as far as they can be read."""

import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av.error
from av.packet import Packet

from arseg.access import access_error
from arseg.codec import h264
from arseg.codec.bitstream import UnitCutter, hevc_layer
from arseg.codec.damage import Account, Origin
from arseg.codec.sections import HEVC_SETS, Part, Sections, part_of

LOG = logging.getLogger(__name__)

CUT_INTO_UNITS = ("h264", "hevc")
"""Standards whose packets are cut into units, for what their headers say."""

HEVC_SLICES = range(32)
HEVC_SUFFIX_SEI = 40
HEVC_FRAME_HASH = 132
"""Kinds of units, and of message that carries a frame's hash (H.265, 7.4.2.2 and D.2.1)."""

CHECKED_BYTES = 64 * 2**20
"""How far a file is read to find out whether the system refuses that, or its content ends there."""

ENCRYPTED = "it is encrypted"


class PacketReader:
    """Reads the packets of one video, or of a part of it, once, and enters them in an account.

    Parameters are those of `arseg.codec.stream.PacketStream`; `extradata` is what the container says to the decoder.

    Attributes
    ----------
    h264_headers : arseg.codec.h264.Headers
        What the headers of H.264 have said so far.
    has_hashes : bool
        Whether a frame of HEVC has come with its hash.
    num_skipped : int
        Frames before the part; exact where nothing is lost, and known from the part's first frame on.
    """

    def __init__(
        self,
        codec: str,
        account: Account,
        extradata: bytes | None,
        *,
        time_base: Fraction | None,
        duration: float | None,
        part: Part | None,
        path: Path | None,
        is_encrypted: bool,
    ) -> None:
        self.codec = codec
        self.h264_headers = h264.Headers()
        self.has_hashes = False
        self.num_skipped = 0
        self._account = account
        self._cutter = UnitCutter(codec, extradata) if codec in CUT_INTO_UNITS else None
        self._time_base, self._duration, self._part = time_base, duration, part
        self._path, self._position = path, 0
        self._is_encrypted = is_encrypted
        self._has_layers = False
        self._skipped_sets: dict[bytes, None] = {}

    def read(self, packets: Iterator[Packet], *, with_bytes: bool) -> Iterator[tuple[Packet, Origin, list[bytes]]]:
        """Yield the packets of the part, entered in the account, with their units.

        A packet that is not cut into units is one, if bytes are wanted. Those before the part are read, too: so all
        parts, and one run, know of the same sections, whatever the container.
        """
        cut = ((packet, self._cut(packet, with_bytes=with_bytes)) for packet in self._readable(packets))
        sections = Sections(self.codec, None if self._time_base is None else 1 / float(self._time_base))
        for packet, units, section, began in sections.split(cut):
            if self._part is not None:
                number = part_of(began, self._duration, self._part.total)
                if number > self._part.number:
                    return
                if number < self._part.number:
                    self._skip(packet, units)
                    continue
            all_units, self._skipped_sets = [*self._skipped_sets, *units], {}
            origin = packet.opaque = self._enter(packet, all_units)
            origin.section = section
            yield packet, origin, all_units

    def _skip(self, packet: Packet, units: list[bytes]) -> None:
        """Take from a packet before the part what those of the part may need."""
        if self.codec == "h264":
            self.h264_headers.read(units)
        elif self.codec == "hevc":
            self.has_hashes |= any(_is_hash(unit) for unit in units)
            for unit in units:
                if unit[0] >> 1 in HEVC_SETS:
                    self._skipped_sets.pop(unit, None)  # so that the last one with a number is the one that counts
                    self._skipped_sets[unit] = None
        self.num_skipped += self._holds_frame(units) and not packet.is_discard

    def _holds_frame(self, units: list[bytes]) -> bool:
        if self.codec == "h264":
            return any(unit[0] & 0x1F in h264.SLICES for unit in units)
        return self.codec != "hevc" or any(unit[0] >> 1 in HEVC_SLICES for unit in units)

    def _readable(self, packets: Iterator[Packet]) -> Iterator[Packet]:
        """Yield packets until no more can be read, or decoded."""
        try:
            for packet in packets:
                if self._is_encrypted or packet.has_sidedata("encryption_info"):  # FFmpeg would decode garbage
                    self._account.damage.ended_early = ENCRYPTED
                    if self._account.num_packets:
                        LOG.warning("the video cannot be read any further: %s", ENCRYPTED)
                    return
                self._position = packet.pos or self._position
                yield packet
        except IndexError:  # by PyAV 18, at the end, where a stream has appeared that was not there at the beginning
            LOG.warning("the container has more streams at its end than at its beginning; the first video is read")
        except (av.error.FFmpegError, OSError) as error:
            self._check_access()
            self._account.damage.ended_early = str(error)
            LOG.warning("the video cannot be read any further: %s", error)

    def _check_access(self) -> None:
        """Raise FileAccessError if the system does not let the file be read where FFmpeg stopped.

        FFmpeg says of some files that end early what the system says of disks that fail.
        """
        if self._path is None or not self._path.is_file():
            return
        try:
            with self._path.open("rb") as file:
                file.seek(self._position)
                for _ in range(CHECKED_BYTES // 2**20):
                    if not file.read(2**20):
                        break
        except OSError as error:
            raise access_error(self._path, error) from error

    def _cut(self, packet: Packet, *, with_bytes: bool) -> list[bytes]:
        if self._cutter is None:
            return [bytes(packet)] if with_bytes else []
        if packet.has_sidedata("new_extradata"):
            self._cutter.configure(bytes(packet.get_sidedata("new_extradata")))
        headers, self._cutter.headers = self._cutter.headers, []
        return headers + self._cutter.cut(bytes(packet))

    def _enter(self, packet: Packet, units: list[bytes]) -> Origin:
        """Enter a packet in the account, with what the container and its headers say of it."""
        problem = "its packet is marked as damaged" if packet.is_corrupt else ""
        holds_frame = self.codec in CUT_INTO_UNITS and self._holds_frame(units)
        if self.codec == "h264":
            problem = self.h264_headers.read(units) or problem
        elif self.codec == "hevc":
            has_hash = any(_is_hash(unit) for unit in units)
            if self.has_hashes and holds_frame and not has_hash:
                problem = "it lacks the hash that the frames before it have"
            self.has_hashes |= has_hash
            if not self._has_layers and any(map(hevc_layer, units)):
                self._has_layers = True
                LOG.info("the video has several views or layers; the first one, which all players show, is read")
        origin = self._account.send(
            packet.size, holds_frame=holds_frame, is_cut=packet.is_discard, corner=self.h264_headers.corner
        )
        if problem:
            self._account.note(origin, f"{self.codec}: {problem}")
        return origin


def _is_hash(unit: bytes) -> bool:
    return unit[0] >> 1 == HEVC_SUFFIX_SEI and unit[2:3] == bytes([HEVC_FRAME_HASH])
