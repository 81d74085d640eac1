"""All that comes before the networks: decode a video, follow its motion to the keyframes, convert pictures to RGB."""

from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arseg.codec.picture import to_rgb
from arseg.codec.stream import open_video
from arseg.errors import CodecError, ConfigError, MotionError
from arseg.motion.live import FollowedPicture, Following, LiveVideo
from arseg.spec import MotionRules
from arseg.stopwatch import Stopwatch

STAGES = ("decode", "motion", "convert")
"""Of a picture's way, as the stopwatch is told them."""


@dataclass(frozen=True, eq=False)
class PreparedPicture:
    """A picture that the networks need, in bytes: they are normalised where the networks run."""

    picture: FollowedPicture
    """Where it stands, and where its pixels come from."""
    rgb: NDArray[np.uint8]
    """RGB, shape (H, W, 3)."""
    wanted: bool
    """Whether its labels are asked for; a keyframe may be needed for those of others only."""


class FrontEnd:
    """A video on its way to the networks; iterate over it once.

    Parameters
    ----------
    source : str
        As `arseg.codec.stream.open_video` takes it.
    following : Following
        Which pictures become keyframes, and where motion comes from.
    rules : MotionRules or None
        How motion is made; None where every picture stands alone.
    watch : Stopwatch
        Told the time of `STAGES`.
    every : int
        Prepare every n-th picture only, and keyframes.
    max_frames : int, optional
        Pictures to read; all by default.

    Attributes
    ----------
    video : LiveVideo or None
        The stream's damage, and whether it is encoded again; known from the first picture on.
    keyframes : Counter
        Keyframes by cause.
    num_frames : int or None
        How many pictures there are to read, where that is known.
    frames_per_second : float or None
        Average rate of the pictures, where the video says it; known from the first picture on.

    Raises
    ------
    ConfigError
        If `every` or `max_frames` is less than 1.
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
    ) -> None:
        if every < 1:
            raise ConfigError(f"--every {every}: must be at least 1")
        if max_frames is not None and max_frames < 1:
            raise ConfigError(f"--max-frames {max_frames}: must be at least 1")
        self.video: LiveVideo | None = None
        self.keyframes: Counter[str] = Counter()
        self.num_frames = max_frames
        self.frames_per_second: float | None = None
        self._source, self._following, self._rules, self._watch = source, following, rules, watch
        self._every, self._max_frames = every, max_frames

    def __iter__(self) -> Generator[PreparedPicture, None, None]:
        """Read on.

        Yields
        ------
        prepared : PreparedPicture
            In display order.

        Raises
        ------
        CodecError, MotionError
            If the video cannot be opened, no picture of it decoded, or its motion not be had as asked for.
        """
        try:
            with open_video(self._source) as stream:
                self.frames_per_second = float(stream.frames_per_second) if stream.frames_per_second else None
                if self._max_frames is None:
                    self.num_frames = stream.num_frames
                self.video = LiveVideo(stream, self._following, self._rules, self._watch)
                for picture in self._decoded(self.video):
                    wanted = picture.index % self._every == 0
                    if wanted or (self._rules is not None and picture.distance == 0):
                        with self._watch("convert"):
                            rgb = to_rgb(picture.pixels)
                        yield PreparedPicture(picture, rgb, wanted)
        except (CodecError, MotionError) as error:
            named = str(error).startswith(f"{self._source}: ")
            raise error if named else type(error)(f"{self._source}: {error}") from error

    def _decoded(self, video: LiveVideo) -> Iterator[FollowedPicture]:
        pictures = iter(video)
        while True:
            motion_before = self._watch.seconds["motion"]
            with self._watch("decode"):
                picture = next(pictures, None)
            self._watch.seconds["decode"] -= self._watch.seconds["motion"] - motion_before
            if picture is None or (self._max_frames is not None and picture.index >= self._max_frames):
                return
            if picture.cause is not None and self._rules is not None:
                self.keyframes[picture.cause] += 1
            yield picture
