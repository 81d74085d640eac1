"""The policies that need no networks: the codec's keyframes, a largest distance, and scene cuts."""

from arseg.errors import ConfigError
from arseg.keyframes.policy import POLICIES, Candidate, Policy


@POLICIES.register("coded")
class Coded(Policy):
    """Keyframes where the codec made them."""

    def decide(self, frame: Candidate) -> str | None:
        """Return "coded" at the codec's keyframes."""
        return "coded" if frame.is_coded_keyframe else None


@POLICIES.register("distance")
class Distance(Policy):
    """A keyframe where the distance to the last one would be too large.

    Parameters
    ----------
    max_distance : int, optional
        Largest distance in frames; the one that the LR branch was trained for by default.

    Raises
    ------
    ConfigError
        If it is negative or not a whole number.
    """

    def __init__(self, max_distance: float | None = None) -> None:
        if max_distance is not None and (max_distance < 0 or max_distance % 1):
            raise ConfigError("the largest distance must be a whole number of frames, 0 or more")
        self.max_distance: int | None = None if max_distance is None else int(max_distance)

    def decide(self, frame: Candidate) -> str | None:
        """Return "distance" where the last keyframe is too far."""
        limit = frame.max_distance if self.max_distance is None else self.max_distance
        return "distance" if frame.distance > limit else None


@POLICIES.register("cut")
class Cut(Policy):
    """A keyframe where so little is predicted from other frames that a new scene begins.

    Parameters
    ----------
    share : float
        Share of intra blocks from which a frame counts as the first of a scene.

    Raises
    ------
    ConfigError
        If it is not a share.
    """

    def __init__(self, share: float = 0.5) -> None:
        if not 0 < share <= 1:
            raise ConfigError("the share of intra blocks must be above 0 and at most 1")
        self._share = share

    def decide(self, frame: Candidate) -> str | None:
        """Return "cut" where too few blocks are predicted from other frames."""
        return "cut" if frame.intra_share >= self._share else None
