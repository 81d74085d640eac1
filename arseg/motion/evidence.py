"""Count, beside the motion, what tells how far it can be trusted (docs/method.md, 'Evidence of the codec')."""

import numpy as np
from numpy.typing import NDArray

from arseg.codec.frame import BLOCK_SIZE, num_blocks
from arseg.spec import EVIDENCE

MOST = 255
"""Steps after which nothing more is counted."""


class EvidenceFollower:
    """The counts `EVIDENCE` of each 4x4 block's way to the keyframe, for as many frames as are remembered.

    A block takes over the counts of the block that the middle of its source lies in: one look-up for 16 pixels.
    """

    # The counts of a block are the lowest three bytes of one number: what is added to it adds to each of them.

    def __init__(self, height: int, width: int, num_fields: int) -> None:
        self._blocks = num_blocks(height), num_blocks(width)
        self._fields = np.zeros((num_fields, *self._blocks), "<u4")
        self._sides = width, height

    def place(self, field: int, steps: int) -> None:
        """Take a field for that of a frame so many steps, with vectors, after the keyframe."""
        self._fields[field] = steps

    def follow(
        self, field: int, references: NDArray[np.intp], offset_px: NDArray[np.int16], followed: NDArray[np.bool_]
    ) -> None:
        """Fill a field from the fields (Hb, Wb) that blocks refer to, by whole pixels (Hb, Wb, 2), if they do so."""
        place = references * self._fields[0].size
        outside = np.zeros(self._blocks, np.bool_)
        for axis, (side, stride) in enumerate(zip(self._sides, (1, self._blocks[1]), strict=True)):
            middle = np.arange(self._blocks[1 - axis], dtype=np.int32) * BLOCK_SIZE + BLOCK_SIZE // 2
            middle = np.minimum(middle, side - 1)
            source = (middle[:, None] if axis else middle) + offset_px[..., axis]
            inside = np.minimum(np.maximum(source, 0), side - 1)
            outside |= source != inside
            place += inside // BLOCK_SIZE * stride
        counts = self._fields.ravel().take(place)
        step = 1 + (~followed * np.uint32(1 << 8)) + outside * np.uint32(1 << 16)
        self._fields[field] = counts + step * (counts & 255 < MOST)

    def read(self, field: int) -> NDArray[np.uint8]:
        """Return the counts of a field, shape (Hb, Wb, 3)."""
        return self._fields[field].view(np.uint8).reshape(*self._blocks, 4)[..., : len(EVIDENCE)].copy()
