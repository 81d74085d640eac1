"""The tidy table of all scores, one row per reference distance, 0 ... 1.

The summary (`arseg.evaluate.summary`), figures and everything else are made from it alone.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd

from arseg.access import reading
from arseg.data.sheets import separator_problem
from arseg.errors import DataError
from arseg.evaluate.result import Evaluation, load_evaluation, merge_evaluations
from arseg.files import atomic_path
from arseg.metrics.metric import AGREEMENT, main_score
from arseg.spec import Mode, Rate

GROUP_COLUMNS = ["dataset", "split", "backbone", "codec", "rate", "gop", "encoding"]
"""What must be equal for two rows to be comparable: one table of the summary, one panel of a figure."""

KEY_COLUMNS = [*GROUP_COLUMNS, "seed", "mode", "scale", "distance"]
"""Columns that identify a row; a table is sorted by them."""

TEXT_COLUMNS = ("dataset", "split", "backbone", "codec", "rate", "encoding", "classes_without_labels")
MODES = tuple(mode.upper() for mode in get_args(Mode))
"""Mode names in tables and figures, in the order in which they are listed."""


def collect_evaluations(paths: Iterable[str | Path]) -> list[Evaluation]:
    """Read evaluation files, in any order, and add up those that are shards of one split.

    Raises
    ------
    DataError
        If a file is no evaluation, two contradict each other, a shard is missing, or a distance has no frame.
    """
    shards: dict[tuple[object, ...], list[tuple[Path, Evaluation]]] = defaultdict(list)
    for path in map(Path, paths):
        evaluation = load_evaluation(path)
        shards[tuple(_key(evaluation).values())].append((path, evaluation))
    if not shards:
        raise DataError("no evaluation to put into the table; give at least one file of arseg evaluate")
    return [_merge(parts) for parts in shards.values()]


def tabulate(evaluations: Iterable[Evaluation]) -> pd.DataFrame:
    """Return evaluations of whole splits as one tidy table.

    Returns
    -------
    table : DataFrame
        One row per distance, sorted. Columns dataset, split, backbone, codec, rate, gop, encoding (the name that
        tells preset and other settings, too), seed, mode (one of `MODES`), scale (1.0, 0.5, ...), distance,
        miou, miou_no_void, num_classes_present and num_classes_no_void (over how many classes these means are),
        classes_without_labels (names with ";" between them), the columns of other metrics, gmacs_per_frame, and
        ``iou_<class>`` for each class of any data set (NaN where a data set lacks it). Where HR made the labels, scores
        have the names that `arseg.metrics.metric.agreement_name` gives them.

    Raises
    ------
    DataError
        If some labels are true and others are HR's.
    """
    evaluations = list(evaluations)
    by_teacher = {
        result.settings.labelled_by: f"{result.settings.dataset} {result.settings.split}" for result in evaluations
    }
    if len(by_teacher) > 1:
        teacher = max(by_teacher)
        raise DataError(
            f"the labels of {by_teacher['']} are true, those of {by_teacher[teacher]} are {teacher}'s: no table has "
            "both mIoU and agreement. Give their evaluations to one arseg tabulate each."
        )
    # In a fixed order, so that the classes' columns do not depend on the order of the files.
    ordered = sorted(evaluations, key=lambda evaluation: repr(_key(evaluation)))
    return _sort(pd.concat([_rows(evaluation) for evaluation in ordered], ignore_index=True))


def write_table(table: pd.DataFrame, path: str | Path) -> None:
    """Write a tidy table as CSV; the same scores give the same bytes."""
    text = table.copy()
    for name in text.columns:
        if name not in KEY_COLUMNS and name != "gmacs_per_frame" and text[name].dtype == float:
            text[name] = text[name].map(lambda score: "" if np.isnan(score) else f"{score:.8f}")
    text["gmacs_per_frame"] = text["gmacs_per_frame"].map("{:.4f}".format)
    with atomic_path(Path(path)) as temporary:
        text.to_csv(temporary, index=False, lineterminator="\n")


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a tidy table that `write_table` of this or an older version wrote.

    Raises
    ------
    DataError
        If the file is missing or lacks a column that every table has had. Whoever asks for another one misses it.
    """
    try:
        with reading(Path(path)):
            table = pd.read_csv(path, dtype=dict.fromkeys(TEXT_COLUMNS, str))
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such table. Make it: arseg tabulate ...") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a table ({error}). Make it again: arseg tabulate ...") from error
    needed = [*KEY_COLUMNS, main_score(table), "gmacs_per_frame"]
    if missing := [name for name in needed if name not in table.columns]:
        lacking = f"the table lacks the column {missing[0]}. Make it again: arseg tabulate ..."
        raise DataError(f"{path}: {separator_problem(table.columns) or lacking}")
    if "classes_without_labels" in table.columns:
        table["classes_without_labels"] = table["classes_without_labels"].fillna("")  # as an empty cell is read
    return table


def groups(table: pd.DataFrame) -> Iterator[tuple[dict[str, object], pd.DataFrame]]:
    """Yield the comparable parts of a tidy table: the values of `GROUP_COLUMNS`, and the rows, in their order."""
    for values, part in table.groupby(GROUP_COLUMNS, sort=False):
        yield dict(zip(GROUP_COLUMNS, values, strict=True)), part


def scores(table: pd.DataFrame) -> list[str]:
    """Return the columns of a tidy table with scores of all classes together, those of mIoU or agreement first."""
    floats = table.select_dtypes("float").columns
    return [name for name in floats if name not in ("scale", "gmacs_per_frame") and not _is_of_class(name)]


def _is_of_class(column: str) -> bool:
    return column.startswith(("iou_", f"{AGREEMENT}_iou_"))


def _key(evaluation: Evaluation) -> dict[str, Any]:
    """Return `KEY_COLUMNS` but the distance, which tell evaluations apart; shards must agree in all other settings."""
    settings = evaluation.settings
    return {
        **{name: getattr(settings, name) for name in ("dataset", "split", "backbone")},
        **{name: getattr(settings.encoding, name) for name in ("codec", "rate", "gop")},
        "encoding": evaluation.encoding_name,
        "seed": settings.seed,
        "mode": settings.mode.upper(),
        "scale": settings.scale_percent / 100,
    }


def _merge(parts: list[tuple[Path, Evaluation]]) -> Evaluation:
    names = ", ".join(str(path) for path, _ in parts)
    try:
        merged = merge_evaluations([evaluation for _, evaluation in parts])
    except DataError as error:
        raise DataError(f"{names}: {error}") from error
    settings = merged.settings
    if not merged.is_complete:
        missing = sorted(set(range(settings.num_shards)) - set(merged.shards))
        raise DataError(
            f"{names}: shard {missing[0]} of {settings.num_shards} is missing. Evaluate it and give its file, too."
        )
    if not merged.num_frames.all():
        raise DataError(
            f"{names}: no frame at distance {int(np.argmin(merged.num_frames))}. Make clips at every "
            f"distance from 0 to {settings.encoding.gop - 1}: arseg clips ..."
        )
    return merged


def _rows(evaluation: Evaluation) -> pd.DataFrame:
    return pd.DataFrame(
        {
            **_key(evaluation),
            "distance": np.arange(evaluation.settings.encoding.gop),
            **{name: values for name, values in evaluation.columns.items() if not _is_of_class(name)},
            "gmacs_per_frame": evaluation.gmacs_per_frame,
            **{name: values for name, values in evaluation.columns.items() if _is_of_class(name)},
        }
    )


def _sort(table: pd.DataFrame) -> pd.DataFrame:
    """Sort by the key, with rates by number and modes in their own order."""

    def sort_key(column: pd.Series) -> pd.Series:
        if column.name == "rate":
            return column.map(lambda rate: Rate(rate).sort_key)
        return column.map(MODES.index) if column.name == "mode" else column

    return table.sort_values(KEY_COLUMNS, key=sort_key, kind="stable", ignore_index=True)
