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
        Rows of one experiment by mode, scale and distance, with the column agreement.
    """
    means = {
        (str(rows["mode"].iloc[0]), float(rows["scale"].iloc[0])): (rows.agreement.mean(), rows.gmacs_per_frame.mean())
        for _, rows in table.groupby(["mode", "scale"], sort=False)
    }
    full = means["HR", 1.0][1]
    lines = ["agreement with HR, mean over the distances, and cost:"]
    for (mode, scale), (agreement, cost) in means.items():
        method = METHODS[mode] + ("" if scale == 1 else f" at {scale:g}x")
        lines.append(f"  {method:40} {agreement:6.1%}   {cost / full:4.0%} of HR's multiply-accumulates")
    for (mode, scale), (agreement, cost) in means.items():
        for simpler in ("LR", scale), ("WARP", 1.0):
            lead = means[simpler][0] - agreement if simpler in means else -1
            if mode == "AR" and lead >= -AS_GOOD and means[simpler][1] <= cost:
                verdict = f"better than AR-Seg by {100 * lead:.1f} points" if lead > AS_GOOD else "as good as AR-Seg"
                lines.append(
                    f"At {scale:g}x, {METHODS[simpler[0]]} is {verdict} here, and cheaper. Longer GOPs (--gop) are "
                    "what an LR branch is for; more frames (--samples) may help it. Try them with another -o."
                )
    lines.append("This is not time: arseg segment VIDEO --checkpoint ... --compare HR measures that.")
    return "\n".join(lines)
