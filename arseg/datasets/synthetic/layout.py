"""Random streets: which buildings, trees, cars and people a seed gives."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import TypeVar

from numpy.random import Generator

from arseg.datasets.synthetic.scene import (
    BUILDING_LINE,
    ROAD_HALF_WIDTH,
    VIEW_DISTANCE,
    Camera,
    Color,
    Look,
    Scene,
    Thing,
)
from arseg.datasets.synthetic.street import paint_building
from arseg.datasets.synthetic.things import (
    CAR_LENGTH,
    SIGNS,
    paint_car,
    paint_lamp,
    paint_person,
    paint_sign,
    paint_tree,
)

T = TypeVar("T")

FRAMES_PER_SECOND = 30
WALK = 1.3 / FRAMES_PER_SECOND

LOOKS = (
    # zenith, horizon, cloud, cover, tint, light from the left and from the right
    ((88, 142, 214), (196, 218, 238), (250, 250, 252), 0.35, (1.0, 1.0, 1.0), (1.05, 0.72)),
    ((70, 124, 200), (190, 214, 236), (246, 248, 252), 0.2, (1.03, 1.01, 0.97), (0.7, 1.08)),
    ((150, 164, 180), (206, 212, 218), (228, 230, 234), 0.6, (0.9, 0.92, 0.95), (0.88, 0.9)),
    ((96, 128, 184), (248, 208, 164), (255, 226, 196), 0.4, (1.08, 0.96, 0.84), (1.1, 0.62)),
    ((118, 148, 196), (228, 222, 214), (244, 240, 236), 0.45, (0.98, 0.97, 0.98), (0.68, 1.0)),
)
WALLS = (
    (196, 178, 150), (172, 108, 84), (206, 196, 176), (150, 146, 142), (186, 142, 104),
    (158, 88, 72), (214, 206, 192), (132, 124, 118), (178, 166, 142), (200, 160, 120),
)  # fmt: skip
CAR_COLORS = (
    (200, 30, 34), (28, 70, 160), (236, 236, 238), (34, 36, 40), (150, 154, 160),
    (222, 172, 32), (24, 104, 74), (110, 24, 40), (92, 142, 190), (208, 204, 192),
)  # fmt: skip
SHIRTS = (
    (206, 44, 48), (240, 240, 236), (36, 86, 170), (240, 190, 40), (40, 44, 52),
    (60, 140, 96), (226, 120, 40), (140, 70, 150), (110, 176, 214), (96, 96, 104),
)  # fmt: skip
TROUSERS = ((38, 48, 80), (30, 30, 34), (96, 92, 88), (70, 84, 120), (110, 92, 70))
LEAF, BUSH = (82, 116, 48), (70, 106, 44)
SKINS = ((232, 196, 168), (208, 160, 124), (150, 104, 76), (104, 70, 52))
SIGN_KINDS = tuple(kind for kind in SIGNS if kind != "lights")


def random_scene(rng: Generator, num_frames: int) -> Scene:
    """Return a street long enough for a drive of `num_frames` frames; the same state of `rng` gives the same one."""
    lane, speed = rng.uniform(1.2, 2.0), rng.uniform(6.0, 12.0) / FRAMES_PER_SECOND
    camera = partial(_camera, lane, speed, rng.uniform(0.02, 0.07), rng.uniform(50, 110), rng.uniform(0, 2 * math.pi))
    length = speed * num_frames + VIEW_DISTANCE
    crossing = speed * num_frames + rng.uniform(5, 14)
    buildings = {side: _buildings(rng, side, length) for side in (-1, 1)}
    lamps = _lamps(rng, length)
    look = _look(rng)
    kerb, gardens = _trees(rng, length, buildings)
    street = [*lamps, *_signs(rng, length, crossing), *kerb]
    street += _cars(rng, lane, speed, length, num_frames)
    street += _people(rng, length, crossing)
    crossings = crossing, crossing + rng.uniform(28, 45)
    behind = (*buildings[-1], *buildings[1], *gardens)
    return Scene(look, camera, behind, tuple(street), crossings, texture_seed=int(rng.integers(1 << 31)))


def _camera(
    lane: float,
    speed: float,
    pan_amplitude: float,
    pan_period: float,
    phase: float,
    frame: int,
    width: int,
    height: int,
) -> Camera:
    """Return the camera on its way; it turns by an amplitude in radians to either side, with a period in frames."""
    angle = 2 * math.pi * frame / pan_period + phase
    focal = 0.9 * width
    # A small turn of the head moves the frame sideways as a whole.
    center_column = width / 2 + focal * pan_amplitude * math.sin(angle)
    horizon_row = height * (0.46 + 0.004 * math.sin(0.9 * frame + phase))
    return Camera(focal, center_column, horizon_row, lane + 0.1 * math.sin(0.7 * angle), 1.55, speed * frame)


def _one_of(rng: Generator, choices: Sequence[T]) -> T:
    return choices[int(rng.integers(len(choices)))]


def _vary(rng: Generator, color: Color, amount: float) -> Color:
    """Change a colour's brightness a lot and its hue a little."""
    brighter, changes = rng.normal(0, amount), rng.normal(0, amount / 4, 3).tolist()
    red, green, blue = (own + brighter + change for own, change in zip(color, changes, strict=True))
    return red, green, blue


def _look(rng: Generator) -> Look:
    sky_and_light = _one_of(rng, LOOKS)
    gray, paving = rng.uniform(78, 108), rng.uniform(148, 178)
    lawn = _vary(rng, (96, 128, 58), 14)
    return Look(*sky_and_light, (gray, gray, gray + 4), (paving + 4, paving, paving - 8), lawn)


def _buildings(rng: Generator, side: int, length: float) -> list[Thing]:
    buildings = []
    near = rng.uniform(-12, 0)
    while near < length:
        far = near + rng.uniform(8, 20)
        tall = rng.random() < 0.5
        parts = {
            "front": BUILDING_LINE + (0.0 if tall else rng.uniform(0.0, 2.5)),
            "depth": rng.uniform(7, 10),
            "height": rng.uniform(8, 14) if tall else rng.uniform(3.4, 6.4),
            "roof_height": 0.0 if tall else rng.uniform(1.8, 3.0),
            "wall": _vary(rng, _one_of(rng, WALLS), 10),
            "glass": _vary(rng, (62, 78, 98), 14),
            "window_pitch": rng.uniform(1.9, 2.8),
            "shop": tall and rng.random() < 0.6,
        }
        buildings.append(Thing(paint_building, near, 0.0, far - near, side=side, far=far, **parts))
        near = far + (0.0 if rng.random() < 0.45 else rng.uniform(2.5, 9.0))
    return buildings


def _trees(rng: Generator, length: float, buildings: Mapping[int, list[Thing]]) -> tuple[list[Thing], list[Thing]]:
    """Return trees at the kerb, and trees and bushes in the gaps between buildings."""
    kerb: list[Thing] = []
    gardens: list[Thing] = []

    def tree(x: float, z: float, trunk: float) -> Thing:
        width = rng.uniform(2.6, 4.2)
        size = width, width * rng.uniform(0.95, 1.35)
        return Thing(paint_tree, z, x=x, trunk=trunk, size=size, crown=rng.integers(4), leaf=_vary(rng, LEAF, 18))

    for side, own in buildings.items():
        z = rng.uniform(4, 16)
        while z < length:
            kerb.append(tree(side * (ROAD_HALF_WIDTH + 0.7), z, rng.uniform(1.9, 2.6)))
            z += rng.uniform(9, 26)
        for building, following in pairwise(own):
            far = building.parts["far"]
            gap = following.z - far
            if gap > 2:
                x = side * (BUILDING_LINE + rng.uniform(1.5, 4.0))
                gardens.append(tree(x, far + gap / 2, rng.uniform(1.0, 2.0)))
                bush, x = rng.uniform(1.0, 1.6), side * (BUILDING_LINE + 0.9)
                z = far + gap * rng.uniform(0.2, 0.8)
                parts = {"size": (bush * 1.6, bush), "crown": rng.integers(4), "leaf": _vary(rng, BUSH, 14)}
                gardens.append(Thing(paint_tree, z, x=x, trunk=0.0, **parts))
    return kerb, gardens


def _lamps(rng: Generator, length: float) -> list[Thing]:
    spacing, start, height = rng.uniform(12, 18), rng.uniform(5, 15), rng.uniform(5.0, 6.5)
    return [
        Thing(paint_lamp, start + spacing * (index + offset), x=side * (ROAD_HALF_WIDTH + 0.35), height=height)
        for side, offset in ((-1, 0.0), (1, 0.5))
        for index in range(int(length / spacing))
    ]


def _signs(rng: Generator, length: float, crossing: float) -> list[Thing]:
    x = ROAD_HALF_WIDTH + 0.45
    signs = [Thing(paint_sign, crossing + 1.5, x=side * x, height=3.3, kind="lights") for side in (-1, 1)]
    z = rng.uniform(6, 12)
    while z < length:
        x = (1 if rng.random() < 0.65 else -1) * (ROAD_HALF_WIDTH + 0.5)
        signs.append(Thing(paint_sign, z, x=x, kind=_one_of(rng, SIGN_KINDS), height=rng.uniform(2.3, 2.9)))
        z += rng.uniform(6, 15)
    return signs


def _cars(rng: Generator, lane: float, speed: float, length: float, num_frames: int) -> list[Thing]:
    def car(x: float, z: float, own_speed: float, *, oncoming: bool) -> Thing:
        color = _vary(rng, _one_of(rng, CAR_COLORS), 8)
        return Thing(paint_car, z, own_speed, CAR_LENGTH, x=x, oncoming=oncoming, color=color)

    cars = []
    for side in (-1, 1):
        z = rng.uniform(4, 14)
        while z < length:
            cars.append(car(side * (ROAD_HALF_WIDTH - 1.1), z, 0.0, oncoming=side < 0))
            z += 5.4 + (0.0 if rng.random() < 0.35 else rng.uniform(4, 22))
    if rng.random() < 0.7:  # the leading car may come closer, but never closer than 6 m
        ahead = rng.uniform(11, 20)
        slower = rng.uniform(-0.03, min(0.06, (ahead - 6) / num_frames))
        cars.append(car(lane, ahead, speed - slower, oncoming=False))
    z = rng.uniform(14, 30)
    while z < length + 40:
        cars.append(car(-1.7, z, -rng.uniform(0.22, 0.34), oncoming=True))
        z += rng.uniform(24, 45)
    return cars


def _people(rng: Generator, length: float, crossing: float) -> list[Thing]:
    def person(x: float, z: float, speed_x: float, speed_z: float) -> Thing:
        height = rng.uniform(1.55, 1.9)
        shirt, trousers = _vary(rng, _one_of(rng, SHIRTS), 12), _vary(rng, _one_of(rng, TROUSERS), 8)
        parts = {"colors": (shirt, trousers, _one_of(rng, SKINS)), "phase": rng.uniform(0, 2 * math.pi)}
        return Thing(paint_person, z, speed_z, x=x, speed=speed_x, height=height, **parts)

    people = []
    for side in (-1, 1):
        z = rng.uniform(5, 12)
        while z < length:
            x = side * rng.uniform(ROAD_HALF_WIDTH + 1.2, BUILDING_LINE - 0.4)
            people.append(person(x, z, 0.0, WALK * (int(rng.choice((-1, 1))) * rng.uniform(0.7, 1.2))))
            z += rng.uniform(2.5, 12)
    for _ in range(rng.integers(2, 5)):
        direction, x = int(rng.choice((-1, 1))), rng.uniform(-4.5, 4.5)
        people.append(person(x, crossing + rng.uniform(0.4, 2.6), direction * WALK, 0.0))
    return people
