"""Many videos: files, patterns and sheets to files by name."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from arseg.data.sheets import read_sheet
from arseg.errors import DataError

WILDCARD = re.compile(r"[*?\[]")


def match_files(pattern: str, place: str) -> list[Path]:
    """Return the files that a pattern names, sorted; `place` begins the message of the DataError if there is none."""
    file = Path(pattern)
    if file.is_dir():
        raise DataError(f"{place}: {pattern} is a folder. Name the videos in it by a pattern: {file / '*.mp4'}")
    files = [file] if file.is_file() else sorted(Path(file.anchor).glob(str(file.relative_to(file.anchor))))
    if not files:
        raise DataError(f"{place}: no file is called {pattern}. Name a video, or a pattern (drives/*.mp4).")
    return files


def name_videos(lines: Sequence[str], place: str) -> dict[str, Path]:
    """Return videos by name: of those of a pattern, their paths from its first wildcard on, of others, their stems.

    Parameters
    ----------
    lines : sequence of str
        Files, patterns, and CSV sheets with the column ``video``, files and patterns relative to the sheet, and perhaps
        ``name``.
    place : str
        What they are, for messages: the key of a configuration.

    Raises
    ------
    DataError
        If a line names no file, or two files would have one name.
    """
    named: dict[str, Path] = {}
    for where, pattern, given in _lines(lines, place):
        for file in match_files(pattern, where):
            name = re.sub(r"[^A-Za-z0-9._-]+", "-", given or _name(file, pattern)).lstrip("-.")
            if named.setdefault(name, file) != file:
                raise DataError(
                    f"{where}: {file} and {named[name]} would both be called {name}. Name them in a sheet "
                    "(video,name), or rename one"
                )
    return named


def _lines(lines: Sequence[str], place: str) -> Iterator[tuple[str, str, str]]:
    for index, line in enumerate(lines):
        path = Path(line)
        if path.suffix.lower() != ".csv":
            yield f"{place}[{index}]", line, ""
            continue
        hint = "Give one video or pattern per line, below the header 'video'."
        for row in read_sheet(path, ("video",), hint, optional=("name",)):
            yield row.place, str(path.parent / row.cells["video"]), row.cells["name"]


def _name(file: Path, pattern: str) -> str:
    """Return the path of a file from the first folder on that its pattern leaves open, without suffix."""
    parts = Path(pattern).parts
    fixed = next((index for index, part in enumerate(parts) if WILDCARD.search(part)), len(parts) - 1)
    return "/".join(file.with_suffix("").parts[fixed:])
