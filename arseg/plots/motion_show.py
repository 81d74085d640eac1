"""Motion fields over their frames: a sheet of frames that are spread over a video, or a video of all frames."""

from collections.abc import Callable, Iterator
from functools import cache
from itertools import chain, islice
from math import ceil
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps

from arseg.codec.clock import Clock
from arseg.codec.stream import PacketStream
from arseg.codec.video_writer import Origin, create_video
from arseg.errors import MotionError
from arseg.plots.motion import motion_wheel
from arseg.plots.motion_field import FieldPainter, MotionField, explain, scale_px
from arseg.plots.style import DPI, STYLE, save_figure
from arseg.progress import track

MAX_COLUMNS = 3
TILE_INCHES = 3.4
LEGEND_INCHES = 0.62
TITLE_INCHES = 0.3
"""Sizes of a frame, of the legend below, and of a frame's title."""

CANDIDATES = 4
"""Frames that are kept for one that is drawn, until the length of the video is known."""

LOOKAHEAD = 24
"""Frames that the colour scale is chosen by; they are kept in memory."""

MIN_WIDTH, MAX_WIDTH = 640, 1920
"""Width of the drawn video: smaller ones are enlarged by a whole number, larger ones reduced."""


def draw_motion_sheet(
    fields: Iterator[MotionField],
    output: Path,
    *,
    title: str,
    composed: bool,
    num_frames: int,
    max_px: float | None = None,
) -> None:
    """Draw some motion fields of a video side by side.

    Frames without vectors (I-frames) are left out; a MotionError says that there are no others. Memory holds four times
    as many frames as are drawn. `max_px` is the length that has the full colour, by default chosen by the frames drawn.
    """
    chosen = _spread(fields, num_frames)
    max_px = scale_px(chosen) if max_px is None else max_px
    paint = _painter(round(TILE_INCHES * DPI), max_px)
    height, width = chosen[0].frame.height, chosen[0].frame.width
    columns = min(MAX_COLUMNS, len(chosen))
    rows = ceil(len(chosen) / columns)
    tile_height = TILE_INCHES * height / width + TITLE_INCHES
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(columns * TILE_INCHES, rows * tile_height + LEGEND_INCHES + TITLE_INCHES))
        figure.suptitle(title, fontsize=10, weight="bold", x=0.01, ha="left")
        top, bottom = figure.subfigures(2, 1, squeeze=False, height_ratios=(rows * tile_height, LEGEND_INCHES))[:, 0]
        axes = top.subplots(rows, columns, squeeze=False).ravel()
        for place in axes:
            place.set_axis_off()
        for place, field in zip(axes, chosen, strict=False):
            place.imshow(paint(field))
            place.set_title(field.describe(), fontsize=8)
        wheel, words = bottom.subplots(1, 2, width_ratios=(LEGEND_INCHES, columns * TILE_INCHES - LEGEND_INCHES))
        wheel.imshow(motion_wheel())
        words.text(
            0, 0.5, f"Rim of the wheel: {max_px:g} px. {explain(composed)}", va="center", fontsize=8.5, wrap=True
        )
        for place in (wheel, words):
            place.set_axis_off()
        save_figure(figure, output)


def _spread(fields: Iterator[MotionField], count: int) -> list[MotionField]:
    """Choose fields of P- and B-frames, evenly spread over a video whose length is not known beforehand."""
    kept: list[MotionField] = []
    step = 1
    for index, field in enumerate(field for field in fields if field.frame.kind != "I"):
        if index % step:
            continue
        kept.append(field)
        if len(kept) > CANDIDATES * count:
            kept, step = kept[::2], 2 * step
    if not kept:
        raise MotionError("there are I-frames only, which have no vectors to draw. Name a video with P-frames")
    count = min(count, len(kept))
    return [kept[(2 * place + 1) * len(kept) // (2 * count)] for place in range(count)]


def draw_motion_video(
    fields: Iterator[MotionField],
    output: Path,
    *,
    composed: bool,
    stream: PacketStream,
    max_px: float | None = None,
    max_frames: int | None = None,
) -> None:
    """Draw motion fields over the frames of a stream, with a caption for each, at the times of the stream.

    Memory does not grow with the length of the video. `max_px` is the length that has the full colour, by default
    chosen by the first frames; `max_frames` is for the progress display only. A CodecError says that FFmpeg fails.
    """
    first = list(islice(fields, LOOKAHEAD))
    max_px = scale_px(first) if max_px is None else max_px
    paint = _painter(_display_width(first[0].frame.width), max_px)
    height, width, _ = paint(first[0]).shape
    captions = _CaptionStrip(width, max_px, explain(composed))
    clock = Clock(stream)
    with create_video(output, Origin(None, stream.frames_per_second, stream.time_base)) as video:
        for field in track(chain(_emptying(first), fields), "frames", max_frames):
            canvas = Image.new("RGB", (width, height + captions.height))
            painted = ImageOps.contain(Image.fromarray(paint(field)), (width, height))  # of another size than the first
            canvas.paste(painted, ((width - painted.width) // 2, (height - painted.height) // 2))
            canvas.paste(captions.draw(field.describe()), (0, height))
            video.write(np.asarray(canvas), clock.read(field.frame.pixels))


def _painter(display_width: int, max_px: float) -> Callable[[MotionField], NDArray[np.uint8]]:
    """Return what draws fields of any size over their frames, all of them as wide as `display_width`."""
    make = cache(lambda height, width: FieldPainter(height, width, display_width, max_px))
    return lambda field: make(field.frame.height, field.frame.width).paint(field)


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

    def draw(self, caption: str) -> Image.Image:
        strip = self._blank.copy()
        ImageDraw.Draw(strip).text((self._margin, self.height // 4), caption, "black", self._font, anchor="lm")
        return strip
