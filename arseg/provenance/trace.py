"""Follow records from a result to what it was made from, and see whether the files are still those recorded."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arseg.errors import DataError
from arseg.provenance.fingerprint import SUFFIX, is_same, read_record, record_path

AS_RECORDED, CHANGED, MISSING = "as recorded", "changed", "missing"
"""What became of a file since it was made, or was read."""


@dataclass(frozen=True)
class Origin:
    """A file or folder in the chain that leads to a result, and how many commands are between it and the result.

    The record says how it was made; None if that is not known, as of a user's own files.
    """

    path: Path
    depth: int
    state: str
    record: dict[str, Any] | None


def trace(result: Path, *, thorough: bool = False) -> list[Origin]:
    """Return a result, then each file that it was made from, followed by what that one was made from, by their records.

    `result` may be its record. What was read by several commands is there once, unless it was changed between them;
    changed files are not followed. Inputs count as unchanged if size and time of change are as recorded; if `thorough`,
    their contents are read, as those of the result always are. A DataError says that there is no result or record.
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
        read = [entry for entries in origin.record["inputs"].values() for entry in entries]
        inputs = [(entry, _place(entry["path"], folder)) for entry in read]
    else:
        results = [path.with_name(path.name.removesuffix(SUFFIX)) for path in sorted(origin.path.glob(f"*{SUFFIX}"))]
        inputs = [(record["result"], path) for path in results if (record := read_record(path))]
    for recorded, path in inputs:
        identity = (path, recorded.get("sha256", recorded.get("listing_sha256")))
        if identity in seen:
            continue
        seen.add(identity)
        record = read_record(path)
        # Compared with what was read, and with what its own command had written.
        expected = [recorded, record["result"]] if record else [recorded]
        if not path.exists():
            state = MISSING
        else:
            state = AS_RECORDED if all(is_same(entry, path, thorough=thorough) for entry in expected) else CHANGED
        part = Origin(path, origin.depth + 1, state, record)
        yield part
        yield from _made_from(part, thorough, seen)


def _place(recorded: str, folder: Path) -> Path:
    """Return where a path is: in the folder that the command ran in, or, if everything was moved, here."""
    there = folder / recorded
    return Path(recorded) if folder == Path.cwd() or not there.exists() else there
