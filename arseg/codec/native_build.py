"""The program ``hevc-motion``, which reads motion from HEVC: where it is, and how it is compiled, once.

Its sources are in ``native/``. It is kept in a cache outside the environment and the results, so that all of a user's
environments and experiments share one; `docs/native-reader.md` is the page for users.
"""

import hashlib
import json
import logging
import os
import re
import shlex
import shutil
import subprocess
import sysconfig
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory

import cmake
import ninja
from filelock import FileLock

from arseg.access import reading, writing
from arseg.codec.native_source import PACKAGE_SHA256, LibrarySource, fetch_source
from arseg.compilation import CACHE_VARIABLE, HOW_TO_GET_ONE, cache_folder, compiler_version, search_compiler
from arseg.errors import CodecError
from arseg.files import atomic_path, file_digest

READER_VARIABLE = "ARSEG_HEVC_READER"
"""Environment variable that names the program to use; nothing is compiled then."""

NATIVE_FOLDER = Path(__file__).with_name("native")
TARGET = "hevc-motion"
CMAKE = Path(cmake.CMAKE_BIN_DIR, "cmake")
NINJA = Path(ninja.BIN_DIR, "ninja")

WITHOUT = "or use H.264, which needs no compiler: codecs: [h264], arseg clips --codec h264"
OUTPUT_LINES = 8

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReaderRecord:
    """A program ``hevc-motion`` that works, and what it was made from."""

    program: str
    """Its path."""
    version: str
    """Its own words, such as ``hevc-motion 1 libde265 1.0.16``."""
    sha256: str
    """Digest of the program."""
    library: str | None = None
    """Package, path or address that libde265's source came from; None if the program was not built here."""
    library_sha256: str | None = None
    """Digest of that source, see `arseg.codec.native_source.LibrarySource`."""
    compiler: str | None = None
    """First line of the compiler's own words about its version."""


def find_native_reader() -> Path | None:
    """Find the program without building it.

    Returns
    -------
    program : Path or None
        The program that the environment variable ``ARSEG_HEVC_READER`` names, or the one that was built for this
        version of arseg; None if there is none yet.

    Raises
    ------
    CodecError
        If the variable names no program.
    """
    if named := os.environ.get(READER_VARIABLE):
        if found := shutil.which(named):
            return Path(found)
        raise CodecError(
            f"{named}: the HEVC reader named by the environment variable {READER_VARIABLE} does not exist or is not "
            "executable. Name another one, or unset the variable to have one compiled"
        )
    program = _built_program()
    return program if program.is_file() else None


def ensure_native_reader() -> Path:
    """Give the program, and build it first if it is not there or does not run on this machine.

    Returns
    -------
    program : Path
        An executable file that answered.

    Raises
    ------
    CodecError
        As `find_native_reader` and `build_native_reader`.
    """
    found = find_native_reader()
    if found is not None:
        try:
            reader_version(found)
        except CodecError:
            if os.environ.get(READER_VARIABLE):
                raise
        else:
            return found
    return Path(build_native_reader().program)


def build_native_reader(source: str | None = None, *, force: bool = False) -> ReaderRecord:
    """Compile the program into the cache, unless it is there.

    Parallel calls build once; the others wait. A build that fails or is killed leaves nothing in the cache.

    Parameters
    ----------
    source : str, optional
        Where libde265's source comes from, see `arseg.codec.native_source.fetch_source`. A program that was made from
        another source is replaced; without `source`, any will do.
    force : bool
        Compile again in any case.

    Returns
    -------
    record : ReaderRecord
        Of the program that is there now. If the environment variable ``ARSEG_HEVC_READER`` names one, nothing is
        built.

    Raises
    ------
    CodecError
        If there is no compiler, no source, no place to build, or a build error.
    """
    if os.environ.get(READER_VARIABLE) and (named := find_native_reader()):
        logger.info("%s names the HEVC reader: nothing to build", READER_VARIABLE)
        return ReaderRecord(str(named), reader_version(named), file_digest(named))
    program = _built_program()
    lock = FileLock(f"{program}.lock")
    with writing(program, f"The environment variable {CACHE_VARIABLE} names another folder."):
        program.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        return _build(program, source, force)
    finally:
        lock.release()


def reader_version(program: Path) -> str:
    """Version that a program reports, for example ``hevc-motion 1 libde265 1.0.16``.

    Raises
    ------
    CodecError
        If it does not run, or is another program.
    """

    def unfit(error: Exception) -> CodecError:
        return CodecError(f"{program}: does not run on this machine: {error}. Build it again: arseg native build")

    try:
        with reading(program, unfit):
            run = subprocess.run([program, "--version"], capture_output=True, text=True, errors="replace", check=False)
    except FileNotFoundError as error:  # of what the program is to be run by
        raise unfit(error) from error
    if run.returncode or not re.fullmatch(rf"{TARGET} \d+ libde265 [\d.]+\n", run.stdout):
        said = (run.stderr or run.stdout).strip()[:200]
        raise CodecError(
            f"{program}: does not answer --version as {TARGET} does, but with {said!r} (exit status {run.returncode}). "
            "Build it again: arseg native build --force"
        )
    return run.stdout.strip()


def find_compiler() -> str:
    """Path of the C++ compiler, by the environment variable ``CXX`` or a usual name.

    Raises
    ------
    CodecError
        If there is none.
    """
    found, missing = search_compiler()
    if found:
        return found
    raise CodecError(f"no C++ compiler to build the HEVC reader with: {missing}. {HOW_TO_GET_ONE}, {WITHOUT}")


def _built_program() -> Path:
    """Place of the program in the cache; its name changes with all that arseg decides about it."""
    key = hashlib.sha256(f"{PACKAGE_SHA256} {sysconfig.get_platform()}".encode())
    for path in sorted(path for path in NATIVE_FOLDER.iterdir() if path.is_file()):
        key.update(f"\0{path.name}\0".encode() + path.read_bytes())
    return cache_folder() / f"{TARGET}-{key.hexdigest()[:12]}"


def _build(program: Path, source: str | None, force: bool) -> ReaderRecord:
    kept = None if force else _read_record(program)
    if kept and source is None:
        return kept
    compiler = find_compiler()
    with TemporaryDirectory(prefix="arseg-native-", ignore_cleanup_errors=True) as workspace:
        library = fetch_source(source, Path(workspace))
        if kept and kept.library_sha256 == library.sha256:
            return kept
        logger.info("compiling the HEVC reader (libde265 %s), once, about a minute", library.version)
        built = _compile(library, compiler, Path(workspace, "build"))
        version = reader_version(built)
        with atomic_path(program) as temporary:
            shutil.copy2(built, temporary)
    record = ReaderRecord(
        program=str(program),
        version=version,
        sha256=file_digest(program),
        library=library.origin,
        library_sha256=library.sha256,
        compiler=compiler_version(compiler),
    )
    with atomic_path(program.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(asdict(record), indent=2) + "\n")
    return record


def _read_record(program: Path) -> ReaderRecord | None:
    """Read what is known of a program that was built; None if it is not there, damaged, or does not run here."""
    try:
        stored = json.loads(program.with_suffix(".json").read_text())
        if not isinstance(stored, dict) or set(stored) != {field.name for field in fields(ReaderRecord)}:
            return None
        record = ReaderRecord(**stored)
        whole = record.program == str(program) and record.sha256 == file_digest(program)
        return record if whole and reader_version(program) == record.version else None
    except (FileNotFoundError, ValueError, CodecError):
        return None


def _compile(library: LibrarySource, compiler: str, folder: Path) -> Path:
    options = {
        "CMAKE_BUILD_TYPE": "Release",
        "CMAKE_MAKE_PROGRAM": NINJA,
        "LIBDE265_SOURCE": library.folder,
    }
    definitions = [f"-D{name}={value}" for name, value in options.items()]
    _run([CMAKE, "-S", NATIVE_FOLDER, "-B", folder, "-G", "Ninja", *definitions], compiler)
    _run([CMAKE, "--build", folder, "--target", TARGET, "--parallel", _num_cores()], compiler)
    return folder / TARGET


def _run(command: list[object], compiler: str) -> None:
    words = [str(word) for word in command]
    environment = {"CXX": compiler} | os.environ  # CXX may hold options, too
    run = subprocess.run(
        words,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if run.returncode:
        lines = [line for line in run.stdout.splitlines() if line.strip()]
        first = next((index for index, line in enumerate(lines) if re.search(r"\berror\b", line, re.IGNORECASE)), 0)
        said = lines[first:][:OUTPUT_LINES] if first else lines[-OUTPUT_LINES:]
        raise CodecError(
            f"the HEVC reader cannot be compiled with {compiler}. The command was:\n  {shlex.join(words)}\nIt said:\n"
            + "\n".join(f"  {line}" for line in said)
            + f"\nTry another C++ compiler (environment variable CXX; it must know C++17), {WITHOUT}"
        )


def _num_cores() -> int:
    """Count the cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1
