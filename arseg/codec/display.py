"""How decoded frames are to be shown: turned upright, and with square pixels."""

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import atan2, pi
from typing import TypeVar

import numpy as np
from av.sidedata.sidedata import SideDataContainer
from av.video.frame import VideoFrame
from numpy.typing import NDArray

ScalarT = TypeVar("ScalarT", bound=np.generic)

MAX_SIDE = 8192
"""Longest side that a frame is enlarged to; beyond it, the other side is reduced instead."""

ALMOST_SQUARE = 0.01
"""Deviation of a pixel's sides that is rounding, and not worth resampling every frame."""

MAX_ASPECT = 10
"""Largest ratio of a pixel's sides that is believed."""


@dataclass(frozen=True)
class Display:
    """The way from a frame as it is coded to one as it is shown: pixels are made square first."""

    rotation: int = 0
    """Degrees by which it is turned clockwise: 0, 90, 180 or 270."""
    is_mirrored: bool = False
    """Whether left and right are exchanged after that."""
    pixel_aspect: Fraction = Fraction(1)
    """Width of a coded pixel divided by its height."""

    def __str__(self) -> str:
        turned = f"turned by {self.rotation} degrees clockwise" if self.rotation else ""
        mirrored = "mirrored" if self.is_mirrored else ""
        aspect = self.pixel_aspect
        square = "" if aspect == 1 else f"with pixels of {aspect.numerator}:{aspect.denominator} made square"
        return ", ".join(filter(None, (turned, mirrored, square)))

    def square_size(self, width: int, height: int) -> tuple[int, int]:
        """Return width and height with square pixels, not turned yet; the side that is too short is enlarged."""
        aspect = self.pixel_aspect
        wider, higher = (round(width * aspect), height), (width, round(height / aspect))
        enlarged, reduced = (wider, higher) if aspect > 1 else (higher, wider)
        return enlarged if max(enlarged) <= MAX_SIDE else (max(reduced[0], 1), max(reduced[1], 1))

    def turn(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a frame with square pixels, shape (H, W, ...), upright."""
        if not (self.rotation or self.is_mirrored):
            return frame
        return np.ascontiguousarray(self._turn(frame))

    def apply_to_motion(self, motion_qpel: NDArray[np.int16]) -> NDArray[np.int16]:
        """Return the motion of a coded frame, (x, y) in quarter pixels, shape (H, W, 2), as that of the shown one."""
        if self == AS_CODED:
            return motion_qpel
        height, width = motion_qpel.shape[:2]
        square = self.square_size(width, height)
        if square != (width, height):
            motion_qpel = _resize(motion_qpel, *square)
        x, y = self._turn(motion_qpel[..., 0]), self._turn(motion_qpel[..., 1])
        for _ in range(self.rotation // 90):
            x, y = -y, x
        return np.stack([-x if self.is_mirrored else x, y], axis=-1)

    def _turn(self, array: NDArray[ScalarT]) -> NDArray[ScalarT]:
        turned = np.rot90(array, -self.rotation // 90)
        return turned[:, ::-1] if self.is_mirrored else turned


AS_CODED = Display()
"""Of most videos."""


@cache
def make_display(orientation: tuple[int, bool] | None, aspect: Fraction | None) -> Display:
    """Return the way to show frames of an orientation and of a sample aspect ratio, where one is said."""
    aspect = aspect or Fraction(1)
    is_believed = 1 / MAX_ASPECT <= aspect <= MAX_ASPECT and abs(aspect - 1) > ALMOST_SQUARE
    display = Display(*orientation or (0, False), aspect if is_believed else Fraction(1))
    return AS_CODED if display == AS_CODED else display


def find_orientation(frame: VideoFrame) -> tuple[int, bool] | None:
    """Return degrees clockwise and whether left and right are exchanged after that, by a frame's display matrix.

    Of other angles, the nearest quarter turn. None where a frame has no matrix.
    """
    try:
        found = SideDataContainer(frame).get("DISPLAYMATRIX")  # type: ignore[call-arg]
    except ValueError:  # PyAV 18 knows not all kinds of side data
        return -round(frame.rotation / 90) % 4 * 90, False
    if found is None:
        return None
    # A point (x, y) goes to (a x + c y, b x + d y), with y down.
    a, b, _, c, d = np.frombuffer(found, np.int32)[:5].astype(float)
    is_mirrored = bool(a * d < b * c)
    return round(atan2(b, -a if is_mirrored else a) / (pi / 2)) % 4 * 90, is_mirrored


def _resize(motion_qpel: NDArray[np.int16], width: int, height: int) -> NDArray[np.int16]:
    """Enlarge or reduce motion with its frame; pixels get the nearest vector, whose end stays inside the frame."""
    sizes = (height, width)
    rows, columns = (
        (2 * np.arange(new) + 1) * old // (2 * new) for new, old in zip(sizes, motion_qpel.shape, strict=False)
    )
    ratio = np.array([width / motion_qpel.shape[1], height / motion_qpel.shape[0]], np.float32)
    moved = np.rint(motion_qpel[rows[:, None], columns] * ratio)
    for axis, size in ((0, width), (1, height)):
        here = 4 * np.arange(size)
        here = here[:, None] if axis else here
        np.clip(moved[..., axis], -here, here[-1] - here, out=moved[..., axis])
    return moved.astype(np.int16)
