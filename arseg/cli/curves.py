"""``arseg plot curves``: no network runs, and PyTorch is not loaded."""

from pathlib import Path

from arseg.cli.options import Figure
from arseg.evaluate.compare import compare, read_published_values
from arseg.evaluate.tables import read_table
from arseg.plots.curves import accuracy_by_cost, miou_by_distance
from arseg.provenance.recording import records


@records("plot curves", inputs=["table", "published"], outputs=["by_distance", "by_cost"])
def curves(table: Path, *, by_distance: Figure, by_cost: Figure, published: Path | None = None) -> None:
    """Draw mIoU by reference distance, and mean mIoU by cost.

    Parameters
    ----------
    table : Path
        Tidy table that `arseg tabulate` wrote.
    by_distance : Path
        Figure to write (.png, .pdf, .svg): mIoU against the frames since the keyframe.
    by_cost : Path
        Figure to write, likewise: mean mIoU against multiply-accumulates per frame.
    published : Path
        CSV of published values, to draw those of the same configurations beside ours.
    """
    data = read_table(table)
    comparison = compare(data, read_published_values(published)) if published else None
    miou_by_distance(data, by_distance, comparison)
    accuracy_by_cost(data, by_cost)
    for path in (by_distance, by_cost):
        print(f"wrote {path}")
