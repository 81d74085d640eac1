"""From a random street to frames and label maps."""

import numpy as np
from numpy.typing import NDArray

from arseg.datasets.synthetic.canvas import Canvas
from arseg.datasets.synthetic.layout import random_scene
from arseg.datasets.synthetic.scene import NEAR, VIEW_DISTANCE
from arseg.datasets.synthetic.street import paint_bonnet, paint_ground, paint_sky
from arseg.datasets.synthetic.textures import Textures

NOISE_SIGMA = 1.6
"""Standard deviation of the sensor's noise, in 8-bit steps."""


class Street:
    """A drive through a random street.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of everything random, of the scene first and then of each rendered frame's sensor noise.
    num_frames : int
        Length of the drive.
    width, height : int
        Size of the frames in pixels.
    """

    def __init__(self, rng: np.random.Generator, num_frames: int, width: int, height: int) -> None:
        self._rng, self._size = rng, (width, height)
        self.scene = random_scene(rng, num_frames)
        self.textures = Textures(self.scene.texture_seed, self.scene.look, width, height)

    def render(self, frame: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return a frame of the drive.

        Returns
        -------
        image : ndarray of uint8, shape (height, width, 3)
            RGB.
        label : ndarray of uint8, shape (height, width)
            Class index of what is seen at the centre of each pixel.
        """
        scene = self.scene
        width, height = self._size
        canvas = Canvas(scene.camera(frame, width, height), scene.look, self.textures, width, height)
        paint_sky(canvas)
        paint_ground(canvas, scene.crossings)
        for layer in (scene.behind, scene.street):
            placed = [(thing.z + thing.speed * frame, thing) for thing in layer]
            for z, thing in sorted(placed, key=lambda item: -item[0]):
                ahead = z - canvas.camera.z
                if ahead + thing.length >= NEAR and ahead < VIEW_DISTANCE:
                    thing.paint(canvas, z, frame, **thing.parts)
        paint_bonnet(canvas)
        color = canvas.pixels() + NOISE_SIGMA * self._rng.standard_normal((height, width, 3), dtype=np.float32)
        return np.clip(color + 0.5, 0, 255).astype(np.uint8), canvas.label
