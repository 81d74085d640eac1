"""All that comes before the networks: decode a video, choose keyframes, follow motion, convert to RGB."""

from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from arseg.codec.color import RGBConverter
from arseg.codec.display import AS_CODED
from arseg.codec.sections import Part
from arseg.codec.stream import PacketStream, open_video
from arseg.codec.video_writer import Origin
from arseg.errors import CodecError, ConfigError, MotionError
from arseg.motion.live import FollowedFrame, Following, LiveVideo
from arseg.spec import MotionRules
from arseg.stopwatch import Stopwatch

STAGES = ("decode", "motion", "convert")
"""Of a frame's way, as the stopwatch is told them."""


PROBED_FRAMES = 100
"""Of the beginning of a video, which are followed to know where its motion comes from before a later part of it."""


class FrontEnd:
    """A video, or a part of one, on its way to the networks; iterate over it once.

    `source` is a video as `arseg.codec.stream.open_video` takes it, `rules` say how motion is made (None where every
    frame stands alone). Every n-th frame is prepared, and keyframes; the stopwatch is told the time of `STAGES`.

    A part begins at a keyframe from which on all is as in one run. That holds for policies without a memory, where the
    codec's own keyframes come first; a ConfigError refuses others.

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
    display : Display
        What is done to the first frame to show it upright, with square pixels.
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
        part: Part | None = None,
    ) -> None:
        for option, value in (("--every", every), ("--max-frames", max_frames)):
            if value is not None and value < 1:
                raise ConfigError(f"{option} {value}: must be at least 1")
        self.rules, self.watch = rules, watch
        self.video: LiveVideo | None = None
        policy = following.policy()
        if part is not None and rules is not None and not policy.begins_anew:
            raise ConfigError(
                f"--part {part}: parts begin at the codec's keyframes, and with --keyframes {following.keyframes} what "
                "follows depends on frames before. Name coded first, and only policies without a memory beside it "
                "(coded,distance,cut), or segment the video in one run"
            )
        self.needs_feedback = rules is not None and policy.needs_feedback
        self.keyframes: Counter[str] = Counter()
        self.num_frames = max_frames
        self.origin, self.display = Origin(source), AS_CODED
        self._source, self._following, self._every, self._max_frames = source, following, every, max_frames
        self._part = part

    def __iter__(self) -> Generator[tuple[FollowedFrame, NDArray[np.uint8]], None, None]:
        """Yield the frames that the networks need, wanted ones and keyframes, in display order, with RGB to show.

        A CodecError or MotionError, which names the video, says that it cannot be opened, no frame of it decoded, or
        its motion not be had as asked for.
        """
        converter = RGBConverter()
        try:
            start, because = self._probe() if self._part and self._part.number > 1 else (None, "")
            with open_video(self._source, self._part) as stream:
                if self._max_frames is None and self._part is None:
                    self.num_frames = stream.num_frames
                self.video = LiveVideo(
                    stream, self._following, self.rules, self.watch, start=start, reencoded_because=because
                )
                for number, frame in enumerate(self._decoded(self.video)):
                    if number == 0:
                        self.origin, self.display = self._origin(stream, self.video.clock.start), frame.display
                    if self.wants(frame) or (self.rules is not None and frame.distance == 0):
                        with self.watch("convert"):
                            rgb = converter.convert(frame.pixels, frame.display)
                        yield frame, rgb
        except (CodecError, MotionError) as error:
            named = str(error).startswith(f"{self._source}: ")
            raise error if named else type(error)(f"{self._source}: {error}") from error

    def _probe(self) -> tuple[float | None, str]:
        """Return the clock of the video's first frame, and why it is encoded again, as its beginning tells."""
        with open_video(self._source) as stream:
            video = LiveVideo(stream, self._following, self.rules, Stopwatch())
            with closing(iter(video)) as frames:
                for _ in islice(frames, PROBED_FRAMES):
                    pass
            return video.clock.start, video.reencoded_because

    def _origin(self, stream: PacketStream, start: float | None) -> Origin:
        rate = stream.frames_per_second and stream.frames_per_second / self._every
        return Origin(self._source, rate, stream.time_base, start or 0.0)

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
