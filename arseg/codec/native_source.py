"""The source of libde265, from which the HEVC reader is compiled: fetched, checked, unpacked.

libde265 (Dirk Farin, LGPL-3) is not part of this package. The package pylibde265 on the Python package index carries
its complete source; a folder, an archive or an address of another copy serves as well.
"""

import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
import zlib
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname, urlopen

from arseg.access import HINTS, access_error, find_refusal
from arseg.errors import CodecError
from arseg.files import file_digest

PACKAGE = "pylibde265==0.1.0"
"""Package whose source archive carries libde265 1.0.16, as pip names it."""

PACKAGE_SHA256 = "25e79ab1c4b4c53db1370795d5d55f3161f88a15f70445747b4493a70ea07c19"
"""Digest of that archive; any other file is refused."""

OLDEST_VERSION = (1, 0, 16)
"""Versions before this one write outside their memory on damaged streams."""

ANOTHER_SOURCE = (
    "Download the source of libde265 yourself and name it, a folder, a .tar.gz file or an address: arseg native build "
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
    """What it was asked for by: a package, path or address."""
    version: str
    sha256: str
    """Digest of the archive, or of CMakeLists.txt and the folder libde265/ if it came as a folder."""


def fetch_source(source: str | None, workspace: Path) -> LibrarySource:
    """Get a source tree of libde265.

    Parameters
    ----------
    source : str, optional
        A folder or tar archive, or a ``file:``, ``http:`` or ``https:`` address of one: libde265's own source, or
        the source archive of pylibde265. It may end in ``#sha256=`` and the digest that is expected. Without it, pip
        downloads the archive of `PACKAGE` from the package index that it is configured for.
    workspace : Path
        An empty folder to download and unpack to.

    Returns
    -------
    library : LibrarySource
        In `workspace`, or in place if `source` is a folder.

    Raises
    ------
    CodecError
        If there is nothing, if it is damaged, has another digest than it should, or is no libde265 that is new enough.
    """
    if source is None:
        archive = _download_package(workspace)
        return _unpack(archive, PACKAGE, workspace, PACKAGE_SHA256)
    address, _, expected = source.partition("#sha256=")
    scheme = urlsplit(address).scheme
    if scheme in ("http", "https"):
        return _unpack(_download(address, workspace / "download"), address, workspace, expected)
    path = Path(url2pathname(urlsplit(address).path) if scheme == "file" else address).expanduser()
    if path.is_dir():
        library = _find_library(path, address)
        sha256 = _digest_folder(library)
        _check_digest(sha256, expected, address)
        return LibrarySource(library, address, _check_version(library, address), sha256)
    if not path.is_file():
        raise CodecError(f"{address}: no such file or folder. {ANOTHER_SOURCE}")
    return _unpack(path, address, workspace, expected)


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
        lines = [line.strip() for line in run.stderr.splitlines() if line.strip()]
        said = "\n".join(f"  {line}" for line in lines[-LAST_LINES:])
        raise CodecError(
            f"{PACKAGE} could not be downloaded from the package index. pip said:\n{said}\n{ANOTHER_SOURCE}"
        )
    return next(folder.iterdir())


def _download(address: str, path: Path) -> Path:
    try:
        with urlopen(address, timeout=TIMEOUT_SECONDS) as response, path.open("wb") as file:
            shutil.copyfileobj(response, file)
            promised = response.headers.get("Content-Length")
    except (OSError, HTTPException, ValueError) as error:
        if isinstance(error, OSError) and error.errno in HINTS:
            raise access_error(path, error, writes=True) from error
        raise CodecError(f"{address}: could not be downloaded: {error}. {ANOTHER_SOURCE}") from error
    if promised is not None and path.stat().st_size != int(promised):
        raise CodecError(
            f"{address}: the download broke off after {path.stat().st_size} of {promised} bytes. Run the command again"
        )
    return path


def _unpack(archive: Path, origin: str, workspace: Path, expected: str) -> LibrarySource:
    """Check an archive's digest before anything else; then unpack it."""
    sha256 = file_digest(archive)
    _check_digest(sha256, expected, origin)
    folder = workspace / "source"
    try:
        with tarfile.open(archive) as members:
            if hasattr(tarfile, "data_filter"):
                members.extractall(folder, filter="data")
            else:  # Python before 3.11.4, Debian 12's own; the digest has been checked
                members.extractall(folder)
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        if refusal := find_refusal(error):
            raise access_error(folder, refusal, writes=True) from error
        raise CodecError(f"{origin}: no tar archive, or not a whole one: {error}. {ANOTHER_SOURCE}") from error
    library = _find_library(folder, origin)
    return LibrarySource(library, origin, _check_version(library, origin), sha256)


def _check_digest(sha256: str, expected: str, origin: str) -> None:
    if expected and sha256 != expected.lower():
        raise CodecError(f"{origin}: this is another source than expected: SHA-256 {sha256}, expected {expected}")


def _find_library(folder: Path, origin: str) -> Path:
    """Find libde265's top folder: an archive wraps it in one folder, the package pylibde265 in two."""
    for candidate in (folder, *sorted(folder.glob("*")), *sorted(folder.glob("*/*"))):
        if (candidate / "CMakeLists.txt").is_file() and (candidate / "libde265/de265.h").is_file():
            return candidate.resolve()
    raise CodecError(
        f"{origin}: no source of libde265: nothing in it has CMakeLists.txt and libde265/de265.h beside it"
    )


def _check_version(library: Path, origin: str) -> str:
    text = (library / "CMakeLists.txt").read_text(encoding="utf-8", errors="replace")
    # Before 1.0.9 the version is a variable, since then it belongs to the project.
    pattern = r'(?:project\s*\(\s*libde265\b[^)]*?\bVERSION|set\s*\(\s*PACKAGE_VERSION)\s+"?(\d+(?:\.\d+)*)'
    match = re.search(pattern, text)
    oldest = ".".join(map(str, OLDEST_VERSION))
    if not match:
        raise CodecError(f"{origin}: CMakeLists.txt does not tell the version of libde265; {oldest} or newer is needed")
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
