"""What a synthetic street is made of: classes, light, the camera, and things that can be painted.

World coordinates are metres: x to the right of the road's middle, y up from the ground, z along the road.
Speeds are metres per frame, colours RGB from 0 to 255.
"""

import math
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from arseg.spec import SegmentationClass

Color = tuple[float, float, float]
Point = tuple[float, float]  # column and row in pixels
WorldPoint = tuple[float, float, float]
Values = NDArray[np.floating]

ROAD_HALF_WIDTH, SIDEWALK_WIDTH = 5.2, 2.6
BUILDING_LINE = ROAD_HALF_WIDTH + SIDEWALK_WIDTH
NEAR, VIEW_DISTANCE = 0.8, 80.0  # before and beyond them nothing is painted
HAZE_DISTANCE = 170.0  # where a surface has lost 63 % of its own colour

Label = IntEnum(
    "Label", ["SKY", "BUILDING", "POLE", "ROAD", "SIDEWALK", "VEGETATION", "SIGN", "CAR", "PERSON", "VOID"], start=0
)
"""Class indices; void is the bonnet of the car that carries the camera."""
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
    """Light and weather of a sequence; `cloud_cover` is the share of the sky, about."""

    zenith: Color
    horizon: Color
    cloud: Color
    cloud_cover: float
    tint: Color  # factors on every surface
    lights: tuple[float, float]  # factors on what is left of the camera, and so faces right, and on what is right of it
    asphalt: Color
    paving: Color
    lawn: Color

    def flat(self, color: Color, distance: float, light: float = 1.0) -> Color:
        """Return the colour of a lit surface at a distance: the farther, the more of the horizon's haze."""
        share = 1 - math.exp(-distance / HAZE_DISTANCE)
        lit = (own * tint * light * (1 - share) for own, tint in zip(color, self.tint, strict=True))
        red, green, blue = (own + haze * share for own, haze in zip(lit, self.horizon, strict=True))
        return red, green, blue

    def shaded(self, color: Values, distance: Values, light: float = 1.0) -> Values:
        """Return the colours of a lit surface, one for each sample, as `flat`."""
        share = 1 - np.exp(distance / np.float32(-HAZE_DISTANCE))[..., None]
        lit = color * (np.asarray(self.tint, dtype=np.float32) * np.float32(light))
        return lit + share * (np.asarray(self.horizon, dtype=np.float32) - lit)


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that looks along z, which meets the frame at `center_column` and `horizon_row` (pixels)."""

    focal: float  # pixels
    center_column: float
    horizon_row: float
    x: float
    y: float
    z: float

    def project(self, point: WorldPoint) -> Point:
        """Return column and row of a point; points before the near distance are taken at it."""
        scale = self.focal / max(point[2] - self.z, NEAR)
        return self.center_column + scale * (point[0] - self.x), self.horizon_row - scale * (point[1] - self.y)


class Thing(NamedTuple):
    """Something that stands or moves along the road."""

    paint: partial[None]  # called with a canvas and z of its near end
    z: float  # of its near end at frame 0
    speed: float = 0.0
    length: float = 0.0
