"""The summary of a tidy table, to be read: Markdown, scores in percent."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from arseg.evaluate.tables import MODES, groups, scores
from arseg.files import atomic_path
from arseg.metrics.metric import AGREEMENT, describe_score, main_score

NUM_DISTANCE_COLUMNS = 12
"""The summary shows at most so many distances; longer GOPs are thinned out evenly."""


class Wording(NamedTuple):
    """What a summary calls its main score."""

    title: str
    name: str
    column: str
    """What its column's name begins with."""
    definition: str


WORDINGS = {
    "miou": Wording("Accuracy", "mIoU", "", "mIoU in percent"),
    AGREEMENT: Wording(
        title="Agreement with HR",
        name="Agreement",
        column="agreement with HR, ",
        definition="Agreement with HR, which is not accuracy: the labels are those that the HR branch gives the frames "
        "before they are encoded, so that HR's own row shows what encoding alone costs. It is the mean over the "
        "classes of the intersection over union with these labels, in percent,",
    ),
}

CONVENTIONS = """\
{definition} over one confusion matrix per distance d (frames since the keyframe), label 255 ignored; \
"mean" is the plain mean of {score} over d = 0 … L-1, and d = 0 is the keyframe itself. {absent} "No void" is \
the mean over the same matrix's classes without the void ones. GMACs per frame are 10⁹ multiply-accumulates \
of convolutions, linear layers and attention, auxiliary heads included, averaged over a group of \
pictures: what the paper calls GFLOPs."""

ABSENT_RULES = {
    False: "A class that occurs in neither labels nor predictions leaves the mean.",
    True: "A class that occurs in neither labels nor predictions makes the mean NaN, as in the published programs.",
}
"""What the summary says about absent classes, by whether a mean is NaN."""


def write_summary(table: pd.DataFrame, path: str | Path) -> None:
    """Write the summary of a tidy table as Markdown."""
    with atomic_path(Path(path)) as temporary:
        temporary.write_text(summarize(table), encoding="utf-8")


def summarize(table: pd.DataFrame) -> str:
    """Return a tidy table in Markdown: one table per data set, network and encoding."""
    score = main_score(table)
    wording = WORDINGS[score]
    parts = [f"# {wording.title} by reference distance"]
    for setting, part in groups(table):
        title = "{dataset} {split}, {backbone}, {encoding}".format(**setting)
        absent = ABSENT_RULES[bool(part[score].isna().any())]
        conventions = CONVENTIONS.format(definition=wording.definition, score=describe_score(score), absent=absent)
        parts += [f"## {title}", _summary_table(part), describe_classes(part), conventions]
    return "\n\n".join(parts) + "\n"


def describe_classes(part: pd.DataFrame) -> str:
    """Return over how many classes the means of one split's rows are, and which classes no label has, in words."""
    text = f"{WORDINGS[main_score(part)].name} is the mean of {_range(part['num_classes_present'])} classes."
    lists = [cell.split(";") for cell in part["classes_without_labels"] if cell]
    names = list(dict.fromkeys(name for cell in lists for name in cell))
    if not names:
        return text
    where = "" if len(lists) == len(part) and all(cell == names for cell in lists) else ", at some distances"
    return (
        f"{text} Without a labelled pixel{where}: {', '.join(names)}. Such a class does not count, or counts 0 where a "
        "network predicts it."
    )


def _range(counts: pd.Series) -> str:
    fewest, most = int(counts.min()), int(counts.max())
    return str(most) if fewest == most else f"{fewest} to {most}"


def _summary_table(part: pd.DataFrame) -> str:
    gop = int(part["gop"].iloc[0])
    shown = np.unique(np.linspace(0, gop - 1, min(gop, NUM_DISTANCE_COLUMNS)).round().astype(int))
    hr_cost = part.loc[part["mode"] == "HR", "gmacs_per_frame"].mean()
    score = main_score(part)
    others = [
        name for name in scores(part.dropna(axis="columns", how="all")) if name not in (score, f"{score}_no_void")
    ]
    lines: list[dict[str, Any]] = []
    for (mode, scale), rows in part.groupby(["mode", "scale"], sort=False):
        by_distance = 100 * _strict_mean(rows, "distance", score)
        cost = rows["gmacs_per_frame"].mean()
        lines.append(
            {
                "mode": mode,
                "scale": scale,
                "seeds": rows["seed"].nunique(),
                f"{WORDINGS[score].column}mean of {_range(part['num_classes_present'])} classes": _mean_over_seeds(
                    rows, score
                ),
                f"no void, of {_range(part['num_classes_no_void'])}": _mean_over_seeds(rows, f"{score}_no_void"),
                **{name: _mean_over_seeds(rows, name) for name in others},
                "GMACs/frame": f"{cost:.1f}" if cost >= 10 else f"{cost:.3g}",
                "% of HR": "" if np.isnan(hr_cost) else f"{100 * cost / hr_cost:.1f}",
                **{f"d={distance}": f"{by_distance[distance]:.2f}" for distance in shown},
            }
        )
    order = {mode: rank for rank, mode in enumerate(MODES)}
    lines.sort(key=lambda line: (order[line["mode"]], -line["scale"]))
    return pd.DataFrame(lines).to_markdown(index=False, disable_numparse=True, stralign="right")


def _mean_over_seeds(rows: pd.DataFrame, column: str) -> str:
    """Mean over distances; with several seeds their mean and sample standard deviation."""
    seeds = 100 * _strict_mean(rows, "seed", column)
    if len(seeds) == 1:
        return f"{seeds.iloc[0]:.2f}"
    return f"{seeds.mean():.2f} ± {seeds.std():.2f}"


def _strict_mean(rows: pd.DataFrame, by: str, column: str) -> pd.Series:
    """Mean of each group, NaN where one member is: the NaN of an absent class must not vanish from a mean."""
    return rows.groupby(by)[column].agg(lambda scores: scores.mean(skipna=False))
