"""Painting what stands or moves in the street: trees, lamps, signs, cars and people.

Each function paints on a canvas a thing whose near end is at `z` in its frame; lengths are metres.
"""

import math
from collections.abc import Callable, Sequence

from arseg.datasets.synthetic.canvas import Canvas
from arseg.datasets.synthetic.scene import NEAR, Color, Label, WorldPoint

GLASS, POST, TIRE, WHITE = (58, 70, 84), (112, 114, 116), (28, 28, 30), (242, 240, 236)

CAR_HALF_WIDTH, CAR_LENGTH, BELT, ROOF = 0.88, 4.2, 0.86, 1.42
"""The belt is the lower edge of the windows."""

SignPart = Callable[[float, float, float], list[WorldPoint]]
"""Returns the corners of a part of a sign at x, height and z of its post's top."""


def _upright(x: float, z: float, half_width: float, bottom: float, top: float) -> list[WorldPoint]:
    """Return a rectangle that faces the camera."""
    left, right = x - half_width, x + half_width
    return [(left, bottom, z), (left, top, z), (right, top, z), (right, bottom, z)]


def _disc(
    center: WorldPoint, radius: float, corners: int = 8, turn: float = 0.0, axes: tuple[int, int] = (0, 1)
) -> list[WorldPoint]:
    """Return a regular polygon in the plane of two axes; it faces the camera by default."""
    points = []
    for index in range(corners):
        angle = turn + 2 * math.pi * index / corners
        point = list(center)
        point[axes[0]] += radius * math.cos(angle)
        point[axes[1]] += radius * math.sin(angle)
        points.append((point[0], point[1], point[2]))
    return points


def _plate(half_width: float, bottom: float, top: float) -> SignPart:
    return lambda x, height, z: _upright(x, z, half_width, height + bottom, height + top)


def _board(radius: float, corners: int, turn: float = 0.0, center: float = -0.4) -> SignPart:
    return lambda x, height, z: _disc((x, height + center, z), radius, corners, turn)


SIGNS: dict[str, Sequence[tuple[SignPart, Color]]] = {
    "stop": ((_board(0.43, 8, math.pi / 8), (200, 34, 36)), (_plate(0.28, -0.47, -0.33), WHITE)),
    "warning": ((_board(0.52, 3, math.pi / 2), (206, 40, 38)), (_board(0.3, 3, math.pi / 2), (244, 240, 226))),
    "parking": ((_plate(0.36, -0.75, 0.0), (30, 84, 178)), (_plate(0.1, -0.6, -0.15), WHITE)),
    "speed": ((_board(0.42, 12), (204, 38, 38)), (_board(0.29, 12), (246, 246, 240))),
    "lights": (
        (_plate(0.2, -1.0, 0.0), (36, 38, 36)),
        (_board(0.12, 8, center=-0.2), (236, 60, 40)),
        (_board(0.12, 8, center=-0.5), (80, 66, 30)),
        (_board(0.12, 8, center=-0.8), (30, 72, 50)),
    ),
}
"""What each kind of sign looks like, from the back to the front."""


def paint_tree(
    canvas: Canvas, z: float, *, x: float, trunk: float, size: Sequence[float], crown: int, leaf: Color
) -> None:
    """Paint a crown, of width and height and one of the sequence's shapes, on a trunk; without a trunk, a bush."""
    width, height = size
    if trunk:
        canvas.darken(_disc((x, 0.0, z), width * 0.35, axes=(0, 2)), 0.72)
        canvas.face(_upright(x, z, 0.13, 0.0, trunk + 0.6), Label.VEGETATION, (92, 74, 58))
    left, top = canvas.camera.project((x - width / 2, 0.9 * trunk + height, z))
    right, bottom = canvas.camera.project((x + width / 2, 0.9 * trunk, z))
    color = canvas.look.flat(leaf, z - canvas.camera.z)
    canvas.sprite((left, top, right, bottom), Label.VEGETATION, canvas.textures.crowns[crown], color)


def paint_lamp(canvas: Canvas, z: float, *, x: float, height: float) -> None:
    """Paint a street lamp with an arm over the road."""
    end = x - math.copysign(1.6, x)
    canvas.face(_upright(x, z, 0.09, 0.0, height), Label.POLE, POST)
    arm = [(x, height - 0.14, z), (x, height, z), (end, height + 0.3, z), (end, height + 0.16, z)]
    canvas.face(arm, Label.POLE, POST)
    canvas.face(_upright(end, z, 0.4, height + 0.08, height + 0.3), Label.POLE, (188, 190, 188))


def paint_sign(canvas: Canvas, z: float, *, x: float, height: float, kind: str) -> None:
    """Paint a traffic sign or light, one of `SIGNS`, on its post."""
    canvas.face(_upright(x, z, 0.06, 0.0, height), Label.POLE, POST)
    for part, color in SIGNS[kind]:
        canvas.face(part(x, height, z), Label.SIGN, color)


def paint_car(canvas: Canvas, z: float, *, x: float, oncoming: bool, color: Color) -> None:
    """Paint a car: its shadow, the side that the camera sees, if any, and the end."""
    camera, half, top = canvas.camera, CAR_HALF_WIDTH, CAR_HALF_WIDTH - 0.14
    near, far = max(z, camera.z + NEAR), z + CAR_LENGTH
    left, right = x - half - 0.15, x + half + 0.15
    canvas.darken([(left, 0, near), (right, 0, near), (right, 0, far), (left, 0, far)], 0.5)
    if abs(camera.x - x) >= half:
        outward = math.copysign(1.0, camera.x - x)
        light = canvas.look.lights[outward < 0]
        body, roof, belt = x + outward * half, x + outward * top, BELT - 0.03
        for panel, fill, factor in (
            ([(body, 0.2, 0.0), (body, BELT, 0.0), (body, BELT, CAR_LENGTH), (body, 0.2, CAR_LENGTH)], color, light),
            ([(body, belt, 0.5), (roof, ROOF, 1.2), (roof, ROOF, 3.1), (body, belt, 3.75)], color, light),
            ([(body, 0.92, 0.85), (roof, 1.34, 1.35), (roof, 1.34, 2.95), (body, 0.92, 3.45)], GLASS, 0.9),
        ):
            # Parts before the near distance are pushed up to it.
            points = [(across, up, max(z + along, near)) for across, up, along in panel]
            canvas.face(points, Label.CAR, fill, factor, near - camera.z)
        for wheel in (z + 0.8, z + 3.4):
            if wheel > near + 0.35:
                for radius, fill in ((0.33, TIRE), (0.18, (150, 152, 156))):
                    rim = _disc((body, 0.33, wheel), radius, axes=(2, 1))
                    canvas.face(rim, Label.CAR, fill, light, near - camera.z)
    if near != z:
        return
    # Roof, bonnet or boot, front and its window: half width, height and distance from the end, of two edges each.
    for (low, low_up, low_along), (high, high_up, high_along), fill, factor in (
        ((top, ROOF, 1.2), (top, ROOF, 3.1), color, 1.08),
        ((half, BELT, 0.0), (half, BELT, 0.6), color, 1.05),
        ((half, BELT - 0.03, 0.5), (top, ROOF, 1.2), color, 0.95),
        ((half - 0.14, 0.9, 0.55), (top - 0.07, ROOF - 0.06, 1.12), GLASS, 1.0),
    ):
        lower, upper = (low_up, z + low_along), (high_up, z + high_along)
        points = [(x - low, *lower), (x - high, *upper), (x + high, *upper), (x + low, *lower)]
        canvas.face(points, Label.CAR, fill, factor, z - camera.z)
    lamp = (250, 246, 214) if oncoming else (214, 30, 28)
    for across, half_width, bottom, up, fill, factor in (
        (-half + 0.13, 0.11, 0.0, 0.4, TIRE, 1.0),
        (half - 0.13, 0.11, 0.0, 0.4, TIRE, 1.0),
        (0.0, half, 0.2, BELT, color, 0.88),
        (0.0, half - 0.02, 0.24, 0.44, (44, 44, 48), 1.0),
        (0.0, 0.26, 0.46, 0.58, (232, 232, 220), 1.0),
        (-half + 0.2, 0.17, 0.58, 0.74, lamp, 1.0),
        (half - 0.2, 0.17, 0.58, 0.74, lamp, 1.0),
    ):
        canvas.face(_upright(x + across, z, half_width, bottom, up), Label.CAR, fill, factor)


def paint_person(
    canvas: Canvas, z: float, *, x: float, speed: float, height: float, colors: Sequence[Color], phase: float
) -> None:
    """Paint a person of colours shirt, trousers and skin who walks along x, at a phase of the step in radians."""
    x, size = x + speed * canvas.frame, height / 1.75
    shirt, trousers, skin = colors
    if canvas.camera.focal * 0.15 * size < z - canvas.camera.z:  # arms and legs thinner than a pixel
        for half_width, bottom, top, color in (
            (0.17, 0.0, 0.85, trousers),
            (0.25, 0.85, 1.45, shirt),
            (0.13, 1.45, 1.75, skin),
        ):
            canvas.face(_upright(x, z, size * half_width, size * bottom, size * top), Label.PERSON, color)
        return
    # About two steps a second; walking along the road swings less across the frame.
    swing = math.sin(phase + canvas.frame * 0.4) * (0.22 if speed else 0.1)

    def part(*corners: tuple[float, float]) -> list[WorldPoint]:
        return [(x + size * across, size * up, z) for across, up in corners]

    def limb(foot: float, low: float, hip: float, high: float) -> list[WorldPoint]:
        return part((foot - 0.08, low), (hip - 0.08, high), (hip + 0.08, high), (foot + 0.08, low))

    canvas.darken(_disc((x, 0.0, z), 0.35, axes=(0, 2)), 0.6)
    for side in (-1, 1):
        canvas.face(limb(side * (0.09 + swing), 0.0, side * 0.09, 0.9), Label.PERSON, trousers)
        canvas.face(limb(side * (0.27 - swing), 0.82, side * 0.22, 1.42), Label.PERSON, shirt)
    canvas.face(part((-0.19, 0.82), (-0.25, 1.45), (0.25, 1.45), (0.19, 0.82)), Label.PERSON, shirt)
    canvas.face(_disc((x, size * 1.6, z), size * 0.145), Label.PERSON, skin)
