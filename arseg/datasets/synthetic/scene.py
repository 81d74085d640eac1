"""What a synthetic street is made of: classes, light, the camera's drive, and things that can be painted.

World coordinates are metres: x to the right of the road's middle, y up from the ground, z along the road.
Speeds are metres per frame, colours RGB from 0 to 255.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arseg.spec import SegmentationClass

Color = tuple[float, float, float]
Point = tuple[float, float]
"""Column and row in pixels."""
WorldPoint = tuple[float, float, float]
"""x, y and z."""
Values = NDArray[np.floating]

ROAD_HALF_WIDTH = 5.2
SIDEWALK_WIDTH = 2.6
BUILDING_LINE = ROAD_HALF_WIDTH + SIDEWALK_WIDTH
NEAR, VIEW_DISTANCE = 0.8, 80.0
"""Distances before which and beyond which nothing is painted."""
HAZE_DISTANCE = 170.0
"""Where a surface has lost 63 % of its own colour."""


class Label(IntEnum):
    """Class indices of the synthetic data set; void is the bonnet of the car that carries the camera."""

    SKY = 0
    BUILDING = 1
    POLE = 2
    ROAD = 3
    SIDEWALK = 4
    VEGETATION = 5
    SIGN = 6
    CAR = 7
    PERSON = 8
    VOID = 9


COLORS = (
    (128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (0, 0, 192),
    (128, 128, 0), (192, 128, 128), (64, 0, 128), (64, 64, 0), (0, 0, 0),
)  # fmt: skip
"""Of the labels, as in CamVid."""

CLASSES = tuple(
    SegmentationClass(label, label.name.lower(), color, void=label is Label.VOID)
    for label, color in zip(Label, COLORS, strict=True)
)


@dataclass(frozen=True)
class Look:
    """Light and weather of a sequence."""

    zenith: Color
    horizon: Color
    cloud: Color
    cloud_cover: float
    """Share of the sky, about."""
    tint: Color
    """Factors on every surface's colour."""
    lights: tuple[float, float]
    """Factors on surfaces left of the camera, which face right, and on those right of it."""
    asphalt: Color
    paving: Color
    lawn: Color

    def flat(self, color: Color, distance: float, light: float = 1.0) -> Color:
        """Return the colour of a lit surface at a distance: the farther, the more of the horizon's haze."""
        share = 1 - math.exp(-distance / HAZE_DISTANCE)
        red, green, blue = (
            own * tint * light * (1 - share) + haze * share
            for own, tint, haze in zip(color, self.tint, self.horizon, strict=True)
        )
        return red, green, blue

    def shaded(self, color: Values, distance: Values, light: float = 1.0) -> Values:
        """Return the colours of a lit surface, one for each sample, as `flat`."""
        share = 1 - np.exp(distance / np.float32(-HAZE_DISTANCE))[..., None]
        lit = color * (np.asarray(self.tint, dtype=np.float32) * np.float32(light))
        return lit + share * (np.asarray(self.horizon, dtype=np.float32) - lit)


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that looks along z."""

    focal: float
    """Focal length in pixels."""
    center_column: float
    horizon_row: float
    """Where the direction of z meets the image, in pixels."""
    x: float
    y: float
    z: float

    def project(self, point: WorldPoint) -> Point:
        """Return column and row of a point; points before the near distance are taken at it."""
        scale = self.focal / max(point[2] - self.z, NEAR)
        return self.center_column + scale * (point[0] - self.x), self.horizon_row - scale * (point[1] - self.y)


class Thing:
    """Something that stands or moves along the road.

    Parameters
    ----------
    paint : callable
        Paints it on a canvas, told z of its near end, the frame and, by name, its parts.
    z : float
        Of its near end at frame 0.
    speed, length : float
        Along z.
    **parts : Any
        What it is like.
    """

    def __init__(
        self, paint: Callable[..., None], z: float, speed: float = 0.0, length: float = 0.0, /, **parts: Any
    ) -> None:
        self.paint, self.z, self.speed, self.length, self.parts = paint, z, speed, length, parts


@dataclass(frozen=True)
class Scene:
    """Everything in one sequence."""

    look: Look
    camera: Callable[[int, int, int], Camera]
    """Returns the camera at a frame, for frames of a width and a height."""
    behind: tuple[Thing, ...]
    """Buildings and the gardens between them: behind all that is in the street, however near they are."""
    street: tuple[Thing, ...]
    crossings: tuple[float, ...]
    """z of the zebra crossings."""
    texture_seed: int
