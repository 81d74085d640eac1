"""Painting what stands or moves in the street: trees, lamps, signs, cars and people."""

import math

from arseg.data.synthetic.canvas import NEAR, Canvas, Color, WorldPoint
from arseg.data.synthetic.scene import Car, Label, Lamp, Person, Scene, Sign, Tree
from arseg.data.synthetic.street import Textures

GLASS: Color = (58, 70, 84)
TIRE: Color = (28, 28, 30)
HUB: Color = (150, 152, 156)
BUMPER: Color = (44, 44, 48)
PLATE: Color = (232, 232, 220)
HEADLAMP: Color = (250, 246, 214)
TAIL_LAMP: Color = (214, 30, 28)
POST: Color = (112, 114, 116)
WHITE: Color = (242, 240, 236)

Profile = tuple[float, float, float]
"""Half width of a car's edge, its height and its distance from the near end, in metres."""

CAR_HALF_WIDTH, CAR_LENGTH, BELT, ROOF = 0.88, 4.2, 0.86, 1.42
"""In metres; the belt is the lower edge of the windows."""


def paint_tree(canvas: Canvas, tree: Tree, scene: Scene, textures: Textures) -> None:
    """Paint trunk and crown."""
    distance = tree.z - canvas.camera.z
    if distance < NEAR:
        return
    if tree.trunk:
        bark = scene.look.flat((92, 74, 58), distance)
        canvas.darken(_disc((tree.x, 0.0, tree.z), tree.width * 0.35, flat=True), 0.72)
        canvas.face(_upright(tree.x, tree.z, 0.13, 0.0, tree.trunk + 0.6), Label.VEGETATION, bark)
    left, top = canvas.camera.project((tree.x - tree.width / 2, 0.9 * tree.trunk + tree.height, tree.z))
    right, bottom = canvas.camera.project((tree.x + tree.width / 2, 0.9 * tree.trunk, tree.z))
    leaf = scene.look.flat(tree.leaf, distance)
    canvas.sprite((left, top, right, bottom), Label.VEGETATION, textures.crowns[tree.sprite], leaf)


def paint_lamp(canvas: Canvas, lamp: Lamp, scene: Scene) -> None:
    """Paint a street lamp."""
    distance = lamp.z - canvas.camera.z
    if distance < NEAR:
        return
    inward = -math.copysign(1.6, lamp.x)
    post = scene.look.flat(POST, distance)
    canvas.face(_upright(lamp.x, lamp.z, 0.09, 0.0, lamp.height), Label.POLE, post)
    arm = [
        (lamp.x, lamp.height - 0.14, lamp.z),
        (lamp.x, lamp.height, lamp.z),
        (lamp.x + inward, lamp.height + 0.3, lamp.z),
        (lamp.x + inward, lamp.height + 0.16, lamp.z),
    ]
    canvas.face(arm, Label.POLE, post)
    head = _upright(lamp.x + inward, lamp.z, 0.4, lamp.height + 0.08, lamp.height + 0.3)
    canvas.face(head, Label.POLE, scene.look.flat((188, 190, 188), distance))


def paint_sign(canvas: Canvas, sign: Sign, scene: Scene) -> None:
    """Paint a traffic sign or light on its post."""
    distance = sign.z - canvas.camera.z
    if distance < NEAR:
        return
    look, center = scene.look, (sign.x, sign.height - 0.4, sign.z)

    def fill(color: Color) -> Color:
        return look.flat(color, distance)

    canvas.face(_upright(sign.x, sign.z, 0.06, 0.0, sign.height), Label.POLE, fill(POST))
    if sign.kind == "lights":
        canvas.face(_upright(sign.x, sign.z, 0.2, sign.height - 1.0, sign.height), Label.SIGN, fill((36, 38, 36)))
        for color, height in (((236, 60, 40), 0.8), ((80, 66, 30), 0.5), ((30, 72, 50), 0.2)):
            lamp = (sign.x, sign.height - 1.0 + height, sign.z)
            canvas.face(_disc(lamp, 0.12), Label.SIGN, fill(color))
    elif sign.kind == "warning":
        canvas.face(_disc(center, 0.52, corners=3, turn=math.pi / 2), Label.SIGN, fill((206, 40, 38)))
        canvas.face(_disc(center, 0.3, corners=3, turn=math.pi / 2), Label.SIGN, fill((244, 240, 226)))
    elif sign.kind == "parking":
        canvas.face(_upright(sign.x, sign.z, 0.36, sign.height - 0.75, sign.height), Label.SIGN, fill((30, 84, 178)))
        canvas.face(_upright(sign.x, sign.z, 0.1, sign.height - 0.6, sign.height - 0.15), Label.SIGN, fill(WHITE))
    elif sign.kind == "stop":
        canvas.face(_disc(center, 0.43, corners=8, turn=math.pi / 8), Label.SIGN, fill((200, 34, 36)))
        canvas.face(_upright(sign.x, sign.z, 0.28, center[1] - 0.07, center[1] + 0.07), Label.SIGN, fill(WHITE))
    else:
        canvas.face(_disc(center, 0.42, corners=12), Label.SIGN, fill((204, 38, 38)))
        canvas.face(_disc(center, 0.29, corners=12), Label.SIGN, fill((246, 246, 240)))


def paint_car(canvas: Canvas, car: Car, z: float, scene: Scene) -> None:
    """Paint a car whose near end is at `z`."""
    near, far = max(z, canvas.camera.z + NEAR), z + CAR_LENGTH
    if far <= near:
        return
    left, right = car.x - CAR_HALF_WIDTH - 0.15, car.x + CAR_HALF_WIDTH + 0.15
    canvas.darken([(left, 0, near), (right, 0, near), (right, 0, far), (left, 0, far)], 0.5)
    _paint_car_side(canvas, car, z, scene)
    if near == z:
        _paint_car_end(canvas, car, z, scene)


def _paint_car_side(canvas: Canvas, car: Car, z: float, scene: Scene) -> None:
    """Paint the side that the camera sees, if any: it looks past cars that are straight ahead."""
    camera, look = canvas.camera, scene.look
    if abs(camera.x - car.x) < CAR_HALF_WIDTH:
        return
    outward = math.copysign(1.0, camera.x - car.x)
    light = look.right_light if outward < 0 else look.left_light
    near = max(z, camera.z + NEAR)
    body, roof = car.x + outward * CAR_HALF_WIDTH, car.x + outward * (CAR_HALF_WIDTH - 0.14)

    def panel(points: list[tuple[float, float, float]], color: Color, factor: float) -> None:
        # Parts before the near distance are pushed up to it.
        shifted = [(x, y, max(z + along, near)) for x, y, along in points]
        canvas.face(shifted, Label.CAR, look.flat(color, near - camera.z, factor))

    belt = BELT - 0.03
    panel(
        [(body, 0.2, 0.0), (body, BELT, 0.0), (body, BELT, CAR_LENGTH), (body, 0.2, CAR_LENGTH)],
        car.color,
        light,
    )
    panel([(body, belt, 0.5), (roof, ROOF, 1.2), (roof, ROOF, 3.1), (body, belt, 3.75)], car.color, light)
    panel([(body, 0.92, 0.85), (roof, 1.34, 1.35), (roof, 1.34, 2.95), (body, 0.92, 3.45)], GLASS, 0.9)
    for wheel in (z + 0.8, z + 3.4):
        if wheel > near + 0.35:
            for radius, color in ((0.33, TIRE), (0.18, HUB)):
                rim = _disc((body, 0.33, wheel), radius, sideways=True)
                canvas.face(rim, Label.CAR, look.flat(color, near - camera.z, light))


def _paint_car_end(canvas: Canvas, car: Car, z: float, scene: Scene) -> None:
    """Paint roof, bonnet or boot, window, and the end with its lamps."""
    distance = z - canvas.camera.z

    def slope(low: Profile, high: Profile, fill: Color) -> None:
        points = [(sign * half, y, along) for sign, half, y, along in ((-1, *low), (-1, *high), (1, *high), (1, *low))]
        canvas.face([(car.x + x, y, z + along) for x, y, along in points], Label.CAR, fill)

    def paint(color: Color, factor: float = 1.0) -> Color:
        return scene.look.flat(color, distance, factor)

    half, top = CAR_HALF_WIDTH, CAR_HALF_WIDTH - 0.14
    slope((top, ROOF, 1.2), (top, ROOF, 3.1), paint(car.color, 1.08))
    slope((half, BELT, 0.0), (half, BELT, 0.6), paint(car.color, 1.05))
    slope((half, BELT - 0.03, 0.5), (top, ROOF, 1.2), paint(car.color, 0.95))
    slope((half - 0.14, 0.9, 0.55), (top - 0.07, ROOF - 0.06, 1.12), paint(GLASS))
    lamp: Color = HEADLAMP if car.oncoming else TAIL_LAMP
    for x, half_width, bottom, height, fill in (
        (-half + 0.13, 0.11, 0.0, 0.4, paint(TIRE)),
        (half - 0.13, 0.11, 0.0, 0.4, paint(TIRE)),
        (0.0, half, 0.2, BELT, paint(car.color, 0.88)),
        (0.0, half - 0.02, 0.24, 0.44, paint(BUMPER)),
        (0.0, 0.26, 0.46, 0.58, paint(PLATE)),
        (-half + 0.2, 0.17, 0.58, 0.74, paint(lamp)),
        (half - 0.2, 0.17, 0.58, 0.74, paint(lamp)),
    ):
        canvas.face(_upright(car.x + x, z, half_width, bottom, height), Label.CAR, fill)


def paint_person(canvas: Canvas, person: Person, frame: int, scene: Scene) -> None:
    """Paint a person in the middle of a step."""
    x, z = person.x + person.speed_x * frame, person.z + person.speed_z * frame
    distance = z - canvas.camera.z
    if distance < NEAR:
        return
    size = person.height / 1.75
    trousers, shirt, skin = (scene.look.flat(color, distance) for color in (person.trousers, person.shirt, person.skin))
    if canvas.camera.focal * 0.15 * size < distance:
        # Arms and legs thinner than a pixel: three rectangles do.
        canvas.face(_upright(x, z, size * 0.17, 0.0, size * 0.85), Label.PERSON, trousers)
        canvas.face(_upright(x, z, size * 0.25, size * 0.85, size * 1.45), Label.PERSON, shirt)
        canvas.face(_upright(x, z, size * 0.13, size * 1.45, size * 1.75), Label.PERSON, skin)
        return
    # About two steps a second; walking along the road swings less across the picture.
    swing = math.sin(person.phase + frame * 0.4) * (0.22 if person.speed_x else 0.1)

    def limb(foot: float, y0: float, hip: float, y1: float) -> list[WorldPoint]:
        half = 0.08
        corners = ((foot - half, y0), (hip - half, y1), (hip + half, y1), (foot + half, y0))
        return [(x + size * across, size * y, z) for across, y in corners]

    canvas.darken(_disc((x, 0.0, z), 0.35, flat=True), 0.6)
    for side in (-1, 1):
        canvas.face(limb(side * (0.09 + swing), 0.0, side * 0.09, 0.9), Label.PERSON, trousers)
        canvas.face(limb(side * (0.27 - swing), 0.82, side * 0.22, 1.42), Label.PERSON, shirt)
    torso = [(-0.19, 0.82), (-0.25, 1.45), (0.25, 1.45), (0.19, 0.82)]
    canvas.face([(x + size * across, size * y, z) for across, y in torso], Label.PERSON, shirt)
    canvas.face(_disc((x, size * 1.6, z), size * 0.145), Label.PERSON, skin)


def _upright(x: float, z: float, half_width: float, bottom: float, top: float) -> list[WorldPoint]:
    """Make a rectangle that faces the camera."""
    return [
        (x - half_width, bottom, z),
        (x - half_width, top, z),
        (x + half_width, top, z),
        (x + half_width, bottom, z),
    ]


def _disc(
    center: WorldPoint,
    radius: float,
    corners: int = 8,
    turn: float = 0.0,
    *,
    flat: bool = False,
    sideways: bool = False,
) -> list[WorldPoint]:
    """Make a regular polygon that faces the camera, lies flat, or faces sideways."""
    x, y, z = center
    points = []
    for index in range(corners):
        angle = turn + 2 * math.pi * index / corners
        across, up = radius * math.cos(angle), radius * math.sin(angle)
        if flat:
            points.append((x + across, y, z + up))
        elif sideways:
            points.append((x, y + up, z + across))
        else:
            points.append((x + across, y + up, z))
    return points
