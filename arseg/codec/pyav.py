"""What differs between versions of PyAV, each in one place."""

from fractions import Fraction

import av
import numpy as np
from av.sidedata.motionvectors import MotionVectors
from av.sidedata.sidedata import SideDataContainer
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from arseg.errors import MotionError

TESTED = ("17.0", "17.1", "18.0", "18.1")
"""Versions that the tests of videos have been run with. Those before lack what writes videos."""


def fraction_of(number: Fraction | None) -> Fraction | None:
    """Return a time base or rate, None where it is unknown; there, PyAV 19 says 0 in a type of its own."""
    return Fraction(number.numerator, number.denominator) if number else None


def motion_vectors_of(frame: VideoFrame) -> NDArray[np.void] | None:
    """Return FFmpeg's table of the vectors of a frame, None if it gives none.

    MotionError if PyAV cannot read it: before version 19, it reads nothing beside a kind of data that it does not know.
    """
    # What `frame.side_data` gives is kept by the frame and keeps the frame: such circles, hundreds of MB of pixels,
    # would stay in memory until the garbage collector comes by.
    try:
        vectors = SideDataContainer(frame).get("MOTION_VECTORS")  # type: ignore[call-arg]
    except ValueError as error:
        raise MotionError(
            f"PyAV {av.__version__} cannot read the motion vectors, because the frames carry data that is new to it "
            f"({error}). Install a later one"
        ) from error
    return vectors.to_ndarray() if isinstance(vectors, MotionVectors) else None
