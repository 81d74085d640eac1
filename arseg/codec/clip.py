"""What a codec's reader gives for one clip: pictures, and motion in a form common to all codecs."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCK_SIZE = 4
"""Side in pixels of the blocks that motion is given for; no codec here predicts smaller ones."""


@dataclass(frozen=True)
class DecodedClip:
    """A decoded clip of T pictures in display order; Hb = ceil(H / 4), Wb = ceil(W / 4)."""

    frames: NDArray[np.uint8]
    """RGB pictures, shape (T, H, W, 3)."""
    block_motion_qpel: NDArray[np.int16]
    """Vectors (x, y) in quarter pixels, shape (T, Hb, Wb, 2): a block is predicted from its place plus the
    vector. Zero where a block is intra-coded."""
    block_ref_back: NDArray[np.uint8]
    """How many frames back the predicting picture lies, shape (T, Hb, Wb); 0 where a block is intra-coded."""


def num_blocks(size: int) -> int:
    """Count the 4x4 blocks that cover `size` pixels of one axis."""
    return -(-size // BLOCK_SIZE)
