"""Packages of Cityscapes: downloaded with the user's own account, and unpacked as far as they are needed.

The account is read from the environment and given to the site's login page; it is written nowhere, and stands in no log
and no message.
"""

import logging
import os
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from zipfile import ZipFile, ZipInfo

import requests

from arseg.data.archives import extract, open_zip
from arseg.data.download import TIMEOUT_SECONDS, RemoteFile, download
from arseg.errors import ConfigError, DataError
from arseg.files import atomic_path, check_space
from arseg.progress import track

SITE = "https://www.cityscapes-dataset.com"
USERNAME_VARIABLE = "CITYSCAPES_USERNAME"
PASSWORD_VARIABLE = "CITYSCAPES_PASSWORD"

# Whatever else is in an archive stays there: other labels, the split test, and names that lead out of the folder.
_MEMBER = re.compile(
    r"(?P<folder>gtFine|leftImg8bit|leftImg8bit_sequence)/"
    r"(?P<path>(?:train|val)/[\w-]+/[\w-]+_\d{6}_\d{6}_(?:gtFine_labelIds|leftImg8bit)\.png)"
)

logger = logging.getLogger(__name__)


def download_package(package: str, output: str | Path) -> None:
    """Download a package, such as ``gtFine_trainvaltest.zip``, unless `output` is there, and check its MD5 sum.

    See `arseg.data.download.download` for the rest. A ConfigError says that the environment variables
    CITYSCAPES_USERNAME and CITYSCAPES_PASSWORD are missing, or that the site does not accept them; a DataError that the
    account has no access to the package, or that the download fails.
    """
    if Path(output).exists():
        logger.info("%s: is there already; delete it to download it again", output)
        return
    with requests.Session() as session:
        _log_in(session)
        try:
            packages = {item["name"]: item["packageID"] for item in _ask(session, "/downloads/?list").json()}
            if package not in packages:
                raise DataError(
                    f"{package}: this account may not download it, or there is no such package. It may download "
                    f"{', '.join(sorted(packages)) or 'none'}. Ask for access at {SITE}/downloads/ while logged in"
                )
            query = f"?packageID={packages[package]}"
            checksum = re.findall(r"^[0-9a-f]{32}\b", _ask(session, f"/md5-sum/{query}").text)[0]
        except (KeyError, TypeError, IndexError, requests.JSONDecodeError) as error:
            raise DataError(
                f"{SITE}: its answers do not tell where {package} is and what MD5 sum it has ({error!r}). Download it "
                "with a browser"
            ) from error
        download(RemoteFile(package, (f"{SITE}/file-handling/{query}",), checksum), output, session)


def unpack_cityscapes(archives: Sequence[str | Path], root: str | Path) -> None:
    """Unpack packages into `root`, whole or not at all for each of ``gtFine``, ``leftImg8bit`` and the sequences.

    What several archives hold of one folder is put together. A folder that is there, with something in it, is kept. A
    DataError says that an archive is missing, truncated, damaged or no package of Cityscapes, or the disk too small.
    """
    contents: dict[str, dict[Path, list[tuple[ZipInfo, str]]]] = {}
    for path in map(Path, archives):
        with _open(path) as archive:
            for info in archive.infolist():
                if match := _MEMBER.fullmatch(info.filename):
                    contents.setdefault(match["folder"], {}).setdefault(path, []).append((info, match["path"]))
        if not any(path in by_archive for by_archive in contents.values()):
            raise DataError(
                f"{path}: holds no label ids or frames of the splits train and val below gtFine, leftImg8bit or "
                "leftImg8bit_sequence. Give the packages named ..._trainvaltest.zip."
            )
    for folder, by_archive in contents.items():
        output = Path(root) / folder
        if output.is_dir() and any(output.iterdir()):
            logger.info("%s: is there already; delete it to unpack it again", output)
            continue
        check_space(output, sum(info.file_size for members in by_archive.values() for info, _ in members))
        with atomic_path(output) as temporary:
            for path, members in by_archive.items():
                with _open(path) as archive:
                    for info, path_inside in track(members, folder):
                        (temporary / path_inside).parent.mkdir(parents=True, exist_ok=True)
                        extract(archive, info, temporary / path_inside)


def _log_in(session: requests.Session) -> None:
    """Get the cookie with which the site knows the account."""
    username, password = os.environ.get(USERNAME_VARIABLE), os.environ.get(PASSWORD_VARIABLE)
    if not username or not password:
        raise ConfigError(
            f"the environment variables {USERNAME_VARIABLE} and {PASSWORD_VARIABLE} are not both set. Register at "
            f"{SITE}/register/ and export them, or name your own copy: source.root in the configuration"
        )
    _ask(session, "/login")
    answer = _ask(session, "/login", {"username": username, "password": password, "submit": "Login"})
    if not answer.is_redirect:  # the login page again, instead of one's own
        raise ConfigError(
            f"{SITE} does not accept the account in {USERNAME_VARIABLE} and {PASSWORD_VARIABLE}. Correct them; log in "
            "with a browser to see whether the account is active"
        )


def _ask(session: requests.Session, path: str, form: dict[str, str] | None = None) -> requests.Response:
    """Get a page of the site, or post a form to it."""
    try:
        method = "GET" if form is None else "POST"
        answer = session.request(method, SITE + path, data=form, allow_redirects=False, timeout=TIMEOUT_SECONDS)
        answer.raise_for_status()
    except requests.RequestException as error:
        # Not chained: the exception carries the request, and the request the password.
        raise DataError(f"{SITE}{path} failed: {error}. See whether the site answers, and run again") from None
    return answer


def _open(path: Path) -> AbstractContextManager[ZipFile]:
    return open_zip(path, hint=f"Delete what is there and download it: arseg cityscapes download {path.name}")
