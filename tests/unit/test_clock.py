"""Times of frames that always grow, whatever a stream's clock does."""

from fractions import Fraction

import numpy as np
import pytest
from av.video.frame import VideoFrame

from arseg.codec.clock import Clock
from arseg.codec.stream import PacketStream

HOURS = 3 * 3600.0


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ([1.4, 1.5, 1.65, 1.7], [0, 0.1, 0.25, 0.3]),
        ([0, 0.1, HOURS, 0.3, 0.4], [0, 0.1, 0.2, 0.3, 0.4]),  # a mistake
        ([0, 0.1, HOURS, HOURS + 0.1, HOURS + 0.2], [0, 0.1, 0.2, HOURS + 0.1, HOURS + 0.2]),  # a gap
        ([0, 9, 18.5, 27], [0, 9, 18.5, 27]),
        ([5, 5.1, 0, 0.1, 0.2], [0, 0.1, 0.2, 0.3, 0.4]),  # begun anew
        ([0, None, 0.2], [0, 0.1, 0.2]),
        ([None, 7, 8], [0, 0.1, 0.2]),
    ],
)
def test_times_grow_and_are_the_containers_where_it_can_be_trusted(told, expected):
    clock = Clock(PacketStream("h264", iter(()), frames_per_second=Fraction(10), time_base=Fraction(1, 1000)))
    read = []
    for seconds in told:
        frame = VideoFrame(16, 16)
        frame.pts = None if seconds is None else round(1000 * seconds)
        read.append(clock.read(frame))
    np.testing.assert_allclose(read, expected, atol=1e-9)


def test_a_frame_a_minute_is_no_gap():
    clock = Clock(PacketStream("h264", iter(()), frames_per_second=Fraction(1, 60), time_base=Fraction(1)))
    read = []
    for seconds in (0, 60, 240, 300):
        frame = VideoFrame(16, 16)
        frame.pts = seconds
        read.append(clock.read(frame))
    assert read == [0, 60, 240, 300]
