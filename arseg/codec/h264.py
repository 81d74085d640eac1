"""Headers of H.264 streams, for what FFmpeg's decoder does not export (ITU-T H.264, section 7.3)."""

from arseg.codec.bitstream import BitReader, nal_units

NAL_SLICES = (1, 5)
NAL_SPS = 7
PROFILES_WITH_CHROMA_FORMAT = (100, 110, 122, 244, 44, 83, 86, 118, 128)


def refers_to_previous_only(access_unit: bytes) -> bool:
    """Return whether nothing in a unit speaks against P-pictures that all refer to the picture before.

    Parameters
    ----------
    access_unit : bytes
        One access unit with start codes.

    Returns
    -------
    certain : bool
        False if a sequence parameter set allows several reference frames, or the picture is one that no other may
        refer to: then a vector's target is not certain from there on.
    """
    for unit in nal_units(access_unit):
        kind, importance = unit[0] & 0x1F, unit[0] >> 5 & 3
        if kind in NAL_SLICES and not importance:
            return False
        if kind == NAL_SPS and num_reference_frames(unit) > 1:
            return False
    return True


def num_reference_frames(unit: bytes) -> int:
    """Value of max_num_ref_frames in a sequence parameter set (H.264, section 7.3.2.1.1)."""
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
