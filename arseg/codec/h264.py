"""Read pictures and motion vectors of an H.264 clip with FFmpeg's decoder, through PyAV.

FFmpeg exports the vectors of each macroblock partition down to 8x8 pixels, but not which reference picture a
vector points to. So a stream must have one reference picture, which then is always the previous one;
`arseg.codec.encode` makes such streams and this module refuses others.
"""

import av
import av.error
import numpy as np
from av.codec.context import CodecContext
from av.sidedata.motionvectors import MotionVectors
from av.video.frame import PictureType, VideoFrame
from numpy.typing import NDArray

from arseg.codec.bitstream import BitReader, nal_units
from arseg.codec.clip import BLOCK_SIZE, DecodedClip, num_blocks
from arseg.errors import CodecError, MotionError

BLOCKS_PER_MACROBLOCK = 16 // BLOCK_SIZE

QUARTER_PIXEL = 4
"""FFmpeg's motion_scale for H.264: vectors count quarters of a pixel."""

REMAKE = "Encode the clip with arseg, which sets bframes=0 and ref=1"

NAL_SLICES = (1, 5)
NAL_SPS = 7
PROFILES_WITH_CHROMA_FORMAT = (100, 110, 122, 244, 44, 83, 86, 118, 128)


def read_h264(bitstream: bytes) -> DecodedClip:
    """Decode an H.264 clip; see `arseg.codec.decode.read_clip`.

    Pictures become RGB by libswscale: BT.601 with limited range (which is what FFmpeg's default conversion
    chose on the way in), colour planes enlarged bicubically, as the ``ffmpeg`` program does.
    """
    pictures = _decode(bitstream)
    _check_pictures(pictures)
    _check_references(bitstream)
    height, width = pictures[0].height, pictures[0].width
    shape = (len(pictures), num_blocks(height), num_blocks(width))
    motion_qpel = np.zeros((*shape, 2), np.int16)
    ref_back = np.zeros(shape, np.uint8)
    num_inter, num_vectors = 0, 0
    for index, picture in enumerate(pictures):
        if picture.pict_type == PictureType.I:
            continue
        vectors = picture.side_data.get("MOTION_VECTORS")
        num_inter += 1
        if isinstance(vectors, MotionVectors):  # a P-picture may be intra-coded altogether
            num_vectors += len(vectors)
            _paint(vectors.to_ndarray(), motion_qpel[index], ref_back[index])
    if num_inter and not num_vectors:
        # Not one vector in the whole clip is the decoder's silence, not the video's stillness.
        raise MotionError(
            f"H.264: no motion vectors in {num_inter} P-pictures; the installed PyAV (FFmpeg "
            f"{av.ffmpeg_version_info}) does not export them. Install the wheel of the package av"
        )
    frames = np.stack([_to_rgb(picture) for picture in pictures])
    return DecodedClip(frames, motion_qpel, ref_back)


def _decode(bitstream: bytes) -> list[VideoFrame]:
    decoder = CodecContext.create("h264", "r")
    decoder.thread_count = 1  # with frame threads a damaged stream decodes differently from run to run
    decoder.options = {"flags2": "+export_mvs", "err_detect": "explode"}
    try:
        packets = [*decoder.parse(bitstream), *decoder.parse()]
        pictures = [picture for packet in [*packets, None] for picture in decoder.decode(packet)]
    except av.error.FFmpegError as error:
        raise CodecError(f"the H.264 stream cannot be decoded: {error}. Encode the clip again") from error
    if not pictures:
        raise CodecError(f"the H.264 stream of {len(bitstream)} bytes holds no picture. Encode the clip again")
    return pictures


def _check_pictures(pictures: list[VideoFrame]) -> None:
    for index, picture in enumerate(pictures):
        if picture.pict_type not in (PictureType.I, PictureType.P) or picture.interlaced_frame:
            kind = "interlaced" if picture.interlaced_frame else PictureType(picture.pict_type).name
            raise MotionError(f"H.264: picture {index} is of kind {kind}, expected I or P. {REMAKE}")


def _to_rgb(picture: VideoFrame) -> NDArray[np.uint8]:
    rgb = picture.reformat(format="rgb24", src_colorspace="ITU601", interpolation="BICUBIC")
    return rgb.to_ndarray().astype(np.uint8, copy=False)


def _paint(vectors: NDArray[np.void], motion_qpel: NDArray[np.int16], ref_back: NDArray[np.uint8]) -> None:
    """Write FFmpeg's list of vectors into one picture's block arrays, in place.

    Vectors are grouped by the size of their block (there are at most four), and a group is written by one
    assignment for each 4x4 part of such a block: 2 ms for a 960x720 picture, half of what decoding it takes.
    """
    if (vectors["motion_scale"] != QUARTER_PIXEL).any() or (vectors["source"] >= 0).any():
        raise MotionError(
            "H.264: expected vectors in quarter pixels to past pictures, found scales "
            f"{np.unique(vectors['motion_scale']).tolist()} and directions "
            f"{np.unique(vectors['source']).tolist()}. {REMAKE}"
        )
    rows, columns = ref_back.shape
    # Macroblocks at the right and lower border may reach beyond the picture: paint whole ones, then crop.
    stride = _whole_macroblocks(columns)
    motion = np.zeros((_whole_macroblocks(rows), stride, 2), np.int16)
    covered = np.zeros(motion.shape[:2], np.uint8)
    vector = np.stack([vectors["motion_x"], vectors["motion_y"]], axis=-1).astype(np.int16)
    packed_vector, packed_motion = vector.view(np.int32).ravel(), motion.view(np.int32).ravel()  # (x, y) in one
    widths, heights = vectors["w"].astype(np.intp), vectors["h"].astype(np.intp)
    left = (vectors["dst_x"] - widths // 2) // BLOCK_SIZE  # dst is the block's centre
    top = (vectors["dst_y"] - heights // 2) // BLOCK_SIZE
    for width, height in {*zip(widths.tolist(), heights.tolist(), strict=True)}:
        group = (widths == width) & (heights == height)
        corner = top[group] * stride + left[group]
        for row, column in np.ndindex(height // BLOCK_SIZE, width // BLOCK_SIZE):
            part = corner + (row * stride + column)
            packed_motion[part] = packed_vector[group]
            covered.ravel()[part] = 1
    motion_qpel[:] = motion[:rows, :columns]
    ref_back[:] = covered[:rows, :columns]


def _whole_macroblocks(num_blocks_shown: int) -> int:
    return -(-num_blocks_shown // BLOCKS_PER_MACROBLOCK) * BLOCKS_PER_MACROBLOCK


def _check_references(bitstream: bytes) -> None:
    """Refuse streams in which a vector may point to another picture than the previous one."""
    for unit in nal_units(bitstream):
        kind, importance = unit[0] & 0x1F, unit[0] >> 5 & 3
        if kind in NAL_SLICES and not importance:
            raise MotionError(
                "H.264: the stream has pictures that no other may refer to, so the previous picture is not "
                f"always the reference. {REMAKE}"
            )
        if kind == NAL_SPS and (count := _num_reference_frames(unit)) > 1:
            raise MotionError(
                f"H.264: the stream has {count} reference frames, and FFmpeg does not export which one a "
                f"vector points to; expected 1. {REMAKE}"
            )


def _num_reference_frames(unit: bytes) -> int:
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
