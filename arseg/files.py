"""Whole files or none: outputs are written under a temporary name and renamed when complete."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary sibling of `path` to write to; rename it to `path` on success, remove it on failure.

    The sibling carries the process number, so that two processes never write to one temporary file. It keeps the
    suffix of `path`, because writers such as NumPy and Matplotlib choose or append formats by it. Works for a
    file and for a directory; an existing directory at `path` is replaced.

    Parameters
    ----------
    path : Path
        Where the finished output shall be. Missing parent directories are made.

    Yields
    ------
    temporary : Path
        Where to write; in the same directory, so that the rename cannot cross a file system.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield temporary
        if path.is_dir():
            shutil.rmtree(path)
        temporary.replace(path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)
