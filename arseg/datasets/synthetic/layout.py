"""Random streets: which buildings, trees, cars and people a seed gives."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import TypeVar

from numpy.random import Generator

from arseg.datasets.synthetic.scene import BUILDING_LINE, ROAD_HALF_WIDTH, Color, Look, Thing
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


def _one_of(rng: Generator, choices: Sequence[T]) -> T:
    return choices[int(rng.integers(len(choices)))]


def _vary(rng: Generator, color: Color, amount: float) -> Color:
    """Change a colour's brightness a lot and its hue a little."""
    brighter, changes = rng.normal(0, amount), rng.normal(0, amount / 4, 3).tolist()
    red, green, blue = (own + brighter + change for own, change in zip(color, changes, strict=True))
    return red, green, blue


def _along(start: float, end: float, step: Callable[[], float]) -> Iterator[float]:
    """Yield places along the road; each step is drawn when what stands at the place before has been."""
    while start < end:
        yield start
        start += step()


def random_look(rng: Generator) -> Look:
    """Return light, weather and the colours of the ground."""
    sky_and_light = _one_of(rng, LOOKS)
    gray, paving = rng.uniform(78, 108), rng.uniform(148, 178)
    lawn = _vary(rng, (96, 128, 58), 14)
    return Look(*sky_and_light, (gray, gray, gray + 4), (paving + 4, paving, paving - 8), lawn)


def random_buildings(rng: Generator, side: int, length: float) -> list[Thing]:
    """Return the buildings on the left (-1) or right (1) of a street."""
    buildings = []
    near = rng.uniform(-12, 0)
    while near < length:
        far = near + rng.uniform(8, 20)
        tall = rng.random() < 0.5
        paint = partial(
            paint_building,
            side=side,
            far=far,
            front=BUILDING_LINE + (0.0 if tall else rng.uniform(0.0, 2.5)),
            depth=rng.uniform(7, 10),
            height=rng.uniform(8, 14) if tall else rng.uniform(3.4, 6.4),
            roof_height=0.0 if tall else rng.uniform(1.8, 3.0),
            wall=_vary(rng, _one_of(rng, WALLS), 10),
            glass=_vary(rng, (62, 78, 98), 14),
            window_pitch=rng.uniform(1.9, 2.8),
            shop=tall and rng.random() < 0.6,
        )
        buildings.append(Thing(paint, near, length=far - near))
        near = far + (0.0 if rng.random() < 0.45 else rng.uniform(2.5, 9.0))
    return buildings


def random_trees(
    rng: Generator, length: float, buildings: Mapping[int, list[Thing]]
) -> tuple[list[Thing], list[Thing]]:
    """Return trees at the kerb, and trees and bushes in the gaps between buildings."""

    def tree(x: float, z: float, trunk: float) -> Thing:
        width = rng.uniform(2.6, 4.2)
        size, crown = (width, width * rng.uniform(0.95, 1.35)), int(rng.integers(4))
        return Thing(partial(paint_tree, x=x, trunk=trunk, size=size, crown=crown, leaf=_vary(rng, LEAF, 18)), z)

    kerb: list[Thing] = []
    gardens: list[Thing] = []
    for side, own in buildings.items():
        places = _along(rng.uniform(4, 16), length, lambda: rng.uniform(9, 26))
        kerb += [tree(side * (ROAD_HALF_WIDTH + 0.7), z, rng.uniform(1.9, 2.6)) for z in places]
        for building, following in pairwise(own):
            far = building.paint.keywords["far"]
            gap = following.z - far
            if gap > 2:
                x = side * (BUILDING_LINE + rng.uniform(1.5, 4.0))
                gardens.append(tree(x, far + gap / 2, rng.uniform(1.0, 2.0)))
                bush, z = rng.uniform(1.0, 1.6), far + gap * rng.uniform(0.2, 0.8)
                crown, leaf, x = int(rng.integers(4)), _vary(rng, BUSH, 14), side * (BUILDING_LINE + 0.9)
                gardens.append(
                    Thing(partial(paint_tree, x=x, trunk=0.0, size=(bush * 1.6, bush), crown=crown, leaf=leaf), z)
                )
    return kerb, gardens


def random_lamps(rng: Generator, length: float) -> list[Thing]:
    """Return street lamps on both sides, in turns."""
    spacing, start, height = rng.uniform(12, 18), rng.uniform(5, 15), rng.uniform(5.0, 6.5)
    return [
        Thing(partial(paint_lamp, x=side * (ROAD_HALF_WIDTH + 0.35), height=height), start + spacing * (index + offset))
        for side, offset in ((-1, 0.0), (1, 0.5))
        for index in range(int(length / spacing))
    ]


def random_signs(rng: Generator, length: float, crossing: float) -> list[Thing]:
    """Return the lights of a crossing, and signs along the street."""
    x = ROAD_HALF_WIDTH + 0.45
    signs = [Thing(partial(paint_sign, x=side * x, height=3.3, kind="lights"), crossing + 1.5) for side in (-1, 1)]
    for z in _along(rng.uniform(6, 12), length, lambda: rng.uniform(6, 15)):
        x = (1 if rng.random() < 0.65 else -1) * (ROAD_HALF_WIDTH + 0.5)
        kind, height = _one_of(rng, SIGN_KINDS), rng.uniform(2.3, 2.9)
        signs.append(Thing(partial(paint_sign, x=x, kind=kind, height=height), z))
    return signs


def random_cars(rng: Generator, lane: float, speed: float, length: float, num_frames: int) -> list[Thing]:
    """Return parked and oncoming cars and, on most drives, one ahead in the own lane."""

    def car(x: float, z: float, own_speed: float, *, oncoming: bool) -> Thing:
        color = _vary(rng, _one_of(rng, CAR_COLORS), 8)
        return Thing(partial(paint_car, x=x, oncoming=oncoming, color=color), z, own_speed, CAR_LENGTH)

    cars = []
    for side in (-1, 1):
        places = _along(rng.uniform(4, 14), length, lambda: 5.4 + (0.0 if rng.random() < 0.35 else rng.uniform(4, 22)))
        cars += [car(side * (ROAD_HALF_WIDTH - 1.1), z, 0.0, oncoming=side < 0) for z in places]
    if rng.random() < 0.7:  # the leading car may come closer, but never closer than 6 m
        ahead = rng.uniform(11, 20)
        slower = rng.uniform(-0.03, min(0.06, (ahead - 6) / num_frames))
        cars.append(car(lane, ahead, speed - slower, oncoming=False))
    places = _along(rng.uniform(14, 30), length + 40, lambda: rng.uniform(24, 45))
    return cars + [car(-1.7, z, -rng.uniform(0.22, 0.34), oncoming=True) for z in places]


def random_people(rng: Generator, length: float, crossing: float) -> list[Thing]:
    """Return people on the sidewalks, and some on a crossing."""

    def person(x: float, z: float, speed_x: float, speed_z: float) -> Thing:
        height = rng.uniform(1.55, 1.9)
        shirt, trousers = _vary(rng, _one_of(rng, SHIRTS), 12), _vary(rng, _one_of(rng, TROUSERS), 8)
        colors, phase = (shirt, trousers, _one_of(rng, SKINS)), rng.uniform(0, 2 * math.pi)
        return Thing(partial(paint_person, x=x, speed=speed_x, height=height, colors=colors, phase=phase), z, speed_z)

    people = []
    for side in (-1, 1):
        for z in _along(rng.uniform(5, 12), length, lambda: rng.uniform(2.5, 12)):
            x = side * rng.uniform(ROAD_HALF_WIDTH + 1.2, BUILDING_LINE - 0.4)
            people.append(person(x, z, 0.0, WALK * (int(rng.choice((-1, 1))) * rng.uniform(0.7, 1.2))))
    for _ in range(rng.integers(2, 5)):
        direction, x = int(rng.choice((-1, 1))), rng.uniform(-4.5, 4.5)
        people.append(person(x, crossing + rng.uniform(0.4, 2.6), direction * WALK, 0.0))
    return people
