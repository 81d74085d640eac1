"""Drawing the qualitative panel: pictures, maps of classes, boxes and legends of samples already predicted."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from arseg.data.manifest import Manifest
from arseg.models.warp import warp
from arseg.plots.motion import draw_motion_wheel, motion_to_rgb
from arseg.plots.style import STYLE, save_figure
from arseg.store import ClipSample

NUM_BOXES = 2
BOX_FRACTION = 0.25
"""Boxes mark where AR gains most over LR; their sides are this fraction of the picture's."""

UNSCORED_GREY = (232, 232, 232)
IMAGE_WIDTH_INCHES = 2.9
LEGEND_COLUMNS = 7


@dataclass(frozen=True)
class PanelRow:
    """One sample of the panel; all maps have shape (H, W)."""

    clip: ClipSample
    """Pictures and motion."""
    label: NDArray[np.uint8]
    """Class indices, 255 = ignored."""
    hr: NDArray[np.uint8]
    """Prediction of the HR branch on the frame."""
    lr: NDArray[np.uint8]
    """Prediction of the constant-resolution baseline."""
    ar: NDArray[np.uint8]
    """Fused prediction."""
    scored: NDArray[np.bool_]
    """Pixels whose label is a class other than void."""

    @property
    def gain(self) -> NDArray[np.int8]:
        """Where AR is right and LR wrong (1), the reverse (-1), or neither (0)."""
        difference = (self.ar == self.label).astype(np.int8) - (self.lr == self.label)
        return np.where(self.scored, difference, 0).astype(np.int8)


def draw_panel(
    rows: Sequence[PanelRow],
    manifest: Manifest,
    scale_percent: int,
    distance: int,
    output: str | Path,
    *,
    labelled_by: str = "",
) -> None:
    """Draw the panel of samples that have been predicted.

    Parameters
    ----------
    rows : sequence of PanelRow
        The samples.
    manifest : Manifest
        Names and colours of the classes.
    scale_percent : int
        Resolution of baseline and LR branch, in percent.
    distance : int
        Frames from keyframe to frame.
    output : path
        Figure to write.
    labelled_by : str
        ``HR`` if it made the labels of the samples, which the figure then says; empty if they are true.
    """
    height, width = rows[0].label.shape
    maps = [np.unique(found) for row in rows for found in (row.label, row.hr, row.lr, row.ar)]
    shown = set(np.concatenate(maps).tolist())
    handles = [
        Patch(facecolor=_hex(cls.color), edgecolor="0.5", linewidth=0.5, label=cls.name)
        for cls in manifest.classes
        if cls.index in shown
    ]
    unlabelled = "unsure" if labelled_by else "unlabelled"
    handles.append(Patch(facecolor=_hex(UNSCORED_GREY), edgecolor="0.5", linewidth=0.5, label=f"void or {unlabelled}"))
    handles.append(Patch(facecolor="white", edgecolor="black", label="AR gains most over LR"))
    image_height = IMAGE_WIDTH_INCHES * height / width
    legend_height = 0.25 * ceil(len(handles) / LEGEND_COLUMNS) + 0.15
    # A sample takes two lines of four pictures, each with a title: eight in a line would be too small.
    size = (4 * IMAGE_WIDTH_INCHES, len(rows) * (2 * image_height + 0.75) + legend_height)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=size)
        blocks = figure.subfigures(len(rows), 1, squeeze=False)[:, 0]
        for block, row in zip(blocks, rows, strict=True):
            identity = row.clip.identity
            block.suptitle(
                f"{identity.sequence}, frame {identity.frame_index}: {distance} frames after its keyframe",
                x=0.005,
                ha="left",
                fontsize=10,
                weight="bold",
            )
            _draw_row(block.subplots(2, 4), row, manifest.palette, f"{scale_percent / 100}×", labelled_by)
        figure.legend(handles=handles, loc="outside lower center", ncols=min(LEGEND_COLUMNS, len(handles)), fontsize=9)
        save_figure(figure, output)


def best_windows(gain: NDArray[np.int8], size: tuple[int, int], count: int) -> list[tuple[int, int]]:
    """Find the windows with the greatest sum that do not overlap.

    Parameters
    ----------
    gain : ndarray of int8, shape (H, W)
        What to sum.
    size : tuple of int
        Height and width of the windows.
    count : int
        Most windows to find; those without a positive sum are left out.

    Returns
    -------
    corners : list of (int, int)
        Row and column of each window's first pixel, the greatest sum first.
    """
    height, width = size
    integral = np.pad(gain.astype(np.int64), ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    sums = integral[height:, width:] - integral[:-height, width:] - integral[height:, :-width]
    sums = sums + integral[:-height, :-width]
    corners: list[tuple[int, int]] = []
    while len(corners) < count and sums.max() > 0:
        row, column = (int(i) for i in np.unravel_index(sums.argmax(), sums.shape))
        corners.append((row, column))
        sums[max(row - height + 1, 0) : row + height, max(column - width + 1, 0) : column + width] = 0
    return corners


def _draw_row(
    axes: NDArray[np.object_], row: PanelRow, palette: NDArray[np.uint8], scale: str, labelled_by: str
) -> None:
    label, right = (f"{labelled_by} before encoding", "agree") if labelled_by else ("label", "right")
    colors = np.zeros((256, 3), dtype=np.uint8)
    colors[: len(palette)] = palette

    def paint(classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.where(row.scored[..., None], colors[classes], np.array(UNSCORED_GREY, dtype=np.uint8))

    def name(protocol: str, classes: NDArray[np.uint8]) -> str:
        return f"{protocol}: {100 * np.mean((classes == row.label)[row.scored]):.1f} % of pixels {right}"

    motion_px = row.clip.motion_qpel.astype(np.float32) / 4
    # Nearly the longest vector: a few stray blocks must not turn the rest white.
    max_px = max(1.0, float(np.ceil(np.quantile(np.hypot(motion_px[..., 0], motion_px[..., 1]), 0.99))))
    pictures = [
        [
            ("keyframe (decoded)", row.clip.keyframe),
            ("frame (decoded)", row.clip.frame),
            (label, paint(row.label)),
            (name("HR 1.0×", row.hr), paint(row.hr)),
        ],
        [
            ("motion to the keyframe", motion_to_rgb(motion_px, max_px)),
            ("keyframe warped by the motion", _warp_picture(row.clip.keyframe, motion_px)),
            (name(f"LR {scale}", row.lr), paint(row.lr)),
            (name(f"AR {scale}", row.ar), paint(row.ar)),
        ],
    ]
    height, width = row.label.shape
    box = (max(1, int(height * BOX_FRACTION)), max(1, int(width * BOX_FRACTION)))
    corners = best_windows(row.gain, box, NUM_BOXES)
    for line, line_axes in zip(pictures, axes, strict=True):
        for (title, picture), picture_axes in zip(line, line_axes, strict=True):
            picture_axes.imshow(picture)
            picture_axes.set_title(title, fontsize=9)
            picture_axes.set_axis_off()
    draw_motion_wheel(axes[1, 0], max_px)
    for picture_axes in (axes[0, 1], axes[0, 2], axes[0, 3], axes[1, 2], axes[1, 3]):
        for corner in corners:
            _draw_box(picture_axes, corner, box)


def _warp_picture(keyframe: NDArray[np.uint8], motion_px: NDArray[np.floating]) -> NDArray[np.uint8]:
    pixels = torch.from_numpy(keyframe.astype(np.float32)).permute(2, 0, 1)[None]  # (1, 3, H, W)
    warped = warp(pixels, torch.from_numpy(motion_px)[None].double(), "consistent")[0]
    return warped.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()  # (H, W, 3)


def _hex(color: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)


def _draw_box(axes: Axes, corner: tuple[int, int], size: tuple[int, int]) -> None:
    row, column = corner
    height, width = size
    axes.add_patch(
        Rectangle(
            (column - 0.5, row - 0.5),
            width,
            height,
            fill=False,
            edgecolor="white",
            linewidth=1.4,
            path_effects=[withStroke(linewidth=3.2, foreground="black")],
        )
    )
