"""One line per video: what became of it, as CSV and as Markdown."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from arseg.data.sheets import read_sheet, write_sheet
from arseg.errors import DataError
from arseg.files import atomic_path

COLUMNS = (
    *("video", "file", "duration_s", "frames", "lost", "damaged", "motion", "keyframes", "parts", "time_s"),
    *("gmacs_per_frame", "percent_of_hr", "remark", "error"),
)


def write_table(summaries: Mapping[str, Mapping[str, Any]], table: Path, page: Path) -> None:
    """Write the table of videos by their names, from summaries of `arseg.infer.many`, as CSV and as Markdown."""
    rows = [_row(name, summary) for name, summary in summaries.items()]
    with atomic_path(table) as temporary:
        write_sheet(temporary, COLUMNS, rows)
    shown = [["" if cell is None else str(cell).replace("|", "\\|") for cell in row] for row in rows]
    text = tabulate(shown, COLUMNS, tablefmt="github", disable_numparse=True)
    with atomic_path(page) as temporary:
        temporary.write_text(f"{_headline(rows)}\n\n{text}\n", encoding="utf-8")


def check_table(table: Path) -> int:
    """Return how many videos a table has; a DataError says which of them could not be segmented."""
    rows = [row.cells for row in read_sheet(table, COLUMNS, "Make it again: arseg videos tabulate ...")]
    broken = [row for row in rows if row["error"]]
    if broken:
        named = "".join(f"\n  {row['video']}: {row['error']}" for row in broken)
        raise DataError(
            f"{table}: {len(broken)} of {len(rows)} videos could not be segmented. Correct the files, or take them out "
            f"of segment.videos, and run again:{named}"
        )
    return len(rows)


def _headline(rows: Sequence[Sequence[Any]]) -> str:
    hours = sum(row[2] or 0 for row in rows) / 3600
    broken = sum(bool(row[-1]) for row in rows)
    return f"{len(rows)} videos, {hours:.2f} hours, {sum(row[3] or 0 for row in rows)} frames; {broken} not segmented"


def _row(name: str, summary: Mapping[str, Any]) -> list[Any]:
    if "error" in summary:
        return [name, summary["video"], *[None] * (len(COLUMNS) - 3), summary["error"]]
    keyframes, frames = summary["keyframes"], summary["frames"]
    motion = "none" if keyframes is None else "encoded again" if summary["reencoded_because"] else "stream"
    return [
        name,
        summary["video"],
        round(summary["video_seconds"], 3),
        frames,
        summary["frames_lost"],
        summary["frames_damaged"],
        motion,
        frames if keyframes is None else sum(keyframes.values()),
        summary.get("parts", 1),
        summary["seconds"],
        float(f"{summary['macs'] / frames / 1e9:.4g}"),
        round(100 * summary["macs"] / summary["hr_macs"], 1),
        summary["ended_early"] and f"ended early: {summary['ended_early']}",
        None,
    ]
