"""Read streams whose motion vectors FFmpeg's decoder exports, through PyAV: H.264, the MPEGs, H.263 and its kin.

FFmpeg exports the vectors of each block down to 8x8 pixels and their direction, but not which frame they point to.
Standards with one reference frame per direction leave no doubt; in H.264 only streams with a single reference and
no B-frames do, such as `arseg.codec.encode` makes. In others the vectors have `UNKNOWN_REFERENCE`.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Literal, TypeVar, cast

import numpy as np
from av.video.frame import PictureType, VideoFrame
from numpy.typing import NDArray

from arseg.codec.bitstream import BitReader
from arseg.codec.damage import Origin
from arseg.codec.frame import (
    BLOCK_SIZE,
    NO_REFERENCE,
    UNKNOWN_REFERENCE,
    DecodedFrame,
    PredictionMode,
    num_blocks,
)
from arseg.codec.pyav import motion_vectors_of
from arseg.codec.stream import PacketStream, crop_of, is_damaged_frame, origin_of
from arseg.errors import MotionError

WITH_B_FRAMES = ("h264", "mpeg2video", "mpeg1video")
"""Coding standards of whose B-frames FFmpeg exports vectors, by FFmpeg's names."""

EXPORTED_STANDARDS = (
    *(*WITH_B_FRAMES, "mpeg4", "h261", "h263"),
    *("msmpeg4v2", "msmpeg4v3", "wmv1", "wmv2", "flv1", "rv10", "rv20"),
)
"""Coding standards whose vectors FFmpeg exports. Those of Snow are not read: its blocks overlap."""

MACROBLOCK = 16
EXPORTED_BLOCK_SIZE = 8
"""Side in pixels of the smallest blocks that FFmpeg exports vectors for; the largest are macroblocks."""

FLV_DISPOSABLE = 2
"""Picture type of Sorenson's H.263: a P-frame that no other refers to."""

HINT = "Encode the clip again"

ScalarT = TypeVar("ScalarT", bound=np.generic)


def read_exported(stream: PacketStream) -> Iterator[DecodedFrame]:
    """Decode a stream of one of `EXPORTED_STANDARDS`; see `arseg.codec.decode.read_frames`.

    Modes are intra and inter: FFmpeg does not distinguish skipped blocks. Picture order counts are `index`.
    """
    anchors = Anchors(stream.codec, stream.decoder.name)
    for frame in stream.frames(_observe_flv if stream.codec == "flv1" else None, flags2="+export_mvs"):
        yield from anchors.push(frame, stream.reader.h264_headers.refers_to_previous_only)
    yield from anchors.finish()


class Anchors:
    """Knows, in display order, which frames others refer to.

    P-frames refer to the last I- or P-frame, B-frames to the ones around them. So B-frames wait for the next.
    """

    def __init__(self, codec: str, decoder: str) -> None:
        self._codec, self._decoder = codec, decoder
        self._index = self._previous = 0
        self._waiting: list[tuple[int, VideoFrame]] = []
        self._num_inter = self._num_vectors = 0

    def push(self, frame: VideoFrame, certain: bool) -> Iterator[DecodedFrame]:
        """Take a frame and yield those that are complete, in display order; `certain` is for P-frames of H.264."""
        kind = _kind(frame, self._index, self._codec)
        index, self._index = self._index, self._index + 1
        if kind == "B" and self._codec != "h264":
            self._waiting.append((index, frame))
            return
        known = self._codec != "h264" or (certain and kind == "P")
        past = self._previous if known else UNKNOWN_REFERENCE
        anchor = self._describe(index, frame, kind, past, UNKNOWN_REFERENCE)
        ahead: tuple[DecodedFrame, ...] = (anchor,)
        for waiting_index, waiting in self._waiting:
            yield replace(self._describe(waiting_index, waiting, "B", self._previous, index), ahead=ahead)
            ahead = ()
        self._waiting.clear()
        if not ((origin := origin_of(frame)) and origin.is_disposable):
            self._previous = index
        yield anchor

    def finish(self) -> Iterator[DecodedFrame]:
        """Yield what still waits at the end of the stream."""
        for index, frame in self._waiting:
            yield self._describe(index, frame, "B", self._previous, UNKNOWN_REFERENCE)
        if self._num_inter and not self._num_vectors:
            raise MotionError(
                f"{self._codec}: none of its {self._num_inter} P- and B-frames has a motion vector: by what FFmpeg's "
                f"decoder {self._decoder} says, all of their blocks are intra-coded. Name another video"
            )

    def _describe(
        self, index: int, frame: VideoFrame, kind: Literal["I", "P", "B"], past: int, future: int
    ) -> DecodedFrame:
        blocks = num_blocks(frame.height), num_blocks(frame.width)
        vectors_qpel = np.zeros((2, *blocks, 2), np.int16)
        ref_poc = np.full((2, *blocks), NO_REFERENCE, np.int32)
        inter = np.zeros(blocks, np.bool_)
        table = None if kind == "I" else motion_vectors_of(frame)
        self._num_inter += kind != "I"
        if table is not None:  # an inter frame may be intra-coded altogether
            self._num_vectors += len(table)
            num_lists = "IPB".index(kind)
            covered = paint(table, vectors_qpel[:num_lists], crop_of(frame))
            for list_ref_poc, reference, where in zip(ref_poc, (past, future), covered, strict=False):
                np.copyto(list_ref_poc, reference, where=where)
                inter |= where
        return DecodedFrame(
            index=index,
            poc=index,
            kind=kind,
            is_keyframe=bool(frame.key_frame),
            is_reference=kind != "B",
            is_damaged=is_damaged_frame(frame),
            mode=np.where(inter, np.uint8(PredictionMode.INTER), np.uint8(PredictionMode.INTRA)),
            vectors_qpel=vectors_qpel,
            ref_poc=ref_poc,
            pixels=frame,
            height=frame.height,
            width=frame.width,
        )


def paint(
    vectors: NDArray[np.void], vectors_qpel: NDArray[np.int16], crop: tuple[int, int] = (0, 0)
) -> NDArray[np.bool_]:
    """Write FFmpeg's list of vectors into one frame's blocks, in place; return which were written, (lists, Hb, Wb).

    Vectors are grouped by the size of their block, and a group is written by one assignment for each 8x8 part of such
    a block, into a grid of these; each of its cells then becomes four 4x4 blocks. A 1280x720 frame takes a tenth of the
    time of decoding it. `vectors` is structured as PyAV gives it; `vectors_qpel`, int16, has shape
    (lists, Hb, Wb, 2): of a P-frame, list 0 alone. FFmpeg places vectors in the coded frame, of which `crop` columns
    and rows are left of and above the displayed one; a block gets the vector at its centre.
    """
    num_lists, rows, columns = vectors_qpel.shape[:3]
    crop_left, crop_top = crop
    # Macroblocks at the right and lower border may reach beyond the frame: paint whole ones, then crop.
    grid = num_lists, _cells(rows, crop_top), _cells(columns, crop_left)
    motion, covered = np.zeros(grid, np.int32), np.zeros(grid, np.bool_)  # (x, y) in one
    # FFmpeg counts fractions of a pixel: 4 of them in H.264, 2 or 4 in MPEG-4.
    scale = 4 // np.maximum(vectors["motion_scale"].astype(np.int32), 1)
    vector = np.empty((len(vectors), 2), np.int16)
    np.multiply(vectors["motion_x"], scale, out=vector[:, 0], casting="unsafe")
    np.multiply(vectors["motion_y"], scale, out=vector[:, 1], casting="unsafe")
    packed = vector.view(np.int32)[:, 0]
    widths, heights = vectors["w"].astype(np.int32), vectors["h"].astype(np.int32)
    left = (vectors["dst_x"] - widths // 2) // EXPORTED_BLOCK_SIZE  # dst is the block's centre
    top = (vectors["dst_y"] - heights // 2) // EXPORTED_BLOCK_SIZE
    # Blocks beyond the displayed part, right of it or below, have no cell.
    inside = (left >= 0) & (top >= 0) & (left + widths // EXPORTED_BLOCK_SIZE <= grid[2])
    inside &= top + heights // EXPORTED_BLOCK_SIZE <= grid[1]
    if num_lists > 1:
        top += grid[1] * (vectors["source"] > 0)
    corner = top * grid[2] + left
    for height, width in product((EXPORTED_BLOCK_SIZE, MACROBLOCK), repeat=2):
        (group,) = np.nonzero(inside & (heights == height) & (widths == width))
        corners, values = corner[group], packed[group]
        for row, column in np.ndindex(height // EXPORTED_BLOCK_SIZE, width // EXPORTED_BLOCK_SIZE):
            cells = corners + (row * grid[2] + column)
            motion.ravel()[cells] = values
            covered.ravel()[cells] = True
    vectors_qpel.view(np.int32)[..., 0] = _as_blocks(motion, rows, columns, crop)
    return _as_blocks(covered, rows, columns, crop)


def _observe_flv(origin: Origin | None, units: list[bytes]) -> None:
    """Mark the packets of Sorenson's H.263 whose frame no other may refer to, as its picture type says."""
    if origin is None:
        return
    bits = BitReader(units[0][:16])
    bits.read(17 + 5 + 8)  # start code, version, number
    bits.read({0: 16, 1: 32}.get(bits.read(3), 0))  # a size of its own
    origin.is_disposable = bits.read(2) == FLV_DISPOSABLE


def _kind(frame: VideoFrame, index: int, codec: str) -> Literal["I", "P", "B"]:
    name = PictureType(frame.pict_type).name
    if name == "B" and codec not in WITH_B_FRAMES:
        # All that FFmpeg exports of them in MPEG-4 part 2 are zeros; no encoder makes any of the others.
        raise MotionError(f"{codec}: frame {index} is a B-frame; of this codec, I and P are read. {HINT}")
    if frame.interlaced_frame or name not in ("I", "P", "B"):
        found = "interlaced" if frame.interlaced_frame else f"of kind {name}"
        raise MotionError(f"{codec}: frame {index} is {found}; progressive I-, P- and B-frames are read. {HINT}")
    return cast(Literal["I", "P", "B"], name)


def _cells(num_blocks_shown: int, cropped: int) -> int:
    """Cells of all macroblocks that lie before, or are touched by, so many blocks of one axis."""
    return -(-(cropped + num_blocks_shown * BLOCK_SIZE) // MACROBLOCK) * (MACROBLOCK // EXPORTED_BLOCK_SIZE)


def _as_blocks(cells: NDArray[ScalarT], rows: int, columns: int, crop: tuple[int, int]) -> NDArray[ScalarT]:
    """Return for each 4x4 block of the displayed frame the cell that its centre lies in."""
    if crop == (0, 0):
        times = EXPORTED_BLOCK_SIZE // BLOCK_SIZE
        return cells.repeat(times, axis=-1).repeat(times, axis=-2)[:, :rows, :columns]
    row, column = (
        (cropped + BLOCK_SIZE // 2 + BLOCK_SIZE * np.arange(count)) // EXPORTED_BLOCK_SIZE
        for cropped, count in ((crop[1], rows), (crop[0], columns))
    )
    return cells[:, row[:, None], column]
