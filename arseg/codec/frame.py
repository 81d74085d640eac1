"""Frames as the readers of all codecs give them, and the references of those that AR-Seg can follow to a keyframe."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace
from numpy.typing import NDArray

from arseg.errors import CodecError, MotionError

BLOCK_SIZE = 4
"""Side in pixels of the blocks that motion is given for; no codec here predicts smaller ones."""

NO_REFERENCE = -(2**31)
"""``ref_poc`` of a block that a list does not predict."""

UNKNOWN_REFERENCE = NO_REFERENCE + 1
"""``ref_poc`` of a block whose vector is known, but not the frame that it points to."""

MAX_BACK = 255
"""Cap on the reference distance, which is stored as uint8."""

ENCODE_AGAIN = "Encode the video again without B-frames, with HEVC or with H.264 and one reference: arseg clips does"


class PredictionMode(IntEnum):
    """How a block is predicted; the values of `FrameMotion.mode`."""

    INTRA = 0
    """From its own frame: it has no vectors."""
    INTER = 1
    """From other frames."""
    SKIP = 2
    """From other frames, with nothing coded but which of its neighbours' vectors it takes."""


@dataclass(frozen=True, eq=False, kw_only=True)
class FrameMotion:
    """The motion of one frame as it is coded; Hb = ceil(H / 4), Wb = ceil(W / 4)."""

    height: int
    """Displayed rows H."""
    width: int
    """Displayed columns W."""
    poc: int
    """Picture order count. From HEVC streams their own, which may begin anew at a keyframe; elsewhere the frame's place
    in display order."""
    kind: Literal["I", "P", "B"]
    """Whether the frame has no vectors, vectors of one list, or of both."""
    is_keyframe: bool
    """Whether decoding can start here. No later frame in display order refers to one before it."""
    mode: NDArray[np.uint8]
    """`PredictionMode` of each block, shape (Hb, Wb)."""
    vectors_qpel: NDArray[np.int16]
    """Vectors (x, y) of lists 0 and 1 in quarter pixels, shape (2, Hb, Wb, 2): a block is predicted from its
    place plus the vector. Zero where a list is unused."""
    ref_poc: NDArray[np.int32]
    """Picture order count that each vector refers to, shape (2, Hb, Wb), `NO_REFERENCE` where a list is unused,
    `UNKNOWN_REFERENCE` where the decoder does not say."""
    is_reference: bool = True
    """Whether other frames may refer to it. HEVC alone says of some that none does (but for those of higher temporal
    layers, which encoders do not do)."""
    is_damaged: bool = False
    """Whether pixels and motion may be wrong: parts are missing and guessed, or it depends on such a frame."""


@dataclass(frozen=True, eq=False, kw_only=True)
class DecodedFrame(FrameMotion):
    """One displayed frame."""

    index: int
    """Place in display order, from 0."""
    pixels: VideoFrame
    """The decoded planes, as PyAV gives them."""
    ahead: tuple[FrameMotion, ...] = ()
    """Motion of frames that are decoded before this one, are shown after it, and were not ahead of an earlier frame; in
    decode order. This frame, and those, may refer to them."""

    def to_rgb(self) -> NDArray[np.uint8]:
        """Return the frame in RGB, shape (H, W, 3), as `to_rgb` converts it, each time."""
        return to_rgb(self.pixels)


def to_rgb(
    pixels: VideoFrame, *, matrix: Colorspace = Colorspace.ITU601, width: int | None = None, height: int | None = None
) -> NDArray[np.uint8]:
    """Return decoded planes in RGB, shape (H, W, 3), by default of their own size.

    By libswscale with the settings of the ``ffmpeg`` program: BT.601 with limited range (which is what FFmpeg's default
    conversion chooses on the way in), or another `matrix` of PyAV, and the range that the frame names. The fast
    converter for 8-bit 4:2:0 frames of even height repeats the pixels of the colour planes; elsewhere they are enlarged
    bicubically.
    """
    # By default, PyAV starts threads for each conversion.
    rgb = pixels.reformat(width, height, format="rgb24", src_colorspace=matrix, interpolation="BICUBIC", threads=1)
    return rgb.to_ndarray().astype(np.uint8, copy=False)


def num_blocks(size: int) -> int:
    """Return how many 4x4 blocks cover `size` pixels of one axis."""
    return -(-size // BLOCK_SIZE)


class BackReferences:
    """Turns picture order counts into numbers of frames back in display order, frame by frame."""

    def __init__(self) -> None:
        self._index_of_poc: dict[int, int] = {}

    def locate(self, frame: DecodedFrame) -> NDArray[np.uint8]:
        """Return how many frames back the references of the next frame's blocks lie, shape (Hb, Wb).

        1 for the frame before; 0 where a block is intra-coded. Raises MotionError if the frame is a B-frame, or refers
        to one that is unknown or not there.
        """
        if frame.kind == "B":
            raise MotionError(f"frame {frame.index} is a B-frame, which refers to later frames. {ENCODE_AGAIN}")
        if frame.is_keyframe:
            self._index_of_poc.clear()  # nothing after it refers to what was before it
        ref_back = np.zeros(frame.mode.shape, np.uint8)
        unresolved = frame.mode != PredictionMode.INTRA
        for poc, index in reversed(self._index_of_poc.items()):  # the last frames are the likely ones
            if not unresolved.any():
                break
            found = unresolved & (frame.ref_poc[0] == poc)
            ref_back[found] = min(frame.index - index, MAX_BACK)
            unresolved &= ~found
        if unresolved.any():
            poc = int(frame.ref_poc[0][unresolved][0])
            raise MotionError(
                f"frame {frame.index} has vectors, but the decoder does not tell which of several reference frames "
                f"they point to. {ENCODE_AGAIN}"
                if poc == UNKNOWN_REFERENCE
                else f"frame {frame.index} refers to a frame with order count {poc}, which the stream does not show "
                f"before it. {ENCODE_AGAIN}"
            )
        self._index_of_poc[frame.poc] = frame.index
        return ref_back


@dataclass(frozen=True, eq=False)
class DecodedClip:
    """A decoded clip of T frames in display order that refer to earlier ones only; Hb = ceil(H / 4), Wb = ceil(W / 4).

    What AR-Seg can follow to a keyframe.
    """

    frames: tuple[DecodedFrame, ...]
    """The frames as they were read."""
    block_vectors_qpel: NDArray[np.int16]
    """Vectors (x, y) of list 0 in quarter pixels, shape (T, Hb, Wb, 2). Zero where a block is intra-coded."""
    block_ref_back: NDArray[np.uint8]
    """How many frames back the predicting frame lies, shape (T, Hb, Wb); 0 where a block is intra-coded."""

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def height(self) -> int:
        """Rows of a frame."""
        return self.frames[0].height

    @property
    def width(self) -> int:
        """Columns of a frame."""
        return self.frames[0].width


def collect_clip(frames: Iterable[DecodedFrame]) -> DecodedClip:
    """Return a clip of decoded frames, at least one, in display order.

    Raises CodecError if the frames' size changes, MotionError as `BackReferences.locate`.
    """
    collected = tuple(frames)
    if len(sizes := {(frame.width, frame.height) for frame in collected}) > 1:
        raise CodecError(f"the size of the frames changes within the clip: {sorted(sizes)}. Encode it at one size")
    references = BackReferences()
    ref_back = np.stack([references.locate(frame) for frame in collected])
    return DecodedClip(collected, np.stack([frame.vectors_qpel[0] for frame in collected]), ref_back)
