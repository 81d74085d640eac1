"""Where classes meet in a label map: what a network with a boundary branch learns."""

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

TANGENT = 13573
"""Tangent of 22.5 degrees, in units of 2^-15, as OpenCV has it: flatter gradients count as horizontal."""


def label_edges(labels: Pixels, margin: int = 0) -> Pixels:
    """Return the boundaries of a label map, as the published PIDNet draws them.

    They are OpenCV's ``Canny(labels, 0.1, 0.2)``, whose hysteresis such thresholds leave nothing to do for, dilated
    once by 4x4 pixels.

    Parameters
    ----------
    labels : ndarray of uint8, shape (H, W)
        Class indices; 255 counts like any other.
    margin : int
        Pixels along all four sides in which no edge begins.

    Returns
    -------
    edges : ndarray of uint8, shape (H, W)
        1 on a boundary, else 0.
    """
    canny = _canny(labels)
    if margin:
        inner = np.zeros_like(canny)
        inner[margin:-margin, margin:-margin] = canny[margin:-margin, margin:-margin]
        canny = inner
    height, width = labels.shape
    padded = np.pad(canny, ((2, 1), (2, 1)))
    rows = np.logical_or.reduce([padded[shift : shift + height] for shift in range(4)])
    return np.logical_or.reduce([rows[:, shift : shift + width] for shift in range(4)]).astype(np.uint8)


def _canny(labels: Pixels) -> NDArray[np.bool_]:
    """Return which pixels have the largest gradient along its direction."""
    padded = np.pad(labels.astype(np.int32), 1, mode="edge")
    smooth_rows = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    smooth_columns = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    x = smooth_rows[:, 2:] - smooth_rows[:, :-2]  # Sobel
    y = smooth_columns[2:] - smooth_columns[:-2]
    magnitude = np.abs(x) + np.abs(y)
    around = np.pad(magnitude, 1)
    height, width = labels.shape

    def beside(down: int, right: int) -> NDArray[np.int32]:
        return around[1 + down : 1 + down + height, 1 + right : 1 + right + width]

    flat = np.abs(x).astype(np.int64) * TANGENT
    steep = np.abs(y).astype(np.int64) << 15
    horizontal = (magnitude > beside(0, -1)) & (magnitude >= beside(0, 1))
    vertical = (magnitude > beside(-1, 0)) & (magnitude >= beside(1, 0))
    falling = (magnitude > beside(-1, -1)) & (magnitude > beside(1, 1))
    rising = (magnitude > beside(-1, 1)) & (magnitude > beside(1, -1))
    diagonal = np.where((x ^ y) >= 0, falling, rising)
    is_vertical = steep > flat + (np.abs(x).astype(np.int64) << 16)
    largest = np.where(steep < flat, horizontal, np.where(is_vertical, vertical, diagonal))
    return largest & (magnitude > 0)
