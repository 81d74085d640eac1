"""Which frames of a video become keyframes: policies, by name.

A policy of your own is one class, registered by a decorator (docs/keyframes.md, docs/extending.md).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from inspect import signature

import numpy as np
from numpy.typing import NDArray

from arseg.codec.frame import DecodedFrame, PredictionMode
from arseg.errors import ConfigError
from arseg.plugins import Registry


@dataclass(frozen=True, eq=False)
class Feedback:
    """What the networks said of the last frame that they segmented."""

    index: int
    """Number of that frame in the video, from 0."""
    distance: int
    """Frames from its keyframe to it; 0 at a keyframe."""
    labels: NDArray[np.uint8]
    """Class of each pixel, shape (H, W)."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A frame of which a policy decides whether it becomes a keyframe."""

    index: int
    """Number of the frame in the video, from 0."""
    distance: int
    """Frames since the last keyframe. 0 where no earlier frame can be warped (at the start, after damage, where the
    size changes): such a frame becomes a keyframe whatever a policy says."""
    max_distance: int
    """Largest distance that the LR branch was trained for, or that ``distance`` was told instead."""
    num_bytes: int
    """Compressed size in the video as it came, even if it is encoded again for its motion; 0 if unknown."""
    decoded: DecodedFrame
    """Prediction modes and motion vectors of the frame's blocks, and its pixels."""
    compose: Callable[[], NDArray[np.int16]]
    """Composes the motion; `motion_qpel` calls it."""
    feedback: Feedback | None
    """What the networks said last: None before they have, and for policies that do not set `Policy.needs_feedback`."""

    @property
    def is_coded_keyframe(self) -> bool:
        """Whether the codec made the frame a keyframe."""
        return self.decoded.is_keyframe

    @cached_property
    def intra_share(self) -> float:
        """Share of the frame's blocks that are predicted from no other frame, 0 ... 1."""
        return float(np.mean(self.decoded.mode == PredictionMode.INTRA))

    @cached_property
    def motion_qpel(self) -> NDArray[np.int16]:
        """Displacement (x, y) in quarter pixels to the last keyframe, shape (H, W, 2); zero at distance 0.

        Composed when `Policy.decide` first asks for it, and to be asked for there only.
        """
        return self.compose()


class Policy(ABC):
    """Decides which frames become keyframes; one object serves one video, so it may remember what it has seen."""

    needs_feedback: bool = False
    """Whether it reads `Candidate.feedback`. Then frames are not decoded ahead of the networks, which costs speed."""
    remembers: bool = True
    """Whether what it says of a frame depends on frames before the last keyframe. Long videos are cut into parts, at
    keyframes, only where no policy remembers."""

    @abstractmethod
    def decide(self, frame: Candidate) -> str | None:
        """Return why a frame becomes a keyframe, in a word that keyframes are counted by; None if it need not.

        Every frame that is not damaged is asked for once, in display order, also those that become keyframes for
        another reason.
        """


POLICIES: Registry[Callable[..., Policy]] = Registry("keyframe policy", "arseg.keyframes")
"""Policies by name. Each is made without an argument, or with the number that its option says."""


@POLICIES.register("coded")
class Coded(Policy):
    """Keyframes where the codec made them."""

    remembers = False

    def decide(self, frame: Candidate) -> str | None:  # noqa: D102
        return "coded" if frame.is_coded_keyframe else None


@POLICIES.register("distance")
class Distance(Policy):
    """A keyframe where the last one would be further away than `max_distance` frames.

    By default, that is the largest distance that the LR branch was trained for.
    """

    remembers = False

    def __init__(self, max_distance: float | None = None) -> None:
        if max_distance is not None and (max_distance < 0 or max_distance % 1):
            raise ConfigError("the largest distance must be a whole number of frames, 0 or more")
        self.max_distance: int | None = None if max_distance is None else int(max_distance)

    def decide(self, frame: Candidate) -> str | None:  # noqa: D102
        limit = frame.max_distance if self.max_distance is None else self.max_distance
        return "distance" if frame.distance > limit else None


@POLICIES.register("cut")
class Cut(Policy):
    """A keyframe where at least this share of the blocks is predicted from no other frame: a new scene begins."""

    remembers = False

    def __init__(self, share: float = 0.5) -> None:
        if not 0 < share <= 1:
            raise ConfigError("the share of intra blocks must be above 0 and at most 1")
        self._share = share

    def decide(self, frame: Candidate) -> str | None:  # noqa: D102
        return "cut" if frame.intra_share >= self._share else None


class AnyOf(Policy):
    """A keyframe where any of several policies wants one; the first of these in order gives the reason."""

    def __init__(self, policies: Sequence[Policy]) -> None:
        self.policies = tuple(policies)
        self.needs_feedback = any(policy.needs_feedback for policy in policies)
        self.begins_anew = isinstance(self.policies[0], Coded) and not any(policy.remembers for policy in policies)
        """Whether all is the same after a coded keyframe, also its reason, if nothing is known of what was before."""

    def decide(self, frame: Candidate) -> str | None:  # noqa: D102
        reasons = [policy.decide(frame) for policy in self.policies]  # all, so that one that counts misses no frame
        return next((reason for reason in reasons if reason is not None), None)


def parse_policies(text: str) -> AnyOf:
    """Return fresh policies by their names, as options write them: "coded,distance=11,cut=0.9".

    Raises
    ------
    ConfigError
        If a name is not registered, or an option is not a number that the policy takes.
    """
    return AnyOf([_parse_policy(item.strip()) for item in text.split(",")])


def _parse_policy(item: str) -> Policy:
    name, equals, option = item.partition("=")
    try:
        make, numbers = POLICIES.get(name), [_parse_number(option)] if equals else []
        try:
            signature(make).bind(*numbers)
        except TypeError:
            raise ConfigError(f"the policy {'takes no' if equals else 'needs an'} option") from None
        return make(*numbers)
    except ConfigError as error:
        raise ConfigError(f"--keyframes {item}: {error}") from error


def _parse_number(text: str) -> int | float:
    try:
        return int(text) if text.lstrip("-").isdecimal() else float(text)
    except ValueError:
        raise ConfigError("expected a number after =, as in distance=11") from None
