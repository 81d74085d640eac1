"""Results beside the published ones, distance by distance.

The authors' values are a sheet, ``config/published-miou.csv``. A result is comparable if data set, network, mode,
scale, GOP and bitrate were published; what else differs (split, codec, encoder settings) is said beside it.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from arseg.access import reading
from arseg.config import PUBLISHED_SPLITS
from arseg.data.sheets import separator_problem
from arseg.errors import DataError
from arseg.evaluate.published import PublishedResult, read_published
from arseg.evaluate.tables import collect_table, describe_classes, read_table
from arseg.networks import published_backbone
from arseg.spec import Encoding, Rate

PUBLISHED_COLUMNS = ("dataset", "backbone", "mode", "scale", "gop", "bitrate_mbps", "distance", "miou")
"""Columns of the sheet of published values."""

CONFIGURATION = ["dataset", "backbone", "mode", "scale", "gop", "rate"]
"""What makes a result comparable to a published one."""

RESULT = ["dataset", "split", "backbone", "encoding", "gop", "rate", "mode", "scale"]
"""What tells one compared result from another."""

CLASSES = ["num_classes_present", "classes_without_labels"]
"""What the means are over; the authors' files do not tell."""


def read_published_values(path: str | Path) -> pd.DataFrame:
    """Read the sheet of published values.

    Returns
    -------
    published : DataFrame
        Columns of `CONFIGURATION`, "distance" and "published" (mIoU, 0 ... 1).

    Raises
    ------
    DataError
        If the sheet is missing or lacks a column.
    """
    mend = "It comes with arseg's sources, in config/; name it with --published"
    try:
        with reading(Path(path)):
            values = pd.read_csv(path)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such sheet of published values. {mend}") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a CSV sheet ({error}). {mend}") from error
    if missing := [name for name in PUBLISHED_COLUMNS if name not in values.columns]:
        problem = separator_problem(values.columns) or f"the sheet lacks the column {missing[0]}. {mend}"
        raise DataError(f"{path}: {problem}")
    values["rate"] = list(map(Rate.from_mbps, values["bitrate_mbps"]))
    return values[[*CONFIGURATION, "distance", "miou"]].rename(columns={"miou": "published"})


def read_results(paths: Iterable[str | Path]) -> pd.DataFrame:
    """Read results of any form into one table.

    Parameters
    ----------
    paths : iterable of path
        Tidy tables (.csv), evaluations of whole splits (.npz), or result files under the authors' names (.txt).

    Returns
    -------
    results : DataFrame
        Columns of `RESULT` and `CLASSES`, "seed", "distance" and "miou". Split and encoding are empty, and classes NaN,
        where a file does not tell.

    Raises
    ------
    DataError
        If a file is of none of these forms, missing or damaged.
    """
    parts = []
    for path in map(Path, paths):
        if path.suffix == ".csv":
            parts.append(with_published_names(read_table(path)))
        elif path.suffix == ".npz":
            parts.append(with_published_names(collect_table([path])))
        elif path.suffix == ".txt":
            parts.append(_rows(read_published(path)))
        else:
            raise DataError(f"{path}: expected a table (.csv), an evaluation (.npz) or a published result (.txt)")
    if not parts:
        raise DataError("no result to compare; give at least one table, evaluation or result file")
    return pd.concat(parts, ignore_index=True).reindex(columns=[*RESULT, "seed", "distance", "miou", *CLASSES])


def with_published_names(table: pd.DataFrame) -> pd.DataFrame:
    """Give the networks of a tidy table the names that they have in the sheet of published values."""
    return table.assign(backbone=list(map(published_backbone, table["dataset"], table["backbone"])))


def compare(results: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """Put results beside the published values.

    Parameters
    ----------
    results : DataFrame
        From `read_results`.
    published : DataFrame
        From `read_published_values`.

    Returns
    -------
    comparison : DataFrame
        One row for each result that was published and each distance: columns of `RESULT`, "seeds" (how many
        there are), "distance", "miou" (mean over seeds), "published", "difference" (all 0 ... 1), columns of
        `CLASSES`, and "differs": what is not as it was for the published value, empty if nothing is known to be.

    Raises
    ------
    DataError
        If no result was published.
    """
    ours = results.groupby([*RESULT, "distance"], sort=False, as_index=False).agg(
        seeds=("seed", "nunique"),
        miou=("miou", lambda scores: scores.mean(skipna=False)),
        **{name: (name, "first") for name in CLASSES},
    )
    comparison = ours.merge(published, on=[*CONFIGURATION, "distance"])
    if comparison.empty:
        found = _names(results[CONFIGURATION])
        raise DataError(
            f"none of these results was published: {'; '.join(found)}. Published are: {'; '.join(_names(published))}"
        )
    comparison["difference"] = comparison["miou"] - comparison["published"]
    comparison["differs"] = [_differs(row) for _, row in comparison.iterrows()]
    columns = [*RESULT, "seeds", "distance", "miou", "published", "difference", *CLASSES, "differs"]
    return comparison[columns]


def summarize_comparison(comparison: pd.DataFrame) -> str:
    """Describe a comparison in Markdown: for each data set and network a table with a row per distance."""
    parts = ["# Beside the published values"]
    for (dataset, split, backbone, encoding), part in comparison.groupby(
        ["dataset", "split", "backbone", "encoding"], sort=False
    ):
        title = ", ".join(filter(None, (f"{dataset} {split}".strip(), str(backbone), str(encoding))))
        parts += [f"## {title}", _table(part)]
        note = "mIoU in percent; the last row is the mean over all distances."
        if not (known := part.dropna(subset=CLASSES)).empty:
            note += f" {describe_classes(known)}"
        if differs := part["differs"].iloc[0]:
            note += f" Not as published: {differs}."
        parts.append(note)
    return "\n\n".join(parts) + "\n"


def _table(part: pd.DataFrame) -> str:
    columns: dict[str, list[str]] = {}
    for (mode, scale), rows in part.groupby(["mode", "scale"], sort=False):
        ordered = rows.sort_values("distance")
        columns["d"] = [*ordered["distance"].astype(str), "mean"]
        for name, column, form in (
            (f"{mode} {scale}×", "miou", "{:.2f}"),
            (f"{mode} {scale}× published", "published", "{:.2f}"),
            (f"{mode} {scale}× difference", "difference", "{:+.2f}"),
        ):
            scores = 100 * ordered[column].to_numpy()
            columns[name] = [form.format(score) for score in (*scores, scores.mean())]
    return pd.DataFrame(columns).to_markdown(index=False, disable_numparse=True, stralign="right")


def _differs(row: pd.Series) -> str:
    """Say what is not as it was for the published value."""
    expected = Encoding(rate=row["rate"], gop=row["gop"]).name
    if row["encoding"] in ("", f"{expected}-imported"):  # not known, or the authors' own clips
        return ""
    found = {"split": row["split"], "encoding": row["encoding"]}
    wanted = {"split": PUBLISHED_SPLITS.get(row["dataset"], row["split"]), "encoding": expected}
    return "; ".join(f"{name} {found[name]} instead of {wanted[name]}" for name in found if found[name] != wanted[name])


def _names(configurations: pd.DataFrame) -> list[str]:
    form = "{dataset} {backbone} {mode} {scale}x, GOP {gop}, {rate}"
    return [form.format_map(row) for _, row in configurations[CONFIGURATION].drop_duplicates().iterrows()]


def _rows(result: PublishedResult) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "dataset": result.dataset,
            "split": "",
            "backbone": result.backbone,
            "encoding": "",
            "gop": result.gop,
            "rate": result.rate,
            "mode": result.mode.upper(),
            "scale": result.scale_percent / 100,
            "seed": 0,
            "distance": np.arange(result.gop),
            "miou": result.miou,
        }
    )
