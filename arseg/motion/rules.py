"""The rules that motion is followed to a keyframe by: an LR branch expects those that it was trained on."""

from dataclasses import dataclass

from arseg.motion.compose import PAPER_MAX_REF_BACK

PAPER_GOP = 12
"""Frames in a group of pictures of the published experiments."""


def followed_references(references: int) -> int:
    """Give the furthest reference that is followed in clips whose encoder was allowed a number of them.

    Parameters
    ----------
    references : int
        Most reference pictures of a picture; 0 where the encoder decided.

    Returns
    -------
    max_ref_back : int
        As `arseg.motion.compose.MotionComposer` takes it: never less than the published programs follow.
    """
    return max(PAPER_MAX_REF_BACK, references)


@dataclass(frozen=True)
class MotionRules:
    """How motion to the keyframe is made; the defaults are the paper's."""

    subpixel: bool = False
    """Whether motion is composed without rounding vectors to whole pixels."""
    gop: int = PAPER_GOP
    """Most frames from one keyframe to the next."""
    max_ref_back: int = PAPER_MAX_REF_BACK
    """Furthest reference that is followed, in frames; a block with a further one is taken for still."""

    @property
    def max_distance(self) -> int:
        """Furthest reference distance, in frames: of the last frame before the next keyframe."""
        return self.gop - 1

    def difference(self, trained: "MotionRules") -> str:
        """Tell what differs from the rules of a training, both values of each; empty if nothing does."""
        pairs = {name: (value, getattr(trained, name)) for name, value in vars(self).items()}
        return ", ".join(
            f"{name} {ours} instead of {theirs}" for name, (ours, theirs) in pairs.items() if ours != theirs
        )

    def __str__(self) -> str:
        exactness = "quarter" if self.subpixel else "whole"
        return (
            f"in {exactness} pixels, up to {self.max_distance} frames from the keyframe, along references up to "
            f"{self.max_ref_back} frames back"
        )


PAPER_RULES = MotionRules()
"""Those of the published experiments."""
