"""What an adapted network loses and saves, and whether something simpler would have been as good."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

AS_GOOD = 0.005
"""Difference of agreement with HR below which two methods count as equally good, in 0 ... 1."""

METHODS = {
    "HR": "full resolution on every frame",
    "LR": "constant low resolution",
    "AR": "AR-Seg",
    "WARP": "propagation alone",
}


class Method(NamedTuple):
    """A way to segment the videos."""

    mode: str
    """A key of `METHODS`."""
    scale: float
    """Resolution of frames between keyframes, or of all."""
    agreement: NDArray[np.float64]
    """With HR, by distance: shape (L,)."""
    cost: float
    """Multiply-accumulates per frame, as a share of HR's."""

    def __str__(self) -> str:
        return METHODS[self.mode] + ("" if self.scale == 1 else f" at {self.scale:g}x")

    @property
    def mean(self) -> float:
        """Agreement of a mean frame."""
        return float(self.agreement.mean())

    def cost_at(self, gop: int) -> float:
        """Return what it costs with a keyframe every `gop` frames, the HR branch's work on it included."""
        own = len(self.agreement)
        between = (self.cost * own - 1) / (own - 1)
        return (1 + (gop - 1) * between) / gop

    def with_gop(self, gop: int) -> "Method":
        """Return what it would be with more keyframes, as far as the clips at hand tell."""
        return self._replace(agreement=self.agreement[:gop], cost=self.cost_at(gop))


def describe_outcome(table: pd.DataFrame) -> str:
    """Return some lines for a person: agreement with HR and cost of each method, and what follows from them.

    Parameters
    ----------
    table : DataFrame
        Rows of one experiment by mode, scale and distance, with the column agreement.
    """
    full = table.loc[table["mode"] == "HR", "gmacs_per_frame"].mean()
    methods = [
        Method(
            *(str(rows["mode"].iloc[0]), float(rows["scale"].iloc[0])),
            *(rows.groupby("distance").agreement.mean().to_numpy(), rows.gmacs_per_frame.mean() / full),
        )
        for _, rows in table.groupby(["mode", "scale"], sort=False)
    ]
    gop = len(methods[0].agreement)
    more_keyframes = [
        method.with_gop(shorter) for method in methods if method.mode == "WARP" for shorter in range(2, gop)
    ]
    lines = ["agreement with HR, mean over the distances, and cost:"]
    lines += [
        f"  {method!s:40} {method.mean:6.1%}   {method.cost:4.0%} of HR's multiply-accumulates" for method in methods
    ]
    for ar in (method for method in methods if method.mode == "AR"):
        as_good = [
            other
            for other in [*methods, *more_keyframes]
            if other is not ar and other.cost <= ar.cost and other.mean >= ar.mean - AS_GOOD
        ]
        if as_good:
            lines.append(_say_simpler(ar, min(as_good, key=lambda other: other.cost), gop))
        elif ar.agreement[1:].mean() - ar.agreement[-1] <= AS_GOOD:
            lines.append(
                f"{ar} is as good at the largest distance as before it, so that a lighter policy of keyframes may be "
                f"as good: --gop {2 * gop} would cost {ar.cost_at(2 * gop):.0%}. Try it with another -o."
            )
    lines.append("This is not time: arseg segment VIDEO --checkpoint ... --compare HR measures that.")
    return "\n".join(lines)


def _say_simpler(ar: Method, other: Method, gop: int) -> str:
    lead = other.mean - ar.mean
    keyframes = len(other.agreement)
    policy = "" if keyframes == gop else f" with a keyframe every {keyframes} frames (--gop {keyframes}), estimated,"
    verdict = f"better than {ar} by {100 * lead:.1f} points" if lead > AS_GOOD else f"as good as {ar}"
    return (
        f"{str(other)[0].upper()}{str(other)[1:]}{policy} is {verdict} here, and cheaper: {other.mean:.1%} for "
        f"{other.cost:.0%}. Longer GOPs (--gop) are what an LR branch is for; more frames (--samples) may help it. Try "
        "them with another -o."
    )
