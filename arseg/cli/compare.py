"""``arseg compare``."""

from pathlib import Path

import pandas as pd

from arseg.compat.results import read_published
from arseg.evaluate.compare import compare as compare_with_published
from arseg.evaluate.compare import read_published_values, read_result, summarize_comparison
from arseg.files import atomic_path
from arseg.provenance.recording import records


@records("compare", inputs=["results", "published"], outputs=["csv", "summary"])
def compare(
    results: list[Path],
    *,
    published: Path = Path("config/published-miou.csv"),
    csv: Path | None = None,
    summary: Path | None = None,
) -> None:
    """Put results beside the published values, and print the differences at each distance.

    Parameters
    ----------
    results : list of Path
        Tables (miou.csv), evaluations (.npz) or result files under published names (.txt).
    published : Path
        CSV of the published values.
    csv : Path
        Table of the comparison to write, a row per distance.
    summary : Path
        The printed text to write as Markdown.
    """
    tables = [read_published(path) if path.suffix == ".txt" else read_result(path) for path in results]
    comparison = compare_with_published(pd.concat(tables, ignore_index=True), read_published_values(published))
    text = summarize_comparison(comparison)
    print(text)
    if csv:
        with atomic_path(csv) as temporary:
            comparison.to_csv(temporary, index=False, float_format="%.6f", lineterminator="\n")
        print(f"wrote {csv}")
    if summary:
        with atomic_path(summary) as temporary:
            temporary.write_text(text, encoding="utf-8")
        print(f"wrote {summary}")
