"""``arseg tabulate`` and ``arseg plot curves``: no network runs, and PyTorch is not loaded."""

from pathlib import Path

from arseg.evaluate.compare import compare, read_published_values, read_results
from arseg.evaluate.published import from_evaluation, write_published
from arseg.evaluate.tables import collect_evaluations, read_table, write_summary, write_table
from arseg.evaluate.tables import tabulate as tidy_table
from arseg.files import atomic_path
from arseg.plots.curves import accuracy_by_cost, miou_by_distance
from arseg.provenance.recording import records


@records("tabulate", inputs=["evaluations"], outputs=["csv", "summary", "published"])
def tabulate(evaluations: list[Path], *, csv: Path, summary: Path, published: Path) -> None:
    """Collect evaluations into one tidy CSV, a Markdown summary, and result files under the authors' names.

    Parameters
    ----------
    evaluations : list of Path
        Evaluations (.npz); shards of one run are added up.
    csv : Path
        Tidy table to write, a row per distance.
    summary : Path
        Markdown table to write.
    published : Path
        Folder to write, with a folder per encoding and seed in it.
    """
    results = collect_evaluations(evaluations)
    table = tidy_table(results)
    write_table(table, csv)
    write_summary(table, summary)
    with atomic_path(published) as folder:
        for result in results:
            settings = result.settings
            write_published(from_evaluation(result), folder / settings.encoding / f"seed{settings.seed}")
    for path in (csv, summary, published):
        print(f"wrote {path}")


@records("plot curves", inputs=["table", "published"], outputs=["by_distance", "by_cost"])
def curves(table: Path, *, by_distance: Path, by_cost: Path, published: Path | None = None) -> None:
    """Draw mIoU by reference distance, and mean mIoU by cost.

    Parameters
    ----------
    table : Path
        Tidy table that `arseg tabulate` wrote.
    by_distance : Path
        Figure to write: mIoU against the frames since the keyframe.
    by_cost : Path
        Figure to write: mean mIoU against multiply-accumulates per frame.
    published : Path
        CSV of published values, to draw those of the same configurations beside ours.
    """
    data = read_table(table)
    comparison = compare(read_results([table]), read_published_values(published)) if published else None
    miou_by_distance(data, by_distance, comparison)
    accuracy_by_cost(data, by_cost)
    for path in (by_distance, by_cost):
        print(f"wrote {path}")
