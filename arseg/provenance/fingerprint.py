"""What identifies a file or folder in a record: its size and digest, found without reading it twice if possible."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from arseg.access import reading
from arseg.files import file_digest

SUFFIX = ".provenance.json"
"""After the whole name of a result: ``miou.csv.provenance.json``, beside it also where the result is a folder."""

IGNORED = ".snakemake_timestamp"
"""Snakemake writes it into a folder after the command that made the folder has ended."""

FORMAT_VERSION = 1
"""Raised when older programs could no longer read a record."""

Fingerprint = dict[str, Any]
"""``path`` and, for a file, ``bytes``, ``modified_ns``, ``sha256``; for a folder, ``files``, ``bytes``,
``listing_sha256`` (of names and sizes) and, where it is a result, ``sha256`` (of names and contents)."""


def record_path(result: Path) -> Path:
    """Return the path of the record of a result."""
    return result.with_name(result.name + SUFFIX)


def read_record(result: Path) -> dict[str, Any] | None:
    """Read the record beside a result; None if there is none, or a damaged one, which is no part of the result.

    A FileAccessError says that the operating system does not let it be read.
    """
    path = record_path(result)
    try:
        with reading(path):
            record = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return record if isinstance(record, dict) and record.get("format_version") == FORMAT_VERSION else None


def stamp(path: Path) -> Fingerprint:
    """Return what is known of a file or folder without reading contents: a fingerprint without ``sha256``.

    Records inside are no part of a folder.
    """
    if not path.is_dir():
        status = path.stat()
        return {"path": str(path), "bytes": status.st_size, "modified_ns": status.st_mtime_ns}
    sizes = {file: file.stat().st_size for file in _files_in(path)}
    listing = _digest(path, sizes)
    return {"path": str(path), "files": len(sizes), "bytes": sum(sizes.values()), "listing_sha256": listing}


def fingerprint(path: Path, *, folder_contents: bool = False, trust_record: bool = True) -> Fingerprint:
    """Return the stamp of a file or folder with its digest; that of a folder only if its contents are asked for.

    With `trust_record`, a file's digest is taken from its record if size and time of change are still those recorded.
    """
    found = stamp(path)
    if "files" in found:
        if folder_contents:
            found["sha256"] = _digest(path, {file: file_digest(file) for file in _files_in(path)})
        return found
    record = read_record(path) if trust_record else None
    known = record is not None and same_stamp(record["result"], found)
    return found | {"sha256": record["result"]["sha256"] if record and known else file_digest(path)}


def same_stamp(recorded: Fingerprint, found: Fingerprint) -> bool:
    """Return whether size and time of change of a file, or the names and sizes in a folder, are as recorded."""
    return all(recorded.get(key) == found.get(key) for key in ("files", "bytes", "modified_ns", "listing_sha256"))


def is_same(recorded: Fingerprint, path: Path, *, thorough: bool) -> bool:
    """Return whether what is at an existing path is what was recorded.

    Contents are read where the time of change differs, or, if `thorough`, always.
    """
    found = stamp(path)
    unchanged = same_stamp(recorded, found)
    if unchanged and not (thorough and "sha256" in recorded):
        return True
    if ("files" in found and not unchanged) or found["bytes"] != recorded["bytes"]:
        return False
    return fingerprint(path, folder_contents=True, trust_record=False)["sha256"] == recorded.get("sha256")


def _files_in(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder, but no records, in an order that does not depend on the file system."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.is_dir():
                yield from _files_in(Path(entry.path))
            elif entry.is_file() and entry.name != IGNORED and not entry.name.endswith(SUFFIX):
                yield Path(entry.path)


def _digest(folder: Path, facts: Mapping[Path, object]) -> str:
    """Return the SHA-256 of a list of files in a folder, each with a fact about it."""
    lines = (f"{fact} {file.relative_to(folder).as_posix()}\n" for file, fact in facts.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()
