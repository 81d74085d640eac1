"""Local attention as ONNX runtimes run it fast: matrix products of tiles, strip by strip.

ONNX has no operator for it. Unrolled over the 49 shifts of the window, as the reference is, each shift would become
some six operators that read and write a whole feature map; unfolded, keys and values would be copied 49 times. Here
the frame is cut into tiles of 8 x 8 pixels. All pixels of a tile are compared with all keys that any of them may
see, 14 x 14, in one matrix product; a mask takes out those that lie outside a pixel's own window. That is four
times the multiplications, which cost less than the memory traffic that they save. Strips of tiles bound the memory.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

TILE = 8
"""Side of a tile in pixels. Smaller ones waste fewer multiplications, but copy more keys."""

STRIP_BYTES = 64 * 1024**2
"""Upper bound of each array that a strip makes, in float32, unless a single row of tiles has more."""

OUTSIDE = -1e30
"""Added to the similarity of what lies outside a window: its weight is zero after the softmax."""


class TiledAttention(nn.Module):
    """Attend from each pixel to the window around it, as `arseg.models.attention.local_attention` does.

    Channels and size (height, width) of the features are fixed in the graph. The side of the window is odd; neither the
    similarities nor the keys that are held at a time take more than `strip_bytes`.
    """

    mask: Tensor
    pixels: Tensor

    def __init__(self, channels: int, size: tuple[int, int], window: int, strip_bytes: int = STRIP_BYTES) -> None:
        super().__init__()
        self.size = size
        self.radius = window // 2
        self.seen = TILE + window - 1  # side of the square of keys that a tile sees
        self.num_rows, self.num_columns = (-(-side // TILE) for side in size)  # in tiles
        row_bytes = 4 * self.num_columns * max(TILE**2, channels) * self.seen**2
        num_strips = -(-self.num_rows // max(1, strip_bytes // row_bytes))
        self.strip_rows = -(-self.num_rows // num_strips)
        self.num_strips = -(-self.num_rows // self.strip_rows)
        self.register_buffer("mask", self._mask(window), persistent=False)
        self.register_buffer("pixels", self._pixels(), persistent=False)

    @property
    def _padding(self) -> tuple[int, int]:
        """Rows and columns that complete the last strip and the last column of tiles."""
        height, width = self.size
        return self.num_strips * self.strip_rows * TILE - height, self.num_columns * TILE - width

    @property
    def _padded_width(self) -> int:
        return self.num_columns * TILE + 2 * self.radius

    def _mask(self, window: int) -> Tensor:
        """Return what is added to the similarities of each pixel of a tile (64) and each key (196): 0 in its window."""
        offset = torch.arange(self.seen) - torch.arange(TILE)[:, None]  # (8, 14)
        near = (offset >= 0) & (offset < window)
        inside = near[:, None, :, None] & near[None, :, None, :]  # (8, 8, 14, 14)
        mask = torch.zeros(inside.shape).masked_fill(~inside, OUTSIDE)
        return mask.reshape(TILE**2, self.seen**2)

    def _pixels(self) -> Tensor:
        """Return the place of each key of each tile in a strip's pixels, row by row."""
        width = self._padded_width
        rows = TILE * torch.arange(self.strip_rows)[:, None, None, None] + torch.arange(self.seen)[:, None]
        columns = TILE * torch.arange(self.num_columns)[:, None, None] + torch.arange(self.seen)
        return (rows * width + columns).reshape(-1).int()  # (tiles, 14, 14), flat

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attend; all tensors have shape (1, C, H, W)."""
        height, width = self.size
        below, right = self._padding
        around = self.radius
        # Zeros outside the frame take part in the softmax, as published.
        query = F.pad(query[0].permute(1, 2, 0), (0, 0, 0, right, 0, below))  # (H', W', C)
        surrounding = (0, 0, around, around + right, around, around + below)
        key = F.pad(key[0].permute(1, 2, 0), surrounding).flatten(0, 1)  # (pixels, C)
        value = F.pad(value[0].permute(1, 2, 0), surrounding).flatten(0, 1)
        strips = [self._attend(strip, query, key, value) for strip in range(self.num_strips)]
        return torch.cat(strips)[:height, :width].permute(2, 0, 1)[None]

    def _attend(self, strip: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        rows, columns, channels = self.strip_rows, self.num_columns, query.shape[-1]
        top = strip * rows * TILE
        tiles = query[top : top + rows * TILE].reshape(rows, TILE, columns, TILE, channels)
        tiles = tiles.permute(0, 2, 1, 3, 4).reshape(rows * columns, TILE**2, channels)  # (tiles, 64, C)
        keys, values = self._seen(key, top), self._seen(value, top)  # (tiles, 196, C)
        weights = (tiles @ keys.transpose(1, 2) + self.mask).softmax(dim=-1)  # (tiles, 64, 196)
        attended = (weights @ values).reshape(rows, columns, TILE, TILE, channels)
        return attended.permute(0, 2, 1, 3, 4).reshape(rows * TILE, columns * TILE, channels)

    def _seen(self, padded: Tensor, top: int) -> Tensor:
        """Copy out what each tile of a strip sees."""
        seen = padded.index_select(0, self.pixels + top * self._padded_width)
        return seen.reshape(-1, self.seen**2, padded.shape[-1])
