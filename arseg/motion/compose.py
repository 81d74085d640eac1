"""Chain the motion vectors of a clip so that they point at its keyframe (spec section 4)."""

import numpy as np
from numpy.typing import NDArray

from arseg.codec.clip import BLOCK_SIZE, num_blocks
from arseg.errors import MotionError

MAX_REF_BACK = 3
"""References further back are not followed; the paper's encoder settings make none."""

MAX_SIDE = 8192
"""Largest picture side whose displacements fit int16 in quarter pixels."""


def compose_motion(
    block_motion_qpel: NDArray[np.int16], block_ref_back: NDArray[np.uint8], height: int, width: int
) -> NDArray[np.int16]:
    """Chain the motion vectors of a clip into vectors that point at its keyframe.

    Each pixel is followed through whole pixels: a vector is rounded to whole pixels (halves to the nearest
    even number, as the published programs round), its end is kept inside the picture, and what the reference
    frame has there is looked up without interpolation. Intra-coded blocks, and blocks whose reference lies
    more than three frames back, count as no motion to the previous frame. The published decoder left stale
    vectors in intra blocks; that is not followed. So an intra-coded frame inside the clip (a scene cut)
    passes on the motion of the frame before it.

    Parameters
    ----------
    block_motion_qpel : ndarray of int16, shape (T, Hb, Wb, 2)
        Decoded vectors (x, y) of 4x4 blocks in quarter pixels, display order; frame 0 is the keyframe and its
        entries are ignored. Hb = ceil(H / 4), Wb = ceil(W / 4).
    block_ref_back : ndarray of uint8, shape (T, Hb, Wb)
        Frames back to the reference, 0 for intra blocks.
    height, width : int
        Size H, W of the picture in pixels.

    Returns
    -------
    motion_qpel : ndarray of int16, shape (T, H, W, 2)
        Displacement (x, y) in quarter pixels from each pixel to its source in the keyframe, always a whole
        number of pixels (a multiple of 4); zero at frame 0. Frame f does not depend on the frames behind it.

    Raises
    ------
    MotionError
        If the shapes do not fit each other and the picture, or the picture is too large for int16.

    References
    ----------
    .. [1] Hu et al., AR-Seg, CVPR 2023, arXiv:2303.07224 (feature warping with motion vectors).
    """
    _check_shapes(block_motion_qpel.shape, block_ref_back.shape, height, width)
    num_frames = len(block_motion_qpel)
    num_pixels = height * width
    identity = np.empty((height, width, 2), np.int16)
    identity[..., 0] = np.arange(width)
    identity[..., 1] = np.arange(height)[:, None]
    # Place (x, y) in the keyframe of each pixel of each frame. Seen as one int32 per pixel, so that a pair is
    # looked up at once: 60 ms for 12 frames of 960x720.
    places = np.empty((num_frames, height, width, 2), np.int16)
    places[0] = identity
    packed_places = places.view(np.int32).reshape(num_frames * num_pixels)
    for frame in range(1, num_frames):
        source = _source_indices(block_motion_qpel[frame], block_ref_back[frame], frame, height, width)
        packed_places[frame * num_pixels : (frame + 1) * num_pixels] = packed_places[source]
    places -= identity
    places *= 4
    return places


def _source_indices(
    motion_qpel: NDArray[np.int16], ref_back: NDArray[np.uint8], frame: int, height: int, width: int
) -> NDArray[np.int32]:
    """Flat index into the clip's (T, H, W) pixels of the place that each pixel of `frame` comes from."""
    followed = (ref_back >= 1) & (ref_back <= MAX_REF_BACK)
    offset_px = np.rint(motion_qpel / np.float32(4)).astype(np.int32)
    offset_px[~followed] = 0
    reference = np.maximum(frame - np.where(followed, ref_back, 1).astype(np.int32), 0)  # (Hb, Wb)
    # A block's offset is constant, so x depends on (block row, x) and y on (y, block column) only.
    x = np.arange(width, dtype=np.int32) + _repeat(offset_px[..., 0], 1, width)
    np.clip(x, 0, width - 1, out=x)  # (Hb, W)
    y = np.arange(height, dtype=np.int32)[:, None] + _repeat(offset_px[..., 1], 0, height)
    np.clip(y, 0, height - 1, out=y)  # (H, Wb)
    row_start = (y + _repeat(reference, 0, height) * height) * width  # (H, Wb)
    return (_repeat(row_start, 1, width) + _repeat(x, 0, height)).ravel()


def _repeat(blocks: NDArray[np.int32], axis: int, size: int) -> NDArray[np.int32]:
    """Enlarge one axis from blocks to pixels; the last block may be cut by the picture's border."""
    pixels = np.repeat(blocks, BLOCK_SIZE, axis=axis)
    return pixels[:size] if axis == 0 else pixels[:, :size]


def _check_shapes(motion: tuple[int, ...], ref_back: tuple[int, ...], height: int, width: int) -> None:
    blocks = num_blocks(height), num_blocks(width)
    if motion[1:] != (*blocks, 2) or motion[:3] != ref_back:
        raise MotionError(
            f"motion vectors of shape {motion} with references of shape {ref_back} do not fit pictures of "
            f"{width}x{height}: expected (T, {blocks[0]}, {blocks[1]}, 2) and (T, {blocks[0]}, {blocks[1]})"
        )
    if max(height, width) > MAX_SIDE:
        raise MotionError(
            f"pictures of {width}x{height}: displacements in quarter pixels fit 16 bits up to a side of "
            f"{MAX_SIDE} only. Use smaller frames"
        )
