"""Byte streams of H.264 and HEVC: units, the bit codes of their headers, and what H.264's say of references."""

from collections.abc import Iterator

from arseg.errors import CodecError

NAL_SLICES = (1, 5)
NAL_SPS = 7
PROFILES_WITH_CHROMA_FORMAT = (100, 110, 122, 244, 44, 83, 86, 118, 128)
"""Kinds of units, and profiles, of H.264."""


def nal_units(bitstream: bytes) -> Iterator[bytes]:
    """Yield the units between the start codes 00 00 01 of an Annex-B stream, their headers included."""
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


def refers_to_previous_only(access_unit: bytes) -> bool:
    """Return whether nothing in an access unit of H.264 speaks against P-frames that all refer to the frame before.

    False if a sequence parameter set allows several reference frames, or the frame is one that no other may refer to:
    then a vector's target is not certain from there on.
    """
    for unit in nal_units(access_unit):
        kind, importance = unit[0] & 0x1F, unit[0] >> 5 & 3
        if kind in NAL_SLICES and not importance:
            return False
        if kind == NAL_SPS and num_reference_frames(unit) > 1:
            return False
    return True


def num_reference_frames(unit: bytes) -> int:
    """Return max_num_ref_frames of a sequence parameter set (H.264, section 7.3.2.1.1)."""
    bits = BitReader(unit[1:])
    profile = bits.read(8)
    bits.read(16)  # constraint flags and level
    bits.read_ue()  # seq_parameter_set_id
    if profile in PROFILES_WITH_CHROMA_FORMAT:
        chroma_format = bits.read_ue()
        if chroma_format == 3:
            bits.read(1)  # separate_colour_plane_flag
        bits.read_ue()  # bit_depth_luma_minus8
        bits.read_ue()  # bit_depth_chroma_minus8
        bits.read(1)  # qpprime_y_zero_transform_bypass_flag
        if bits.read(1):  # seq_scaling_matrix_present_flag
            for index in range(12 if chroma_format == 3 else 8):
                if bits.read(1):
                    _skip_scaling_list(bits, 16 if index < 6 else 64)
    bits.read_ue()  # log2_max_frame_num_minus4
    order_type = bits.read_ue()  # pic_order_cnt_type
    if order_type == 0:
        bits.read_ue()
    elif order_type == 1:
        bits.read(1)
        bits.read_ue()
        bits.read_ue()
        for _ in range(bits.read_ue()):
            bits.read_ue()
    return bits.read_ue()


def _skip_scaling_list(bits: BitReader, length: int) -> None:
    last, following = 8, 8
    for _ in range(length):
        if following:
            following = (last + bits.read_se()) % 256
        last = following or last
