"""Whether a stream's own motion is worth following, or would better be found by encoding again.

Some encoders, those of phones above all, hardly look for motion: they code most blocks of a P-frame from nothing. Such
frames are told from scene cuts by their brightness, and before anything changes, a few of them are encoded again.
"""

from collections import deque

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from arseg.codec.frame import NO_REFERENCE, DecodedFrame, PredictionMode
from arseg.codec.reencode import Reencoding, reencode
from arseg.errors import CodecError, MotionError
from arseg.stopwatch import Stopwatch

BAD_SHARE = 0.3
"""Share of blocks without a frame to follow from which on a frame is hardly explained. With so many in each frame, two
of three chains to a keyframe are broken after three frames; those of common streams have a tenth of that."""

NUM_BAD = 4
"""By how many frames the hardly explained ones must outnumber the others, since these last did. A keyframe now and then
does not, nor does a flash; that a video consists of keyframes only does."""

GAIN = 0.5
"""Encoding again must leave at most this part of the blocks unexplained: water, smoke and noise are moved by nobody."""

CUT_DIFFERENCE = 0.3
"""Share of samples that change their brightness, by histograms of a frame's quarters, from which on a scene is another.
That of a moving one stays below 0.1, mostly."""

NUM_SAMPLES = 64
"""Rows and columns of the frame that are looked at, at least."""

NUM_LEVELS = 16
"""Of brightness, in a histogram."""


class MotionJudge:
    """Sees the frames of a stream with its own motion, and decides whether to go on with that.

    `settings` are those of encoding again.
    """

    def __init__(self, settings: Reencoding) -> None:
        self._settings = settings
        self._recent: deque[tuple[VideoFrame, float]] = deque(maxlen=NUM_BAD + 1)
        self.restart()

    def restart(self) -> None:
        """Forget the frames so far."""
        self._recent.clear()
        self._num_bad, self._patience = 0, NUM_BAD

    def see(self, frame: DecodedFrame) -> str:
        """Return why the motion from this frame on is to be found by encoding again; empty if it is not."""
        share = float(np.mean((frame.ref_poc == NO_REFERENCE).all(axis=0)))
        before = self._recent[-1][0] if self._recent else None
        if before is not None and (before.width, before.height) != (frame.width, frame.height):
            self._recent.clear()
            before = None
        self._recent.append((frame.pixels, share))
        if share < BAD_SHARE:
            self._num_bad = max(self._num_bad - 1, 0)
        elif before is not None and not is_cut(before, frame.pixels):
            self._num_bad += 1
        if self._num_bad < self._patience or len(self._recent) <= NUM_BAD:
            return ""
        own, again = float(np.mean([share for _, share in self._recent][1:])), self._encode_again()
        if again <= GAIN * own:
            return (
                f"from frame {frame.index} on, because the stream's own motion explains little: of the last {NUM_BAD} "
                f"frames, {own:.0%} of the blocks have no frame to follow, and {again:.0%} if they are encoded again"
            )
        self._num_bad, self._patience = 0, 2 * self._patience  # each failure is followed by a longer wait
        return ""

    def _encode_again(self) -> float:
        """Return the share of blocks that stay unexplained if the last frames are encoded again; 1 if that fails."""
        frames = reencode(iter([pixels for pixels, _ in self._recent]), NUM_BAD + 1, self._settings, Stopwatch())
        try:
            return float(np.mean([frame.mode == PredictionMode.INTRA for frame in frames][1:]))
        except (CodecError, MotionError):  # no encoder, or not one vector
            return 1.0


def is_cut(before: VideoFrame, after: VideoFrame) -> bool:
    """Whether two frames of one size show different scenes: their brightness is spread otherwise."""
    return float(np.abs(_spread(before) - _spread(after)).sum()) / 2 >= CUT_DIFFERENCE


def _spread(frame: VideoFrame) -> NDArray[np.float64]:
    """Return the share of each level of brightness in each quarter of a frame."""
    plane, bits = frame.planes[0], frame.format.components[0].bits
    luma = np.frombuffer(bytes(plane), np.uint16 if bits > 8 else np.uint8).reshape(plane.height, -1)
    luma = luma[:: max(plane.height // NUM_SAMPLES, 1), : plane.width : max(plane.width // NUM_SAMPLES, 1)]
    levels = (luma.astype(np.intp) * NUM_LEVELS >> bits).clip(max=NUM_LEVELS - 1)
    for axis in range(2):
        index = 2 * np.arange(luma.shape[axis]) // luma.shape[axis]
        levels += NUM_LEVELS * (1 + axis) * (index if axis else index[:, None])
    return np.bincount(levels.ravel(), minlength=4 * NUM_LEVELS) / levels.size
