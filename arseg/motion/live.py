"""Motion to a keyframe for each frame of any video, as it comes: what segmentation of a user's own video reads.

The motion is the stream's own wherever the decoder says what it refers to, and it explains enough of the frames
(`arseg.motion.judge`). Otherwise they are encoded again on the fly. Which frames become keyframes is decided by
policies (`arseg.keyframes`), when a frame is asked for.
"""

import logging
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, groupby
from typing import Literal

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from arseg.codec.clock import Clock
from arseg.codec.damage import Damage
from arseg.codec.decode import find_reader
from arseg.codec.display import Display
from arseg.codec.filters import deinterlace
from arseg.codec.frame import DecodedFrame
from arseg.codec.reencode import Reencoding, reencode
from arseg.codec.stream import PacketStream, display_of, is_damaged_frame, origin_of
from arseg.codecs import MAX_REFERENCES
from arseg.errors import CodecError, ConfigError, MotionError
from arseg.keyframes import AnyOf, Candidate, Coded, Distance, Feedback, parse_policies
from arseg.motion.follow import HeldFrame, KeyframeFollower
from arseg.motion.judge import MotionJudge
from arseg.spec import PAPER_RULES, MotionRules
from arseg.stopwatch import Stopwatch

LOG = logging.getLogger(__name__)

ENDLESS = 2**30
"""x264's word for a GOP that only ends at a scene cut."""

START = "start"
"""Reason of a keyframe that no policy asks for: there is no earlier frame to warp."""

DAMAGE = "damage"
"""Reason of a keyframe that is damaged, or depends on a damaged frame: its motion cannot be trusted."""


@dataclass(frozen=True)
class Following:
    """Which frames become keyframes, where motion comes from, and how it is made."""

    keyframes: str = "coded,distance,cut"
    """Policies, any of which makes a frame a keyframe: coded (the codec made it one), distance (the last one is further
    than the LR branch was trained for; distance=5: than 5 frames), cut (half of its blocks are predicted from no other
    frame; cut=0.9: 90 % of them), or one of your own (docs/keyframes.md)."""
    subpixel: bool | None = None
    """Compose motion without rounding vectors to whole pixels. By default as the LR branch was trained."""
    max_ref_back: int | None = None
    """Furthest reference that is followed, in frames; blocks with further ones count as still. By default as the LR
    branch was trained."""
    motion: Literal["auto", "stream", "reencode"] = "auto"
    """Take motion from the stream where it serves; from nowhere else, or stop; from encoding again only."""
    reencoding: Reencoding = field(default_factory=Reencoding)
    """How to encode again."""

    def __post_init__(self) -> None:
        self.policy()  # raises if it cannot be made
        if self.max_ref_back is not None and not 1 <= self.max_ref_back <= MAX_REFERENCES:
            raise ConfigError(f"--max-ref-back {self.max_ref_back}: must be from 1 to {MAX_REFERENCES}")

    def policy(self) -> AnyOf:
        """Return the policies, which have seen nothing yet."""
        return parse_policies(self.keyframes)

    def rules(self, trained: MotionRules) -> MotionRules:
        """Return the rules of motion: those of a training, except for what is asked for here."""
        told = (policy.max_distance for policy in self.policy().policies if isinstance(policy, Distance))
        max_distance = min((limit for limit in told if limit is not None), default=trained.max_distance)
        return MotionRules(
            subpixel=trained.subpixel if self.subpixel is None else self.subpixel,
            gop=max_distance + 1,
            max_ref_back=trained.max_ref_back if self.max_ref_back is None else self.max_ref_back,
        )


@dataclass(frozen=True, eq=False)
class FollowedFrame:
    """A frame and where its pixels come from."""

    index: int
    """Number among the frames that are shown, in display order, from 0."""
    seconds: float
    """Time since the first frame."""
    pixels: VideoFrame
    """Decoded planes, as they are coded; those of interlaced video are deinterlaced."""
    display: Display
    """How they are to be shown."""
    distance: int
    """Frames since the keyframe: 0 at a keyframe."""
    keyframe_reason: str | None
    """Why it is a keyframe, in the policy's word. None at other frames, and where no motion is wanted."""
    motion_qpel: NDArray[np.int16] | None
    """Displacement (x, y) in quarter pixels to the keyframe as it is shown, shape (H, W, 2); None at a keyframe."""
    is_damaged: bool = False
    """Whether its pixels may be wrong: parts are missing and guessed, or it depends on such a frame."""
    evidence: NDArray[np.uint8] | None = None
    """How far the motion can be trusted, by blocks as they are shown: the counts `arseg.spec.EVIDENCE`; None at a
    keyframe, or if not asked for."""


class LiveVideo:
    """A video that is read once, frame by frame, in bounded memory.

    Parameters
    ----------
    stream : PacketStream
        From `arseg.codec.stream.open_video`.
    following : Following
        Which frames become keyframes, and where motion comes from.
    rules : MotionRules or None
        How motion is made; None where it is not wanted: then every frame stands alone.
    watch : Stopwatch
        Told the time that motion takes.
    start : float, optional
        Time of the video's first frame on its own clock, in seconds, if the stream is a later part of it.
    reencoded_because : str
        Why it was encoded again before that part; empty if it was not.
    with_evidence : bool
        Also say how far motion can be trusted.
    """

    def __init__(
        self,
        stream: PacketStream,
        following: Following,
        rules: MotionRules | None,
        watch: Stopwatch,
        *,
        start: float | None = None,
        reencoded_because: str = "",
        with_evidence: bool = False,
    ) -> None:
        self.reencoded_because = reencoded_because
        """Why the motion is not the stream's own; empty as long as it is."""
        self.span: tuple[float, float] | None = None
        """Times of the first and the last frame so far; None before there is one."""
        self.num_shown = 0
        """Frames so far."""
        self.num_deinterlaced = 0
        """Interlaced ones among them."""
        self.begins_damaged = False
        """Whether the first of them is damaged."""
        self.reencodes_all = bool(reencoded_because) or (rules is not None and following.motion == "reencode")
        """Whether no frame's motion is the stream's own."""
        self.feedback: Feedback | None = None
        """What the policies are to know of the networks when the next frame is asked for."""
        self._stream = stream
        self._following, self._policy = following, following.policy()
        self._watch, self._with_evidence = watch, with_evidence
        self._follows, self._rules = rules is not None, rules or PAPER_RULES
        self.clock = Clock(stream, start)
        """What the frames' times are read from."""

    @property
    def num_skipped(self) -> int:
        """Frames before the part that the stream is, as far as packets tell."""
        return self._stream.reader.num_skipped

    @property
    def damage(self) -> Damage:
        """What is damaged or lost so far."""
        return self._stream.damage

    def __iter__(self) -> Generator[FollowedFrame, None, None]:
        """Yield all frames that FFmpeg shows, in display order; those that may be wrong are marked.

        A damaged frame stands alone, as a keyframe without successors, and so do all that depend on it: the motion of
        later ones does not lead through it. Raises CodecError if no frame can be decoded, or not all that were decoded
        have been yielded; MotionError if the stream's own motion must serve and does not.
        """
        if not self._follows:
            for is_damaged, frames in self._runs(self._stream.frames()):
                for frame in frames:
                    yield self._show(frame, 0, None, None, is_damaged=is_damaged)
        elif self._following.motion == "reencode":
            yield from self._follow_reencoded("asked for")
        elif self.reencoded_because:
            yield from self._follow_reencoded(self.reencoded_because)
        else:
            yield from self._follow_own()
        self._stream.finish()

    def _follow_own(self) -> Iterator[FollowedFrame]:
        """Take the stream's motion until it turns out to be of no use."""
        read = find_reader(self._stream.codec)
        try:
            if read is None:
                raise MotionError(f"motion vectors of {self._stream.codec} cannot be read")
            auto = self._following.motion == "auto"
            judge = MotionJudge(self._following.reencoding) if auto else None
            yield from self._follow(read(self._stream), judge)
            return
        except (CodecError, MotionError) as error:
            reason = str(error).partition(". ")[0]  # without what to do about it elsewhere
            if self._following.motion == "stream":
                raise MotionError(f"{reason}, or let it be encoded again on the fly: --motion auto") from error
        yield from self._follow_reencoded(reason)

    def _follow_reencoded(self, reason: str) -> Iterator[FollowedFrame]:
        """Encode all frames again that have not been shown yet, each section for itself.

        Damaged frames would lead motion astray.
        """
        follows_coded = any(isinstance(policy, Coded) for policy in self._policy.policies)
        gop = self._rules.gop if follows_coded else ENDLESS
        frames = self._stream.frames()
        if (first := next(frames, None)) is None:
            return
        self.reencoded_because = reason
        LOG.info("the video is encoded again on the fly for its motion: %s", reason)
        for is_damaged, same in self._runs(chain([first], frames)):
            if is_damaged:
                for frame in same:
                    yield self._show(frame, 0, DAMAGE, None, is_damaged=True)
            else:
                yield from self._follow(reencode(same, gop, self._following.reencoding, self._watch))

    def _runs(self, frames: Iterator[VideoFrame]) -> Iterator[tuple[bool, Iterator[VideoFrame]]]:
        """Yield frames in runs of one kind and section, deinterlaced, with whether they are damaged."""
        are_fields = self._stream.codec == "hevc"  # what FFmpeg calls interlaced there: each is a frame of its own
        make_whole = iter if are_fields else self._deinterlace
        for ((is_damaged, *_), _), same in groupby(frames, key=lambda frame: (_kind(frame), self._section(frame))):
            yield is_damaged, make_whole(same)

    def _section(self, frame: VideoFrame) -> int:
        """Return the section of a frame, in which all is decided as if it were a video of its own."""
        origin = origin_of(frame)
        return origin.section if origin and (self._policy.begins_anew or not self._follows) else 0

    def _deinterlace(self, frames: Iterator[VideoFrame]) -> Iterator[VideoFrame]:
        return deinterlace(self._count_interlaced(frames))

    def _count_interlaced(self, frames: Iterator[VideoFrame]) -> Iterator[VideoFrame]:
        for frame in frames:
            if frame.interlaced_frame:
                if not self.num_deinterlaced:
                    LOG.info("frame %d is interlaced; such frames are deinterlaced", self.num_shown)
                self.num_deinterlaced += 1
            yield frame

    def _follow(self, frames: Iterator[DecodedFrame], judge: MotionJudge | None = None) -> Iterator[FollowedFrame]:
        """Follow frames of one reader, deciding on each; MotionError if a judge finds their motion of no use."""
        kind: tuple[object, ...] = ()
        distance = section = 0
        for frame in frames:
            if judge and section != (found_section := self._section(frame.pixels)):
                section = found_section
                judge.restart()
            if frame.is_damaged:
                kind = ()
                yield self._show(frame.pixels, 0, DAMAGE, None, is_damaged=True)
                continue
            with self._watch("motion"):
                distance += 1
                if kind != (found := _kind(frame.pixels)):
                    follower = KeyframeFollower(
                        subpixel=self._rules.subpixel,
                        max_ref_back=self._rules.max_ref_back,
                        with_evidence=self._with_evidence,
                    )
                    kind, distance = found, 0
                located = follower.locate(frame)
                if judge and (useless := judge.see(frame)):
                    raise MotionError(useless)
                origin = origin_of(frame.pixels)
                candidate = Candidate(
                    index=self.num_skipped + self.num_shown,
                    distance=distance,
                    max_distance=self._rules.max_distance,
                    num_bytes=origin.num_bytes if origin else 0,
                    decoded=frame,
                    compose=partial(_compose_shown, follower, frame, located),
                    feedback=self.feedback if self._policy.needs_feedback else None,
                )
                reason = self._policy.decide(candidate) or (None if distance else START)
                motion_qpel = evidence = None
                if reason is None:
                    motion_qpel = candidate.motion_qpel
                    if (counts := follower.evidence(located)) is not None:
                        evidence = display_of(frame.pixels).turn(counts)
                else:
                    follower.compose(frame, located, restart=True)
                    distance = 0
            yield self._show(frame.pixels, distance, reason, motion_qpel, evidence, is_damaged=False)

    def _show(
        self,
        pixels: VideoFrame,
        distance: int,
        reason: str | None,
        motion_qpel: NDArray[np.int16] | None,
        evidence: NDArray[np.uint8] | None = None,
        *,
        is_damaged: bool,
    ) -> FollowedFrame:
        self._stream.show(pixels, is_damaged=is_damaged)
        seconds = self.clock.read(pixels)
        self.span = self.span[0] if self.span else seconds, seconds
        index, display = self.num_skipped + self.num_shown, display_of(pixels)
        frame = FollowedFrame(index, seconds, pixels, display, distance, reason, motion_qpel, is_damaged, evidence)
        self.begins_damaged |= is_damaged and not self.num_shown
        self.num_shown += 1
        return frame


def _kind(frame: VideoFrame) -> tuple[bool, int, int, str, Display]:
    """Return what frames have in common that are filtered, encoded and followed together."""
    return is_damaged_frame(frame), frame.width, frame.height, frame.format.name, display_of(frame)


def _compose_shown(follower: KeyframeFollower, frame: DecodedFrame, located: HeldFrame) -> NDArray[np.int16]:
    return display_of(frame.pixels).apply_to_motion(follower.compose(frame, located))
