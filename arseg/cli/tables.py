"""``arseg tabulate``: no network runs, and neither PyTorch nor Matplotlib is loaded."""

from pathlib import Path

from arseg.compat.results import write_published
from arseg.evaluate.summary import write_summary
from arseg.evaluate.tables import collect_evaluations, write_table
from arseg.evaluate.tables import tabulate as tidy_table
from arseg.files import atomic_path, refuse_filled
from arseg.provenance.recording import records


@records("tabulate", inputs=["evaluations"], outputs=["csv", "summary", "published"])
def tabulate(evaluations: list[Path], *, csv: Path, summary: Path, published: Path) -> None:
    """Collect evaluations into one tidy CSV, a Markdown summary, and published result files.

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
    refuse_filled(published)
    results = collect_evaluations(evaluations)
    table = tidy_table(results)
    write_table(table, csv)
    write_summary(table, summary)
    with atomic_path(published) as folder:
        folder.mkdir()
        for result in results:
            settings = result.settings
            if settings.mode == "warp":  # nothing of the kind was published
                continue
            write_published(result, folder / result.encoding_name / f"seed{settings.seed}")
    for path in (csv, summary, published):
        print(f"wrote {path}")
