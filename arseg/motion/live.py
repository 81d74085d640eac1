"""Motion to a keyframe for each picture of any video, as it comes: what segmentation of a user's own video reads.

The motion is the stream's own wherever every picture refers to earlier, known ones. Otherwise pictures are encoded
again on the fly. Keyframes are the stream's, and where motion would tell nothing any more: too far from the last
one, or behind a scene cut.
"""

import logging
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import chain, groupby
from typing import Literal

import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from arseg.codec.decode import READERS
from arseg.codec.picture import DecodedPicture, PredictionMode
from arseg.codec.reencode import NOMINAL_RATE, Reencoding, reencode
from arseg.codec.stream import PacketStream
from arseg.codec.tolerant import Damage, decode_pixels, until_unreadable
from arseg.errors import CodecError, ConfigError, MotionError
from arseg.motion.video import KeyframeFollower
from arseg.spec import MAX_REFERENCES, PAPER_RULES, MotionRules
from arseg.stopwatch import Stopwatch

LOG = logging.getLogger(__name__)

MAX_KEPT_BYTES = 64 * 2**20
"""Compressed pictures that are kept: they are decoded once more if their motion turns out to be of no use."""

Cause = Literal["coded", "distance", "cut"]
"""Why a picture is a keyframe: the codec made it one; the last one is too far; its blocks come from nowhere."""


@dataclass(frozen=True)
class Following:
    """Which pictures become keyframes, where motion comes from, and how it is made."""

    max_distance: int | None = None
    """Furthest reference distance; the next picture is treated as a keyframe. By default the LR branch's: one less than
    the GOP that it was trained on."""
    subpixel: bool | None = None
    """Compose motion without rounding vectors to whole pixels. By default as the LR branch was trained."""
    max_ref_back: int | None = None
    """Furthest reference that is followed, in pictures; blocks with further ones are taken for still. By default as the
    LR branch was trained."""
    cut: float = 0.5
    """Share of intra-coded blocks from which a picture counts as the first behind a scene cut."""
    motion: Literal["auto", "stream", "reencode"] = "auto"
    """Take motion from the stream where it serves; from nowhere else, or stop; from encoding again only."""
    reencoding: Reencoding = field(default_factory=Reencoding)
    """How to encode again."""

    def __post_init__(self) -> None:
        if self.max_distance is not None and self.max_distance < 0:
            raise ConfigError(f"--max-distance {self.max_distance}: must be 0 or more")
        if self.max_ref_back is not None and not 1 <= self.max_ref_back <= MAX_REFERENCES:
            raise ConfigError(f"--max-ref-back {self.max_ref_back}: must be from 1 to {MAX_REFERENCES}")
        if not 0 < self.cut <= 1:
            raise ConfigError(f"--cut {self.cut}: must be a share above 0 and up to 1")

    def rules(self, trained: MotionRules) -> MotionRules:
        """Give the rules of motion: those of a training, but for what is asked for here."""
        return MotionRules(
            subpixel=trained.subpixel if self.subpixel is None else self.subpixel,
            gop=trained.gop if self.max_distance is None else self.max_distance + 1,
            max_ref_back=trained.max_ref_back if self.max_ref_back is None else self.max_ref_back,
        )


@dataclass(frozen=True, eq=False)
class FollowedPicture:
    """A picture and where its pixels come from."""

    index: int
    """Place among the pictures that could be decoded, in display order, from 0."""
    seconds: float
    """Time since the first picture."""
    pixels: VideoFrame
    """Decoded planes."""
    distance: int
    """Pictures since the keyframe: 0 at a keyframe."""
    cause: Cause | None
    """Why it is a keyframe, if it is one."""
    motion_qpel: NDArray[np.int16] | None
    """Displacement (x, y) in quarter pixels to the keyframe, shape (H, W, 2); None at a keyframe."""


class LiveVideo:
    """A video that is read once, picture by picture, in bounded memory.

    Parameters
    ----------
    stream : PacketStream
        From `arseg.codec.stream.open_video`.
    following : Following
        Which pictures become keyframes, and where motion comes from.
    rules : MotionRules or None
        How motion is made; None where it is not wanted: then every picture is a keyframe.
    watch : Stopwatch
        Told the time that motion takes.

    Attributes
    ----------
    damage : Damage
        What could not be read so far.
    reencoded_because : str
        Why the motion is not the stream's own; empty as long as it is.
    """

    def __init__(self, stream: PacketStream, following: Following, rules: MotionRules | None, watch: Stopwatch) -> None:
        self.damage = Damage()
        self.reencoded_because = ""
        self._stream = replace(stream, packets=self._distinct(until_unreadable(stream.packets, self.damage)))
        self._following = following
        self._watch = watch
        self._follows, self._rules = rules is not None, rules or PAPER_RULES
        self._rate = float(stream.frames_per_second or NOMINAL_RATE)
        self._num_shown = 0
        self._kept = _KeptPackets()
        self._time_base = stream.time_base
        self._start: float | None = None
        self._seconds = 0.0

    def __iter__(self) -> Iterator[FollowedPicture]:
        """Read on.

        Yields
        ------
        picture : FollowedPicture
            In display order.

        Raises
        ------
        CodecError
            If no picture can be decoded.
        MotionError
            If the stream's own motion is asked for and is of no use.
        """
        if not self._follows:
            frames = decode_pixels(self._stream, self.damage)
            yield from (self._show(frame, 0, "coded", None) for frame in frames)
        elif self._following.motion == "reencode":
            yield from self._follow_reencoded(self._stream.packets, "asked for")
        else:
            yield from self._follow_own()
        if not self._num_shown:
            told = "; ".join([*self.damage.messages, self.damage.ended_early]).strip("; ")
            raise CodecError(f"no picture can be decoded ({told or 'the stream holds none'}). Name another video")

    def _distinct(self, packets: Iterator[Packet]) -> Iterator[Packet]:
        """Give packets numbers where they have no times, as in a stream without container, to tell pictures apart."""
        for number, packet in enumerate(packets):
            if packet.pts is None:
                packet.pts = packet.dts = number
                self._time_base = None
            yield packet

    def _follow_own(self) -> Iterator[FollowedPicture]:
        """Take the stream's motion, beginning again behind damage, until it turns out to be of no use."""
        packets = self._from_next_keyframe(self._stream.packets)
        while True:
            num_before, reason = self._num_shown, ""
            self._kept.clear()
            try:
                yield from self._read_own(packets)
                return
            except MotionError as error:
                reason = _first_sentence(error)
            except CodecError as error:
                if self._num_shown:
                    self.damage.add(str(error), self._kept.num_packets - (self._num_shown - num_before))
                    packets = self._from_next_keyframe(packets)
                    continue
                # It may be damaged, or of a kind that the reader does not know: whichever, FFmpeg may decode it.
                reason = _first_sentence(error)
            if self._following.motion == "stream":
                raise MotionError(f"{reason}, or let it be encoded again on the fly: --motion auto")
            yield from self._follow_reencoded(chain(self._kept.recent(), packets), reason)
            return

    def _read_own(self, packets: Iterator[Packet]) -> Iterator[FollowedPicture]:
        codec = self._stream.codec
        if codec not in READERS:
            raise MotionError(f"motion vectors of {codec} cannot be read")
        pictures = READERS[codec](replace(self._stream, packets=self._kept.keep(packets)))
        yield from self._follow(pictures)

    def _from_next_keyframe(self, packets: Iterator[Packet]) -> Iterator[Packet]:
        for packet in packets:
            if packet.is_keyframe:
                return chain([packet], packets)
            self.damage.skip()
        return iter(())

    def _follow_reencoded(self, packets: Iterator[Packet], reason: str) -> Iterator[FollowedPicture]:
        self.reencoded_because = reason
        LOG.info("the video is encoded again on the fly for its motion: %s", reason)
        frames = decode_pixels(replace(self._stream, packets=packets), self.damage)
        new = (frame for frame in frames if not self._kept.has_shown(frame))
        for _, same in groupby(new, key=lambda frame: (frame.width, frame.height)):
            yield from self._follow(reencode(same, self._rules.gop, self._following.reencoding, self._watch))

    def _follow(self, pictures: Iterator[DecodedPicture]) -> Iterator[FollowedPicture]:
        """Follow pictures of one reader."""
        follower, size, distance = self._follower(), (0, 0), 0
        for picture in pictures:
            if size != (picture.width, picture.height):
                follower, size = self._follower(), (picture.width, picture.height)
            with self._watch("motion"):
                cause = self._cause(picture, distance + 1)
                motion_qpel = follower.follow(picture, restart=cause is not None)
            distance = 0 if cause else distance + 1
            yield self._show(picture.pixels, distance, cause, None if cause else motion_qpel)

    def _follower(self) -> KeyframeFollower:
        return KeyframeFollower(subpixel=self._rules.subpixel, max_ref_back=self._rules.max_ref_back)

    def _cause(self, picture: DecodedPicture, distance: int) -> Cause | None:
        if picture.is_keyframe:
            return "coded"
        if distance > self._rules.max_distance:
            return "distance"
        if np.mean(picture.mode == PredictionMode.INTRA) >= self._following.cut:
            return "cut"
        return None

    def _show(
        self, pixels: VideoFrame, distance: int, cause: Cause | None, motion_qpel: NDArray[np.int16] | None
    ) -> FollowedPicture:
        picture = FollowedPicture(self._num_shown, self._time(pixels), pixels, distance, cause, motion_qpel)
        self._num_shown += 1
        self._kept.note_shown(pixels)
        return picture

    def _time(self, pixels: VideoFrame) -> float:
        """Seconds since the first picture; they grow from picture to picture, whatever the stream's clock does."""
        if not self._num_shown:
            self._start = None if self._time_base is None or pixels.pts is None else float(pixels.pts * self._time_base)
            return 0.0
        seconds = self._num_shown / self._rate
        if self._start is not None and self._time_base is not None and pixels.pts is not None:
            seconds = float(pixels.pts * self._time_base) - self._start
        self._seconds = seconds if seconds > self._seconds else self._seconds + 1 / self._rate
        return self._seconds


def _first_sentence(error: Exception) -> str:
    """Give what is wrong, without what to do about it elsewhere."""
    return str(error).partition(". ")[0]


class _KeptPackets:
    """Compressed pictures since the keyframe before the last one, and which of them have been shown."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self.num_packets = 0
        self._forget()

    def _forget(self) -> None:
        self._groups: deque[list[Packet]] = deque(maxlen=2)
        self._shown: set[int | None] = set()
        self._num_bytes = 0

    def keep(self, packets: Iterator[Packet]) -> Iterator[Packet]:
        """Pass packets on, keeping them from the first keyframe on; a GOP that is too large is let go."""
        for packet in packets:
            self.num_packets += 1
            if packet.is_keyframe:
                self._groups.append([])
                self._shown &= {kept.pts for group in self._groups for kept in group}
                self._num_bytes = sum(kept.size for group in self._groups for kept in group)
            if self._groups:
                self._groups[-1].append(packet)
                self._num_bytes += packet.size
            if self._num_bytes > MAX_KEPT_BYTES:
                self._forget()
            yield packet

    def note_shown(self, frame: VideoFrame) -> None:
        """Remember that a picture has been shown."""
        if self._groups:
            self._shown.add(frame.pts)

    def has_shown(self, frame: VideoFrame) -> bool:
        """Whether a picture that is decoded once more has been shown already."""
        return frame.pts in self._shown

    def recent(self) -> list[Packet]:
        """Give what is kept, from a keyframe on."""
        return [packet for group in self._groups for packet in group]
