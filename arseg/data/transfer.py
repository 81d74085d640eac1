"""One attempt to get a file from one URL, continuing an earlier one where that is safe.

Owns what a server may answer. Which URL comes next, and whether the finished file is the right one, is
`arseg.data.download`'s business.
"""

import logging
import re
import shutil
import time
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import requests
from tqdm import tqdm

from arseg.files import check_space
from arseg.progress import LOG_INTERVAL_SECONDS

TIMEOUT_SECONDS = (30.0, 60.0)
"""How long to wait for a connection, and then for each next byte."""

WAIT_SECONDS = 5.0
"""How long to wait before the same URL is tried again, if the server does not say."""

SCHEMES = ("http", "https", "file")
CHUNK_BYTES = 1 << 14

logger = logging.getLogger(__name__)


class TransferError(Exception):
    """A URL did not give the file; after `wait` seconds it may do better, or never if that is None."""

    def __init__(self, reason: str, *, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class PartialFile:
    """What has arrived of a file, in ``<output>.part``, and where it comes from, in ``<output>.part.origin``."""

    def __init__(self, output: Path) -> None:
        self._output = output
        self.path = output.with_name(f"{output.name}.part")
        self._origin_path = output.with_name(f"{output.name}.part.origin")

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
        """Delete what has arrived."""
        self.path.unlink(missing_ok=True)
        self._origin_path.unlink(missing_ok=True)

    def finish(self) -> None:
        """Make it the output."""
        self.path.replace(self._output)
        self._origin_path.unlink(missing_ok=True)


def transfer(
    session: requests.Session, url: str, part: PartialFile, *, num_bytes: int | None, verifiable: bool
) -> bool:
    """Get a file from one URL, continuing its partial download where that is safe.

    Parameters
    ----------
    session : requests.Session
        Its cookies go with the request.
    url : str
        An ``http:``, ``https:`` or ``file:`` URL; the last is copied from its beginning.
    part : PartialFile
        What has arrived of the file, and where to write.
    num_bytes : int, optional
        Size of the whole file, if it is known beforehand.
    verifiable : bool
        Whether a checksum of the whole file is known, which will show if parts of two files were joined. If not, a
        partial download is continued only from its own URL, and only while the file's validator there is the same.

    Returns
    -------
    continued : bool
        Whether the first bytes are those of an earlier attempt.

    Raises
    ------
    TransferError
        If the URL does not give the file, or not all of it.
    DataError
        If the disk has not enough space.
    """
    if urlsplit(url).scheme == "file":
        return _copy(url, part)
    origin, validator = part.origin
    if origin != url:
        validator = ""
    offset = part.size if verifiable or validator else 0
    headers = {"Accept-Encoding": "identity"}  # ranges are those of the file, not of a compressed form of it
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if validator:
            headers["If-Range"] = validator
    try:
        with session.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as response:
            total = _total(response, offset, part)
            if None not in (total, num_bytes) and total != num_bytes:
                raise TransferError(f"offers {total} bytes, expected {num_bytes}")
            continued = offset > 0 and response.status_code != 200
            if continued and not verifiable and _validator(response) not in ("", validator):
                part.discard()
                raise TransferError("the file has changed since its download began; restarting", wait=0)
            if not continued:
                part.restart(url, _validator(response))
            expected = total if num_bytes is None else num_bytes
            if response.status_code != 416:
                _append(response, part, expected)
    except requests.RequestException as error:
        # What had begun may go on; where nothing has come, another mirror is the better choice.
        raise TransferError(_reason(error), wait=WAIT_SECONDS if part.size else None) from error
    if expected is not None and part.size < expected:
        raise TransferError(f"broke off after {part.size} of {expected} bytes", wait=WAIT_SECONDS)
    return continued


def _reason(error: Exception) -> str:
    """Return the words of what requests and urllib3 have wrapped, without those around them."""
    cause = error.args[0] if error.args else error
    cause = getattr(cause, "reason", cause)
    return str(cause.args[0] if isinstance(cause, Exception) and cause.args else cause)


def _copy(url: str, part: PartialFile) -> bool:
    source = Path(url2pathname(urlsplit(url).path))
    if not source.is_file():
        raise TransferError("no such file")
    part.restart(url, "")
    check_space(part.path, source.stat().st_size)
    shutil.copyfile(source, part.path)
    return False


def _total(response: requests.Response, offset: int, part: PartialFile) -> int | None:
    """Return the size of the whole file that a response announces, if it does; refuse one that does not hold it."""
    status, headers = response.status_code, response.headers
    announced = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", headers.get("Content-Range", ""))
    first, total = announced.groups() if announced else (None, None)
    if status == 416:
        if offset and total == str(offset):  # all of it had arrived when the earlier attempt was killed
            return offset
        part.discard()
        raise TransferError("HTTP 416: the partial download does not fit the file on the server; restarting", wait=0)
    if status == 429 or status >= 500:
        wait = headers.get("Retry-After", "")
        raise TransferError(f"HTTP {status}", wait=int(wait) if wait.isdecimal() else WAIT_SECONDS)
    if status not in (200, 206):
        raise TransferError(f"HTTP {status}")
    if headers.get("Content-Type", "").lower().startswith("text/html"):
        raise TransferError("answers with a web page (text/html), not with the file")
    if status == 200:
        total = headers.get("Content-Length")
    elif first != str(offset):
        raise TransferError(f"was asked for byte {offset} onwards, and gives {headers.get('Content-Range')!r}")
    return int(total) if total and total.isdecimal() else None


def _validator(response: requests.Response) -> str:
    """Return what distinguishes this file from another under the same URL; empty if nothing does."""
    etag = response.headers.get("ETag", "")
    # A weak ETag stands for files of one meaning, not of the same bytes: HTTP forbids it in If-Range.
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified", "")


def _append(response: requests.Response, part: PartialFile, total: int | None) -> None:
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
