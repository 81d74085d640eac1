"""A sheet of frames spread over a video, each with its motion field drawn over it."""

from collections.abc import Iterator
from math import ceil
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from arseg.errors import MotionError
from arseg.plots.motion import motion_wheel
from arseg.plots.motion_field import FieldPainter, MotionField, explain, scale_px
from arseg.plots.style import DPI, STYLE, save_figure

MAX_COLUMNS = 3
TILE_INCHES = 3.4
LEGEND_INCHES = 0.62
TITLE_INCHES = 0.3
"""Sizes of a frame, of the legend below, and of a frame's title."""

CANDIDATES = 4
"""Frames that are kept for one that is drawn, until the length of the video is known."""


def draw_motion_sheet(
    fields: Iterator[MotionField],
    output: Path,
    *,
    title: str,
    composed: bool,
    num_frames: int,
    max_px: float | None = None,
) -> float:
    """Draw some motion fields of a video side by side.

    Frames without vectors (I-frames) are left out. Memory holds four times as many frames as are drawn.

    Parameters
    ----------
    fields : iterator of MotionField
        As `arseg.plots.motion_field.motion_fields` gives them.
    output : Path
        Figure to write.
    title : str
        What it shows.
    composed : bool
        Whether the vectors lead to the keyframe; for the legend.
    num_frames : int
        How many frames to draw, if there are as many.
    max_px : float, optional
        Length in pixels of the full colour; by default chosen by the frames drawn.

    Returns
    -------
    max_px : float
        The length that was used.

    Raises
    ------
    MotionError
        If there are I-frames only.
    """
    chosen = _spread(fields, num_frames)
    max_px = scale_px(chosen) if max_px is None else max_px
    height, width = chosen[0].frame.height, chosen[0].frame.width
    painter = FieldPainter(height, width, round(TILE_INCHES * DPI), max_px)
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
            place.imshow(painter.paint(field))
            place.set_title(field.describe(), fontsize=8)
        wheel, words = bottom.subplots(1, 2, width_ratios=(LEGEND_INCHES, columns * TILE_INCHES - LEGEND_INCHES))
        wheel.imshow(motion_wheel())
        words.text(
            0, 0.5, f"Rim of the wheel: {max_px:g} px. {explain(composed)}", va="center", fontsize=8.5, wrap=True
        )
        for place in (wheel, words):
            place.set_axis_off()
        save_figure(figure, output)
    return max_px


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
