"""A canvas of colours and labels that filled polygons are painted on, from far to near.

Every sample holds what was painted last. Colours are sampled at several points per pixel and averaged, labels in the
pixel's centre alone: smooth edges in the frames, exact ones in the label maps.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arseg.datasets.synthetic.scene import Camera, Color, Look, Point, Values, WorldPoint
from arseg.datasets.synthetic.textures import Textures

Shader = Callable[[Values, Values], Values]  # colours (h, w, 3) of rows (h, 1) and columns (w,) in pixels
Box = tuple[float, float, float, float]  # left, top, right and bottom in pixels
Window = tuple[slice, slice]  # rows and columns of samples

COLOR_SAMPLES = 2
"""Colour samples per pixel along each axis."""


class Outline:
    """The box of a convex polygon (pixels), and its edges on the left and on the right; none if seen edge-on."""

    def __init__(self, points: Sequence[Point]) -> None:
        columns, rows = zip(*points, strict=True)
        self.box: Box = min(columns), min(rows), max(columns), max(rows)
        edges = list(zip(points, [*points[1:], points[0]], strict=True))
        clockwise = sum(a[0] * b[1] - b[0] * a[1] for a, b in edges) > 0
        sides: tuple[list[tuple[float, float, float]], ...] = [], []  # row, column, columns per row
        for (x0, y0), (x1, y1) in edges:
            if y0 != y1:
                sides[(y1 > y0) == clockwise].append((y0, x0, (x1 - x0) / (y1 - y0)))
        self.sides = [np.array(side, dtype=np.float32).T for side in sides] if all(sides) else []


class Layer:
    """Samples of a frame, `density` per pixel along each axis.

    `rows` (H * density, 1) and `columns` (W * density,) are their positions in pixels, 0.5 in the centre of the first;
    `values` (H * density, W * density, ...) holds what was painted.
    """

    def __init__(self, width: int, height: int, density: int, dtype: type, *channels: int) -> None:
        self.density = density
        self.rows = ((np.arange(height * density, dtype=np.float32) + 0.5) / density)[:, None]
        self.columns = (np.arange(width * density, dtype=np.float32) + 0.5) / density
        self.values: NDArray[Any] = np.zeros((height * density, width * density, *channels), dtype=dtype)

    def window(self, box: Box) -> Window | None:
        """Return the samples in a box; None if there are none."""
        left, top, right, bottom = (edge * self.density for edge in box)
        rows = slice(max(0, math.ceil(top - 0.5)), min(len(self.rows), math.floor(bottom - 0.5) + 1))
        columns = slice(max(0, math.ceil(left - 0.5)), min(len(self.columns), math.floor(right - 0.5) + 1))
        return (rows, columns) if rows.start < rows.stop and columns.start < columns.stop else None

    def inside(self, outline: Outline) -> tuple[Window, NDArray[np.bool_]] | None:
        """Return a window around a polygon, and which of its samples (h, w) the polygon holds; None if none."""
        window = self.window(outline.box)
        if window is None or not outline.sides:
            return None
        # A row meets a convex polygon in one interval: cheaper than to test every sample against every edge.
        rows, columns = self.rows[window[0]], self.columns[window[1]]
        first, last = ((rows - row) * slope + column for row, column, slope in outline.sides)
        left, right = first.max(axis=1, keepdims=True), last.min(axis=1, keepdims=True)
        return window, (columns >= left) & (columns <= right)


class Canvas:
    """A frame of the drive in the making: `color` is RGB, 0 ... 255, in float32, `label` the class indices in uint8."""

    def __init__(self, frame: int, camera: Camera, look: Look, textures: Textures, width: int, height: int) -> None:
        self.frame, self.camera, self.look, self.textures = frame, camera, look, textures
        self.width, self.height = width, height
        self.color = Layer(width, height, COLOR_SAMPLES, np.float32, 3)
        self.label = Layer(width, height, 1, np.uint8)

    def pixels(self) -> Values:
        """Return the mean of the colour samples of each pixel, shape (H, W, 3)."""
        step = range(COLOR_SAMPLES)
        parts = [self.color.values[row::COLOR_SAMPLES, column::COLOR_SAMPLES] for row in step for column in step]
        return sum(parts[1:], start=parts[0]) / np.float32(len(parts))

    def polygon(self, points: Sequence[Point], label: int, fill: Color | Shader) -> None:
        """Paint a convex polygon in one colour or by a shader."""
        outline = Outline(points)
        for layer, value in ((self.color, fill), (self.label, label)):
            found = layer.inside(outline)
            if found is None:
                return
            (rows, columns), inside = found
            if callable(value):
                colors = value(layer.rows[rows], layer.columns[columns])
                np.copyto(layer.values[rows, columns], colors, where=inside[..., None])
            else:
                layer.values[rows, columns][inside] = value

    def face(
        self, points: Sequence[WorldPoint], label: int, fill: Color | Shader, light: float = 1.0, ahead: float = 0.0
    ) -> None:
        """Paint a plane polygon of the world by a shader, or in a colour lit and in the haze of its distance ahead."""
        if not callable(fill):
            fill = self.look.flat(fill, ahead or points[0][2] - self.camera.z, light)
        self.polygon([self.camera.project(point) for point in points], label, fill)

    def darken(self, points: Sequence[WorldPoint], factor: float) -> None:
        """Lay a shadow over a convex plane polygon of the world; labels stay."""
        if found := self.color.inside(Outline([self.camera.project(point) for point in points])):
            window, inside = found
            self.color.values[window][inside] *= factor

    def sprite(self, box: Box, label: int, brightness: Values, color: Color) -> None:
        """Paint an image (h, w) of factors on a colour into a rectangle; 0 is transparent."""
        left, top, right, bottom = box
        height, width = brightness.shape
        for layer in (self.color, self.label):
            if window := layer.window(box):
                rows = ((layer.rows[window[0]] - top) * (height / (bottom - top))).astype(np.int32)
                columns = ((layer.columns[window[1]] - left) * (width / (right - left))).astype(np.int32)
                texels = brightness[np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)]
                if layer is self.label:
                    layer.values[window][texels > 0] = label
                else:
                    colors = texels[..., None] * np.asarray(color, dtype=np.float32)
                    np.copyto(layer.values[window], colors, where=texels[..., None] > 0)
