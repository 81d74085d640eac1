"""All that comes before the networks: decode a video, choose keyframes, follow motion, convert to RGB."""

from collections import Counter
from collections.abc import Generator, Iterator

import numpy as np
from numpy.typing import NDArray

from arseg.codec.frame import to_rgb
from arseg.codec.stream import PacketStream, open_video
from arseg.codec.video_writer import Origin
from arseg.errors import CodecError, ConfigError, MotionError
from arseg.motion.live import FollowedFrame, Following, LiveVideo
from arseg.spec import MotionRules
from arseg.stopwatch import Stopwatch

STAGES = ("decode", "motion", "convert")
"""Of a frame's way, as the stopwatch is told them."""


class FrontEnd:
    """A video on its way to the networks; iterate over it once.

    `source` is a video as `arseg.codec.stream.open_video` takes it, `rules` say how motion is made (None where every
    frame stands alone), `with_evidence` whether it comes with how far it can be trusted. Every n-th frame is prepared,
    and keyframes; the stopwatch is told the time of `STAGES`.

    Attributes
    ----------
    video : LiveVideo or None
        The stream's damage, and whether it is encoded again; known from the first frame on.
    needs_feedback : bool
        Whether a keyframe policy asks what the networks said: they must have seen a frame before the next is read.
    keyframes : Counter
        Keyframes by reason.
    num_frames : int or None
        How many frames there are to read, where that is known.
    origin : Origin
        What a video that is written of the frames keeps of this one; known from the first frame on.
    """

    def __init__(
        self,
        source: str,
        following: Following,
        rules: MotionRules | None,
        watch: Stopwatch,
        *,
        every: int = 1,
        max_frames: int | None = None,
        with_evidence: bool = False,
    ) -> None:
        for option, value in (("--every", every), ("--max-frames", max_frames)):
            if value is not None and value < 1:
                raise ConfigError(f"{option} {value}: must be at least 1")
        self.rules, self.watch = rules, watch
        self.video: LiveVideo | None = None
        self.needs_feedback = rules is not None and following.policy().needs_feedback
        self.keyframes: Counter[str] = Counter()
        self.num_frames = max_frames
        self.origin = Origin(source)
        self._source, self._following, self._every, self._max_frames = source, following, every, max_frames
        self._with_evidence = with_evidence

    def __iter__(self) -> Generator[tuple[FollowedFrame, NDArray[np.uint8]], None, None]:
        """Yield the frames that the networks need, wanted ones and keyframes, in display order, with their RGB.

        A CodecError or MotionError, which names the video, says that it cannot be opened, no frame of it decoded, or
        its motion not be had as asked for.
        """
        try:
            with open_video(self._source) as stream:
                if self._max_frames is None:
                    self.num_frames = stream.num_frames
                self.video = LiveVideo(
                    stream, self._following, self.rules, self.watch, with_evidence=self._with_evidence
                )
                for frame in self._decoded(self.video):
                    if frame.index == 0:
                        self.origin = self._origin(stream, frame)
                    if self.wants(frame) or (self.rules is not None and frame.distance == 0):
                        with self.watch("convert"):
                            rgb = to_rgb(frame.pixels)
                        yield frame, rgb
        except (CodecError, MotionError) as error:
            named = str(error).startswith(f"{self._source}: ")
            raise error if named else type(error)(f"{self._source}: {error}") from error

    def _origin(self, stream: PacketStream, first: FollowedFrame) -> Origin:
        rate = stream.frames_per_second and stream.frames_per_second / self._every
        start = float((first.pixels.pts or 0) * (stream.time_base or 0))
        return Origin(self._source, rate, stream.time_base, start)

    def wants(self, frame: FollowedFrame) -> bool:
        """Whether a frame's labels are asked for; a keyframe may be needed for those of other frames only."""
        return frame.index % self._every == 0

    def _decoded(self, video: LiveVideo) -> Iterator[FollowedFrame]:
        frames = iter(video)
        while True:
            motion_before = self.watch.seconds["motion"]
            with self.watch("decode"):
                frame = next(frames, None)
            self.watch.seconds["decode"] -= self.watch.seconds["motion"] - motion_before
            if frame is None or (self._max_frames is not None and frame.index >= self._max_frames):
                return
            if frame.keyframe_reason is not None:
                self.keyframes[frame.keyframe_reason] += 1
            yield frame
