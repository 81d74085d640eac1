"""CSV sheets that people edit: reading with errors that name file, line and column, and plain writing."""

import csv
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from arseg.access import reading
from arseg.errors import DataError

SEPARATORS = {";": "semicolons", "\t": "tabs"}
"""What spreadsheets put between cells instead of commas, where the comma is the decimal point."""


@dataclass(frozen=True)
class SheetRow:
    """One line of a sheet."""

    place: str
    """File and line number, as error messages begin."""
    cells: dict[str, str]
    """Stripped text by column."""

    def integer(self, column: str, minimum: int, maximum: int | None = None) -> int:
        """Return the whole number in a cell; a DataError says that there is none, or that it is out of range."""
        try:
            value = int(self.cells[column])
        except ValueError:
            value = minimum - 1
        if value < minimum or (maximum is not None and value > maximum):
            bounds = f"of {minimum} or more" if maximum is None else f"from {minimum} to {maximum}"
            raise DataError(f"{self.place}: {column} is {self.cells[column]!r}, expected a whole number {bounds}")
        return value

    def optional_integer(self, column: str, minimum: int) -> int | None:
        """Return the whole number in a cell, or None if the cell is empty."""
        return self.integer(column, minimum) if self.cells[column] else None


def read_sheet(path: Path, columns: Sequence[str], hint: str, *, optional: Sequence[str] = ()) -> list[SheetRow]:
    """Read the named columns of a CSV with a header; cells are stripped, empty lines are left out.

    The cells of an optional column that is missing are empty.

    A DataError says that the file is missing, is no text, or separates its cells by something else than commas, that a
    column is missing or occurs twice, or a line has another number of cells than the header; `hint` ends its message.
    """

    def damaged(error: Exception) -> DataError:
        return DataError(f"{path}: cannot be read as a CSV sheet in UTF-8 ({error}). {hint}")

    try:
        with (
            reading(path, damaged, UnicodeDecodeError, csv.Error),
            path.open(newline="", encoding="utf-8-sig") as stream,  # spreadsheets write a byte-order mark
        ):
            reader = csv.reader(stream)
            first_line = next(reader, [])
            header = [name.strip() for name in first_line]
            if missing := [name for name in columns if name not in header]:
                problem = separator_problem(first_line) or (
                    f"missing column {', '.join(missing)}; expected {','.join(columns)}, "
                    f"found {','.join(header) or 'an empty file'}. {hint}"
                )
                raise DataError(f"{path}:1: {problem}")
            wanted = (*columns, *optional)
            if twice := [name for name in wanted if header.count(name) > 1]:
                raise DataError(f"{path}:1: the column {twice[0]} occurs {header.count(twice[0])} times. Keep one.")
            rows = []
            for cells in reader:
                if not any(cell.strip() for cell in cells):
                    continue
                if len(cells) != len(header):
                    problem = f"{len(cells)} cells, expected {len(header)} as in the header"
                    raise DataError(f"{path}:{reader.line_num}: {separator_problem(cells) or problem}")
                by_column = dict(zip(header, (cell.strip() for cell in cells), strict=True))
                rows.append(SheetRow(f"{path}:{reader.line_num}", {name: by_column.get(name, "") for name in wanted}))
            return rows
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such sheet. {hint}") from error


def separator_problem(cells: Collection[str]) -> str:
    """Return the fix if what is between a line's commas is not separated by commas; else an empty text."""
    for separator, name in SEPARATORS.items():
        if any(separator in cell for cell in cells):
            return (
                f"its cells are separated by {name}, expected commas. In the spreadsheet's dialogue for CSV choose the "
                f"comma as separator (LibreOffice: field delimiter), or replace the {name} by commas."
            )
    return ""


def write_sheet(path: Path, columns: Sequence[str], rows: Iterable[Iterable[object]]) -> None:
    """Write a CSV with a header, with the same bytes on every platform."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
