"""Whole files or none: outputs are written under a temporary name and renamed when complete; and their digests."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from arseg.errors import DataError


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary sibling of `path` to write to; rename it to `path` on success, remove it on failure.

    The sibling carries the process number, so that two processes never write to one temporary file. It keeps the
    suffix of `path`, because writers such as NumPy and Matplotlib choose or append formats by it. Works for a
    file and for a directory.

    Parameters
    ----------
    path : Path
        Where the finished output shall be. Missing parent directories are made.

    Yields
    ------
    temporary : Path
        Where to write; in the same directory, so that the rename cannot cross a file system.

    Raises
    ------
    DataError
        If `path` is a directory with something in it, which might be anybody's.
    """
    path = Path(path)
    if path.is_dir() and any(path.iterdir()):
        raise DataError(f"{path}: this folder is not empty. Delete it, or name another output.")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield temporary
        if path.is_dir():
            path.rmdir()
        temporary.replace(path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)


def file_digest(path: Path) -> str:
    """Give the SHA-256 of a file, in hexadecimal; read in pieces, whatever its size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
