"""Whole files or none: outputs are written under a temporary name and renamed when complete; digests and checksums."""

import errno
import filecmp
import hashlib
import os
import platform
import re
import shutil
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from arseg.errors import ArsegError, DataError

FULL = {errno.ENOSPC, errno.EDQUOT}
FORBIDDEN = {errno.EROFS, errno.EACCES, errno.EPERM}
ONLY_OF_WRITING = FULL | {errno.EROFS, errno.EFBIG}
"""What nothing but a write meets, whatever file the error names, or if it names none."""

FOLDER_MARK = 0x10
"""Bit of a ZIP member's attributes."""

FLUSHED_TOGETHER = 8

PROBE_BYTES = 1 << 16
"""What is written to see whether a disk is full; file systems keep no more than that for others."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary sibling of `path` to write to; rename it to `path` on success, remove it on failure.

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
    DataError
        If `path` is a directory with something in it, which might be anybody's; or if it cannot be written because
        the disk is full, or its folder may not be written to.
    """
    path = Path(path)
    refuse_filled(path)
    temporary = path.with_name(f".{path.stem}.{_machine()}-{os.getpid()}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _check_writable(path.parent)
        _remove_leftovers(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        try:
            yield temporary
        except ArsegError:
            raise
        except Exception as error:
            if cause := _cause_on_disk(error, temporary):
                raise _unwritable(path, cause) from error
            raise
        try:
            _flush(temporary)
            _rename(temporary, path)
        except OSError as error:
            raise _unwritable(path, error) from error
    finally:
        _remove(temporary)


def file_digest(path: Path) -> str:
    """Give the SHA-256 of a file, in hexadecimal; read in pieces, whatever its size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def zip_damage(path: Path) -> str | None:
    """Compare the members of a ZIP archive with their checksums, which not every reader does.

    Parameters
    ----------
    path : Path
        The archive.

    Returns
    -------
    damage : str or None
        What is wrong with the file; None if nothing is.

    Raises
    ------
    OSError
        If the file cannot be opened.
    """
    with path.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                # PyTorch reads nothing of what is marked as a folder, and hands out memory as it finds it.
                folders = (info.filename for info in archive.infolist() if info.external_attr & FOLDER_MARK)
                member = archive.testzip() or next(folders, None)
        except Exception as error:  # no list of what a parser raises on arbitrary bytes is complete
            return f"{type(error).__name__}: {error}"
    return None if member is None else f"{member} does not have its checksum"


def refuse_filled(folder: Path) -> None:
    """Refuse to write to a folder with something in it, which might be anybody's.

    Raises
    ------
    DataError
        If there is something in it.
    """
    if _is_filled(folder):
        raise DataError(f"{folder}: this folder is not empty. Delete it, or name another output.")


def check_output(path: Path) -> None:
    """Raise before hours of work what `atomic_path` would raise after them; nothing is made.

    Parameters
    ----------
    path : Path
        Where a finished output shall be.

    Raises
    ------
    DataError
        If no file can be made there.
    """
    path = path.absolute()
    try:
        folder = next(parent for parent in path.parents if parent.exists())
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
        _check_writable(folder)
    except OSError as error:
        raise _unwritable(path, error) from error


def _is_filled(path: Path) -> bool:
    return path.is_dir() and any(path.iterdir())


@cache
def _machine() -> str:
    """Tell apart the hosts and containers that share a file system: a process number means something in one of them."""
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
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
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
        if not _same_tree(temporary, path):
            raise FileExistsError(errno.EEXIST, "another process has put something else there meanwhile", str(path))
        return
    if path.is_dir():
        path.rmdir()
    temporary.replace(path)
    _flush_folder(path.parent)


def _same_tree(first: Path, second: Path) -> bool:
    if first.is_dir() != second.is_dir():
        return False
    if not first.is_dir():
        return filecmp.cmp(first, second, shallow=False)
    names = {path.name for path in first.iterdir()}
    return names == {path.name for path in second.iterdir()} and all(
        _same_tree(first / name, second / name) for name in names
    )


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


def _cause_on_disk(error: BaseException, temporary: Path) -> OSError | None:
    """Find what the operating system had against writing `temporary`, if that is why a writer failed."""
    seen: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in seen:
        seen.append(link)
        if isinstance(link, OSError) and (
            link.errno in ONLY_OF_WRITING or str(link.filename).startswith(str(temporary))
        ):
            return link
        link = link.__cause__ or link.__context__
    if not isinstance(error, RuntimeError):
        return None
    try:  # PyTorch does not say why it could not write: try it
        with (temporary / "probe" if temporary.is_dir() else temporary).open("ab") as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as cause:
        return cause
    return None


def _unwritable(path: Path, error: OSError) -> DataError:
    elsewhere = error.filename is not None and not str(error.filename).startswith(str(path.parent))
    place = Path(os.fsdecode(error.filename)).parent if elsewhere else path.parent
    if error.errno in FULL:
        mend = f"Make room in {place} (df -h shows what is free), and run again."
    elif error.errno in FORBIDDEN:
        mend = f"Make the folder {place} writable for this user, or name another output."
    else:
        mend = f"See what is wrong in {place} and run again, or name another output."
    return DataError(f"{path}: cannot be written ({error.strerror or error}). {mend} Nothing half-written was left.")
