"""Motion fields in colour: the hue is the direction, the saturation the length."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import hsv_to_rgb
from numpy.typing import NDArray

WHEEL_PIXELS = 129


def motion_to_rgb(motion_px: NDArray[np.floating], max_px: float) -> NDArray[np.uint8]:
    """Colour a motion field (..., 2) of pixels to the right and down; return RGB, uint8 of shape (..., 3).

    White is no motion; red to the right, then clockwise over yellow and green to cyan on the left, and over blue and
    magenta back. Vectors of `max_px` pixels are fully saturated; longer ones look the same.
    """
    x, y = motion_px[..., 0], motion_px[..., 1]
    hue = np.arctan2(y, x) / (2 * np.pi) % 1
    saturation = np.minimum(np.hypot(x, y) / max_px, 1)
    hsv = np.stack((hue, saturation, np.ones_like(hue)), axis=-1)
    return np.round(255 * hsv_to_rgb(hsv)).astype(np.uint8)


def motion_wheel(side: int = WHEEL_PIXELS) -> NDArray[np.uint8]:
    """Return the legend of `motion_to_rgb`: a disc of all directions with the full colour at its rim, uint8 RGBA."""
    place = np.linspace(-1, 1, side)
    vectors = np.stack(np.meshgrid(place, place), axis=-1)
    inside = np.hypot(vectors[..., 0], vectors[..., 1]) <= 1
    return np.dstack((motion_to_rgb(vectors, 1.0), np.where(inside, 255, 0).astype(np.uint8)))


def draw_motion_wheel(axes: Axes, max_px: float) -> None:
    """Put the legend of `motion_to_rgb` into the lower right corner of an image; its rim stands for `max_px` pixels."""
    inset = axes.inset_axes((0.74, 0.03, 0.24, 0.32), zorder=5)
    inset.imshow(motion_wheel())
    inset.set_axis_off()
    inset.text(0.5, 0.5, f"{max_px:.0f} px", transform=inset.transAxes, ha="center", va="center", fontsize=6.5)
