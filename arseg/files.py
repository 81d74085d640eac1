"""Whole files or none: outputs are written under a temporary name and renamed when complete; digests."""

import errno
import hashlib
import os
import platform
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from arseg.access import HINTS, ONLY_OF_WRITING, access_error, reading, writing
from arseg.errors import ArsegError, DiskFullError, FileAccessError

FLUSHED_TOGETHER = 8


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling of `path` to write to; rename it to `path` on success, remove it on failure.

    The sibling carries the machine and the process number, so that two processes never write to one temporary file,
    and what a killed process left is removed by the next one that writes the same output on that machine. It keeps
    the suffix of `path`, because writers such as NumPy and Matplotlib choose or append formats by it. Works for a
    file and for a directory. What was written is on the disk before it gets its name, so that a power failure leaves
    no hollow file either.

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
    DiskFullError
        If there is no space left.
    FileAccessError
        If `path` cannot be written for another reason, such as a directory with something in it, which might be
        anybody's.
    """
    path = Path(path)
    refuse_filled(path)
    temporary = path.with_name(f".{path.stem}.{_machine()}-{os.getpid()}.partial{path.suffix}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _check_writable(path.parent)
        _remove_leftovers(path)
    try:
        try:
            yield temporary
        except Exception as error:
            cause = None if isinstance(error, ArsegError) else _cause_on_disk(error, temporary)
            if cause is None:
                raise
            raise access_error(path, cause, writes=True) from error
        with writing(path):
            _flush(temporary)
            _rename(temporary, path)
    finally:
        _remove(temporary)


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """Return the digest of a file, in hexadecimal; read in pieces, whatever its size."""
    with reading(path), path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def check_space(path: Path, num_bytes: int) -> None:
    """Raise `DiskFullError` if the disk of `path`, of which parents may be missing, has less room than this."""
    existing = next(folder for folder in path.absolute().parents if folder.is_dir())
    free = shutil.disk_usage(existing).free
    if num_bytes > free:
        raise DiskFullError(
            errno.ENOSPC,
            f"{path}: {num_bytes / 1e9:.2f} GB are to be written, {free / 1e9:.2f} GB are free. Make room, or name an "
            "output on another disk.",
        )


def refuse_filled(folder: Path) -> None:
    """Raise `FileAccessError` if there is something in a folder to write to, which might be anybody's."""
    if _is_filled(folder):
        message = f"{folder}: this folder is not empty. Name another output, or delete it if nobody needs what it has."
        raise FileAccessError(errno.ENOTEMPTY, message)


def check_output(path: Path) -> None:
    """Raise before hours of work the `FileAccessError` that `atomic_path` would raise after them; nothing is made."""
    with writing(path):
        folder = next(parent for parent in path.parents if parent.exists())
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
        _check_writable(folder)


def _is_filled(path: Path) -> bool:
    return path.is_dir() and any(path.iterdir())


@cache
def _machine() -> str:
    """Return a name for this host or container: a process number means nothing in others that share the file system."""
    marks = [platform.node()]
    with suppress(OSError):
        marks.append(Path("/etc/machine-id").read_text())
    with suppress(OSError):
        marks.append(str(Path("/proc/self/ns/pid").readlink()))
    return hashlib.sha256("\n".join(marks).encode()).hexdigest()[:8]


def _check_writable(folder: Path) -> None:
    """Raise now what a writer would meet after hours of work."""
    if not os.access(folder, os.W_OK | os.X_OK):
        number = errno.EROFS if os.statvfs(folder).f_flag & os.ST_RDONLY else errno.EACCES
        raise OSError(number, os.strerror(number), str(folder))


def _remove_leftovers(path: Path) -> None:
    """Remove temporary siblings of `path` that processes of this machine left which do not live any more."""
    name = re.compile(rf"\.{re.escape(path.stem)}\.{_machine()}-(\d+)\.partial{re.escape(path.suffix)}")
    with os.scandir(path.parent) as entries:
        found = [(path.parent / entry.name, match) for entry in entries if (match := name.fullmatch(entry.name))]
    for leftover, match in found:
        if int(match[1]) == os.getpid() or not _lives(int(match[1])):  # of our own number: it was used before
            _remove(leftover)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except OSError as error:
        return error.errno != errno.ESRCH  # EPERM: it lives, and is another user's
    return True


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _rename(temporary: Path, path: Path) -> None:
    if _is_filled(path):
        # Another process has made the same meanwhile, as a job may whose workflow was killed and started again.
        if _contents(temporary) != _contents(path):
            raise FileExistsError(errno.EEXIST, "another process has put something else there meanwhile", str(path))
        return
    if path.is_dir():
        path.rmdir()
    temporary.replace(path)
    _flush_folder(path.parent)


def _contents(folder: Path) -> dict[Path, str]:
    return {path.relative_to(folder): "" if path.is_dir() else file_digest(path) for path in folder.rglob("*")}


def _flush(path: Path) -> None:
    """Bring a file, or all in a folder, to the disk."""
    if not path.is_dir():
        _synchronise(path)
        return
    inside = [*path.rglob("*")]
    # Asked for together, because a disk writes its journal once for all that wait: a tenth of the time.
    with ThreadPoolExecutor(FLUSHED_TOGETHER) as pool:
        list(pool.map(_synchronise, (file for file in inside if not file.is_dir())))
    for folder in (*(entry for entry in inside if entry.is_dir()), path):
        _flush_folder(folder)


def _flush_folder(path: Path) -> None:
    """Bring the names in a folder to the disk; some network file systems do not know how, and need not."""
    with suppress(OSError):
        _synchronise(path)


def _synchronise(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _cause_on_disk(error: BaseException | None, temporary: Path) -> OSError | None:
    """Return what the operating system had against writing `temporary`, if that is why a writer failed."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        if isinstance(error, OSError) and (
            error.errno in ONLY_OF_WRITING
            or (error.errno in HINTS and error.filename is None)
            or str(error.filename).startswith(str(temporary))
        ):
            return error
        error = error.__cause__ or error.__context__
    return None
