"""What a codec's reader gives for one picture: pixels, and motion in a form common to all codecs."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

BLOCK_SIZE = 4
"""Side in pixels of the blocks that motion is given for; no codec here predicts smaller ones."""

NO_REFERENCE = -(2**31)
"""``ref_poc`` of a block that a list does not predict."""

UNKNOWN_REFERENCE = NO_REFERENCE + 1
"""``ref_poc`` of a block whose vector is known, but not the picture that it points to."""


class PredictionMode(IntEnum):
    """How a block is predicted; the values of `DecodedPicture.mode`."""

    INTRA = 0
    """From its own picture: it has no vectors."""
    INTER = 1
    """From other pictures."""
    SKIP = 2
    """From other pictures, with nothing coded but which of its neighbours' vectors it takes."""


@dataclass(frozen=True, eq=False)
class DecodedPicture:
    """One displayed picture; Hb = ceil(H / 4), Wb = ceil(W / 4)."""

    index: int
    """Place in display order, from 0."""
    poc: int
    """Picture order count. From HEVC streams their own, which may begin anew at a keyframe; elsewhere `index`."""
    kind: Literal["I", "P", "B"]
    """Whether the picture has no vectors, vectors of one list, or of both."""
    is_keyframe: bool
    """Whether decoding can start here. No later picture in display order refers to one before it."""
    mode: NDArray[np.uint8]
    """`PredictionMode` of each block, shape (Hb, Wb)."""
    motion_qpel: NDArray[np.int16]
    """Vectors (x, y) of lists 0 and 1 in quarter pixels, shape (2, Hb, Wb, 2): a block is predicted from its
    place plus the vector. Zero where a list is unused."""
    ref_poc: NDArray[np.int32]
    """Picture order count that each vector refers to, shape (2, Hb, Wb), `NO_REFERENCE` where a list is unused,
    `UNKNOWN_REFERENCE` where the decoder does not say."""
    pixels: VideoFrame
    """The decoded planes, as PyAV gives them."""

    @property
    def height(self) -> int:
        """Displayed rows."""
        return self.pixels.height

    @property
    def width(self) -> int:
        """Displayed columns."""
        return self.pixels.width

    def to_rgb(self) -> NDArray[np.uint8]:
        """Convert the planes to RGB, shape (H, W, 3), as `to_rgb` does."""
        return to_rgb(self.pixels)


def to_rgb(pixels: VideoFrame) -> NDArray[np.uint8]:
    """Convert decoded planes to RGB, shape (H, W, 3).

    By libswscale with the settings of the ``ffmpeg`` program: BT.601 with limited range (which is what FFmpeg's default
    conversion chooses on the way in). The fast converter for 8-bit 4:2:0 pictures of even height repeats the pixels of
    the colour planes; elsewhere they are enlarged bicubically.
    """
    rgb = pixels.reformat(format="rgb24", src_colorspace="ITU601", interpolation="BICUBIC")
    return rgb.to_ndarray().astype(np.uint8, copy=False)


def num_blocks(size: int) -> int:
    """Count the 4x4 blocks that cover `size` pixels of one axis."""
    return -(-size // BLOCK_SIZE)
