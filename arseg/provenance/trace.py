"""Follow records from a result to what it was made from, and see whether the files are still those recorded."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arseg.errors import DataError
from arseg.provenance.fingerprint import SUFFIX, Fingerprint, is_same, read_record, record_path

AS_RECORDED, CHANGED, MISSING = "as recorded", "changed", "missing"
"""What became of a file since it was made, or was read."""


@dataclass(frozen=True)
class Origin:
    """A file or folder in the chain that leads to a result."""

    path: Path
    """Where it is."""
    depth: int
    """Commands between it and the result."""
    state: str
    record: dict[str, Any] | None
    """How it was made; None if that is not known, as of a user's own files."""


def trace(result: Path, *, thorough: bool = False) -> list[Origin]:
    """Follow the records of a result.

    Parameters
    ----------
    result : Path
        A file or folder that a command wrote, or its record.
    thorough : bool
        Read the contents of everything. By default only the result is read; its inputs, and theirs, count as unchanged
        if size and time of change are as recorded.

    Returns
    -------
    chain : list of Origin
        The result, then each file that it was made from, followed by what that one was made from. What was read by
        several commands is there once, unless it was changed between them. Changed files are not followed.

    Raises
    ------
    DataError
        If there is no such file or folder, or no record beside it.
    """
    result = Path(str(result).removesuffix(SUFFIX))
    if not result.exists():
        raise DataError(f"{result}: no such file or folder. Name a result of an arseg command")
    record = read_record(result)
    if record is None:
        raise DataError(
            f"{result}: no record beside it ({record_path(result).name}). The command that makes a result writes one: "
            "delete the result and run the command, or Snakemake, again"
        )
    state = AS_RECORDED if is_same(record["result"], result, thorough=True) else CHANGED
    origin = Origin(result, 0, state, record)
    return [origin, *_made_from(origin, thorough, set())]


def _made_from(origin: Origin, thorough: bool, seen: set[tuple[Path, Any]]) -> Iterator[Origin]:
    """Yield what a file was made from, and so on; a folder that no single command wrote consists of results."""
    if origin.state != AS_RECORDED:
        return
    if origin.record is not None:
        folder = Path(origin.record["folder"])
        inputs = [
            (entry, _place(entry["path"], folder)) for entries in origin.record["inputs"].values() for entry in entries
        ]
    else:
        results = [path.with_name(path.name.removesuffix(SUFFIX)) for path in sorted(origin.path.glob(f"*{SUFFIX}"))]
        inputs = [(record["result"], path) for path in results if (record := read_record(path))]
    for recorded, path in inputs:
        identity = (path, recorded.get("sha256", recorded.get("listing_sha256")))
        if identity not in seen:
            seen.add(identity)
            record = read_record(path)
            part = Origin(path, origin.depth + 1, _state(path, recorded, record, thorough), record)
            yield part
            yield from _made_from(part, thorough, seen)


def _state(path: Path, recorded: Fingerprint, record: dict[str, Any] | None, thorough: bool) -> str:
    """Compare an input with what was read, and with what its own command had written."""
    if not path.exists():
        return MISSING
    expected = [recorded] if record is None else [recorded, record["result"]]
    same = all(is_same(entry, path, thorough=thorough) for entry in expected)
    return AS_RECORDED if same else CHANGED


def _place(recorded: str, folder: Path) -> Path:
    """Return where a path is: in the folder that the command ran in, or, if everything was moved, here."""
    there = folder / recorded
    return Path(recorded) if folder == Path.cwd() or not there.exists() else there
