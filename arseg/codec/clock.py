"""The times of a stream's frames, as far as its clock can be trusted."""

from av.video.frame import VideoFrame

from arseg.codec.reencode import NOMINAL_RATE
from arseg.codec.stream import PacketStream

JUMP_SECONDS = 10.0
JUMP_FRAMES = 20
"""A clock that is ahead by more than either is believed from the second frame on: a single such one is a mistake, a gap
in a recording is not. Videos of an image a minute are no gap."""


class Clock:
    """Tells of the frames of one stream, in display order, how many seconds after the first one each is shown."""

    def __init__(self, stream: PacketStream) -> None:
        self._stream = stream
        self._step = float(1 / (stream.frames_per_second or NOMINAL_RATE))
        self._num_frames, self._seconds = 0, 0.0
        self._start: float | None = None
        self._was_ahead = False

    def read(self, frame: VideoFrame) -> float:
        """Return the seconds of the next frame: more than those of the one before, whatever the stream's clock does."""
        base = self._stream.time_base
        told = None if base is None or frame.pts is None else float(frame.pts * base)
        number, self._num_frames = self._num_frames, self._num_frames + 1
        if not number:
            self._start = told
            return 0.0
        seconds = number * self._step if told is None or self._start is None else told - self._start
        is_ahead = seconds - self._seconds > max(JUMP_SECONDS, JUMP_FRAMES * self._step)
        if seconds <= self._seconds or (is_ahead and not self._was_ahead):
            seconds = self._seconds + self._step
        self._seconds, self._was_ahead = seconds, is_ahead
        return seconds
