"""What an adapted network loses and saves, and whether something simpler would have been as good."""

import pandas as pd

AS_GOOD = 0.005
"""Difference of agreement with HR below which two methods count as equally good, in 0 ... 1."""

METHODS = {
    "HR": "full resolution on every frame",
    "LR": "constant low resolution",
    "AR": "AR-Seg",
    "WARP": "propagation alone",
}


def describe_outcome(table: pd.DataFrame) -> str:
    """Return some lines for a person: agreement with HR and cost of each method, and what follows from them.

    Parameters
    ----------
    table : DataFrame
        Rows of one experiment by mode, scale and distance.
    """
    means = table.groupby(["mode", "scale"], sort=False)[["miou", "gmacs_per_frame"]].mean()
    full = means.loc["HR"].iloc[0]
    lines = ["agreement with HR, mean over the distances, and cost:"]
    for (mode, scale), row in means.iterrows():
        cost = row.gmacs_per_frame / full.gmacs_per_frame
        where = "" if mode in ("HR", "WARP") else f" at {scale:g}x"
        lines.append(f"  {METHODS[mode] + where:40} {100 * row.miou:5.1f} %   {cost:4.0%} of HR's multiply-accumulates")
    for scale, ar in means.loc["AR"].iterrows():
        simpler = [("LR", scale), *([("WARP", 1.0)] if "WARP" in means.index else [])]
        for key in simpler:
            if key not in means.index:
                continue
            other = means.loc[key]
            if other.miou >= ar.miou - AS_GOOD and other.gmacs_per_frame <= ar.gmacs_per_frame:
                lines.append(
                    f"At {scale:g}x, {METHODS[key[0]]} is as good as AR-Seg on these videos, and cheaper: use that, or "
                    "train longer (--epochs), on more frames (--samples) or with longer GOPs (--gop)."
                )
    return "\n".join(lines)
