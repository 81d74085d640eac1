"""Packages of Cityscapes, fetched with the user's own account by the official downloader.

The account is read from the environment and given to the site's login page; it is written nowhere, and stands in no log
and no message.
"""

import io
import logging
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import requests
from cityscapesscripts.download import downloader
from requests.adapters import HTTPAdapter

from arseg.access import writing
from arseg.errors import ConfigError, DataError
from arseg.progress import LOG_INTERVAL_SECONDS

SITE = "https://www.cityscapes-dataset.com"
USERNAME_VARIABLE = "CITYSCAPES_USERNAME"
PASSWORD_VARIABLE = "CITYSCAPES_PASSWORD"

CONNECT_TIMEOUT_SECONDS = 30.0
STALL_SECONDS = 120.0
"""A connection on which nothing comes for so long is given up."""

logger = logging.getLogger(__name__)


def download_package(package: str, output: str | Path) -> None:
    """Download a package of Cityscapes, unless it is there, and check its MD5 sum.

    The bytes arrive in the folder ``<output>.part``, which a kill leaves and the next run continues.

    Parameters
    ----------
    package : str
        Name of a package, for example ``gtFine_trainvaltest.zip``.
    output : path
        Where the archive shall be. A file that is there is kept.

    Raises
    ------
    ConfigError
        If the environment variables ``CITYSCAPES_USERNAME`` and ``CITYSCAPES_PASSWORD`` are missing, or the site does
        not accept them.
    DataError
        If the account has no access to the package, the connection breaks, the disk is too small, or what was
        received has another MD5 sum than the package.
    """
    output = Path(output)
    if output.exists():
        logger.info("%s: is there already; delete it to download it again", output)
        return
    with _open_session() as session:
        _log_in(session)
        folder = output.with_name(f"{output.name}.part")
        part = folder / package
        num_bytes = _package_size(session, package)
        with writing(output):
            folder.mkdir(parents=True, exist_ok=True)
            _check_space(part, num_bytes)
            _fetch(session, part)
            part.replace(output)
            folder.rmdir()


class _Adapter(HTTPAdapter):
    """Gives every request a time limit: the official downloader sets none, and would wait for ever."""

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        options["timeout"] = (CONNECT_TIMEOUT_SECONDS, STALL_SECONDS)
        return super().send(request, *args, **options)


class _BadPartError(Exception):
    """What is there of a package is not a part, or not all, of it."""


class _WholePartError(Exception):
    """All of a package, or more, is there already."""


def _open_session() -> requests.Session:
    session = requests.Session()
    session.mount(SITE, _Adapter())
    return session


def _log_in(session: requests.Session) -> None:
    """Log in as the official downloader does, which would ask at a terminal and offer to store the answers."""
    username, password = os.environ.get(USERNAME_VARIABLE), os.environ.get(PASSWORD_VARIABLE)
    if not username or not password:
        raise ConfigError(
            f"the environment variables {USERNAME_VARIABLE} and {PASSWORD_VARIABLE} are not both set. Register at "
            f"{SITE}/register/ and export them, or name your own copy: source.root in the configuration"
        )
    account = {"username": username, "password": password, "submit": "Login"}
    try:
        session.get(f"{SITE}/login", allow_redirects=False).raise_for_status()
        answer = session.post(f"{SITE}/login", data=account, allow_redirects=False)
        answer.raise_for_status()
    except requests.RequestException as error:
        # Not chained: the exception carries the request, and the request the password.
        raise _connection_failed("login", error) from None
    if answer.status_code != requests.codes.found:  # a page that says so, in place of one's own
        raise ConfigError(
            f"{SITE} does not accept the account in {USERNAME_VARIABLE} and {PASSWORD_VARIABLE}. Correct them; log in "
            "with a browser to see whether the account is active"
        )


def _package_size(session: requests.Session, package: str) -> float:
    """Look a package up in the list of what the account may download; give its size in bytes, rounded as there."""
    try:
        sizes = {item["name"]: item["size"] for item in downloader.get_available_packages(session=session)}
        if package in sizes:
            return downloader.parse_size_to_bytes(sizes[package])
    except requests.RequestException as error:
        raise _connection_failed("list of packages", error) from None
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{SITE}: its list of packages is not as the official downloader expects ({error!r}). Update it "
            f"(pip install --upgrade cityscapesscripts), or download {package} with a browser"
        ) from error
    raise DataError(
        f"{package}: this account may not download it, or there is no such package. It may download "
        f"{', '.join(sorted(sizes)) or 'none'}. Ask for access at {SITE}/downloads/ while logged in"
    )


def _fetch(session: requests.Session, part: Path) -> None:
    """Let the official downloader complete a part; mend twice what it cannot continue."""
    mends = [_discard, _shorten] if part.exists() else []
    while True:
        try:
            _run_downloader(session, part)
            return
        except (_WholePartError, _BadPartError) as error:
            if isinstance(error, _BadPartError):
                mends = mends[:1]
            if not mends:
                _discard(part)
                raise DataError(f"{part}: {error}. What was received is deleted; run the command again") from error
            logger.warning("%s: %s", part, error)
            mends.pop()(part)


def _shorten(part: Path) -> None:
    # The official downloader would ask for the range behind the last byte, which is an error, and never come to check
    # the sum. Without its last byte a whole part is one like any other.
    os.truncate(part, max(part.stat().st_size - 1, 0))


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)


def _run_downloader(session: requests.Session, part: Path) -> None:
    """Turn what the official downloader raises, plain exceptions and assertions, into errors of ours."""
    try:
        with _bar_as_log_lines():
            downloader.download_packages(
                session=session, package_names=[part.name], destination_path=str(part.parent), resume=True
            )
    except requests.RequestException as error:
        if error.response is not None and error.response.status_code == requests.codes.range_not_satisfiable:
            raise _WholePartError("all of it, or more, is there already") from None
        raise _connection_failed(f"download of {part.name}", error) from None
    except OSError:  # the disk: for `download_package`
        raise
    except Exception as error:
        if "MD5" in str(error):
            raise _BadPartError("its MD5 sum is not the package's") from error
        raise DataError(
            f"{part.name}: the official downloader stopped: {error!r}. The site may be under maintenance, or the login "
            "expired: run the command again later, it continues"
        ) from error


@contextmanager
def _bar_as_log_lines() -> Iterator[None]:
    """Show the official downloader's bar on a terminal, and a log line now and then everywhere else."""
    with redirect_stdout(io.StringIO()):  # it says what the log said before
        if sys.stderr.isatty():
            yield
        else:
            with redirect_stderr(_LogLines()):
                yield


class _LogLines(io.StringIO):
    """Takes a bar, which is drawn ten times a second, and logs it at most every ten seconds."""

    def __init__(self) -> None:
        super().__init__()
        self._last_report = time.monotonic()

    def write(self, text: str) -> int:
        if text.strip() and time.monotonic() - self._last_report >= LOG_INTERVAL_SECONDS:
            logger.info("%s", text.strip())
            self._last_report = time.monotonic()
        return len(text)


def _check_space(part: Path, num_bytes: float) -> None:
    needed = num_bytes - (part.stat().st_size if part.exists() else 0)
    free = shutil.disk_usage(part.parent).free
    if needed > free:
        raise DataError(
            f"{part}: {needed / 1e9:.1f} GB are to be written, {free / 1e9:.1f} GB are free. Make room, or name an "
            "output on another disk."
        )


def _connection_failed(what: str, error: requests.RequestException) -> DataError:
    return DataError(
        f"{SITE}: {what} failed: {error}. Look whether the site answers; run the command again, it continues"
    )
