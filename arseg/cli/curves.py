"""``arseg plot curves``: no network runs, and PyTorch is not loaded."""

from pathlib import Path

from arseg.evaluate.compare import compare, read_published_values
from arseg.evaluate.tables import read_table
from arseg.metrics.metric import AGREEMENT, agreement_name, metrics
from arseg.options import Figure
from arseg.plots.curves import score_by_cost, score_by_distance
from arseg.provenance.recording import records


@records("plot curves", inputs=["table", "published"], outputs=["by_distance", "by_cost"])
def curves(
    table: Path, *, by_distance: Figure, by_cost: Figure, published: Path | None = None, metric: str = "miou"
) -> None:
    """Draw a metric by reference distance, and its mean by cost.

    Parameters
    ----------
    table : Path
        Tidy table that `arseg tabulate` wrote, of mIoU or of agreement.
    by_distance : Path
        Figure to write (.png, .pdf, .svg): the metric against the frames since the keyframe.
    by_cost : Path
        Figure to write, likewise: its mean against multiply-accumulates per frame.
    published : Path
        CSV of published mIoU, to draw that of the same configurations beside ours.
    metric : str
        A registered metric, or another column of the table (miou_no_void); what was published is mIoU. In a table of
        agreement, miou is the agreement.
    """
    data = read_table(table)
    registered = metrics.find(metric)
    score = registered().score if registered else metric
    if AGREEMENT in data and score not in data:
        score = agreement_name(score)
    values = published if score == "miou" else None
    comparison = compare(data, read_published_values(values)) if values else None
    score_by_distance(data, by_distance, comparison, score)
    score_by_cost(data, by_cost, score)
    for path in (by_distance, by_cost):
        print(f"wrote {path}")
