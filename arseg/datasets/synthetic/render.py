"""From a random street to frames and label maps."""

import math

import numpy as np
from numpy.typing import NDArray

from arseg.datasets.synthetic import layout
from arseg.datasets.synthetic.canvas import Canvas
from arseg.datasets.synthetic.scene import NEAR, VIEW_DISTANCE, Camera, Thing
from arseg.datasets.synthetic.street import paint_bonnet, paint_ground, paint_sky
from arseg.datasets.synthetic.textures import Textures

NOISE_SIGMA = 1.6
"""Standard deviation of the sensor's noise, in 8-bit steps."""


class Street:
    """A drive through a random street.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of everything random, of the street first and then of each rendered frame's sensor noise.
    num_frames : int
        Length of the drive.
    width, height : int
        Size of the frames in pixels.

    Attributes
    ----------
    layers : list of list of Thing
        Buildings and the gardens between them; what stands in the street, and so before them, however near they are.
    """

    def __init__(self, rng: np.random.Generator, num_frames: int, width: int, height: int) -> None:
        self._rng, self._width, self._height = rng, width, height
        self._lane, self._speed = rng.uniform(1.2, 2.0), rng.uniform(6.0, 12.0) / layout.FRAMES_PER_SECOND
        # Of the camera's heading: largest angle in radians, period in frames, phase.
        self._pan = rng.uniform(0.02, 0.07), rng.uniform(50, 110), rng.uniform(0, 2 * math.pi)
        length = self._speed * num_frames + VIEW_DISTANCE
        crossing = self._speed * num_frames + rng.uniform(5, 14)
        buildings = {side: layout.random_buildings(rng, side, length) for side in (-1, 1)}
        lamps = layout.random_lamps(rng, length)
        look = layout.random_look(rng)
        kerb, gardens = layout.random_trees(rng, length, buildings)
        street = [*lamps, *layout.random_signs(rng, length, crossing), *kerb]
        street += layout.random_cars(rng, self._lane, self._speed, length, num_frames)
        street += layout.random_people(rng, length, crossing)
        self.layers: list[list[Thing]] = [[*buildings[-1], *buildings[1], *gardens], street]
        self._crossings = crossing, crossing + rng.uniform(28, 45)
        self._look, self._textures = look, Textures(int(rng.integers(1 << 31)), look, width, height)

    def canvas(self, frame: int) -> Canvas:
        """Return an empty canvas with the camera where it is at a frame."""
        amplitude, period, phase = self._pan
        angle = 2 * math.pi * frame / period + phase
        focal = 0.9 * self._width
        # A small turn of the head moves the frame sideways as a whole.
        center_column = self._width / 2 + focal * amplitude * math.sin(angle)
        horizon_row = self._height * (0.46 + 0.004 * math.sin(0.9 * frame + phase))
        x = self._lane + 0.1 * math.sin(0.7 * angle)
        camera = Camera(focal, center_column, horizon_row, x, 1.55, self._speed * frame)
        return Canvas(frame, camera, self._look, self._textures, self._width, self._height)

    def render(self, frame: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return a frame of the drive.

        Returns
        -------
        image : ndarray of uint8, shape (height, width, 3)
            RGB.
        label : ndarray of uint8, shape (height, width)
            Class index of what is seen at the centre of each pixel.
        """
        canvas = self.canvas(frame)
        paint_sky(canvas)
        paint_ground(canvas, self._crossings)
        for layer in self.layers:
            placed = [(thing.z + thing.speed * frame, thing) for thing in layer]
            for z, thing in sorted(placed, key=lambda item: -item[0]):
                ahead = z - canvas.camera.z
                if ahead + thing.length >= NEAR and ahead < VIEW_DISTANCE:
                    thing.paint(canvas, z)
        paint_bonnet(canvas)
        noise = self._rng.standard_normal((self._height, self._width, 3), dtype=np.float32)
        color = canvas.pixels() + NOISE_SIGMA * noise
        return np.clip(color + 0.5, 0, 255).astype(np.uint8), canvas.label.values
