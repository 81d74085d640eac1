"""``arseg tabulate``: no network runs, and neither PyTorch nor Matplotlib is loaded."""

from pathlib import Path

from arseg.compat.results import write_published
from arseg.errors import ConfigError
from arseg.evaluate.summary import write_summary
from arseg.evaluate.tables import collect_evaluations, write_table
from arseg.evaluate.tables import tabulate as tidy_table
from arseg.files import atomic_path, refuse_filled
from arseg.metrics.metric import AGREEMENT
from arseg.provenance.recording import records


@records("tabulate", inputs=["evaluations"], outputs=["csv", "summary", "published"])
def tabulate(evaluations: list[Path], *, csv: Path, summary: Path, published: Path | None = None) -> None:
    """Collect evaluations into one tidy CSV, a Markdown summary, and published result files.

    Parameters
    ----------
    evaluations : list of Path
        Evaluations (.npz); shards of one run are added up. Those with labels of HR need a table of their own.
    csv : Path
        Tidy table to write, a row per distance.
    summary : Path
        Markdown table to write.
    published : Path
        Folder to write, with a folder per encoding and seed in it; not of results with labels of HR.
    """
    if published:
        refuse_filled(published)
    results = collect_evaluations(evaluations)
    table = tidy_table(results)
    if published and AGREEMENT in table:
        raise ConfigError(
            f"--published {published}: what was published is mIoU, and these results are agreement with HR, which made "
            "their labels. Leave the option out"
        )
    write_table(table, csv)
    write_summary(table, summary)
    if published:
        with atomic_path(published) as folder:
            folder.mkdir()
            for result in results:
                settings = result.settings
                if settings.mode != "warp":  # nothing of the kind was published
                    write_published(result, folder / result.encoding_name / f"seed{settings.seed}")
    for path in filter(None, (csv, summary, published)):
        print(f"wrote {path}")
