"""A canvas of colours and labels that filled polygons are painted on, from far to near.

Every sample holds what was painted last. Colours are sampled at several points per pixel and averaged, labels in the
pixel's centre alone: smooth edges in the frames, exact ones in the label maps.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from arseg.datasets.synthetic.scene import Camera, Color, Look, Point, Values, WorldPoint
from arseg.datasets.synthetic.textures import Textures

Shader = Callable[[Values, Values], Values]
"""Returns colours (h, w, 3) for rows of shape (h, 1) and columns of shape (w,), both in pixels."""
Box = tuple[float, float, float, float]
"""Left, top, right and bottom in pixels."""
Window = tuple[slice, slice]
"""Rows and columns of samples."""

COLOR_SAMPLES = 2
"""Colour samples per pixel along each axis."""


class Polygon:
    """A convex polygon in pixels.

    Attributes
    ----------
    box : Box
        What it lies in.
    sides : list of ndarray of float32, shape (3, n), or None
        Row, column and columns per row of its edges on the left and on the right; None if it is seen edge-on.
    """

    def __init__(self, points: Sequence[Point]) -> None:
        columns, rows = zip(*points, strict=True)
        self.box: Box = min(columns), min(rows), max(columns), max(rows)
        edges = list(zip(points, [*points[1:], points[0]], strict=True))
        clockwise = sum(a[0] * b[1] - b[0] * a[1] for a, b in edges) > 0
        sides: tuple[list[tuple[float, float, float]], ...] = [], []
        for (x0, y0), (x1, y1) in edges:
            if y0 != y1:
                sides[(y1 > y0) == clockwise].append((y0, x0, (x1 - x0) / (y1 - y0)))
        self.sides = [np.array(side, dtype=np.float32).T for side in sides] if all(sides) else None


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
        """Return the samples in a box; None if there are none."""
        left, top, right, bottom = (edge * self.density for edge in box)
        rows = slice(max(0, math.ceil(top - 0.5)), min(len(self.rows), math.floor(bottom - 0.5) + 1))
        columns = slice(max(0, math.ceil(left - 0.5)), min(len(self.columns), math.floor(right - 0.5) + 1))
        return (rows, columns) if rows.start < rows.stop and columns.start < columns.stop else None

    def inside(self, polygon: Polygon) -> tuple[Window, NDArray[np.bool_]] | None:
        """Return a window around a convex polygon, and which of its samples (h, w) the polygon holds; None if none."""
        window = self.window(polygon.box)
        if window is None or polygon.sides is None:
            return None
        # A row meets a convex polygon in one interval: cheaper than to test every sample against every edge.
        rows, columns = self.rows[window[0]], self.columns[window[1]]
        first, last = ((rows - row) * slope + column for row, column, slope in polygon.sides)
        left, right = first.max(axis=1, keepdims=True), last.min(axis=1, keepdims=True)
        return window, (columns >= left) & (columns <= right)


class Canvas:
    """One frame in the making.

    Attributes
    ----------
    fine, centers : SampleGrid
        Where colours are sampled; where labels are: in the centres of the pixels.
    color : ndarray of float32, shape (H * COLOR_SAMPLES, W * COLOR_SAMPLES, 3)
        RGB, 0 ... 255.
    label : ndarray of uint8, shape (H, W)
        Class indices.
    """

    def __init__(self, camera: Camera, look: Look, textures: Textures, width: int, height: int) -> None:
        self.camera, self.look, self.textures = camera, look, textures
        self.width, self.height = width, height
        self.fine, self.centers = SampleGrid(width, height, COLOR_SAMPLES), SampleGrid(width, height, 1)
        self.color = np.zeros((height * COLOR_SAMPLES, width * COLOR_SAMPLES, 3), dtype=np.float32)
        self.label = np.zeros((height, width), dtype=np.uint8)

    def pixels(self) -> Values:
        """Return the mean of the colour samples of each pixel, shape (H, W, 3)."""
        step = range(COLOR_SAMPLES)
        parts = [self.color[row::COLOR_SAMPLES, column::COLOR_SAMPLES] for row in step for column in step]
        return sum(parts[1:], start=parts[0]) / np.float32(len(parts))

    def polygon(self, polygon: Polygon, label: int, fill: Color | Shader) -> None:
        """Paint a polygon in one colour or by a shader."""
        if found := self.fine.inside(polygon):
            window, inside = found
            if callable(fill):
                colors = fill(self.fine.rows[window[0]], self.fine.columns[window[1]])
                np.copyto(self.color[window], colors, where=inside[..., None])
            else:
                self.color[window][inside] = fill
            if found := self.centers.inside(polygon):
                window, inside = found
                self.label[window][inside] = label

    def face(
        self,
        points: Sequence[WorldPoint],
        label: int,
        fill: Color | Shader,
        light: float = 1.0,
        distance: float | None = None,
    ) -> None:
        """Paint a plane polygon, given in the world, by a shader or in a colour lit and in the haze of its distance."""
        if not callable(fill):
            fill = self.look.flat(fill, points[0][2] - self.camera.z if distance is None else distance, light)
        self.polygon(self._project(points), label, fill)

    def darken(self, points: Sequence[WorldPoint], factor: float) -> None:
        """Lay a shadow over a convex plane polygon, given in the world; labels stay."""
        if found := self.fine.inside(self._project(points)):
            window, inside = found
            self.color[window][inside] *= factor

    def _project(self, points: Sequence[WorldPoint]) -> Polygon:
        return Polygon([self.camera.project(point) for point in points])

    def sprite(self, box: Box, label: int, brightness: Values, color: Color) -> None:
        """Paint an image (h, w) of factors on a colour into a rectangle; 0 is transparent."""
        for grid in (self.fine, self.centers):
            window = grid.window(box)
            if window is None:
                continue
            texels = _resample(brightness, box, grid, window)
            if grid is self.fine:
                colors = texels[..., None] * np.asarray(color, dtype=np.float32)
                np.copyto(self.color[window], colors, where=texels[..., None] > 0)
            else:
                self.label[window][texels > 0] = label


def _resample(image: Values, box: Box, grid: SampleGrid, window: Window) -> Values:
    """Look up, by nearest neighbour, the samples of a window in an image that fills a rectangle."""
    left, top, right, bottom = box
    height, width = image.shape
    rows = (grid.rows[window[0]] - top) * (height / (bottom - top))
    columns = (grid.columns[window[1]] - left) * (width / (right - left))
    return image[np.clip(rows.astype(np.int32), 0, height - 1), np.clip(columns.astype(np.int32), 0, width - 1)]
