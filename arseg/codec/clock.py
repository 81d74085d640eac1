"""The times of a stream's frames, as far as its clock can be trusted."""

from av.video.frame import VideoFrame

from arseg.codec.reencode import NOMINAL_RATE
from arseg.codec.stream import PacketStream

JUMP_SECONDS = 10.0
JUMP_FRAMES = 20
"""A clock that is ahead by more than either is believed from the second frame on: a single such one is a mistake, a gap
in a recording is not. Videos of an image a minute are no gap."""


class Clock:
    """Tells of the frames of one stream, in display order, how many seconds after the first one each is shown.

    `start` is what the clock says of the video's first frame, in seconds, where the stream is a later part of it.
    """

    def __init__(self, stream: PacketStream, start: float | None = None) -> None:
        self.start = start
        """What the clock says of the video's first frame; None if that is not known, or it says nothing."""
        self.has_corrected = False
        """Whether a frame's time had to be made up, because the clock went back, stood still or jumped."""
        self._stream = stream
        self._step = float(1 / (stream.frames_per_second or NOMINAL_RATE))
        self._num_frames, self._seconds = 0, 0.0
        self._was_ahead = False
        self.jump = max(JUMP_SECONDS, JUMP_FRAMES * self._step)
        """Seconds by which a frame's time must exceed that of the one before to be doubted."""

    def read(self, frame: VideoFrame) -> float:
        """Return the seconds of the next frame: more than those of the one before, whatever the stream's clock does."""
        base = self._stream.time_base
        told = None if base is None or frame.pts is None else float(frame.pts * base)
        number, self._num_frames = self._num_frames, self._num_frames + 1
        if not number and self.start is None:
            self.start = told
            return 0.0
        seconds = number * self._step if told is None or self.start is None else told - self.start
        is_ahead = bool(number) and seconds - self._seconds > self.jump
        if seconds <= self._seconds or (is_ahead and not self._was_ahead):
            seconds = self._seconds + self._step
            self.has_corrected = True
        self._seconds, self._was_ahead = seconds, is_ahead
        return seconds
