"""One attempt to get a file from one address: libcurl writes to a part that a later attempt can continue.

Owns what a server may answer, and when a part may be continued. Which address comes next, and whether the finished file
is the right one, is `arseg.data.download`'s business.
"""

import logging
import re
import shutil
import sys
import time
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import certifi
import pycurl
from tqdm import tqdm

from arseg.data.partial_file import Origin, PartialFile
from arseg.errors import DataError
from arseg.progress import LOG_INTERVAL_SECONDS

CONNECT_TIMEOUT_SECONDS = 30
STALL_SECONDS = 60
"""A transfer that is slower than `STALL_BYTES_PER_SECOND` for so long is given up."""
STALL_BYTES_PER_SECOND = 100

SCHEMES = ("http", "https", "ftp", "file")
MAX_REDIRECTS = 10

logger = logging.getLogger(__name__)


class TransferError(Exception):
    """An address did not give the file.

    Parameters
    ----------
    reason : str
        What went wrong, without the address.
    again : bool
        Whether the same address may do better at once: a connection broke, or a part had to be given up.
    """

    def __init__(self, reason: str, *, again: bool = False) -> None:
        super().__init__(reason)
        self.again = again


def transfer(url: str, part: PartialFile, *, num_bytes: int | None, verifiable: bool) -> bool:
    """Get a file from one address, continuing its part where that is safe.

    Parameters
    ----------
    url : str
        An ``http:``, ``https:``, ``ftp:`` or ``file:`` address.
    part : PartialFile
        What is there of the file, and where to write.
    num_bytes : int, optional
        Size of the whole file, if it is known beforehand.
    verifiable : bool
        Whether a digest of the whole file is known, which will tell if parts of two files were joined. If not, a part
        is continued only at its own address, and only while the server's ETag, date and size of the file are those
        that the part was begun with.

    Returns
    -------
    continued : bool
        Whether the first bytes are those of an earlier attempt.

    Raises
    ------
    TransferError
        If the address does not give the file, or not all of it.
    DataError
        If the disk has not enough space.
    """
    attempt = _Transfer(url, part, num_bytes, verifiable)
    try:
        attempt.perform()
    finally:
        attempt.close()
    return attempt.continued


class _Transfer:
    """The state of one attempt, which libcurl's callbacks share."""

    def __init__(self, url: str, part: PartialFile, num_bytes: int | None, verifiable: bool) -> None:
        self._url = url
        self._part = part
        self._num_bytes = num_bytes
        self._verifiable = verifiable
        self._known = part.origin or Origin("")
        own = self._known.url == url and bool(self._known.etag or self._known.last_modified)
        self._offset = part.size if verifiable or own else 0
        self._size = 0
        self._received = 0
        self._status: int | None = None
        self._headers: dict[str, str] = {}
        self._file: BinaryIO | None = None
        self._progress: _Progress | None = None
        self._stopped_by: Exception | None = None
        self.continued = False

    def perform(self) -> None:
        curl = self._make_handle()
        try:
            curl.perform()
            if self._file is None:  # no byte came: an empty file, or an error without a page
                self._begin()
        except pycurl.error as error:
            if self._stopped_by:
                raise self._stopped_by from None
            number, reason = error.args[0], str(error.args[-1])
            if number in (pycurl.E_RANGE_ERROR, pycurl.E_BAD_DOWNLOAD_RESUME):
                self._part.discard()
                raise TransferError(f"{reason}; beginning again", again=True) from error
            raise TransferError(reason or f"libcurl error {number}", again=self._received > 0) from error
        finally:
            curl.close()
        if self._num_bytes is not None and self._size < self._num_bytes:
            raise TransferError(f"broke off after {self._size} of {self._num_bytes} bytes", again=self._received > 0)

    def close(self) -> None:
        if self._progress:
            self._progress.close()
        if self._file:
            self._file.close()

    def _make_handle(self) -> pycurl.Curl:
        curl = pycurl.Curl()
        curl.setopt(pycurl.URL, self._url)
        curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS | pycurl.PROTO_FTP | pycurl.PROTO_FILE)
        curl.setopt(pycurl.REDIR_PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS | pycurl.PROTO_FTP)
        curl.setopt(pycurl.CAINFO, certifi.where())
        curl.setopt(pycurl.FOLLOWLOCATION, True)
        curl.setopt(pycurl.MAXREDIRS, MAX_REDIRECTS)
        curl.setopt(pycurl.NOSIGNAL, True)
        curl.setopt(pycurl.CONNECTTIMEOUT, CONNECT_TIMEOUT_SECONDS)
        curl.setopt(pycurl.LOW_SPEED_LIMIT, STALL_BYTES_PER_SECOND)
        curl.setopt(pycurl.LOW_SPEED_TIME, STALL_SECONDS)
        # Called about once a second even if nothing arrives, so that Python can act on an interrupt.
        curl.setopt(pycurl.NOPROGRESS, False)
        curl.setopt(pycurl.XFERINFOFUNCTION, lambda *_: 0)
        curl.setopt(pycurl.HEADERFUNCTION, self._read_header)
        curl.setopt(pycurl.WRITEFUNCTION, self._write)
        if self._offset:
            curl.setopt(pycurl.RANGE, f"{self._offset}-")
            if self._known.url == self._url and self._known.condition:
                curl.setopt(pycurl.HTTPHEADER, [f"If-Range: {self._known.condition}"])
        return curl

    def _read_header(self, line: bytes) -> None:
        text = line.decode("latin-1").strip()
        if text.startswith("HTTP/"):  # a redirect, or the answer that it leads to
            self._status = int(text.split()[1])
            self._headers = {}
        name, _, value = text.partition(":")
        self._headers[name.strip().lower()] = value.strip()

    def _write(self, data: bytes) -> int:
        try:
            self._keep(data)
        except Exception as error:  # libcurl would make one error of them all: it only knows that we want to stop
            self._stopped_by = error
            return -1
        return len(data)

    def _keep(self, data: bytes) -> None:
        file = self._file or self._begin()
        if self._num_bytes is not None and self._size + len(data) > self._num_bytes:
            file.close()
            self._part.discard()
            raise TransferError(f"gives more than the expected {self._num_bytes} bytes")
        file.write(data)
        self._size += len(data)
        self._received += len(data)
        if self._progress:
            self._progress.advance(len(data))

    def _begin(self) -> BinaryIO:
        """Judge the answer before its first byte is kept; open the part."""
        self._check_answer()
        total = self._announced_size()
        origin = Origin(self._url, self._headers.get("etag", ""), self._headers.get("last-modified", ""), total)
        if None not in (total, self._num_bytes) and total != self._num_bytes:
            raise TransferError(f"offers {total} bytes, expected {self._num_bytes}")
        self.continued = self._offset > 0 and self._status != 200
        if self.continued and not self._verifiable and not self._known.is_unchanged(origin):
            self._part.discard()
            raise TransferError("another file than the part that is here; beginning again", again=True)
        if not self.continued:
            self._part.restart(origin)
        self._size = self._part.size
        total = self._num_bytes if total is None else total
        _check_space(self._part.path, None if total is None else total - self._size)
        self._progress = _Progress(self._part.path.stem, self._size, total)
        self._file = self._part.path.open("ab")
        return self._file

    def _check_answer(self) -> None:
        if self._status == 416:
            self._part.discard()
            raise TransferError("HTTP 416: the part that is here is no part of it; beginning again", again=True)
        if self._status not in (None, 200, 206):  # None: ftp and file have no status
            raise TransferError(f"HTTP {self._status}")
        content_type = self._headers.get("content-type", "")
        if content_type.lower().startswith("text/html"):
            raise TransferError("answers with a web page (text/html), not with the file")

    def _announced_size(self) -> int | None:
        if self._status == 206:
            announced = self._headers.get("content-range", "")
            match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", announced)
            if not match or int(match[1]) != self._offset:
                raise TransferError(f"asked to go on at byte {self._offset}, answers with {announced or 'any range'!r}")
            return int(match[2]) if match[2] != "*" else None
        announced = self._headers.get("content-length", "")
        # An FTP server's own words look like headers now and then.
        return int(announced) if announced.isdecimal() and urlsplit(self._url).scheme != "ftp" else None


def _check_space(path: Path, num_bytes: int | None) -> None:
    free = shutil.disk_usage(path.parent).free
    if num_bytes is not None and num_bytes > free:
        raise DataError(
            f"{path}: {num_bytes / 1e9:.2f} GB are to be written, {free / 1e9:.2f} GB are free. Make room, or name an "
            "output on another disk."
        )


class _Progress:
    """How many bytes are there: a bar on a terminal, a log line now and then everywhere else."""

    def __init__(self, name: str, done: int, total: int | None) -> None:
        self._name, self._done, self._total = name, done, total
        self._last_report = time.monotonic()
        self._bar: tqdm | None = None
        if sys.stderr.isatty():
            self._bar = tqdm(desc=name, initial=done, total=total, unit="B", unit_scale=True)

    def advance(self, num_bytes: int) -> None:
        self._done += num_bytes
        if self._bar is not None:
            self._bar.update(num_bytes)
        elif time.monotonic() - self._last_report >= LOG_INTERVAL_SECONDS:
            total = "" if self._total is None else f" of {self._total / 1e6:.1f}"
            logger.info("%s: %.1f%s MB", self._name, self._done / 1e6, total)
            self._last_report = time.monotonic()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
