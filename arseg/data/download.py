"""Download a file from the first of its mirrors that gives it, complete and checked, continuing after a kill."""

import logging
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import requests
from filelock import FileLock, Timeout
from tqdm import tqdm

from arseg.access import writing
from arseg.data.sheets import SheetRow, read_sheet
from arseg.errors import DataError
from arseg.files import check_space, file_digest
from arseg.progress import LOG_INTERVAL_SECONDS

FILE_COLUMNS = ("file", "url", "sha256", "bytes")
SCHEMES = ("http", "https", "file")
CHUNK_BYTES = 1 << 14
TRIES_PER_MIRROR = 3

TIMEOUT_SECONDS = (30.0, 60.0)
"""How long to wait for a connection, and then for each next byte."""

WAIT_SECONDS = 5.0
"""How long to wait before the same URL is tried again, if the server does not say."""

MAX_WAIT_SECONDS = 300
"""A server that asks for a longer pause is left for the next mirror."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RemoteFile:
    """A file that can be downloaded, named in messages as `name`, and what is known of it.

    Its mirrors are tried in their order. The checksum is SHA-256 (64 small hexadecimal digits) or MD5 (32).
    """

    name: str
    urls: tuple[str, ...]
    checksum: str = ""
    num_bytes: int | None = None

    def mismatch(self, path: Path) -> str | None:
        """Return what distinguishes a file at `path` from this one; None if nothing that is known does."""
        if self.num_bytes not in (None, path.stat().st_size):
            return f"{path.stat().st_size} bytes, expected {self.num_bytes}"
        algorithm, label = ("md5", "MD5") if len(self.checksum) == 32 else ("sha256", "SHA-256")
        if self.checksum and (found := file_digest(path, algorithm)) != self.checksum:
            return f"{label} {found}, expected {self.checksum}"
        return None


def read_files_sheet(path: str | Path) -> dict[str, RemoteFile]:
    """Read a sheet of files to download (file, url, sha256, bytes); return them by name.

    Several lines of one file are its mirrors, in order. ``sha256`` and ``bytes`` may be empty; what one line of a file
    says of them holds for all of its mirrors. A DataError names a line that does not fit, or contradicts another.
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
        digest, size = (_agreed(name, rows, column) for column in ("sha256", "bytes"))
        urls = tuple(row.cells["url"] for row in rows)
        files[name] = RemoteFile(name, urls, digest, int(size) if size else None)
    return files


def _agreed(name: str, rows: list[SheetRow], column: str) -> str:
    """Return what the mirrors of a file say in a column; empty if none says anything."""
    said = {row.cells[column].lower(): row.place for row in rows if row.cells[column]}
    if len(said) > 1:
        raise DataError(
            f"{rows[0].place}: the mirrors of {name} contradict each other in {column}: "
            f"{', '.join(f'{value} ({place})' for value, place in said.items())}. Mirrors are copies of one "
            "file; give other files other names."
        )
    return next(iter(said), "")


def download(file: RemoteFile, output: str | Path, session: requests.Session | None = None) -> None:
    """Download a file, unless it is there with the size and checksum that are known.

    The bytes arrive in ``<output>.part``, which a kill leaves and the next run continues, beginning with the mirror
    that they came from. A mirror whose connection breaks or that is busy is tried again after a pause; then comes the
    next one. Only what has the expected size and checksum becomes `output`; where no checksum is known, the SHA-256
    that was found is logged. A `session` brings the cookies of a login.

    A DataError says that no mirror gives the file, the disk is too small, or another process downloads to `output`; a
    FileAccessError that it cannot be written.
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


class _TransferError(Exception):
    """A URL did not give the file; after `wait` seconds it may do better, or never if that is None."""

    def __init__(self, reason: str, *, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class _PartialFile:
    """What has arrived of a file, in ``<output>.part``, and where it comes from, in ``<output>.part.origin``."""

    def __init__(self, output: Path) -> None:
        self.path, self._origin_path = Path(f"{output}.part"), Path(f"{output}.part.origin")

    @property
    def size(self) -> int:
        """Bytes that have arrived."""
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def origin(self) -> tuple[str, str]:
        """URL of these bytes, and the validator (ETag or date) of the file there; empty where they are not known."""
        lines = self._origin_path.read_text(encoding="utf-8").splitlines() if self._origin_path.exists() else []
        return (lines[0], lines[1]) if len(lines) == 2 else ("", "")

    def restart(self, url: str, validator: str) -> None:
        """Forget what has arrived; the next bytes are the first ones of another origin."""
        self.discard()
        self._origin_path.write_text(f"{url}\n{validator}\n", encoding="utf-8")

    def discard(self) -> None:
        """Forget what has arrived, if it is still there, and where it came from."""
        self.path.unlink(missing_ok=True)
        self._origin_path.unlink(missing_ok=True)


def _is_there(file: RemoteFile, output: Path) -> bool:
    if not output.exists():
        return False
    if mismatch := file.mismatch(output):
        logger.warning("%s: not the file to download (%s); it will be replaced", output, mismatch)
        return False
    logger.info("%s: is there already%s", output, "" if file.checksum else "; delete it to download it again")
    return True


def _fetch(file: RemoteFile, output: Path, session: requests.Session) -> None:
    part = _PartialFile(output)
    begun_at, _ = part.origin
    reasons = {}
    for url in sorted(file.urls, key=lambda url: url != begun_at):
        wait = 0.0
        for _ in range(TRIES_PER_MIRROR):
            time.sleep(wait)
            logger.info("%s: downloading from %s", file.name, url)
            try:
                _try_mirror(file, url, part, session)
            except _TransferError as error:
                reasons[url] = str(error)
                logger.warning("%s: %s", url, error)
                if error.wait is None or error.wait > MAX_WAIT_SECONDS:
                    break
                wait = error.wait
            else:
                part.path.replace(output)
                part.discard()
                return
    said = "\n".join(f"  {url}: {reason}" for url, reason in reasons.items())
    kept = f" {part.path} is kept: the next run continues it." if part.size else ""
    raise DataError(
        f"{output}: no URL of {file.name} gave it:\n{said}\n"
        "Run the command again later, or with another mirror; or get the file elsewhere and put it there, or name it "
        f"in the data set's source in the configuration.{kept}"
    )


def _try_mirror(file: RemoteFile, url: str, part: _PartialFile, session: requests.Session) -> None:
    is_local = urlsplit(url).scheme == "file"
    continued = _copy(url, part) if is_local else _transfer(file, url, part, session)
    if mismatch := file.mismatch(part.path):
        part.discard()
        # The earlier attempt's bytes may be to blame: this mirror gets a chance to send all of its own.
        raise _TransferError(mismatch, wait=0 if continued else None)
    if not file.checksum:
        digest = file_digest(part.path)
        logger.info("%s: %d bytes, sha256 %s; note them in the sheet of files", file.name, part.size, digest)


def _copy(url: str, part: _PartialFile) -> bool:
    source = Path(url2pathname(urlsplit(url).path))
    if not source.is_file():
        raise _TransferError("no such file")
    part.restart(url, "")
    check_space(part.path, source.stat().st_size)
    shutil.copyfile(source, part.path)
    return False


def _transfer(file: RemoteFile, url: str, part: _PartialFile, session: requests.Session) -> bool:
    """Get a file from a server, continuing what has arrived where that is safe; return whether it was continued.

    Without a checksum, which shows if parts of two files were joined, a partial download is continued only from its own
    URL, and only while the file's validator there is the same.
    """
    origin, validator = part.origin
    if origin != url:
        validator = ""
    offset = part.size if file.checksum or validator else 0
    headers = {"Accept-Encoding": "identity"}  # ranges are those of the file, not of a compressed form of it
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if validator:
            headers["If-Range"] = validator
    try:
        with session.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as response:
            total = _announced_size(response, offset, part)
            if None not in (total, file.num_bytes) and total != file.num_bytes:
                raise _TransferError(f"offers {total} bytes, expected {file.num_bytes}")
            continued = offset > 0 and response.status_code != 200
            if continued and not file.checksum and _validator(response) not in ("", validator):
                part.discard()
                raise _TransferError("the file has changed since its download began; restarting", wait=0)
            if not continued:
                part.restart(url, _validator(response))
            expected = total if file.num_bytes is None else file.num_bytes
            if response.status_code != 416:
                _append(response, part, expected)
    except requests.RequestException as error:
        # What had begun may go on; where nothing has come, another mirror is the better choice.
        raise _TransferError(_reason(error), wait=WAIT_SECONDS if part.size else None) from error
    if expected is not None and part.size < expected:
        raise _TransferError(f"broke off after {part.size} of {expected} bytes", wait=WAIT_SECONDS)
    return continued


def _announced_size(response: requests.Response, offset: int, part: _PartialFile) -> int | None:
    """Return the size of the whole file that a response announces, if it does; refuse one that does not hold it."""
    status, headers = response.status_code, response.headers
    announced = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", headers.get("Content-Range", ""))
    first, total = announced.groups() if announced else (None, None)
    if status == 416:
        if offset and total == str(offset):  # all of it had arrived when the earlier attempt was killed
            return offset
        part.discard()
        raise _TransferError("HTTP 416: the partial download does not fit the file on the server; restarting", wait=0)
    if status == 429 or status >= 500:
        wait = headers.get("Retry-After", "")
        raise _TransferError(f"HTTP {status}", wait=int(wait) if wait.isdecimal() else WAIT_SECONDS)
    if status not in (200, 206):
        raise _TransferError(f"HTTP {status}")
    if headers.get("Content-Type", "").lower().startswith("text/html"):
        raise _TransferError("answers with a web page (text/html), not with the file")
    if status == 200:
        total = headers.get("Content-Length")
    elif first != str(offset):
        raise _TransferError(f"was asked for byte {offset} onwards, and gives {headers.get('Content-Range')!r}")
    return int(total) if total and total.isdecimal() else None


def _validator(response: requests.Response) -> str:
    """Return what distinguishes this file from another under the same URL; empty if nothing does."""
    etag = response.headers.get("ETag", "")
    # A weak ETag stands for files of one meaning, not of the same bytes: HTTP forbids it in If-Range.
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified", "")


def _append(response: requests.Response, part: _PartialFile, total: int | None) -> None:
    done = part.size
    check_space(part.path, (total or done) - done)
    reported = time.monotonic()
    with (
        part.path.open("ab") as file,
        tqdm(desc=part.path.stem, initial=done, total=total, unit="B", unit_scale=True, disable=None) as bar,
    ):
        for chunk in response.iter_content(CHUNK_BYTES):
            file.write(chunk)
            done += len(chunk)
            bar.update(len(chunk))
            if bar.disable and time.monotonic() - reported >= LOG_INTERVAL_SECONDS:  # no terminal: lines for a log
                logger.info("%s: %.1f of %.1f MB", part.path.stem, done / 1e6, (total or done) / 1e6)
                reported = time.monotonic()


def _reason(error: Exception) -> str:
    """Return the words of what requests and urllib3 have wrapped, without those around them."""
    cause = error.args[0] if error.args else error
    cause = getattr(cause, "reason", cause)
    return str(cause.args[0] if isinstance(cause, Exception) and cause.args else cause)
