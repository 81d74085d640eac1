"""The source of libde265, from which the HEVC reader is compiled: fetched, checked, unpacked.

libde265 (Dirk Farin, LGPL-3) is not part of this package. The package pylibde265 on the Python package index carries
its complete source; a folder, an archive or a URL of another copy serves as well.
"""

import hashlib
import re
import subprocess
import sys
import tarfile
import zlib
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname, urlopen

from arseg.access import access_error, find_refusal, writing
from arseg.errors import CodecError
from arseg.files import file_digest

PACKAGE = "pylibde265==0.1.0"
"""Package whose source archive carries libde265 1.0.16, as pip names it."""

PACKAGE_SHA256 = "25e79ab1c4b4c53db1370795d5d55f3161f88a15f70445747b4493a70ea07c19"
"""Digest of that archive; any other file is refused."""

OLDEST_VERSION = (1, 0, 16)
"""Versions before this one write outside their memory on damaged streams."""

ANOTHER_SOURCE = (
    "Download the source of libde265 yourself and name it, a folder, a .tar.gz file or a URL: arseg native build "
    "--source ..., or native_source in the configuration"
)

TIMEOUT_SECONDS = 60
LAST_LINES = 3


@dataclass(frozen=True)
class LibrarySource:
    """A source tree of libde265 that may be compiled."""

    folder: Path
    """Its top folder."""
    origin: str
    """The package, path or URL that it was asked for by."""
    version: str
    sha256: str
    """Digest of the archive, or of CMakeLists.txt and the folder libde265/ if it came as a folder."""


def fetch_source(source: str | None, workspace: Path) -> LibrarySource:
    """Return a source tree of libde265: in `workspace`, an empty folder, or in place if `source` is a folder.

    Parameters
    ----------
    source : str, optional
        A folder or tar archive, or a ``file:``, ``http:`` or ``https:`` URL of one: libde265's own source, or
        the source archive of pylibde265. It may end in ``#sha256=`` and the digest that is expected. Without it, pip
        downloads the archive of `PACKAGE` from the package index that it is configured for.

    Raises
    ------
    CodecError
        If there is nothing, if it is damaged, has another digest than it should, or is no libde265 that is new enough.
    """
    origin, _, expected = (source or f"{PACKAGE}#sha256={PACKAGE_SHA256}").partition("#sha256=")
    scheme = urlsplit(origin).scheme
    if source is None:
        path = _download_package(workspace)
    elif scheme in ("http", "https"):
        path = _download(origin, workspace / "download")
    else:
        path = Path(url2pathname(urlsplit(origin).path) if scheme == "file" else origin).expanduser()
    if not path.exists():
        raise CodecError(f"{origin}: no such file or folder. {ANOTHER_SOURCE}")
    folder = _find_library(path, origin) if path.is_dir() else None
    sha256 = _digest_folder(folder) if folder else file_digest(path)
    if expected and sha256 != expected.lower():
        raise CodecError(f"{origin}: this is another source than expected: SHA-256 {sha256}, expected {expected}")
    if folder is None:  # nothing of an archive is read before its digest was checked
        _unpack(path, origin, workspace / "source")
        folder = _find_library(workspace / "source", origin)
    return LibrarySource(folder, origin, _read_version(folder, origin), sha256)


def _download_package(workspace: Path) -> Path:
    requirements, folder = workspace / "requirements.txt", workspace / "package"
    # pip runs the package's own build program to ask for its name; with a digest required, not before it has checked.
    requirements.write_text(f"{PACKAGE} --hash=sha256:{PACKAGE_SHA256}\n")
    quiet = ["--quiet", "--no-input", "--disable-pip-version-check"]
    # Not ":all:", which would compile the tools of the package's build from source as well: NumPy, for minutes.
    options = ["--require-hashes", "--no-deps", "--no-binary", PACKAGE.partition("=")[0], "--dest", str(folder)]
    command = [sys.executable, "-m", "pip", "download", *quiet, *options, "-r", str(requirements)]
    run = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if run.returncode:
        lines = [f"  {line.strip()}\n" for line in run.stderr.splitlines() if line.strip()][-LAST_LINES:]
        raise CodecError(
            f"{PACKAGE} could not be downloaded from the package index. pip printed:\n{''.join(lines)}{ANOTHER_SOURCE}"
        )
    return next(folder.iterdir())


def _download(url: str, path: Path) -> Path:
    try:
        with urlopen(url, timeout=TIMEOUT_SECONDS) as response:
            content = response.read()  # raises if the connection breaks off
    except (OSError, HTTPException, ValueError) as error:
        raise CodecError(f"{url}: could not be downloaded: {error}. {ANOTHER_SOURCE}") from error
    with writing(path):
        path.write_bytes(content)
    return path


def _unpack(archive: Path, origin: str, folder: Path) -> None:
    try:
        with tarfile.open(archive) as members:
            # Python before 3.11.4, as in Debian 12, has no filter.
            members.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
            members.extractall(folder)
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        if refusal := find_refusal(error):
            raise access_error(folder, refusal, writes=True) from error
        raise CodecError(f"{origin}: no tar archive, or not a whole one: {error}. {ANOTHER_SOURCE}") from error


def _find_library(folder: Path, origin: str) -> Path:
    """Find libde265's top folder: an archive wraps it in one folder, the package pylibde265 in two."""
    for candidate in (folder, *sorted(folder.glob("*")), *sorted(folder.glob("*/*"))):
        if (candidate / "CMakeLists.txt").is_file() and (candidate / "libde265/de265.h").is_file():
            return candidate.resolve()
    raise CodecError(
        f"{origin}: no source of libde265: nothing in it has CMakeLists.txt and libde265/de265.h beside it"
    )


def _read_version(library: Path, origin: str) -> str:
    text = (library / "CMakeLists.txt").read_text(encoding="utf-8", errors="replace")
    # Before 1.0.9 the version is a variable, since then it belongs to the project.
    pattern = r'(?:project\s*\(\s*libde265\b[^)]*?\bVERSION|set\s*\(\s*PACKAGE_VERSION)\s+"?(\d+(?:\.\d+)*)'
    match = re.search(pattern, text)
    oldest = ".".join(map(str, OLDEST_VERSION))
    if not match:
        raise CodecError(f"{origin}: CMakeLists.txt does not say the version of libde265; {oldest} or newer is needed")
    if tuple(map(int, match[1].split("."))) < OLDEST_VERSION:
        raise CodecError(
            f"{origin}: libde265 {match[1]} is too old. Damaged streams make versions before {oldest} write outside "
            f"their memory. Name the source of {oldest} or newer, or none to use the package {PACKAGE}"
        )
    return match[1]


def _digest_folder(library: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted([library / "CMakeLists.txt", *(library / "libde265").rglob("*")]):
        if path.is_file():
            digest.update(f"{path.relative_to(library).as_posix()}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
