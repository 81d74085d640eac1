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

BEGIN_OF_SLICE = 40
"""Bytes that hold all that is read of each slice's header."""

LONGEST_SLICE_HEADER = 1024
"""Bytes that hold a whole one, with weights for 32 references in two lists."""

MMCO5 = 5
"""The command to forget all frames, and to go on as if the one that gives it had the number 0."""


@dataclass(frozen=True)
class SequenceParameters:
    """What is used of a sequence parameter set (H.264, section 7.3.2.1.1)."""

    index: int
    num_reference_frames: int
    frame_num_bits: int
    may_skip_frames: bool
    """Whether frame numbers may have gaps without anything missing."""
    separate_planes: bool
    chroma_format: int
    order_type: int
    order_bits: int
    """Of the picture order count, if its type is 0."""
    order_deltas: bool
    """Whether a slice says how its order count differs from the expected one, if its type is 1."""
    frames_only: bool
    right: int
    """Column of the coded frame at which the displayed one ends."""
    bottom: int
    """Row of the coded frame at which the displayed one ends."""


@dataclass(frozen=True)
class PictureParameters:
    """What is used of a picture parameter set (H.264, section 7.3.2.2)."""

    sequence: int
    """Index of the sequence parameter set."""
    second_order: bool
    """Whether a slice says the order count of a second field as well."""
    num_references: tuple[int, int]
    """In each list, where a slice does not say otherwise."""
    weights: tuple[bool, bool]
    """Whether P- and B-slices have weights."""
    redundant: bool
    """Whether slices count redundant frames."""


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
        self._pictures: dict[int, PictureParameters] = {}
        self._last_frame_num: int | None = None
        self._last_reference = b""
        """The slice that `_last_frame_num` is from, or its begin."""

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
                    index, picture = read_picture_parameters(unit)
                    self._pictures[index] = picture
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
        bits = BitReader(unit[1:BEGIN_OF_SLICE])
        bits.read_ue()  # first_mb_in_slice
        bits.read_ue()  # slice_type
        sequence, _ = self._parameters(bits.read_ue())
        if sequence is None:
            return ""
        self.corner = sequence.right, sequence.bottom
        if sequence.separate_planes:
            bits.read(2)
        frame_num = bits.read(sequence.frame_num_bits)
        last, reference = self._last_frame_num, self._last_reference
        if is_reference or last is None:
            self._last_frame_num, self._last_reference = frame_num, unit[:LONGEST_SLICE_HEADER]
        if kind == IDR or sequence.may_skip_frames or last is None:
            return ""
        if (frame_num - last) % (1 << sequence.frame_num_bits) <= 1 or (frame_num <= 1 and self._resets(reference)):
            return ""
        return f"frames are missing between frame numbers {last} and {frame_num}"

    def _parameters(self, picture: int) -> tuple[SequenceParameters | None, PictureParameters | None]:
        """Return the parameter sets that a slice names."""
        parameters = self._pictures.get(picture)
        return self._sequences.get(parameters.sequence) if parameters else None, parameters

    def _resets(self, unit: bytes) -> bool:
        """Whether a slice of a reference frame has the command `MMCO5` (H.264, section 7.3.3)."""
        bits = BitReader(unit[1:])
        bits.read_ue()
        kind = bits.read_ue() % 5
        sequence, picture = self._parameters(bits.read_ue())
        if sequence is None or picture is None or unit[0] & 0x1F == IDR or not unit[0] >> 5 & 3:
            return False
        num_lists = {0: 1, 1: 2, 3: 1}.get(kind, 0)  # P and SP, B; I and SI have none
        bits.read(2 * sequence.separate_planes + sequence.frame_num_bits)
        _skip_order_counts(bits, sequence, picture)
        if num_lists == 2:
            bits.read(1)  # direct_spatial_mv_pred_flag
        _skip_lists(bits, num_lists, sequence, picture)
        if bits.read(1):  # adaptive_ref_pic_marking_mode_flag
            while command := bits.read_ue():
                if command == MMCO5:
                    return True
                for _ in range(2 if command == 3 else 1):
                    bits.read_ue()
        return False


def _skip_order_counts(bits: BitReader, sequence: SequenceParameters, picture: PictureParameters) -> None:
    is_field = not sequence.frames_only and bool(bits.read(1))
    bits.read(is_field + (sequence.order_bits if sequence.order_type == 0 else 0))
    num_deltas = int(sequence.order_deltas)
    if picture.second_order and not is_field and (sequence.order_type == 0 or sequence.order_deltas):
        num_deltas += 1
    for _ in range(num_deltas):
        bits.read_se()
    if picture.redundant:
        bits.read_ue()


def _skip_lists(bits: BitReader, num_lists: int, sequence: SequenceParameters, picture: PictureParameters) -> None:
    num_references = picture.num_references[:num_lists]
    if num_lists and bits.read(1):
        num_references = tuple(bits.read_ue() + 1 for _ in range(num_lists))
    for _ in range(num_lists):
        if bits.read(1):  # the list is modified
            while bits.read_ue() != 3:
                bits.read_ue()
    if num_lists and picture.weights[num_lists - 1]:
        _skip_weights(bits, sum(num_references), sequence)


def _skip_weights(bits: BitReader, num_references: int, sequence: SequenceParameters) -> None:
    has_colors = sequence.chroma_format and not sequence.separate_planes
    for _ in range(2 if has_colors else 1):
        bits.read_ue()  # denominators
    for _ in range(min(num_references, 64)):
        for num_planes in (1, 2) if has_colors else (1,):
            if bits.read(1):
                for _ in range(2 * num_planes):
                    bits.read_se()


def read_picture_parameters(unit: bytes) -> tuple[int, PictureParameters]:
    """Read a picture parameter set and its index; CodecError if it is cut off."""
    bits = BitReader(unit[1:])
    index, sequence = bits.read_ue(), bits.read_ue()
    bits.read(1)  # entropy_coding_mode_flag
    second_order = bool(bits.read(1))
    if bits.read_ue():  # macroblocks in any order, which FFmpeg does not decode
        return index, PictureParameters(sequence, second_order, (1, 1), (False, False), redundant=False)
    num_references = bits.read_ue() + 1, bits.read_ue() + 1
    weights = bool(bits.read(1)), bits.read(2) == 1
    for _ in range(3):
        bits.read_se()  # quantizers
    bits.read(2)
    return index, PictureParameters(sequence, second_order, num_references, weights, redundant=bool(bits.read(1)))


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
    order_bits, order_deltas = 0, False
    if order_type == 0:
        order_bits = min(bits.read_ue() + 4, 16)
    elif order_type == 1:
        order_deltas = not bits.read(1)
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
        chroma_format=chroma_format,
        order_type=order_type,
        order_bits=order_bits,
        order_deltas=order_deltas,
        frames_only=bool(frames_only),
        right=width - step_x * right,
        bottom=height - step_y * bottom,
    )


def _skip_scaling_list(bits: BitReader, length: int) -> None:
    last, following = 8, 8
    for _ in range(length):
        if following:
            following = (last + bits.read_se()) % 256
        last = following or last
