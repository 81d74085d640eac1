"""Headers of H.264: what they say of references, of missing frames, and of the displayed part of a frame."""

from dataclasses import dataclass

from arseg.codec.bitstream import BitReader
from arseg.errors import CodecError

SLICES = (1, 2, 5)
IDR = 5
SPS = 7
PPS = 8
"""Kinds of units."""

PROFILES_WITH_CHROMA_FORMAT = (100, 110, 122, 244, 44, 83, 86, 118, 128)

LONGEST_SLICE_HEADER = 40
"""Bytes that hold all that is read of a slice's header."""


@dataclass(frozen=True)
class SequenceParameters:
    """What is used of a sequence parameter set (H.264, section 7.3.2.1.1)."""

    index: int
    num_reference_frames: int
    frame_num_bits: int
    may_skip_frames: bool
    """Whether frame numbers may have gaps without anything missing."""
    separate_planes: bool
    right: int
    """Column of the coded frame at which the displayed one ends."""
    bottom: int
    """Row of the coded frame at which the displayed one ends."""


class Headers:
    """Follows the headers of a stream, packet by packet, in decode order."""

    def __init__(self) -> None:
        self.refers_to_previous_only = True
        """Whether nothing so far speaks against P-frames that all refer to the frame before. Not so if a sequence
        parameter set allows several reference frames, or a frame is one that no other may refer to: then a vector's
        target is not certain from there on."""
        self.corner: tuple[int, int] | None = None
        """Column and row of the coded frame at which the displayed one ends."""
        self._sequences: dict[int, SequenceParameters] = {}
        self._sequence_of: dict[int, int] = {}
        self._last_frame_num: int | None = None

    def read(self, units: list[bytes]) -> str:
        """Read the units of a packet; return what is missing before it, in words, or an empty string."""
        found = ""
        slices = 0
        for unit in units:
            kind = unit[0] & 0x1F
            try:
                if kind == SPS:
                    sequence = read_sequence_parameters(unit)
                    self._sequences[sequence.index] = sequence
                    self.refers_to_previous_only &= sequence.num_reference_frames <= 1
                elif kind == PPS:
                    bits = BitReader(unit[1:LONGEST_SLICE_HEADER])
                    self._sequence_of[bits.read_ue()] = bits.read_ue()
                elif kind in SLICES:
                    slices += 1
                    if slices == 1:
                        found = self._read_slice(unit, kind)
            except CodecError as error:  # what a damaged header means for the frame, the decoder says
                found = found or str(error).partition(". ")[0]
        return found

    def _read_slice(self, unit: bytes, kind: int) -> str:
        is_reference = bool(unit[0] >> 5 & 3)
        self.refers_to_previous_only &= is_reference
        bits = BitReader(unit[1:LONGEST_SLICE_HEADER])
        bits.read_ue()  # first_mb_in_slice
        bits.read_ue()  # slice_type
        sequence = self._sequences.get(self._sequence_of.get(bits.read_ue(), -1))
        if sequence is None:
            return ""
        self.corner = sequence.right, sequence.bottom
        if sequence.separate_planes:
            bits.read(2)
        frame_num = bits.read(sequence.frame_num_bits)
        last, follows = self._last_frame_num, kind != IDR and not sequence.may_skip_frames
        if is_reference or last is None:
            self._last_frame_num = frame_num
        if not follows or last is None or (frame_num - last) % (1 << sequence.frame_num_bits) <= 1:
            return ""
        return f"frames are missing between frame numbers {last} and {frame_num}"


def read_sequence_parameters(unit: bytes) -> SequenceParameters:
    """Read a sequence parameter set; CodecError if it is cut off."""
    bits = BitReader(unit[1:])
    profile = bits.read(8)
    bits.read(16)  # constraint flags and level
    index = bits.read_ue()
    chroma_format, separate_planes = 1, False
    if profile in PROFILES_WITH_CHROMA_FORMAT:
        chroma_format = bits.read_ue()
        if chroma_format == 3:
            separate_planes = bool(bits.read(1))
        bits.read_ue()  # bit_depth_luma_minus8
        bits.read_ue()  # bit_depth_chroma_minus8
        bits.read(1)  # qpprime_y_zero_transform_bypass_flag
        if bits.read(1):  # seq_scaling_matrix_present_flag
            for number in range(12 if chroma_format == 3 else 8):
                if bits.read(1):
                    _skip_scaling_list(bits, 16 if number < 6 else 64)
    frame_num_bits = bits.read_ue() + 4
    order_type = bits.read_ue()  # pic_order_cnt_type
    if order_type == 0:
        bits.read_ue()
    elif order_type == 1:
        bits.read(1)
        bits.read_ue()
        bits.read_ue()
        for _ in range(min(bits.read_ue(), 255)):
            bits.read_ue()
    num_reference_frames = bits.read_ue()
    may_skip_frames = bool(bits.read(1))
    width, height = (16 * (bits.read_ue() + 1) for _ in range(2))
    frames_only = bits.read(1)
    if not frames_only:
        height *= 2
        bits.read(1)  # mb_adaptive_frame_field_flag
    bits.read(1)  # direct_8x8_inference_flag
    right = bottom = 0
    if bits.read(1):  # frame_cropping_flag
        _, right, _, bottom = (bits.read_ue() for _ in range(4))
    step_x = 2 if chroma_format in (1, 2) else 1  # the offsets count chroma samples
    step_y = (2 if chroma_format == 1 else 1) * (2 - frames_only)
    return SequenceParameters(
        index=index,
        num_reference_frames=num_reference_frames,
        frame_num_bits=min(frame_num_bits, 16),
        may_skip_frames=may_skip_frames,
        separate_planes=separate_planes,
        right=width - step_x * right,
        bottom=height - step_y * bottom,
    )


def _skip_scaling_list(bits: BitReader, length: int) -> None:
    last, following = 8, 8
    for _ in range(length):
        if following:
            following = (last + bits.read_se()) % 256
        last = following or last
