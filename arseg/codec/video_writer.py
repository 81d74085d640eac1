"""Videos that play everywhere, with the frame times and the sound of the one they are made of."""

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal, cast

import av
import av.error
import numpy as np
from av.codec.codec import UnknownCodecError
from av.container import InputContainer, OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, Interpolation, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image

from arseg.access import find_refusal
from arseg.codec.sound import Sound
from arseg.errors import CodecError, ConfigError
from arseg.files import atomic_path

LOG = logging.getLogger(__name__)

DEFAULT_RATE = Fraction(25)
"""Frames per second where the source does not say it."""

FINEST_TIME_BASE = Fraction(1, 240_000)
"""Seconds; MP4 has 32 bits for the time between two frames."""

MAX_GAP_SECONDS = 3600
"""Longest time between two frames that is believed; where there is more, the source's clock was set anew."""


@dataclass(frozen=True)
class _Encoder:
    name: str
    crf: int
    worst_crf: int
    options: dict[str, str]


ENCODERS = {
    "h264": _Encoder("libx264", 18, 51, {"preset": "fast"}),
    "hevc": _Encoder("libx265", 20, 51, {"preset": "fast", "x265-params": "log-level=error"}),
    "av1": _Encoder("libsvtav1", 30, 63, {"preset": "8"}),
}

APPLE_TAG = "hvc1"
"""Apple's players know HEVC in MP4 by this tag only."""


@dataclass(frozen=True)
class VideoOptions:
    """How a video is written."""

    codec: Literal["h264", "hevc", "av1"] = "h264"
    """Codec of a video: every player and browser knows H.264; HEVC and AV1 take less space."""
    crf: int | None = None
    """Its quality: constant rate factor, 0 for the best; by default 18 for H.264, 20 for HEVC, 30 for AV1."""
    audio: bool = True
    """Keep the source's sound in it."""

    def __post_init__(self) -> None:
        worst = ENCODERS[self.codec].worst_crf
        if self.crf is not None and not 0 <= self.crf <= worst:
            raise ConfigError(f"--overlay.crf {self.crf}: must be from 0 (best quality) to {worst}")


DEFAULT_VIDEO = VideoOptions()


@dataclass(frozen=True)
class Origin:
    """What is known of the video that the frames of a written one are from."""

    name: str | None = None
    """A file, a network address, or ``-`` for the standard input; None if it has nothing to keep but times."""
    frames_per_second: Fraction | None = None
    """Average rate of the frames that are written."""
    time_base: Fraction | None = None
    """Seconds in a unit of its times."""
    start: float = 0.0
    """Seconds on its clock when the first frame is shown."""


@contextmanager
def create_video(path: Path, origin: Origin, options: VideoOptions = DEFAULT_VIDEO) -> Iterator["VideoWriter"]:
    """Yield a writer of a video, which appears when it is complete, and never after a failure.

    The suffix of `path` names the container, like ``.mp4``.

    Raises
    ------
    CodecError, FileAccessError
        If FFmpeg fails, in its own words, or the file cannot be written.
    """
    os.environ.setdefault("SVT_LOG", "1")  # the AV1 encoder reports on every video unless it may say errors only
    with atomic_path(path) as temporary:
        try:
            with ExitStack() as stack:
                source = None
                if origin.name is not None and Path(origin.name).is_file():
                    source = stack.enter_context(av.open(origin.name, metadata_errors="replace"))
                # With its index in front, a browser can play what it has not loaded to the end.
                choices = {} if path.suffix.lower() == ".mkv" else {"movflags": "+faststart"}
                output = stack.enter_context(av.open(str(temporary), "w", options=choices))
                writer = VideoWriter(output, origin, options, source)
                yield writer
                writer.finish()
        except UnknownCodecError as error:
            raise CodecError(
                f"{path}: this FFmpeg has no {options.codec} encoder. Choose another --overlay.codec"
            ) from error
        except av.error.FFmpegError as error:
            if find_refusal(error):
                raise  # `atomic_path` says what the operating system refuses
            raise CodecError(
                f"{path}: FFmpeg cannot write it: {error.strerror}. Choose another suffix or codec"
            ) from error


class VideoWriter:
    """Takes the frames of a video; `create_video` makes it."""

    def __init__(
        self, output: OutputContainer, origin: Origin, options: VideoOptions, source: InputContainer | None
    ) -> None:
        self._output, self._origin, self._options, self._source = output, origin, options, source
        self._rate = origin.frames_per_second or DEFAULT_RATE
        self._time_base = max(origin.time_base or 1 / self._rate, FINEST_TIME_BASE)
        self._converter = VideoReformatter()
        self._stream: VideoStream | None = None
        self._joined: tuple[int, int, bytes | None] | None = None
        self._sound: Sound | None = None
        self._num_frames, self._pts = 0, -1
        self._seconds = self._skipped = 0.0

    def write(self, frame: NDArray[np.uint8], seconds: float | None = None) -> None:
        """Append a frame, RGB, shape (H, W, 3), shown `seconds` after the first, by default at a constant rate.

        A frame that is not as large as the first is resized.
        """
        if self._stream is None:
            self._stream = self._begin(*frame.shape[:2])
        size = self._stream.width, self._stream.height
        frame = np.pad(frame, (*((0, length % 2) for length in frame.shape[:2]), (0, 0)), "edge")
        if frame.shape[1::-1] != size:
            frame = np.asarray(Image.fromarray(frame).resize(size))
        pts = self._next_pts(float(self._num_frames / self._rate) if seconds is None else seconds)
        pixels = self._converter.reformat(
            VideoFrame.from_ndarray(frame, format="rgb24"),
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            interpolation=Interpolation.BICUBIC,
            threads=1,
        )
        pixels.pts, pixels.time_base = pts, self._time_base
        self._output.mux(self._stream.encode(pixels))

    def append(self, path: Path, seconds: Iterator[float]) -> None:
        """Append the frames of a video from such a writer as they are encoded, each shown at the next of `seconds`.

        Raises CodecError if it was encoded otherwise than the first one.
        """
        with av.open(str(path)) as part:
            template = part.streams.video[0]
            if self._stream is None:
                self._joined = _kind(template)
                self._stream = self._output.add_stream_from_template(template)
                self._stream.time_base = self._time_base
                if self._options.codec == "hevc":
                    self._stream.codec_context.codec_tag = APPLE_TAG
                self._add_sound()
            if _kind(template) != self._joined:
                raise CodecError(f"{path}: its frames have another size, or encoding, than those of the first part")
            for packet in part.demux(template):
                if packet.size:
                    packet.stream = self._stream
                    packet.pts = packet.dts = self._next_pts(next(seconds))
                    packet.time_base = self._time_base
                    self._output.mux(packet)

    def _next_pts(self, seconds: float) -> int:
        """Return when the next frame is shown, and write the sound until then."""
        if seconds - self._seconds > MAX_GAP_SECONDS:
            self._skipped += seconds - self._seconds - float(1 / self._rate)
        self._seconds = seconds
        if self._sound is not None:
            self._sound.write_until(seconds, self._skipped)
        self._pts = max(round((seconds - self._skipped) / self._time_base), self._pts + 1)
        self._num_frames += 1
        return self._pts

    def finish(self) -> None:
        """Write what the encoders hold, and the sound up to the end of the last frame."""
        if self._sound is not None:
            self._sound.write_until(self._seconds + float(1 / self._rate), self._skipped)
            self._sound.finish()
        if self._stream is not None and self._joined is None:
            self._output.mux(self._stream.encode(None))

    def _begin(self, height: int, width: int) -> VideoStream:
        encoder = ENCODERS[self._options.codec]
        crf = encoder.crf if self._options.crf is None else self._options.crf
        # MP4 adds up times in decode order: with B-frames at uneven times, it would end before its last frame.
        choices = encoder.options | {"crf": str(crf), "bf": "0"}
        stream = cast(VideoStream, self._output.add_stream(encoder.name, self._rate, choices))
        context = stream.codec_context
        context.width, context.height = width + width % 2, height + height % 2  # as 4:2:0 needs them
        context.pix_fmt, context.time_base = "yuv420p", self._time_base
        # Untagged, players guess the colours from the size.
        context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
        context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        if self._options.codec == "hevc":
            context.codec_tag = APPLE_TAG
        self._add_sound()
        return stream

    def _add_sound(self) -> None:
        if self._options.audio and self._origin.name is not None:
            self._sound = self._find_sound(self._origin.name)

    def _find_sound(self, name: str) -> Sound | None:
        if self._source is None:
            LOG.info("%s: if it has sound, it is left out: sound is read from files only, a second time", name)
        elif self._source.streams.audio:
            try:
                return Sound(self._source, self._output, self._origin.start)
            except (AttributeError, ValueError, av.error.FFmpegError) as error:  # PyAV has no context of unknown codecs
                LOG.warning("%s: its sound is left out, because FFmpeg cannot decode it (%s)", name, error)
        return None


def _kind(stream: VideoStream) -> tuple[int, int, bytes | None]:
    """Return what frames need to have in common to follow one another as they are encoded."""
    return stream.width, stream.height, stream.codec_context.extradata
