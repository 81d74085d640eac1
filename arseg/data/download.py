"""Download a file from the first of its mirrors that gives it, complete and checked, continuing after a kill.

Owns the sheet that says where files are and what they must be, the order of attempts, and the check of the finished
file; `arseg.data.transfer` talks to one server.
"""

import logging
import re
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import requests
from filelock import FileLock, Timeout

from arseg.access import writing
from arseg.data.sheets import SheetRow, read_sheet
from arseg.data.transfer import SCHEMES, PartialFile, TransferError, transfer
from arseg.errors import DataError
from arseg.files import file_digest

FILE_COLUMNS = ("file", "url", "sha256", "bytes")
TRIES_PER_MIRROR = 3

MAX_WAIT_SECONDS = 300
"""A server that asks for a longer pause is left for the next mirror."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RemoteFile:
    """A file that can be downloaded, and what is known of it."""

    name: str
    """Its name in messages."""
    urls: tuple[str, ...]
    """Its mirrors, in the order in which they are tried."""
    checksum: str = ""
    """SHA-256 (64 small hexadecimal digits) or MD5 (32) of the file; empty if not known."""
    num_bytes: int | None = None
    """Size of the file; None if not known."""

    def mismatch(self, path: Path) -> str | None:
        """Return what distinguishes a file at `path` from this one; None if nothing that is known does."""
        if self.num_bytes not in (None, path.stat().st_size):
            return f"{path.stat().st_size} bytes, expected {self.num_bytes}"
        algorithm, label = ("md5", "MD5") if len(self.checksum) == 32 else ("sha256", "SHA-256")
        if self.checksum and (found := file_digest(path, algorithm)) != self.checksum:
            return f"{label} {found}, expected {self.checksum}"
        return None


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
    mirrors: dict[str, list[SheetRow]] = {}
    for row in read_sheet(Path(path), FILE_COLUMNS, "Give one line per file and mirror."):
        name, url, digest = row.cells["file"], row.cells["url"], row.cells["sha256"]
        if not name or Path(name).name != name:
            raise DataError(f"{row.place}: file is {name!r}, expected the name of a file, without a folder")
        if urlsplit(url).scheme not in SCHEMES:
            raise DataError(f"{row.place}: url is {url!r}, expected one that begins with {':, '.join(SCHEMES)}:")
        if not re.fullmatch("([0-9a-fA-F]{64})?", digest):
            raise DataError(f"{row.place}: sha256 is {digest!r}, expected 64 hexadecimal digits, or nothing")
        row.optional_integer("bytes", 1)
        mirrors.setdefault(name, []).append(row)
    if not mirrors:
        raise DataError(f"{path}: no line below the header. Give one line per file and mirror.")
    files = {}
    for name, rows in mirrors.items():
        checksums, sizes = (
            {row.cells[column].lower(): row.place for row in rows if row.cells[column]}
            for column in ("sha256", "bytes")
        )
        for column, said in (("sha256", checksums), ("bytes", sizes)):
            if len(said) > 1:
                raise DataError(
                    f"{rows[0].place}: the mirrors of {name} contradict each other in {column}: "
                    f"{', '.join(f'{value} ({place})' for value, place in said.items())}. Mirrors are copies of one "
                    "file; give other files other names."
                )
        urls = tuple(row.cells["url"] for row in rows)
        files[name] = RemoteFile(name, urls, next(iter(checksums), ""), next(map(int, sizes), None))
    return files


def download(file: RemoteFile, output: str | Path, session: requests.Session | None = None) -> None:
    """Download a file, unless it is there.

    The bytes arrive in ``<output>.part``, which a kill leaves and the next run continues, beginning with the mirror
    that they came from. A mirror whose connection breaks or that is busy is tried again after a pause; then comes the
    next one. Only what has the expected size and checksum becomes `output`; where no checksum is known, the SHA-256
    that was found is logged.

    Parameters
    ----------
    file : RemoteFile
        Where the file is, and what is known of it.
    output : path
        Where to write the file. A file that is there is kept if it has the expected size and checksum (as far as they
        are known) and replaced if not.
    session : requests.Session, optional
        Session with the cookies of a login.

    Raises
    ------
    DataError
        If no mirror gives the file, the disk is too small, or another process is downloading to `output`.
    FileAccessError
        If it cannot be written.
    """
    output = Path(output)
    if output.is_dir():
        raise DataError(f"{output}: this is a folder, expected the name of a file to write.")
    lock = FileLock(f"{output}.part.lock", timeout=0)
    try:
        with writing(output):
            output.parent.mkdir(parents=True, exist_ok=True)
        with lock, writing(output):
            if not _is_there(file, output):
                _fetch(file, output, session or requests.Session())
            Path(lock.lock_file).unlink(missing_ok=True)
    except Timeout as error:
        raise DataError(f"{output}: another process is downloading it. Wait for that one, or end it.") from error


def _is_there(file: RemoteFile, output: Path) -> bool:
    if not output.exists():
        return False
    if mismatch := file.mismatch(output):
        logger.warning("%s: not the file to download (%s); it will be replaced", output, mismatch)
        return False
    logger.info("%s: is there already%s", output, "" if file.checksum else "; delete it to download it again")
    return True


def _fetch(file: RemoteFile, output: Path, session: requests.Session) -> None:
    part = PartialFile(output)
    begun_at, _ = part.origin
    reasons = {}
    for url in sorted(file.urls, key=lambda url: url != begun_at):
        wait = 0.0
        for _ in range(TRIES_PER_MIRROR):
            time.sleep(wait)
            logger.info("%s: downloading from %s", file.name, url)
            try:
                _try_mirror(file, url, part, session)
            except TransferError as error:
                reasons[url] = str(error)
                logger.warning("%s: %s", url, error)
                if error.wait is None or error.wait > MAX_WAIT_SECONDS:
                    break
                wait = error.wait
            else:
                part.finish()
                return
    said = "\n".join(f"  {url}: {reason}" for url, reason in reasons.items())
    kept = f" {part.path} is kept: the next run continues it." if part.size else ""
    raise DataError(
        f"{output}: no URL of {file.name} gave it:\n{said}\n"
        "Run the command again later, or with another mirror; or get the file elsewhere and put it there, or name it "
        f"in the data set's source in the configuration.{kept}"
    )


def _try_mirror(file: RemoteFile, url: str, part: PartialFile, session: requests.Session) -> None:
    continued = transfer(session, url, part, num_bytes=file.num_bytes, verifiable=bool(file.checksum))
    if mismatch := file.mismatch(part.path):
        part.discard()
        # The earlier attempt's bytes may be to blame: this mirror gets a chance to send all of its own.
        raise TransferError(mismatch, wait=0 if continued else None)
    if not file.checksum:
        digest = file_digest(part.path)
        logger.info("%s: %d bytes, sha256 %s; note them in the sheet of files", file.name, part.size, digest)
