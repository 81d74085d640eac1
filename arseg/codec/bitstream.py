"""The common ground of H.264 and HEVC byte streams: start codes, and the bit codes of their headers."""

from collections.abc import Iterator

from arseg.errors import CodecError


def nal_units(bitstream: bytes) -> Iterator[bytes]:
    """Units between the start codes 00 00 01 of an Annex-B stream, their headers included."""
    start = bitstream.find(b"\0\0\1")
    while start >= 0:
        end = bitstream.find(b"\0\0\1", start + 3)
        unit = bitstream[start + 3 : end if end >= 0 else None]
        if unit:
            yield unit
        start = end


class BitReader:
    """Reads the bits of a header unit, most significant bit first; zeros follow the end."""

    def __init__(self, data: bytes) -> None:
        payload = data.replace(b"\0\0\3", b"\0\0")  # drop emulation-prevention bytes
        self._bits = "".join(f"{byte:08b}" for byte in payload)
        self._position = 0

    def read(self, count: int) -> int:
        """Unsigned number of `count` bits."""
        chunk = self._bits[self._position : self._position + count].ljust(count, "0")
        self._position += count
        return int(chunk or "0", 2)

    def read_ue(self) -> int:
        """Unsigned Exp-Golomb code."""
        one = self._bits.find("1", self._position)
        if one < 0:
            raise CodecError("a header of the compressed stream is cut off. Encode the clip again")
        zeros = one - self._position
        self._position = one
        return self.read(zeros + 1) - 1

    def read_se(self) -> int:
        """Signed Exp-Golomb code."""
        code = self.read_ue()
        return (code + 1) // 2 if code % 2 else -(code // 2)
