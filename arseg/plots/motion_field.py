"""Draw the motion of one frame over it: colour for direction and length, arrows, marks where there is none.

Plain pixels by NumPy and Pillow, fast enough for every frame of a video; `arseg.plots.motion_show`
puts them together.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from arseg.codec.frame import BLOCK_SIZE, NO_REFERENCE, DecodedFrame, PredictionMode
from arseg.motion.follow import KeyframeFollower
from arseg.plots.motion import motion_to_rgb

ARROWS_ACROSS = 24
"""Arrows in a row; the longest colour's arrow is as long as their distance."""

SHORTEST_ARROW = 0.12
"""Shorter ones, as a fraction of the longest, would be specks."""

SUPERSAMPLING = 2
"""Arrows are drawn so many times larger and then reduced, because Pillow's lines have steps."""

SHADOWS_LIFT = 96
"""Grey that black becomes: colours are multiplied with the frame and would vanish in its shadows."""

MAX_QUANTILE = 0.95
"""Part of the vectors that are not longer than the colour scale: few fast ones must not pale the rest."""


@dataclass(frozen=True, eq=False)
class MotionField:
    """What is drawn of one frame: it, and the vectors (x, y) of its blocks in pixels.

    The vectors have shape (Hb, Wb, 2), where Hb = ceil(H / 4), Wb = ceil(W / 4).
    """

    frame: DecodedFrame
    vectors_px: NDArray[np.float32]
    distance: int | None
    """Frames since the keyframe; None if there was none yet, or the frame is damaged."""

    @property
    def intra(self) -> NDArray[np.bool_]:
        """Which blocks are intra-coded, shape (Hb, Wb)."""
        return self.frame.mode == PredictionMode.INTRA

    @property
    def mean_px(self) -> float:
        """Mean length in pixels of the vectors; of inter blocks only, unless all are intra-coded."""
        length = np.hypot(self.vectors_px[..., 0], self.vectors_px[..., 1])
        inter = ~self.intra
        return float(length[inter].mean() if inter.any() else length.mean())

    def describe(self) -> str:
        """Describe in one line which frame it is and how much moves."""
        place = "" if self.distance is None else f"d = {self.distance} · "
        return (
            f"frame {self.frame.index} · {self.frame.kind} · {'damaged · ' if self.frame.is_damaged else ''}{place}"
            f"mean {self.mean_px:.1f} px · {100 * self.intra.mean():.0f} % intra"
        )


def motion_fields(frames: Iterator[DecodedFrame], *, composed: bool) -> Iterator[MotionField]:
    """Yield what to draw of each frame, which come in display order.

    If `composed`, that is the motion to the latest keyframe; otherwise the vectors of list 0, or of list 1 where a
    block has no other. A MotionError says that a frame whose motion is composed refers to a later or an unknown one.
    """
    size, keyframe_index = (0, 0), None
    for frame in frames:
        if size != (frame.width, frame.height):
            size, follower = (frame.width, frame.height), KeyframeFollower()
        if frame.is_damaged:
            keyframe_index = None
        elif frame.is_keyframe:
            keyframe_index = frame.index
        if composed and frame.is_damaged:
            vectors = np.zeros((*frame.mode.shape, 2), np.int16)
        elif composed:
            vectors = follower.follow(frame)[::BLOCK_SIZE, ::BLOCK_SIZE]
        else:
            first, second = frame.vectors_qpel
            vectors = np.where((frame.ref_poc[0] == NO_REFERENCE)[..., None], second, first)
        distance = None if keyframe_index is None else frame.index - keyframe_index
        yield MotionField(frame, (vectors / np.float32(4)).astype(np.float32), distance)


def scale_px(fields: list[MotionField]) -> float:
    """Choose the length in pixels that has the full colour: that of nearly the longest vector, at least 1."""
    lengths = [np.hypot(field.vectors_px[..., 0], field.vectors_px[..., 1]).ravel() for field in fields]
    moving = np.concatenate(lengths)
    moving = moving[moving > 0]
    return max(1.0, float(np.ceil(np.quantile(moving, MAX_QUANTILE)))) if moving.size else 1.0


def explain(composed: bool) -> str:
    """Describe in one sentence what the colours, arrows and marks mean."""
    source = "in the keyframe" if composed else "in its reference frame"
    return f"Colour and arrow: where a block comes from {source}. Hatched: intra-coded"


class FieldPainter:
    """Draws motion fields of frames of one size, as wide as `display_width`; the height follows.

    A vector of `max_px` pixels has the full colour and the longest arrow.
    """

    def __init__(self, height: int, width: int, display_width: int, max_px: float) -> None:
        self.size = display_width, max(1, round(height * display_width / width))
        self._max_px = max_px
        self._shown_blocks = 0, 0, width / BLOCK_SIZE, height / BLOCK_SIZE  # the last ones may be cut
        self._spacing = display_width / ARROWS_ACROSS
        columns = np.arange(self._spacing / 2, self.size[0], self._spacing)
        rows = np.arange(self._spacing / 2, self.size[1], self._spacing)
        self._places = np.stack(np.meshgrid(columns, rows), axis=-1)  # (rows, columns, 2)
        blocks = self._places * (width / display_width / BLOCK_SIZE)
        self._arrow_blocks = blocks[..., 1].astype(int), blocks[..., 0].astype(int)
        pitch = max(4, round(self._spacing / 5))
        rows, columns = np.indices(self.size[::-1])
        self._hatch = (rows + columns) % pitch < max(1, pitch // 4)

    def paint(self, field: MotionField) -> NDArray[np.uint8]:
        """Draw one field over its frame; return RGB, uint8 of the displayed size.

        The frame is grey, tinted by the motion's colour, with arrows from blocks to where they come from. Intra blocks
        are hatched, unless all are.
        """
        grey = Image.fromarray(field.frame.to_rgb()).convert("L").resize(self.size, Image.Resampling.BILINEAR)
        tint = self._enlarge(motion_to_rgb(field.vectors_px, self._max_px))
        light = np.asarray(grey, np.uint16)[..., None] * (255 - SHADOWS_LIFT) // 255 + SHADOWS_LIFT
        rgb = (light * tint // 255).astype(np.uint8)
        intra = field.intra
        if not intra.all():
            marked = self._hatch & (self._enlarge(intra.astype(np.uint8)) > 0)
            rgb[marked] //= 2
        shafts, outline = self._draw_arrows(field.vectors_px)
        canvas = Image.fromarray(rgb)
        canvas.paste((255, 255, 255), mask=outline)
        canvas.paste((0, 0, 0), mask=shafts)
        return np.asarray(canvas)

    def _enlarge(self, blocks: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.asarray(Image.fromarray(blocks).resize(self.size, Image.Resampling.NEAREST, box=self._shown_blocks))

    def _draw_arrows(self, vectors_px: NDArray[np.float32]) -> tuple[Image.Image, Image.Image]:
        """Masks of the arrows and of a wider outline."""
        length_px = self._spacing / self._max_px
        vectors = vectors_px[self._arrow_blocks] * length_px
        lengths = np.hypot(vectors[..., 0], vectors[..., 1])
        too_long = np.maximum(lengths / self._spacing, 1)[..., None]
        vectors = vectors / too_long
        drawn = lengths > SHORTEST_ARROW * self._spacing
        starts = self._places[drawn] * SUPERSAMPLING
        ends = starts + vectors[drawn] * SUPERSAMPLING
        width = max(1, round(self._spacing * SUPERSAMPLING / 18))
        masks = []
        for extra in (0, 2 * SUPERSAMPLING):
            mask = Image.new("L", (self.size[0] * SUPERSAMPLING, self.size[1] * SUPERSAMPLING))
            draw = ImageDraw.Draw(mask)
            for start, end in zip(starts, ends, strict=True):
                _draw_arrow(draw, start, end, width, extra)
            masks.append(mask.reduce(SUPERSAMPLING))
        return masks[0], masks[1]


def _draw_arrow(
    draw: ImageDraw.ImageDraw, start: NDArray[np.float64], end: NDArray[np.float64], width: int, extra: int
) -> None:
    shaft = end - start
    length = float(np.hypot(*shaft))
    along = shaft / length
    across = np.array([-along[1], along[0]])
    head = min(3.5 * width, 0.6 * length)
    neck = end - head * along
    tip, left, right = end + extra * along, neck + (0.5 * head + extra) * across, neck - (0.5 * head + extra) * across
    draw.line([tuple(start), tuple(neck)], fill=255, width=width + extra)
    draw.polygon([tuple(tip), tuple(left), tuple(right)], fill=255)
