"""Results beside the published ones, distance by distance.

The published values are a sheet, ``config/published-miou.csv``. A result is comparable if data set, network, mode,
scale, GOP and bitrate were published; what else differs (split, codec, encoder settings) is said beside it.
"""

from pathlib import Path

import pandas as pd

from arseg.access import reading
from arseg.data.sheets import separator_problem
from arseg.errors import DataError
from arseg.evaluate.summary import describe_classes
from arseg.evaluate.tables import collect_evaluations, read_table, tabulate
from arseg.metrics.metric import AGREEMENT
from arseg.spec import Encoding, Rate

PUBLISHED_COLUMNS = ("dataset", "split", "backbone", "mode", "scale", "gop", "bitrate_mbps", "distance", "miou")

CONFIGURATION = ["dataset", "backbone", "mode", "scale", "gop", "rate"]
"""What makes a result comparable to a published one."""

RESULT = ["dataset", "split", "backbone", "encoding", "gop", "rate", "mode", "scale"]
"""What tells one compared result from another."""

CLASSES = ["num_classes_present", "classes_without_labels"]
"""What the means are over; published result files do not say."""


def read_published_values(path: str | Path) -> pd.DataFrame:
    """Return the sheet of published values: `CONFIGURATION`, published_split, distance and published (mIoU, 0 ... 1).

    Raises
    ------
    DataError
        If the sheet is missing or lacks a column.
    """
    hint = "It comes with arseg's sources, in config/; name it with --published"
    try:
        with reading(Path(path)):
            values = pd.read_csv(path)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such sheet of published values. {hint}") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a CSV sheet ({error}). {hint}") from error
    if missing := [name for name in PUBLISHED_COLUMNS if name not in values.columns]:
        problem = separator_problem(values.columns) or f"the sheet lacks the column {missing[0]}. {hint}"
        raise DataError(f"{path}: {problem}")
    values["rate"] = list(map(Rate.from_mbps, values["bitrate_mbps"]))
    values = values[[*CONFIGURATION, "split", "distance", "miou"]]
    return values.rename(columns={"split": "published_split", "miou": "published"})


def read_result(path: str | Path) -> pd.DataFrame:
    """Return the tidy table of a result: a table (.csv) or an evaluation of a whole split (.npz).

    Raises
    ------
    DataError
        If a file is of neither form, missing or damaged, or its labels are HR's.
    """
    path = Path(path)
    if path.suffix not in (".csv", ".npz"):
        raise DataError(f"{path}: expected a table (.csv), an evaluation (.npz) or a published result (.txt)")
    table = read_table(path) if path.suffix == ".csv" else tabulate(collect_evaluations([path]))
    if AGREEMENT in table:
        raise DataError(f"{path}: is agreement with HR, and what was published is mIoU. Give results with true labels.")
    return table


def compare(results: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """Return results beside the published values.

    Parameters
    ----------
    results : DataFrame
        Columns of `RESULT`, "seed", "distance" and "miou", and of `CLASSES` if known, as in tidy tables. Split and
        encoding are empty where a result does not say.
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
    results = results.reindex(columns=[*RESULT, "seed", "distance", "miou", *CLASSES])
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
    """Return a comparison in Markdown: for each data set and network a table with a row per distance."""
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
    """Return what is not as it was for the published value."""
    expected = Encoding(rate=row["rate"], gop=row["gop"]).name
    if row["encoding"] in ("", f"{expected}-imported"):  # not known, or the published clips themselves
        return ""
    pairs = (("split", row["published_split"]), ("encoding", expected))
    return "; ".join(f"{name} {row[name]} instead of {wanted}" for name, wanted in pairs if row[name] != wanted)


def _names(configurations: pd.DataFrame) -> list[str]:
    form = "{dataset} {backbone} {mode} {scale}x, GOP {gop}, {rate}"
    return [form.format_map(row) for _, row in configurations[CONFIGURATION].drop_duplicates().iterrows()]
