"""From a scene to frames and label maps."""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from arseg.data.synthetic.canvas import Canvas, Positions, SampleGrid
from arseg.data.synthetic.objects import paint_car, paint_lamp, paint_person, paint_sign, paint_tree
from arseg.data.synthetic.scene import ROAD_HALF_WIDTH, SIDEWALK_WIDTH, VIEW_DISTANCE, Label, Scene
from arseg.data.synthetic.street import Textures, paint_building, paint_ground, paint_sky

Painting = tuple[float, Callable[[], None]]
"""Nearest z of a thing, and what paints it."""

NOISE_SIGMA = 1.6
"""Standard deviation of the sensor's noise, in 8-bit steps."""


def render(
    scene: Scene, textures: Textures, frame: int, size: tuple[int, int], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Render one frame.

    Parameters
    ----------
    scene : Scene
        What there is.
    textures : Textures
        The scene's patterns, made for the same `size`.
    frame : int
        Frames since the start of the drive.
    size : (int, int)
        Width and height in pixels.
    rng : numpy.random.Generator
        Source of the sensor noise.

    Returns
    -------
    image : ndarray of uint8, shape (height, width, 3)
        RGB.
    label : ndarray of uint8, shape (height, width)
        Class index of what is seen at the centre of each pixel.
    """
    width, height = size
    canvas = Canvas(scene.drive.camera(frame, width, height), width, height)
    _paint(canvas, scene, textures, frame)
    color = canvas.pixels() + NOISE_SIGMA * rng.standard_normal((height, width, 3), dtype=np.float32)
    return np.clip(color + 0.5, 0, 255).astype(np.uint8), canvas.label


def _paint(canvas: Canvas, scene: Scene, textures: Textures, frame: int) -> None:
    """Paint everything, from far to near."""
    paint_sky(canvas, scene, textures)
    paint_ground(canvas, scene, textures)
    # Buildings, and the gardens between them, lie behind all that is in the street, however near they are.
    garden = ROAD_HALF_WIDTH + SIDEWALK_WIDTH
    behind: list[Painting] = [
        (building.near, partial(paint_building, canvas, building, scene, textures)) for building in scene.buildings
    ]
    street: list[Painting] = [(lamp.z, partial(paint_lamp, canvas, lamp, scene)) for lamp in scene.lamps]
    street += [(sign.z, partial(paint_sign, canvas, sign, scene)) for sign in scene.signs]
    for tree in scene.trees:
        layer = behind if abs(tree.x) > garden else street
        layer.append((tree.z, partial(paint_tree, canvas, tree, scene, textures)))
    for car in scene.cars:
        z = car.z + car.speed * frame
        street.append((z, partial(paint_car, canvas, car, z, scene)))
    for person in scene.people:
        z = person.z + person.speed_z * frame
        street.append((z, partial(paint_person, canvas, person, frame, scene)))
    for layer in (behind, street):
        for z, paint in sorted(layer, key=lambda painting: -painting[0]):
            if z < canvas.camera.z + VIEW_DISTANCE:
                paint()
    _paint_bonnet(canvas)


def _paint_bonnet(canvas: Canvas) -> None:
    """Paint the bonnet of the camera's own car along the lower edge."""
    highest = 0.945 * canvas.height

    def below_edge(grid: SampleGrid) -> Positions:
        across = (grid.columns - canvas.width / 2) / (0.62 * canvas.width)
        return grid.rows[int(highest * grid.density) :] - (highest + 0.16 * canvas.height * across**2)

    depth = below_edge(canvas.fine)
    shine = 46 + 34 * np.clip(1 - depth / (0.02 * canvas.height), 0, 1)
    tint = np.array((0.9, 0.95, 1.1), dtype=np.float32)
    np.copyto(canvas.color[-len(depth) :], shine[..., None] * tint, where=(depth > 0)[..., None])
    depth = below_edge(canvas.centers)
    canvas.label[-len(depth) :][depth > 0] = Label.VOID
