"""What stands and moves in a synthetic street: a random scene for each seed.

World coordinates are metres: x to the right of the road's middle, y up from the ground, z along the road.
Speeds are metres per frame. Random scenes come from `layout`, pictures of them from `render`.
"""

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

import numpy as np

from arseg.data.synthetic.canvas import Camera, Color, Pixels, Positions
from arseg.spec import SegmentationClass

ROAD_HALF_WIDTH = 5.2
SIDEWALK_WIDTH = 2.6
VIEW_DISTANCE = 80.0
HAZE_DISTANCE = 170.0
"""All in metres; at the haze distance a surface has lost 63 % of its own colour."""


SignKind = Literal["stop", "warning", "parking", "speed", "lights"]


class Label(IntEnum):
    """Class indices of the synthetic data set."""

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


CLASSES = (
    SegmentationClass(Label.SKY, "sky", (128, 128, 128), void=False),
    SegmentationClass(Label.BUILDING, "building", (128, 0, 0), void=False),
    SegmentationClass(Label.POLE, "pole", (192, 192, 128), void=False),
    SegmentationClass(Label.ROAD, "road", (128, 64, 128), void=False),
    SegmentationClass(Label.SIDEWALK, "sidewalk", (0, 0, 192), void=False),
    SegmentationClass(Label.VEGETATION, "vegetation", (128, 128, 0), void=False),
    SegmentationClass(Label.SIGN, "sign", (192, 128, 128), void=False),
    SegmentationClass(Label.CAR, "car", (64, 0, 128), void=False),
    SegmentationClass(Label.PERSON, "person", (64, 64, 0), void=False),
    SegmentationClass(Label.VOID, "void", (0, 0, 0), void=True),
)
"""CamVid's colours; void is the bonnet of the car that carries the camera."""


@dataclass(frozen=True)
class Look:
    """Light and weather of a sequence; colours are RGB, 0 ... 255."""

    zenith: Color
    horizon: Color
    cloud: Color
    cloud_cover: float
    """Share of the sky, about."""
    tint: Color
    """Factors on every surface's colour."""
    left_light: float
    """Factor on surfaces that face right, lit from the left."""
    right_light: float
    """Factor on surfaces that face left."""
    asphalt: Color
    paving: Color
    lawn: Color

    def flat(self, color: Color, distance: float, light: float = 1.0) -> Color:
        """Colour of a lit surface at a distance: the farther, the more of the horizon's haze."""
        share = 1 - math.exp(-distance / HAZE_DISTANCE)
        red, green, blue = (
            own * tint * light * (1 - share) + haze * share
            for own, tint, haze in zip(color, self.tint, self.horizon, strict=True)
        )
        return red, green, blue

    def shaded(self, color: Pixels, distance: Positions, light: float = 1.0) -> Pixels:
        """Colours of a lit surface, one for each sample, as `flat`."""
        share = 1 - np.exp(distance / np.float32(-HAZE_DISTANCE))[..., None]
        lit = color * (np.asarray(self.tint, dtype=np.float32) * np.float32(light))
        return lit + share * (np.asarray(self.horizon, dtype=np.float32) - lit)


@dataclass(frozen=True)
class Building:
    """A box along the street, with a flat or a pitched roof."""

    side: int
    """-1 left of the road, +1 right of it."""
    near: float
    far: float
    """z of its two ends."""
    front: float
    """Distance of the street-side wall from the road's middle."""
    depth: float
    height: float
    roof_height: float
    """0 for a flat roof."""
    wall: Color
    window: Color
    window_pitch: float
    """Distance of windows in metres."""
    shop: bool
    """Whether the ground floor is glass."""


@dataclass(frozen=True)
class Tree:
    """A tree or, without a trunk, a bush."""

    x: float
    z: float
    trunk: float
    width: float
    height: float
    """Size of the crown."""
    sprite: int
    """Which of the sequence's crown shapes."""
    leaf: Color


@dataclass(frozen=True)
class Lamp:
    """A street lamp with an arm over the road."""

    x: float
    z: float
    height: float


@dataclass(frozen=True)
class Sign:
    """A traffic sign or traffic light on a thin post."""

    x: float
    z: float
    height: float
    kind: SignKind


@dataclass(frozen=True)
class Car:
    """A parked or moving car."""

    x: float
    z: float
    """z of its near end at frame 0."""
    speed: float
    """Along z, metres per frame."""
    oncoming: bool
    color: Color


@dataclass(frozen=True)
class Person:
    """A walking person."""

    x: float
    z: float
    speed_x: float
    speed_z: float
    height: float
    shirt: Color
    trousers: Color
    skin: Color
    phase: float
    """Of the step, in radians."""


@dataclass(frozen=True)
class Drive:
    """Motion of the camera car."""

    lane: float
    speed: float
    pan_amplitude: float
    """Of the heading, in radians."""
    pan_period: float
    """In frames."""
    pan_phase: float

    def camera(self, frame: int, width: int, height: int) -> Camera:
        """Camera at a frame, for pictures of the given size."""
        angle = 2 * math.pi * frame / self.pan_period + self.pan_phase
        focal = 0.9 * width
        return Camera(
            focal=focal,
            # A small turn of the head moves the picture sideways as a whole.
            center_column=width / 2 + focal * self.pan_amplitude * math.sin(angle),
            horizon_row=height * (0.46 + 0.004 * math.sin(0.9 * frame + self.pan_phase)),
            x=self.lane + 0.1 * math.sin(0.7 * angle),
            y=1.55,
            z=self.speed * frame,
        )


@dataclass(frozen=True)
class Scene:
    """Everything in one sequence."""

    look: Look
    drive: Drive
    buildings: tuple[Building, ...]
    trees: tuple[Tree, ...]
    """Trees at the kerb and, farther from the road than the buildings' fronts, in the gaps between them."""
    lamps: tuple[Lamp, ...]
    signs: tuple[Sign, ...]
    cars: tuple[Car, ...]
    people: tuple[Person, ...]
    crossings: tuple[float, ...]
    """z of the zebra crossings."""
    texture_seed: int
    """Seed of noise, crown shapes and clouds."""
