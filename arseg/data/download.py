"""Download a file from the first of its mirrors that gives it, whole and checked, continuing what a kill left.

A sheet says where files are and what they must be. This module owns the sheet, the order of attempts and the check of
the finished file; `arseg.data.transfer` talks to one server.
"""

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from arseg.access import writing
from arseg.data.partial_file import PartialFile
from arseg.data.sheets import SheetRow, read_sheet
from arseg.data.transfer import SCHEMES, TransferError, transfer
from arseg.errors import DataError
from arseg.files import file_digest

FILE_COLUMNS = ("file", "url", "sha256", "bytes")
TRIES_PER_MIRROR = 2

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RemoteFile:
    """A file that can be downloaded, and what is known of it."""

    name: str
    """Its name in the sheet."""
    urls: tuple[str, ...]
    """Its mirrors, in the order in which they are tried."""
    sha256: str
    """Digest of the file, 64 small hexadecimal digits; empty if nobody noted it."""
    num_bytes: int | None
    """Size of the file; None if nobody noted it."""


def read_files_sheet(path: str | Path) -> dict[str, RemoteFile]:
    """Read a sheet of files to download: file, url, sha256, bytes.

    Several lines of one file are its mirrors, in order. ``sha256`` and ``bytes`` may be empty; what one line of a file
    says of them holds for all of its mirrors.

    Returns
    -------
    files : dict of RemoteFile
        By name.

    Raises
    ------
    DataError
        If the sheet is missing, a line does not fit, or two lines of a file contradict each other.
    """
    path = Path(path)
    rows: dict[str, list[SheetRow]] = {}
    for row in read_sheet(path, FILE_COLUMNS, "Give one line per file and mirror."):
        name, scheme = row.cells["file"], urlsplit(row.cells["url"]).scheme
        if not name or Path(name).name != name:
            raise DataError(f"{row.place}: file is {name!r}, expected the name of a file, without a folder")
        if scheme not in SCHEMES:
            raise DataError(
                f"{row.place}: url is {row.cells['url']!r}, expected an address that begins with "
                f"{', '.join(f'{scheme}:' for scheme in SCHEMES[:-1])} or {SCHEMES[-1]}:"
            )
        rows.setdefault(name, []).append(row)
    if not rows:
        raise DataError(f"{path}: no line below the header. Give one line per file and mirror.")
    return {name: _merge(name, mirrors) for name, mirrors in rows.items()}


def download(file: RemoteFile, output: str | Path) -> None:
    """Download a file, unless it is there.

    The bytes arrive in ``<output>.part``, which a kill leaves and the next run continues. Each mirror is tried twice if
    its connection breaks; then comes the next one. The part's own mirror comes first. Only what has the expected
    size and digest becomes `output`; where no digest is known, the one that was found is logged.

    Parameters
    ----------
    file : RemoteFile
        Addresses, and what is known of the file.
    output : path
        Where the file shall be. A file that is there is kept if it has the expected size and digest (as far as they
        are known) and replaced if not.

    Raises
    ------
    DataError
        If no mirror gives the file, the disk is too small, or another process is downloading to `output`.
    FileAccessError
        If it cannot be written.
    """
    output = Path(output)
    lock = FileLock(f"{output}.part.lock", timeout=0)
    try:
        with writing(output):
            output.parent.mkdir(parents=True, exist_ok=True)
        with lock, writing(output):
            _download(file, output)
            Path(lock.lock_file).unlink(missing_ok=True)
    except Timeout as error:
        raise DataError(f"{output}: another process is downloading it. Wait for that one, or end it.") from error


def _merge(name: str, mirrors: list[SheetRow]) -> RemoteFile:
    digests, sizes = {}, {}
    for row in mirrors:
        if row.cells["sha256"]:
            digest = row.cells["sha256"].lower()
            if not re.fullmatch("[0-9a-f]{64}", digest):
                raise DataError(f"{row.place}: sha256 is {digest!r}, expected 64 hexadecimal digits, or nothing")
            digests[digest] = row.place
        if (num_bytes := row.optional_integer("bytes", 1)) is not None:
            sizes[num_bytes] = row.place
    for column, values in (("sha256", digests), ("bytes", sizes)):
        if len(values) > 1:
            said = ", ".join(f"{value} ({place})" for value, place in values.items())
            raise DataError(
                f"{mirrors[0].place}: the mirrors of {name} contradict each other in {column}: {said}. Mirrors are "
                "copies of one file; give other files other names."
            )
    urls = tuple(row.cells["url"] for row in mirrors)
    return RemoteFile(name, urls, sha256=next(iter(digests), ""), num_bytes=next(iter(sizes), None))


def _download(file: RemoteFile, output: Path) -> None:
    if _is_there(file, output):
        return
    part = PartialFile(output)
    # Killed between its last byte and its renaming, a part is whole.
    if file.sha256 and part.size and file_digest(part.path) == file.sha256:
        part.finish()
        return
    if file.num_bytes is not None and part.size >= file.num_bytes:
        part.discard()
    origin = part.origin
    reasons = {}
    # A part without a digest can be continued at its own mirror only: another one would begin again.
    for url in sorted(file.urls, key=lambda url: origin is None or url != origin.url):
        for _ in range(TRIES_PER_MIRROR):
            logger.info("%s: downloading from %s", file.name, url)
            try:
                _try_mirror(file, url, part)
            except TransferError as error:
                reasons[url] = str(error)
                logger.warning("%s: %s", url, error)
                if not error.again:
                    break
            else:
                part.finish()
                return
    said = "\n".join(f"  {url}: {reason}" for url, reason in reasons.items())
    kept = f" {part.path} is kept: the next run continues it." if part.size else ""
    raise DataError(
        f"{output}: no address of {file.name} gave it:\n{said}\n"
        "Try again later, add a line with another mirror to the sheet of files, or get the file elsewhere and put it "
        f"there yourself (or name it in the data set's source in the configuration).{kept}"
    )


def _is_there(file: RemoteFile, output: Path) -> bool:
    if output.is_dir():
        raise DataError(f"{output}: this is a folder, expected the name of a file to write.")
    if not output.exists():
        return False
    size = output.stat().st_size
    if file.num_bytes not in (None, size):
        reason = f"{size} bytes, expected {file.num_bytes}"
    elif file.sha256 and (found := file_digest(output)) != file.sha256:
        reason = f"SHA-256 {found}, expected {file.sha256}"
    else:
        logger.info("%s: is there already%s", output, "" if file.sha256 else "; delete it to download it again")
        return True
    logger.warning("%s: another file than the one to download (%s); it will be replaced", output, reason)
    return False


def _try_mirror(file: RemoteFile, url: str, part: PartialFile) -> None:
    continued = transfer(url, part, num_bytes=file.num_bytes, verifiable=bool(file.sha256))
    found = file_digest(part.path)
    if not file.sha256:
        logger.info("%s: %d bytes, sha256 %s; note them in the sheet of files", file.name, part.size, found)
    elif found != file.sha256:
        part.discard()
        # The earlier attempt's bytes may be to blame: this mirror gets a chance to send all of its own.
        raise TransferError(f"SHA-256 {found}, expected {file.sha256}", again=continued)
