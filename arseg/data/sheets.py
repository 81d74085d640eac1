"""CSV sheets that people edit: reading with errors that name file, line and column, and plain writing."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from arseg.access import reading
from arseg.errors import DataError


@dataclass(frozen=True)
class SheetRow:
    """One line of a sheet."""

    place: str
    """File and line number, as error messages begin."""
    cells: dict[str, str]
    """Stripped text by column."""

    def integer(self, column: str, minimum: int, maximum: int | None = None) -> int:
        """Whole number in a cell.

        Raises
        ------
        DataError
            If the cell holds something else or is out of range.
        """
        try:
            value = int(self.cells[column])
        except ValueError:
            value = minimum - 1
        if value < minimum or (maximum is not None and value > maximum):
            bounds = f"of {minimum} or more" if maximum is None else f"from {minimum} to {maximum}"
            raise DataError(f"{self.place}: {column} is {self.cells[column]!r}, expected a whole number {bounds}")
        return value

    def optional_integer(self, column: str, minimum: int) -> int | None:
        """Whole number in a cell, or None if the cell is empty."""
        return self.integer(column, minimum) if self.cells[column] else None


def read_sheet(path: Path, columns: Sequence[str], mend: str) -> list[SheetRow]:
    """Read a CSV with a header; cells are stripped, empty lines are left out.

    Parameters
    ----------
    path : Path
        The sheet.
    columns : sequence of str
        Columns that it must have; others are ignored.
    mend : str
        What the user can do when the sheet is missing or incomplete; ends the error message.

    Raises
    ------
    DataError
        If the file is missing, is no text, or lacks a column, or a line has fewer cells than the header.
    FileAccessError
        If the operating system does not let it be read.
    """

    def damaged(error: Exception) -> DataError:
        return DataError(f"{path}: cannot be read as a CSV sheet in UTF-8 ({error}). {mend}")

    try:
        with (
            reading(path, damaged, UnicodeDecodeError, csv.Error),
            path.open(newline="", encoding="utf-8-sig") as stream,  # spreadsheets write a byte-order mark
        ):
            reader = csv.reader(stream)
            header = [name.strip() for name in next(reader, [])]
            missing = [name for name in columns if name not in header]
            if missing:
                raise DataError(
                    f"{path}:1: missing column {', '.join(missing)}; expected {','.join(columns)}, "
                    f"found {','.join(header) or 'an empty file'}. {mend}"
                )
            rows = []
            for cells in reader:
                if not any(cell.strip() for cell in cells):
                    continue
                if len(cells) != len(header):
                    raise DataError(
                        f"{path}:{reader.line_num}: {len(cells)} cells, expected {len(header)} as in the header"
                    )
                by_column = dict(zip(header, (cell.strip() for cell in cells), strict=True))
                rows.append(SheetRow(f"{path}:{reader.line_num}", {name: by_column[name] for name in columns}))
            return rows
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such sheet. {mend}") from error


def write_sheet(path: Path, columns: Sequence[str], rows: Iterable[Iterable[object]]) -> None:
    """Write a CSV with a header, with the same bytes on every platform."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
