"""Random streets: which buildings, trees, cars and people a seed gives."""

import math
from itertools import pairwise

import numpy as np

from arseg.data.synthetic.canvas import Color
from arseg.data.synthetic.scene import (
    ROAD_HALF_WIDTH,
    SIDEWALK_WIDTH,
    VIEW_DISTANCE,
    Building,
    Car,
    Drive,
    Lamp,
    Look,
    Person,
    Scene,
    Sign,
    SignKind,
    Tree,
)

FRAMES_PER_SECOND = 30
BUILDING_LINE = ROAD_HALF_WIDTH + SIDEWALK_WIDTH

LOOKS = (
    # zenith, horizon, cloud, cover, tint, light from the left, from the right
    ((88, 142, 214), (196, 218, 238), (250, 250, 252), 0.35, (1.0, 1.0, 1.0), 1.05, 0.72),
    ((70, 124, 200), (190, 214, 236), (246, 248, 252), 0.2, (1.03, 1.01, 0.97), 0.7, 1.08),
    ((150, 164, 180), (206, 212, 218), (228, 230, 234), 0.6, (0.9, 0.92, 0.95), 0.88, 0.9),
    ((96, 128, 184), (248, 208, 164), (255, 226, 196), 0.4, (1.08, 0.96, 0.84), 1.1, 0.62),
    ((118, 148, 196), (228, 222, 214), (244, 240, 236), 0.45, (0.98, 0.97, 0.98), 0.68, 1.0),
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
SIGN_KINDS: tuple[SignKind, ...] = ("stop", "warning", "parking", "speed")
TROUSERS = ((38, 48, 80), (30, 30, 34), (96, 92, 88), (70, 84, 120), (110, 92, 70))
SKINS = ((232, 196, 168), (208, 160, 124), (150, 104, 76), (104, 70, 52))


def random_scene(rng: np.random.Generator, num_frames: int) -> Scene:
    """Lay out a street long enough for a drive of `num_frames` frames.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of everything random in the scene; the same state gives the same scene.
    num_frames : int
        Length of the drive in frames.
    """
    drive = Drive(
        lane=float(rng.uniform(1.2, 2.0)),
        speed=float(rng.uniform(6.0, 12.0)) / FRAMES_PER_SECOND,
        pan_amplitude=float(rng.uniform(0.02, 0.07)),
        pan_period=float(rng.uniform(50, 110)),
        pan_phase=float(rng.uniform(0, 2 * math.pi)),
    )
    length = drive.speed * num_frames + VIEW_DISTANCE
    crossing = drive.speed * num_frames + float(rng.uniform(5, 14))
    buildings = tuple(building for side in (-1, 1) for building in _buildings(rng, side, length))
    lamps = _lamps(rng, length)
    return Scene(
        look=_look(rng),
        drive=drive,
        buildings=buildings,
        trees=_trees(rng, length, buildings),
        lamps=lamps,
        signs=_signs(rng, length, crossing),
        cars=_cars(rng, drive, length, num_frames),
        people=_people(rng, length, crossing),
        crossings=(crossing, crossing + float(rng.uniform(28, 45))),
        texture_seed=int(rng.integers(1 << 31)),
    )


def _look(rng: np.random.Generator) -> Look:
    zenith, horizon, cloud, cover, tint, left, right = LOOKS[rng.integers(len(LOOKS))]
    gray = float(rng.uniform(78, 108))
    paving = float(rng.uniform(148, 178))
    return Look(
        zenith=zenith,
        horizon=horizon,
        cloud=cloud,
        cloud_cover=cover,
        tint=tint,
        left_light=left,
        right_light=right,
        asphalt=(gray, gray, gray + 4),
        paving=(paving + 4, paving, paving - 8),
        lawn=_vary(rng, (96, 128, 58), 14),
    )


def _buildings(rng: np.random.Generator, side: int, length: float) -> list[Building]:
    buildings = []
    near = float(rng.uniform(-12, 0))
    while near < length:
        far = near + float(rng.uniform(8, 20))
        tall = rng.random() < 0.5
        buildings.append(
            Building(
                side=side,
                near=near,
                far=far,
                front=BUILDING_LINE + (0.0 if tall else float(rng.uniform(0.0, 2.5))),
                depth=float(rng.uniform(7, 10)),
                height=float(rng.uniform(8, 14) if tall else rng.uniform(3.4, 6.4)),
                roof_height=0.0 if tall else float(rng.uniform(1.8, 3.0)),
                wall=_vary(rng, WALLS[rng.integers(len(WALLS))], 10),
                window=_vary(rng, (62, 78, 98), 14),
                window_pitch=float(rng.uniform(1.9, 2.8)),
                shop=bool(tall and rng.random() < 0.6),
            )
        )
        near = far + (0.0 if rng.random() < 0.45 else float(rng.uniform(2.5, 9.0)))
    return buildings


def _trees(rng: np.random.Generator, length: float, buildings: tuple[Building, ...]) -> tuple[Tree, ...]:
    trees = []
    for side in (-1, 1):
        z = float(rng.uniform(4, 16))
        while z < length:
            trees.append(_tree(rng, side * (ROAD_HALF_WIDTH + 0.7), z, float(rng.uniform(1.9, 2.6))))
            z += float(rng.uniform(9, 26))
        own = [building for building in buildings if building.side == side]
        for building, following in pairwise(own):
            gap = following.near - building.far
            if gap > 2:
                x = side * (BUILDING_LINE + float(rng.uniform(1.5, 4.0)))
                trees.append(_tree(rng, x, building.far + gap / 2, float(rng.uniform(1.0, 2.0))))
                bush = float(rng.uniform(1.0, 1.6))
                trees.append(
                    Tree(
                        x=side * (BUILDING_LINE + 0.9),
                        z=building.far + gap * float(rng.uniform(0.2, 0.8)),
                        trunk=0.0,
                        width=bush * 1.6,
                        height=bush,
                        sprite=int(rng.integers(4)),
                        leaf=_vary(rng, (70, 106, 44), 14),
                    )
                )
    return tuple(trees)


def _tree(rng: np.random.Generator, x: float, z: float, trunk: float) -> Tree:
    width = float(rng.uniform(2.6, 4.2))
    return Tree(
        x=x,
        z=z,
        trunk=trunk,
        width=width,
        height=width * float(rng.uniform(0.95, 1.35)),
        sprite=int(rng.integers(4)),
        leaf=_vary(rng, (82, 116, 48), 18),
    )


def _lamps(rng: np.random.Generator, length: float) -> tuple[Lamp, ...]:
    spacing = float(rng.uniform(12, 18))
    start = float(rng.uniform(5, 15))
    height = float(rng.uniform(5.0, 6.5))
    return tuple(
        Lamp(x=side * (ROAD_HALF_WIDTH + 0.35), z=start + spacing * (index + 0.5 * (side > 0)), height=height)
        for side in (-1, 1)
        for index in range(int(length / spacing))
    )


def _signs(rng: np.random.Generator, length: float, crossing: float) -> tuple[Sign, ...]:
    signs = [Sign(x=side * (ROAD_HALF_WIDTH + 0.45), z=crossing + 1.5, height=3.3, kind="lights") for side in (-1, 1)]
    z = float(rng.uniform(6, 12))
    while z < length:
        side = 1 if rng.random() < 0.65 else -1
        kind = SIGN_KINDS[rng.integers(len(SIGN_KINDS))]
        signs.append(Sign(x=side * (ROAD_HALF_WIDTH + 0.5), z=z, height=float(rng.uniform(2.3, 2.9)), kind=kind))
        z += float(rng.uniform(6, 15))
    return tuple(signs)


def _cars(rng: np.random.Generator, drive: Drive, length: float, num_frames: int) -> tuple[Car, ...]:
    def color() -> Color:
        return _vary(rng, CAR_COLORS[rng.integers(len(CAR_COLORS))], 8)

    cars = []
    for side in (-1, 1):
        z = float(rng.uniform(4, 14))
        while z < length:
            cars.append(Car(side * (ROAD_HALF_WIDTH - 1.1), z, 0.0, oncoming=side < 0, color=color()))
            z += 5.4 + (0.0 if rng.random() < 0.35 else float(rng.uniform(4, 22)))
    speed = drive.speed
    if rng.random() < 0.7:
        # The leading car may come closer, but never closer than 6 m.
        ahead = float(rng.uniform(11, 20))
        slower = float(rng.uniform(-0.03, min(0.06, (ahead - 6) / num_frames)))
        cars.append(Car(drive.lane, ahead, speed - slower, oncoming=False, color=color()))
    z = float(rng.uniform(14, 30))
    while z < length + 40:
        cars.append(Car(-1.7, z, -float(rng.uniform(0.22, 0.34)), oncoming=True, color=color()))
        z += float(rng.uniform(24, 45))
    return tuple(cars)


def _people(rng: np.random.Generator, length: float, crossing: float) -> tuple[Person, ...]:
    def person(x: float, z: float, speed_x: float, speed_z: float) -> Person:
        return Person(
            x=x,
            z=z,
            speed_x=speed_x,
            speed_z=speed_z,
            height=float(rng.uniform(1.55, 1.9)),
            shirt=_vary(rng, SHIRTS[rng.integers(len(SHIRTS))], 12),
            trousers=_vary(rng, TROUSERS[rng.integers(len(TROUSERS))], 8),
            skin=SKINS[rng.integers(len(SKINS))],
            phase=float(rng.uniform(0, 2 * math.pi)),
        )

    people = []
    walk = 1.3 / FRAMES_PER_SECOND
    for side in (-1, 1):
        z = float(rng.uniform(5, 12))
        while z < length:
            x = side * float(rng.uniform(ROAD_HALF_WIDTH + 1.2, BUILDING_LINE - 0.4))
            people.append(person(x, z, 0.0, walk * float(rng.choice((-1, 1)) * rng.uniform(0.7, 1.2))))
            z += float(rng.uniform(2.5, 12))
    for _ in range(rng.integers(2, 5)):
        direction = int(rng.choice((-1, 1)))
        x = float(rng.uniform(-4.5, 4.5))
        people.append(person(x, crossing + float(rng.uniform(0.4, 2.6)), direction * walk, 0.0))
    return tuple(people)


def _vary(rng: np.random.Generator, color: Color, amount: float) -> Color:
    """Change a colour's brightness a lot and its hue a little."""
    red, green, blue = np.array(color) + rng.normal(0, amount) + rng.normal(0, amount / 4, 3)
    return float(red), float(green), float(blue)
