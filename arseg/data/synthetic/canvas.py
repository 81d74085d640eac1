"""A pinhole camera, and a canvas of colours and labels that filled polygons are painted on.

Pictures are painted from far to near; every sample holds what was painted last. Colours are sampled at
several points per pixel and averaged, labels in the pixel's centre alone: smooth edges in the frames, exact
ones in the label maps.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float]
"""Column and row in pixels."""
WorldPoint = tuple[float, float, float]
"""x to the right, y up, z ahead, in metres."""
Color = tuple[float, float, float]
"""RGB, 0 ... 255."""
Positions = NDArray[np.floating]
Pixels = NDArray[np.floating]
"""RGB, 0 ... 255, shape (h, w, 3)."""
Shader = Callable[[Positions, Positions], Pixels]
"""Gives colours for rows of shape (h, 1) and columns of shape (w,), both in pixels."""
Box = tuple[float, float, float, float]
"""Left, top, right and bottom in pixels."""
Window = tuple[slice, slice]
"""Rows and columns of samples."""
Sides = tuple[Positions, Positions]
"""Edges on the left and on the right of a convex polygon: row and column of a point of each, and columns per row."""

NEAR = 0.8
"""Distance in metres before which nothing is painted."""

COLOR_SAMPLES = 2
"""Colour samples per pixel along each axis."""


@dataclass(frozen=True)
class Camera:
    """A camera that looks along z."""

    focal: float
    """Focal length in pixels."""
    center_column: float
    horizon_row: float
    """Where the direction of z meets the picture, in pixels."""
    x: float
    y: float
    z: float
    """Position in metres."""

    def project(self, point: WorldPoint) -> Point:
        """Column and row of a point; points before the near distance are taken at it."""
        scale = self.focal / max(point[2] - self.z, NEAR)
        return (
            self.center_column + scale * (point[0] - self.x),
            self.horizon_row - scale * (point[1] - self.y),
        )


class SampleGrid:
    """Positions of samples, `density` per pixel along each axis.

    Attributes
    ----------
    rows : ndarray of float32, shape (H * density, 1)
    columns : ndarray of float32, shape (W * density,)
        In pixels; the centre of the first pixel is at 0.5.
    """

    def __init__(self, width: int, height: int, density: int) -> None:
        self.density = density
        self.rows = ((np.arange(height * density, dtype=np.float32) + 0.5) / density)[:, None]
        self.columns = (np.arange(width * density, dtype=np.float32) + 0.5) / density

    def window(self, box: Box) -> Window | None:
        """Find the samples in a box; None if there are none."""
        left, top, right, bottom = (edge * self.density for edge in box)
        rows = slice(max(0, math.ceil(top - 0.5)), min(len(self.rows), math.floor(bottom - 0.5) + 1))
        columns = slice(max(0, math.ceil(left - 0.5)), min(len(self.columns), math.floor(right - 0.5) + 1))
        return (rows, columns) if rows.start < rows.stop and columns.start < columns.stop else None

    def inside(self, sides: Sides, window: Window) -> NDArray[np.bool_]:
        """Tell which samples of a window lie in a convex polygon, shape (h, w)."""
        rows, columns = self.rows[window[0]], self.columns[window[1]]
        # A row meets a convex polygon in one interval: cheaper than to test every sample against every edge.
        first, last = ((rows - row) * slope + column for row, column, slope in sides)
        return (columns >= first.max(axis=1, keepdims=True)) & (columns <= last.min(axis=1, keepdims=True))


class Canvas:
    """One picture in the making.

    Attributes
    ----------
    fine : SampleGrid
        Where colours are sampled.
    centers : SampleGrid
        Where labels are sampled: in the centres of the pixels.
    color : ndarray of float32, shape (H * COLOR_SAMPLES, W * COLOR_SAMPLES, 3)
        RGB, 0 ... 255.
    label : ndarray of uint8, shape (H, W)
        Class indices.
    """

    def __init__(self, camera: Camera, width: int, height: int) -> None:
        self.camera = camera
        self.width, self.height = width, height
        self.fine = SampleGrid(width, height, COLOR_SAMPLES)
        self.centers = SampleGrid(width, height, 1)
        self.color = np.zeros((height * COLOR_SAMPLES, width * COLOR_SAMPLES, 3), dtype=np.float32)
        self.label = np.zeros((height, width), dtype=np.uint8)

    def pixels(self) -> Pixels:
        """Average the colour samples of each pixel, shape (H, W, 3)."""
        step = range(COLOR_SAMPLES)
        parts = [self.color[row::COLOR_SAMPLES, column::COLOR_SAMPLES] for row in step for column in step]
        return sum(parts[1:], start=parts[0]) / np.float32(len(parts))

    def polygon(self, points: Sequence[Point], label: int, fill: Color | Shader) -> None:
        """Paint a convex polygon, given in pixels, in one colour or by a shader."""
        box = _bounding_box(points)
        window = self.fine.window(box)
        if window is None:
            return
        target = self.color[window]
        pixels = self.centers.window(box)
        if not callable(fill) and _is_upright_rectangle(points):  # every sample is inside
            target[:] = fill
            if pixels is not None:
                self.label[pixels] = label
            return
        sides = _sides(points)
        if sides is None:
            return
        inside = self.fine.inside(sides, window)
        if callable(fill):
            colors = fill(self.fine.rows[window[0]], self.fine.columns[window[1]])
            np.copyto(target, colors, where=inside[..., None])
        else:
            target[inside] = fill
        if pixels is not None:
            self.label[pixels][self.centers.inside(sides, pixels)] = label

    def face(self, points: Sequence[WorldPoint], label: int, fill: Color | Shader) -> None:
        """Paint a convex plane polygon, given in the world."""
        self.polygon([self.camera.project(point) for point in points], label, fill)

    def darken(self, points: Sequence[WorldPoint], factor: float) -> None:
        """Lay a shadow over a convex plane polygon, given in the world; labels stay."""
        projected = [self.camera.project(point) for point in points]
        window, sides = self.fine.window(_bounding_box(projected)), _sides(projected)
        if window is not None and sides is not None:
            self.color[window][self.fine.inside(sides, window)] *= factor

    def sprite(self, box: Box, label: int, brightness: NDArray[np.float32], color: Color) -> None:
        """Paint a picture into a rectangle.

        Parameters
        ----------
        box : Box
            The rectangle, in pixels.
        label : int
            Class index.
        brightness : ndarray of float32, shape (h, w)
            Factors on the colour; 0 is transparent.
        color : Color
            The colour.
        """
        window = self.fine.window(box)
        if window is not None:
            texels = _resample(brightness, box, self.fine, window)[..., None]
            np.copyto(self.color[window], texels * np.asarray(color, dtype=np.float32), where=texels > 0)
        window = self.centers.window(box)
        if window is not None:
            self.label[window][_resample(brightness, box, self.centers, window) > 0] = label


def _resample(picture: NDArray[np.float32], box: Box, grid: SampleGrid, window: Window) -> NDArray[np.float32]:
    """Look up, by nearest neighbour, the samples of a window in a picture that fills a rectangle."""
    left, top, right, bottom = box
    height, width = picture.shape
    rows = (grid.rows[window[0]] - top) * (height / (bottom - top))
    columns = (grid.columns[window[1]] - left) * (width / (right - left))
    return picture[np.clip(rows.astype(np.int32), 0, height - 1), np.clip(columns.astype(np.int32), 0, width - 1)]


def _sides(points: Sequence[Point]) -> Sides | None:
    """Find the edges of a convex polygon that bound its rows on the left and on the right; None if seen edge-on."""
    edges = list(zip(points, [*points[1:], points[0]], strict=True))
    clockwise = sum(a[0] * b[1] - b[0] * a[1] for a, b in edges) > 0
    left: list[tuple[float, float, float]] = []
    right: list[tuple[float, float, float]] = []
    for (x0, y0), (x1, y1) in edges:
        if y0 != y1:
            (right if (y1 > y0) == clockwise else left).append((y0, x0, (x1 - x0) / (y1 - y0)))
    if not left or not right:
        return None
    return np.array(left, dtype=np.float32).T, np.array(right, dtype=np.float32).T


def _bounding_box(points: Sequence[Point]) -> Box:
    columns = [point[0] for point in points]
    rows = [point[1] for point in points]
    return min(columns), min(rows), max(columns), max(rows)


def _is_upright_rectangle(points: Sequence[Point]) -> bool:
    """Tell whether the polygon is its own bounding box, so that every sample of its window is inside."""
    if len(points) != 4:
        return False
    a, b, c, d = points
    return a[0] == b[0] and b[1] == c[1] and c[0] == d[0] and d[1] == a[1]
