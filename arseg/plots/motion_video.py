"""A video with its motion field drawn over each frame."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import chain, islice
from math import ceil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from arseg.codec.video_writer import Origin, create_video
from arseg.plots.motion import motion_wheel
from arseg.plots.motion_field import FieldPainter, MotionField, explain, scale_px
from arseg.progress import track

LOOKAHEAD = 24
"""Frames that the colour scale is chosen by; they are kept in memory."""

MIN_WIDTH, MAX_WIDTH = 640, 1920
"""Width of the drawn video: smaller ones are enlarged by a whole number, larger ones reduced."""


def draw_motion_video(
    fields: Iterator[MotionField],
    output: Path,
    *,
    composed: bool,
    max_px: float | None = None,
    frames_per_second: Fraction | None = None,
    max_frames: int | None = None,
) -> float:
    """Draw motion fields over their frames, with a caption for each.

    Memory does not grow with the length of the video.

    Parameters
    ----------
    fields : iterator of MotionField
        At least one, as `arseg.plots.motion_field.motion_fields` gives them.
    output : Path
        Video to write.
    composed : bool
        Whether the vectors lead to the keyframe; for the caption.
    max_px : float, optional
        Length in pixels of the full colour; by default chosen by the first frames.
    frames_per_second : Fraction, optional
        Rate of the frames.
    max_frames : int, optional
        How many there will be at most; for the progress display only.

    Returns
    -------
    max_px : float
        The length that was used.

    Raises
    ------
    CodecError
        If FFmpeg fails.
    """
    first = list(islice(fields, LOOKAHEAD))
    max_px = scale_px(first) if max_px is None else max_px
    height, width = first[0].frame.height, first[0].frame.width
    painter = FieldPainter(height, width, _display_width(width), max_px)
    captions = _CaptionStrip(painter.size[0], max_px, explain(composed))
    with create_video(output, Origin(frames_per_second=frames_per_second)) as video:
        for field in track(chain(_emptying(first), fields), "frames", max_frames):
            video.write(np.concatenate([painter.paint(field), captions.draw(field.describe())]))
    return max_px


def _emptying(fields: list[MotionField]) -> Iterator[MotionField]:
    """Yield the fields in order, and keep none that has been drawn."""
    while fields:
        yield fields.pop(0)


def _display_width(width: int) -> int:
    enlarged = min(width * ceil(MIN_WIDTH / width), MAX_WIDTH)
    return enlarged - enlarged % 2


class _CaptionStrip:
    """Draws the lines below a frame: what is said of it, what the colours mean, and their wheel."""

    def __init__(self, width: int, max_px: float, explanation: str) -> None:
        size = max(12, width // 56)
        self.height = 4 * size
        self._font = ImageFont.load_default(size)
        self._margin = size // 2
        self._blank = Image.new("RGB", (width, self.height), "white")
        wheel = Image.fromarray(motion_wheel(self.height - 2 * self._margin))
        left = width - wheel.width - self._margin
        self._blank.paste(wheel, (left, self._margin), wheel)
        draw = ImageDraw.Draw(self._blank)
        draw.text((left - self._margin, self.height // 2), f"{max_px:g} px", "black", self._font, anchor="rm")
        draw.text((self._margin, self.height * 3 // 4), explanation, (96, 96, 96), self._font, anchor="lm")

    def draw(self, caption: str) -> NDArray[np.uint8]:
        strip = self._blank.copy()
        ImageDraw.Draw(strip).text((self._margin, self.height // 4), caption, "black", self._font, anchor="lm")
        return np.asarray(strip)
