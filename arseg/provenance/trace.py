"""Follow records from a result to what it was made from, and see whether the files are still those recorded."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from arseg.errors import DataError
from arseg.provenance.fingerprint import SUFFIX, Fingerprint, is_same, read_record, recorded_in


class State(StrEnum):
    """What became of a file that a record speaks of."""

    AS_RECORDED = "as recorded"
    CHANGED = "changed"
    """It is not the file that was made, or that was read."""
    MISSING = "missing"
    UNRECORDED = "no record"
    """Nothing tells what it was: the result that was asked for has no record."""


@dataclass
class Origin:
    """A file or folder, and where it comes from."""

    path: Path
    """Where it lies."""
    state: State
    """Whether it is what was recorded, when it was made or read."""
    record: dict[str, Any] | None = None
    """How it was made; None if that is not known, as of a user's own files or of those changed since."""
    inputs: dict[str, list["Origin"]] = field(default_factory=dict)
    """What it was made from, by the command's options."""
    edited: bool = False
    """Whether its own record speaks of another file: it was changed between two commands."""
    repeated: bool = False
    """Whether its inputs were left out, because they stand elsewhere in the tree."""

    @property
    def holds(self) -> bool:
        """Whether this and everything below it is what was recorded, as far as it is still there."""
        return not any(part.edited or part.state in (State.CHANGED, State.UNRECORDED) for part in self.all())

    def all(self) -> Iterator["Origin"]:
        """Give this and everything below."""
        yield self
        for origins in self.inputs.values():
            for origin in origins:
                yield from origin.all()

    def as_json(self) -> dict[str, Any]:
        """Give the tree as builtins."""
        return {
            "path": str(self.path),
            "state": str(self.state),
            "record": self.record,
            "inputs": {name: [origin.as_json() for origin in origins] for name, origins in self.inputs.items()},
        } | {name: True for name in ("edited", "repeated") if getattr(self, name)}


def trace(result: Path, *, thorough: bool = False) -> Origin:
    """Follow the records of a result.

    Parameters
    ----------
    result : Path
        A file or folder that a command wrote.
    thorough : bool
        Read the contents of everything. By default only the result is read; its inputs, and theirs, count as unchanged
        if size and time of change are as recorded.

    Returns
    -------
    origin : Origin
        The tree. What several results were made from is followed once.

    Raises
    ------
    DataError
        If there is no such file or folder.
    """
    result = Path(str(result).removesuffix(SUFFIX))
    if not result.exists():
        raise DataError(f"{result}: no such file or folder. Name a result of an arseg command")
    record = read_record(result)
    if record is None:
        return Origin(result, State.UNRECORDED)
    if not is_same(record["result"], path=result, thorough=True):
        return Origin(result, State.CHANGED, record)
    origin = Origin(result, State.AS_RECORDED, record)
    _follow(origin, thorough, set())
    return origin


def _follow(origin: Origin, thorough: bool, seen: set[str]) -> None:
    assert origin.record is not None
    seen.add(_run_of(origin.record))
    folder = Path(origin.record["folder"])
    for name, entries in origin.record["inputs"].items():
        origin.inputs[name] = [_input(entry, folder, thorough, seen) for entry in entries]


def _input(recorded: Fingerprint, folder: Path, thorough: bool, seen: set[str]) -> Origin:
    path = _place(Path(recorded["path"]), folder)
    if not path.exists():
        return Origin(path, State.MISSING)
    if recorded.get("changed_meanwhile") or not is_same(recorded, path=path, thorough=thorough):
        return Origin(path, State.CHANGED)
    record = read_record(path)
    edited = record is not None and not is_same(record["result"], path=path, thorough=thorough)
    if edited:
        record = None
    origin = Origin(path, State.AS_RECORDED, record, edited=edited)
    if record is not None:
        origin.repeated = _run_of(record) in seen
        if not origin.repeated:
            _follow(origin, thorough, seen)
    elif path.is_dir():
        origin.inputs = _results_in(path, thorough, seen)
    return origin


def _run_of(record: dict[str, Any]) -> str:
    """Tell runs of commands apart; the results of one have the same inputs."""
    return f"{record['command_line']} {record['folder']} {record['time']['started']}"


def _results_in(folder: Path, thorough: bool, seen: set[str]) -> dict[str, list[Origin]]:
    """Follow the results that lie in a folder which no single command wrote."""
    results = recorded_in(folder, deep=False)
    entries = [(path, record) for path in results if path.exists() and (record := read_record(path))]
    origins = [
        _input(record["result"] | {"path": str(path.absolute())}, folder, thorough, seen) for path, record in entries
    ]
    return {"in it": origins} if origins else {}


def _place(path: Path, folder: Path) -> Path:
    """Find a recorded path: from the folder that the command ran in, or, if all was moved, from here."""
    there = folder / path
    if path.is_absolute() or folder == Path.cwd() or not there.exists():
        return path
    return there
