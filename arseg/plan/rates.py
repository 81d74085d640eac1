"""The table of measured rates: processor seconds, and bytes, per unit of work."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from arseg.access import reading
from arseg.errors import ConfigError

TABLE = Path(__file__).with_name("rates.csv")

COLUMNS = ("rate", "value", "unit", "measured")


@dataclass(frozen=True)
class Rate:
    """One line of the table."""

    value: float
    unit: str
    measured: str
    """Where the value comes from."""


class Rates(Mapping[str, float]):
    """Values by name, such as ``encode hevc medium``."""

    def __init__(self, table: Mapping[str, Rate]) -> None:
        self._table = table

    def __getitem__(self, name: str) -> float:
        return self._table[name].value

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)

    @property
    def machines(self) -> list[str]:
        """What the rates were measured on, each once."""
        return list(dict.fromkeys(rate.measured for rate in self._table.values()))


def read_rates(own: Path | None = None) -> Rates:
    """Read the package's table, with the lines of another one in place of those of the same name.

    Parameters
    ----------
    own : Path, optional
        Table of another machine, as ``benchmarks/rates.py`` prints it.

    Raises
    ------
    ConfigError
        If it is missing, or a line does not fit.
    """
    table = _read(TABLE)
    if own is not None:
        table |= _read(own, known=set(table))
    return Rates(table)


def _read(path: Path, known: set[str] | None = None) -> dict[str, Rate]:
    try:
        with reading(path), path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (FileNotFoundError, UnicodeDecodeError) as error:
        raise ConfigError(f"--rates {path}: cannot be read ({error}). Make it: python benchmarks/rates.py") from error
    table = {}
    for number, row in enumerate(rows, 2):
        try:
            value = float(row["value"])
        except (KeyError, TypeError, ValueError):
            value = 0.0
        name = row.get("rate") or ""
        if value <= 0 or (known is not None and name not in known):
            raise ConfigError(
                f"--rates {path}:{number}: expected a rate that is known ({', '.join(COLUMNS)}) with a value above 0, "
                f"found {name!r} {row.get('value')!r}. Make the table: python benchmarks/rates.py"
            )
        table[name] = Rate(value, row.get("unit") or "", row.get("measured") or "")
    return table
