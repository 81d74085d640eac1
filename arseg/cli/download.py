"""``arseg download``."""

from pathlib import Path

from arseg.data.download import download as download_file
from arseg.data.download import read_files_sheet
from arseg.errors import DataError
from arseg.provenance.recording import records


@records("download", inputs=["sheet"], outputs=["output"])
def download(name: str, /, *, sheet: Path, output: Path) -> None:
    """Download a file from the first of its mirrors that gives it; run again, it continues where it broke off.

    Parameters
    ----------
    name : str
        Name of the file in the sheet.
    sheet : Path
        CSV of the columns file, url, sha256, bytes; several lines of one file are its mirrors.
    output : Path
        Where the file shall be.
    """
    files = read_files_sheet(sheet)
    if name not in files:
        raise DataError(f"{sheet}: no file {name!r}; it lists {', '.join(files)}. Choose one of them, or add a line.")
    download_file(files[name], output)
    print(f"wrote {output}")
