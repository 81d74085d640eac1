"""Chain the motion vectors of a video into vectors that point at its keyframes (docs/method.md, 'Composition')."""

import numpy as np
from numpy.typing import NDArray

from arseg.codec.frame import BLOCK_SIZE, num_blocks
from arseg.errors import MotionError
from arseg.spec import PAPER_MAX_REF_BACK

MAX_SIDE = 8192
"""Largest side of a frame whose displacements fit int16 in quarter pixels."""

QUARTERS = 4
"""Units of a vector in a pixel."""


def check_size(height: int, width: int) -> None:
    """Raise MotionError if the displacements of frames of this size would not fit int16."""
    if max(height, width) > MAX_SIDE:
        raise MotionError(
            f"frames of {width}x{height}: displacements in quarter pixels fit 16 bits up to a side of "
            f"{MAX_SIDE} only. Use smaller frames"
        )


class MotionComposer:
    """Follows each pixel of a video back to the latest keyframe, frame by frame.

    Each pixel is followed through whole pixels: a vector is rounded to whole pixels (halves to the nearest
    even number, as the published programs round), its end is kept inside the frame, and what the reference
    frame has there is looked up without interpolation. Intra-coded blocks, and blocks whose reference lies
    too many frames back, count as no motion to the previous frame. The published decoder left stale
    vectors in intra blocks; that is not followed. So an intra-coded frame after the keyframe (a scene cut)
    passes on the motion of the frame before it.

    Memory holds one field for each frame that can still be referred to, however long the video is.

    Parameters
    ----------
    height, width : int
        Size H, W of the frames in pixels.
    subpixel : bool
        Add what rounding takes off a vector to the displacement that it leads to, instead of dropping it. Only
        the place of the look-up is then rounded, and displacements are exact to a quarter pixel.
    max_ref_back : int
        Furthest reference that is followed, in frames, from 1; the published programs' by default.
    num_fields : int, optional
        Frames that are remembered; by default, those that `push` can refer to.

    Raises MotionError if the frame is too large for int16.
    """

    # A field holds, for each pixel, the place (x, y) in the keyframe that it comes from, in quarter pixels: two
    # int16. A block moves as one, so a look-up is not for a pixel but for a block's 4 rows of 4 pixels (16 bytes
    # each) that lie somewhere in the reference's field. A border of one block repeats the outermost pixels: then
    # keeping a block's corner within the border is keeping each of its pixels inside the frame.

    def __init__(
        self,
        height: int,
        width: int,
        *,
        subpixel: bool = False,
        max_ref_back: int = PAPER_MAX_REF_BACK,
        num_fields: int | None = None,
    ) -> None:
        check_size(height, width)
        self._height, self._width = height, width
        self._subpixel = subpixel
        self._max_ref_back = max_ref_back
        self._blocks = num_blocks(height), num_blocks(width)
        rows, columns = ((count + 2) * BLOCK_SIZE for count in self._blocks)
        # Of the frames that can be referred to, the oldest gives way to the newest.
        num_fields = num_fields or max_ref_back
        self._fields = np.empty((num_fields, rows, columns, 2), np.int16)
        # The 4 rows of the 4x4 pixels that begin at each pixel of all fields, and those of a field's own blocks.
        num_corners = (num_fields * rows - BLOCK_SIZE + 1) * columns - BLOCK_SIZE + 1
        self._patches = np.ndarray((num_corners, BLOCK_SIZE), "V16", self._fields, strides=(4, 4 * columns))
        self._own_patches = np.ndarray(
            (num_fields, *self._blocks, BLOCK_SIZE),
            "V16",
            self._fields,
            offset=4 * BLOCK_SIZE * (columns + 1),
            strides=(4 * rows * columns, 4 * BLOCK_SIZE * columns, 4 * BLOCK_SIZE, 4 * columns),
        )
        self._identity = np.empty((height, width, 2), np.int16)
        self._identity[..., 0] = QUARTERS * np.arange(width)
        self._identity[..., 1] = QUARTERS * np.arange(height)[:, None]
        self._num_frames = 0

    def restart(self) -> None:
        """Take the next frame for a keyframe, as the first one is."""
        self._num_frames = 0

    def push(self, block_vectors_qpel: NDArray[np.int16], ref_back: NDArray[np.uint8]) -> None:
        """Follow the next frame in display order.

        Parameters
        ----------
        block_vectors_qpel : ndarray of int16, shape (Hb, Wb, 2)
            Decoded vectors (x, y) of 4x4 blocks, of list 0, in quarter pixels; a keyframe's are ignored.
            Hb = ceil(H / 4), Wb = ceil(W / 4).
        ref_back : ndarray of uint8, shape (Hb, Wb)
            Frames back to the reference, 0 for intra blocks. What would lie before the keyframe is the keyframe.

        Raises
        ------
        MotionError
            If the shapes do not fit each other and the frame.
        """
        if block_vectors_qpel.shape != (*self._blocks, 2) or ref_back.shape != self._blocks:
            raise MotionError(
                f"motion vectors of shape {block_vectors_qpel.shape} with references of shape {ref_back.shape} do not "
                f"fit frames of {self._width}x{self._height}: expected {(*self._blocks, 2)} and {self._blocks}"
            )
        newest = self._num_frames % self._max_ref_back
        if self._num_frames:
            followed = (ref_back >= 1) & (ref_back <= self._max_ref_back)
            slots = np.maximum(self._num_frames - np.arange(self._max_ref_back + 1), 0) % self._max_ref_back
            self.follow(newest, block_vectors_qpel, followed, slots[np.where(followed, ref_back, 1)])
        else:
            self.place(newest)
        self._num_frames += 1

    def compose(self) -> NDArray[np.int16]:
        """Return the motion of the newest frame, int16, shape (H, W, 2).

        Displacement (x, y) in quarter pixels from each pixel to its source in the keyframe, which lies inside the
        frame; unless `subpixel`, a whole number of pixels (a multiple of 4). Zero at the keyframe.
        """
        return self.read((self._num_frames - 1) % self._max_ref_back)

    # Frames in any order, each in the slot that the caller chooses for it.

    def place(self, slot: int, block_motion_qpel: NDArray[np.int16] | None = None) -> None:
        """Enter a frame whose blocks are displaced so, shape (Hb, Wb, 2); by default the keyframe, where nothing is."""
        field = self._identity
        if block_motion_qpel is not None:
            moved = block_motion_qpel.astype(np.int32).repeat(BLOCK_SIZE, 0).repeat(BLOCK_SIZE, 1)
            field = np.clip(field + moved[: self._height, : self._width], 0, field[-1, -1])
        self._pixels(slot)[...] = field
        _repeat_border(self._fields[slot].view(np.int32)[..., 0], self._height, self._width)

    def follow(
        self, slot: int, vectors_qpel: NDArray[np.int16], followed: NDArray[np.bool_], references: NDArray[np.intp]
    ) -> None:
        """Follow a frame's blocks into the frames in the slots `references`; those not `followed` without a vector."""
        self._own_patches[slot] = self._look_up(vectors_qpel, followed, references)
        _repeat_border(self._fields[slot].view(np.int32)[..., 0], self._height, self._width)

    def read(self, slot: int) -> NDArray[np.int16]:
        """Return the motion of the frame in a slot, as `compose` does."""
        return self._pixels(slot) - self._identity

    def _pixels(self, index: int) -> NDArray[np.int16]:
        """Return one field without its border, shape (H, W, 2)."""
        return self._fields[index, BLOCK_SIZE : BLOCK_SIZE + self._height, BLOCK_SIZE : BLOCK_SIZE + self._width]

    def _look_up(
        self, vectors_qpel: NDArray[np.int16], followed: NDArray[np.bool_], references: NDArray[np.intp]
    ) -> NDArray[np.void]:
        """Return what the references' fields have where the blocks come from, shape (Hb, Wb, 4), a row an item."""
        offset_px = np.rint(vectors_qpel / np.float32(QUARTERS)).astype(np.int16)
        offset_px[~followed] = 0
        _, rows, columns, _ = self._fields.shape
        place = references * (rows * columns)
        for axis, size, stride in ((0, self._width, 1), (1, self._height, columns)):
            corner = np.arange(BLOCK_SIZE, self._blocks[1 - axis] * BLOCK_SIZE + 1, BLOCK_SIZE, dtype=np.int32)
            corner = (corner[:, None] if axis else corner) + offset_px[..., axis]
            place += np.clip(corner, 0, size + BLOCK_SIZE) * stride
        patches = self._patches[place.ravel()]
        if self._subpixel:
            dropped = vectors_qpel - QUARTERS * offset_px
            dropped[~followed] = 0
            self._add(patches, dropped)
        return patches.reshape(*self._blocks, BLOCK_SIZE)

    def _add(self, patches: NDArray[np.void], dropped: NDArray[np.int16]) -> None:
        """Move the places of each block by what rounding dropped from its vector, inside the frame."""
        values = patches.view(np.int16)  # (blocks, 4 * 4 * 2)
        # Repeated as pairs, since arithmetic on whole rows is much faster than on broadcast pairs.
        values += (
            np.repeat(np.ascontiguousarray(dropped).view(np.int32).ravel(), BLOCK_SIZE**2)
            .view(np.int16)
            .reshape(values.shape)
        )
        last = np.tile(np.array([self._width - 1, self._height - 1], np.int16) * QUARTERS, BLOCK_SIZE**2)
        np.minimum(values, last, out=values)
        np.maximum(values, 0, out=values)


def _repeat_border(field: NDArray[np.int32], height: int, width: int) -> None:
    """Repeat the outermost pixels of the frame, which begins a block in, over all that surrounds it."""
    first, below, right = BLOCK_SIZE, BLOCK_SIZE + height, BLOCK_SIZE + width
    field[first:below, :first] = field[first:below, first, None]
    field[first:below, right:] = field[first:below, right - 1, None]
    field[:first] = field[first]
    field[below:] = field[below - 1]
