"""The history of a training: a row of losses and scores per epoch, as a CSV file."""

import csv
from collections.abc import Sequence
from pathlib import Path

from arseg.files import atomic_path


def write_history(path: Path, rows: Sequence[dict[str, float]]) -> None:
    """Write all rows anew, so that the file of a resumed training is whole and equal.

    Parameters
    ----------
    path : Path
        CSV file; written whole or not at all.
    rows : sequence of dict
        Losses and scores by name; what a row lacks stays empty.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({name: f"{value:.6g}" for name, value in row.items()})
