"""What the operating system has against reading or writing a file, told apart from what is wrong with its content."""

import errno
import lzma
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from arseg.errors import ArsegError, DiskFullError, FileAccessError

FULL = (errno.ENOSPC, errno.EDQUOT)

HINTS = {
    **dict.fromkeys(FULL, "Make room in {folder} (df -h shows what is free), and run again"),
    errno.EMFILE: "Allow this process more open files, and run again: ulimit -n 4096 (ulimit -Hn shows the most)",
    errno.ENFILE: "All processes of this machine together have too many files open: end some of them, and run again",
    errno.EACCES: "Ask its owner for access, or change the rights: ls -ld {file} {folder}",
    errno.EPERM: "Ask its owner for access, or change the rights: ls -ld {file} {folder}",
    errno.EROFS: "The file system is mounted read-only: name a place on another one",
    errno.EIO: "The disk or network share below {folder} fails: look at dmesg, or ask its administrator",
    errno.ESTALE: "The network share below {folder} has changed underneath: mount it again, and run again",
    **dict.fromkeys(
        (errno.ENOLCK, errno.EAGAIN),
        "End the process that is writing it, if there is one; where file systems cannot lock files, set "
        "HDF5_USE_FILE_LOCKING=FALSE",
    ),
}
"""What helps against what the operating system says."""

WRITING_HINTS = dict.fromkeys(
    (errno.EROFS, errno.EACCES, errno.EPERM), "Make the folder {folder} writable for this user, or name another output"
)

ONLY_OF_WRITING = {*FULL, errno.EROFS, errno.EFBIG}
"""What nothing but a write meets, whatever file the error names, or if it names none."""

ZIP_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    struct.error,
    ValueError,
    OverflowError,
    RuntimeError,  # encrypted, or compressed in a way that Python does not know
)
"""What `zipfile` raises on damage, beside OSError."""

FOLDER_MARK = 0x10
"""Bit of a ZIP member's attributes."""


def find_refusal(error: Exception) -> OSError | None:
    """Return the operating system's error that an error is, or was raised because of, as by `zipfile`.

    None if the error is about the content of a file: then libraries raise an OSError without a number, or seek to no
    place at all, which is EINVAL; the system itself says ENOEXEC of a program for another machine. None as well if
    there is no such file.
    """
    for link in (error, error.__cause__ or error.__context__):
        if isinstance(link, OSError) and link.errno not in (None, errno.ENOENT, errno.EINVAL, errno.ENOEXEC):
            return link
    return None


def access_error(path: Path, error: OSError, *, writes: bool = False, advice: str = "") -> FileAccessError:
    """Return an error that says what the operating system said of reading or writing `path`, and what helps.

    `advice` is what else helps, for the message.
    """
    file = path if error.filename is None else Path(os.fsdecode(error.filename))
    folder = path.parent if writes and file.is_relative_to(path.parent) else file.parent
    number = error.errno or 0
    hints = HINTS | WRITING_HINTS if writes else HINTS
    hint = hints.get(number, "See what is wrong in {folder} and run again, or name another file")
    end = advice if writes else "This says nothing about what is in the file."
    message = (
        f"{path}: cannot be {'written' if writes else 'read'} ({error.strerror or error}). "
        f"{hint.format(file=file, folder=folder)}. {end}"
    )
    return (DiskFullError if number in FULL else FileAccessError)(number, message.strip())


@contextmanager
def reading(
    path: Path, damaged: Callable[[Exception], ArsegError] | None = None, *signs: type[Exception]
) -> Iterator[None]:
    """Raise `FileAccessError` if the system refuses to read a file, and what `damaged` makes if its content is wrong.

    Wrong content is what the reader tells by an OSError without a number, or by one of the types `signs`.
    FileNotFoundError stays as it is: what to do about a missing file depends on the file.
    """
    try:
        yield
    except (ArsegError, FileNotFoundError):
        raise
    except Exception as error:
        if refusal := find_refusal(error):
            raise access_error(path, refusal) from error
        if damaged is not None and isinstance(error, (OSError, *signs)):
            raise damaged(error) from error
        raise


@contextmanager
def writing(path: Path, advice: str = "") -> Iterator[None]:
    """Raise `FileAccessError` with more advice if the operating system refuses to write a file; see `access_error`."""
    try:
        yield
    except ArsegError:
        raise
    except OSError as error:
        raise access_error(path, error, writes=True, advice=advice) from error


def zip_damage(path: Path) -> str | None:
    """Return what is wrong with a ZIP archive, by the checksums of its members, which not every reader compares.

    None if nothing is. Raises `FileAccessError` if the operating system does not let it be read.
    """
    with reading(path), path.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                # PyTorch reads nothing of what is marked as a folder, and hands out memory as it finds it.
                folders = (info.filename for info in archive.infolist() if info.external_attr & FOLDER_MARK)
                member = archive.testzip() or next(folders, None)
        except (OSError, *ZIP_DAMAGE) as error:
            if find_refusal(error):
                raise
            return f"{type(error).__name__}: {error}"
    return None if member is None else f"{member} does not have its checksum"
