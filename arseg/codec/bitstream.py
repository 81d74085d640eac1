"""Units of H.264 and HEVC streams: cut out of packets, whatever form these have, and the bit codes of their headers."""

from collections.abc import Iterator

from arseg.errors import CodecError

START_CODE = b"\0\0\1"


def nal_units(bitstream: bytes) -> Iterator[bytes]:
    """Yield the units between the start codes 00 00 01 of an Annex-B stream, their headers included."""
    start = bitstream.find(START_CODE)
    while start >= 0:
        end = bitstream.find(START_CODE, start + 3)
        unit = bitstream[start + 3 : end if end >= 0 else None]
        if unit:
            yield unit
        start = end


def hevc_layer(unit: bytes) -> int:
    """Return the layer of a unit of HEVC: 0 is the base, others are further views or qualities."""
    return (unit[0] & 1) << 5 | (unit[1] >> 3 if len(unit) > 1 else 0)


class UnitCutter:
    """Cuts the packets of one stream into units: between start codes, or behind lengths as MP4 and Matroska have them.

    Made from the decoder configuration of the container, which says which of the two it is, and may change.
    """

    def __init__(self, codec: str, configuration: bytes | None) -> None:
        self._codec = codec
        self.configure(configuration or b"")

    def configure(self, configuration: bytes) -> None:
        """Take a decoder configuration; empty for streams without a container."""
        self.headers: list[bytes] = []
        """Parameter sets in the configuration, which packets may lack."""
        self._length_size = 0
        if not configuration or configuration.startswith((START_CODE, b"\0" + START_CODE)):
            self.headers = list(nal_units(configuration))
        elif self._codec == "h264":
            self._length_size = (configuration[4:5] or b"\3")[0] % 4 + 1
            self._read_sets(configuration[5:], num_groups=2, group_header=0)
        else:
            self._length_size = (configuration[21:22] or b"\3")[0] % 4 + 1
            self._read_sets(configuration[23:], num_groups=(configuration[22:23] or b"\0")[0], group_header=1)

    def _read_sets(self, data: bytes, num_groups: int, group_header: int) -> None:
        """Read groups of parameter sets: of H.264 two, counted in a byte; of HEVC any, a byte of kind and a count."""
        count_size = 1 + group_header
        for group in range(num_groups):
            count = int.from_bytes(data[group_header : group_header + count_size])
            if self._codec == "h264" and group == 0:
                count %= 32
            data = data[group_header + count_size :]
            for _ in range(count):
                size = int.from_bytes(data[:2])
                if unit := data[2 : 2 + size]:
                    self.headers.append(unit)
                data = data[2 + size :]

    def cut(self, packet: bytes) -> list[bytes]:
        """Return the units of a packet, their headers included."""
        if not self._length_size:
            return list(nal_units(packet))
        units, place = [], 0
        while place + self._length_size < len(packet):
            start = place + self._length_size
            place = start + int.from_bytes(packet[place:start])
            if unit := packet[start:place]:
                units.append(unit)
        return units


class BitReader:
    """Reads the bits of a header unit, most significant bit first; zeros follow the end."""

    def __init__(self, data: bytes) -> None:
        payload = data.replace(b"\0\0\3", b"\0\0")  # drop emulation-prevention bytes
        self._bits = "".join(f"{byte:08b}" for byte in payload)
        self._position = 0

    def read(self, count: int) -> int:
        """Return an unsigned number of `count` bits."""
        chunk = self._bits[self._position : self._position + count].ljust(count, "0")
        self._position += count
        return int(chunk or "0", 2)

    def read_ue(self) -> int:
        """Return an unsigned number in Exp-Golomb code."""
        one = self._bits.find("1", self._position)
        if one < 0:
            raise CodecError("a header of the compressed stream is cut off. Encode the clip again")
        zeros = one - self._position
        self._position = one
        return self.read(zeros + 1) - 1

    def read_se(self) -> int:
        """Return a signed number in Exp-Golomb code."""
        code = self.read_ue()
        return (code + 1) // 2 if code % 2 else -(code // 2)
