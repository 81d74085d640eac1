"""Curves of accuracy: against the distance to the keyframe, and against cost."""

from collections.abc import Iterator
from math import ceil
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from arseg.errors import ConfigError
from arseg.evaluate.tables import groups, scores
from arseg.metrics.metric import describe_score
from arseg.plots.style import STYLE, describe_setting, save_figure

MAX_COLUMNS = 3
PANEL_SIZE_INCHES = (4.6, 3.5)
TITLE_WIDTH = 44
"""Characters of a line above a panel."""

MODE_LINES: dict[Any, Any] = {
    "HR": {"linestyle": "-", "marker": "s", "color": "black"},
    "WARP": {"linestyle": "-.", "marker": "^", "color": "#CC79A7"},
    "AR": {"linestyle": "-", "marker": "o"},
    "LR": {"linestyle": "--", "marker": "o", "markerfacecolor": "white"},
}
"""Solid and filled for AR, dashed and hollow for LR: the modes differ without their colours, too."""

PUBLISHED_LINE: dict[Any, Any] = {"linestyle": ":", "linewidth": 1.6, "markersize": 2.5, "zorder": 2}

MODE_COLORS = {"HR": "black", "WARP": "#CC79A7", "AR": "#0072B2", "LR": "#D55E00"}
"""Where colour does not tell scales apart it tells modes apart (colours of Okabe and Ito's palette)."""

MODE_LABELS = {"HR": "HR, full", "WARP": "WARP, propagated", "AR": "AR, altering", "LR": "LR, constant low"}


def score_by_distance(
    table: pd.DataFrame, output: str | Path, comparison: pd.DataFrame | None = None, score: str = "miou"
) -> None:
    """Draw a score, a column of a tidy table, against the reference distance d.

    There is one line per mode and scale, and one panel per setting. Lines are means over seeds; with several seeds a
    band spans their least and greatest value. Published mIoU, from `arseg.evaluate.compare.compare`, is dotted in the
    same colours.

    Raises
    ------
    ConfigError
        If the table has no such scores.
    """
    name, colors = _score_name(table, score), _scale_colors(table)
    with mpl.rc_context(STYLE):
        figure, panels = _panels(table)
        for axes, part in panels:
            for (mode, scale), rows in part.groupby(["mode", "scale"]):
                by_distance = 100 * rows.groupby("distance")[score].agg(["mean", "min", "max"])
                line = {"color": colors[scale], **MODE_LINES[mode]}
                axes.plot(by_distance.index, by_distance["mean"], markersize=4.5, zorder=3, **line)
                if rows["seed"].nunique() > 1:
                    band = (by_distance.index, by_distance["min"], by_distance["max"])
                    axes.fill_between(*band, color=line["color"], alpha=0.15, linewidth=0)
            for mode, scale, distances, miou in _published_lines(comparison, part):
                axes.plot(distances, miou, **{**MODE_LINES[mode], "color": colors[scale], **PUBLISHED_LINE})
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _label_axes(figure, "reference distance d (frames)", f"{name} at distance d (%)")
        shown = table[["mode", "scale"]].drop_duplicates().itertuples(index=False)
        # AR before LR of each scale, HR last: a two-row legend then has one scale per column.
        handles = [
            Line2D([], [], label=f"{mode} {scale}×", markersize=4.5, **{"color": colors[scale], **MODE_LINES[mode]})
            for mode, scale in sorted(shown, key=lambda line: (line.mode == "HR", line.scale, line.mode))
        ]
        if comparison is not None:
            handles.append(Line2D([], [], label="published", color="0.3", **PUBLISHED_LINE))
        columns = len(handles) if len(handles) <= 4 else ceil(len(handles) / 2)
        figure.legend(handles=handles, loc="outside lower center", ncols=columns, handlelength=2.8)
        save_figure(figure, output)


def score_by_cost(table: pd.DataFrame, output: str | Path, score: str = "miou") -> None:
    """Draw the mean of a score over distances and seeds against cost: a series per mode, its points named by scale.

    Raises
    ------
    ConfigError
        If the table has no such scores.
    """
    name = _score_name(table, score)
    with mpl.rc_context(STYLE):
        figure, panels = _panels(table)
        modes = [mode for mode in MODE_LINES if mode in set(table["mode"])]
        for axes, part in panels:
            for mode in modes:
                points = part[part["mode"] == mode].groupby("scale")[["gmacs_per_frame", score]].mean()
                cost, miou = points["gmacs_per_frame"], 100 * points[score]
                axes.plot(cost, miou, zorder=3, **{**MODE_LINES[mode], "color": MODE_COLORS[mode]})
                if mode == "HR" and len(miou):
                    axes.axhline(miou.iloc[0], color="black", linewidth=0.8, linestyle=":", zorder=1)
                # Curves rise to the right and AR lies above LR: room for labels is up left and down right.
                offset, align = ((6, -3), ("left", "top")) if mode == "LR" else ((2, 5), ("right", "bottom"))
                for scale in points.index:
                    axes.annotate(
                        f"{scale}×",
                        (cost[scale], miou[scale]),
                        offset,
                        textcoords="offset points",
                        ha=align[0],
                        va=align[1],
                        fontsize=8,
                        color=MODE_COLORS[mode],
                    )
            axes.margins(x=0.08, y=0.15)
        _label_axes(figure, "cost (GMACs per frame)", f"{name}, mean over distances (%)")
        handles = [
            Line2D([], [], label=MODE_LABELS[mode], **{**MODE_LINES[mode], "color": MODE_COLORS[mode]})
            for mode in modes
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 2), handlelength=2.8)
        save_figure(figure, output)


def _published_lines(comparison: pd.DataFrame | None, part: pd.DataFrame) -> Iterator[tuple[Any, ...]]:
    """Yield mode, scale, distances and percents of the published lines that belong to a panel."""
    if comparison is None:
        return
    setting = ["dataset", "split", "backbone", "encoding"]
    of_panel = (comparison[setting] == part[setting].iloc[0]).all(axis=1)
    for (mode, scale), rows in comparison[of_panel].groupby(["mode", "scale"]):
        yield mode, scale, rows["distance"], 100 * rows["published"]


def _score_name(table: pd.DataFrame, score: str) -> str:
    """Return what an axis calls a column of scores."""
    if score not in scores(table):
        raise ConfigError(f"--metric {score}: the table has no such column; expected one of {', '.join(scores(table))}")
    return describe_score(score)


def _panels(table: pd.DataFrame) -> tuple[Figure, Iterator[tuple[Axes, pd.DataFrame]]]:
    """Make a figure with one titled panel per setting; the y axis is shared within one data set."""
    parts = list(groups(table))
    titles = _titles([setting for setting, _ in parts])
    columns = 2 if len(parts) == 4 else min(MAX_COLUMNS, len(parts))
    rows = ceil(len(parts) / columns)
    width, height = PANEL_SIZE_INCHES
    figure = Figure(figsize=(max(columns * width, 5.6), rows * height + 0.4))
    grid = figure.subplots(rows, columns, squeeze=False, sharey=table["dataset"].nunique() == 1).ravel()
    for axes, title in zip(grid, titles, strict=False):
        lines = (fill(line, TITLE_WIDTH, break_long_words=False, break_on_hyphens=False) for line in title.splitlines())
        axes.set_title("\n".join(lines), loc="left", color="0.2")
        axes.tick_params(labelleft=True)  # of shared axes, all but the first column would lose their numbers
    for unused in grid[len(parts) :]:
        unused.remove()
    return figure, zip(grid, (part for _, part in parts), strict=False)


def _titles(settings: list[dict[str, Any]]) -> list[str]:
    """Title panels in words, and by the encoding's name where words do not tell them apart."""
    titles = [describe_setting(setting) for setting in settings]
    return [
        f"{title.splitlines()[0]}\n{setting['encoding']}" if titles.count(title) > 1 else title
        for title, setting in zip(titles, settings, strict=True)
    ]


def _label_axes(figure: Figure, x: str, y: str) -> None:
    """Label the outer panels only: the first of each row, the last of each column."""
    places = [(axes, axes.get_subplotspec()) for axes in figure.axes]
    last_rows = {}
    for axes, place in places:
        if place is not None:
            last_rows[place.colspan.start] = axes
            if place.is_first_col():
                axes.set_ylabel(y)
    for axes in last_rows.values():
        axes.set_xlabel(x)


def _scale_colors(table: pd.DataFrame) -> dict[Any, tuple[float, ...]]:
    """One colour per scale, from viridis: ordered, and safe for colour-blind readers."""
    scales = sorted(table.loc[table["mode"].isin(("LR", "AR")), "scale"].unique())
    viridis = mpl.colormaps["viridis"]
    # Its yellow end is left out: too pale for a line on white.
    places = [0.35] if len(scales) == 1 else [0.85 * rank / (len(scales) - 1) for rank in range(len(scales))]
    colors = {scale: viridis(place) for scale, place in zip(scales, places, strict=True)}
    return {1.0: (0.0, 0.0, 0.0, 1.0), **colors}
