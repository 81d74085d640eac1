"""The program ``hevc-motion``, which reads motion from HEVC: where it is, and what it is made from.

Its sources are in ``native/``; `docs/native-reader.md` is the page for users.
"""

import json
import logging
import os
import re
import shutil
import subprocess
import sysconfig
from dataclasses import asdict, dataclass
from pathlib import Path

import cmake
import ninja

from arseg.access import reading
from arseg.codec.native_source import PACKAGE_SHA256, LibrarySource, fetch_source
from arseg.compilation import Compiler, build_folder, cached_path, find_compiler, install
from arseg.errors import CodecError
from arseg.files import atomic_path, file_digest
from arseg.machine import usable_cores

READER_VARIABLE = "ARSEG_HEVC_READER"
"""Environment variable that names the program to use; nothing is compiled then."""

NATIVE_FOLDER = Path(__file__).with_name("native")
TARGET = "hevc-motion"
CMAKE = Path(cmake.CMAKE_BIN_DIR, "cmake")
NINJA = Path(ninja.BIN_DIR, "ninja")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReaderRecord:
    """A program ``hevc-motion`` that works, and what it was made from."""

    program: str
    """Its path."""
    version: str
    """What it prints about itself, such as ``hevc-motion 1 libde265 1.0.16``."""
    sha256: str
    """Digest of the program."""
    library: str | None = None
    """Package, path or URL that libde265's source came from; None if the program was not built here."""
    library_sha256: str | None = None
    """Digest of that source, see `arseg.codec.native_source.LibrarySource`."""
    compiler: str | None = None
    """First line of what the compiler prints about its version."""

    def write(self, path: Path) -> None:
        """Write it as a JSON file."""
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=2) + "\n")


def find_native_reader() -> Path | None:
    """Return the program, without building it.

    The one that the environment variable ``ARSEG_HEVC_READER`` names (CodecError if there is none), or the one that was
    built for this version of arseg; None if there is none yet that runs on this machine.
    """
    if named := os.environ.get(READER_VARIABLE):
        found = shutil.which(named)
        if found is None:
            raise CodecError(
                f"{named}: the HEVC reader named by the environment variable {READER_VARIABLE} does not exist or is "
                "not executable. Name another one, or unset the variable to have one compiled"
            )
        reader_version(Path(found))
        return Path(found)
    program = _cached_program()
    try:
        reader_version(program)
    except CodecError:
        return None
    return program


def ensure_native_reader() -> Path:
    """Return the program, and build it first if need be; raises what the other two functions raise."""
    return find_native_reader() or Path(build_native_reader().program)


def prepare_native_reader() -> str:
    """Build the program if need be, and return its version."""
    return reader_version(ensure_native_reader())


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
        Of the program that is there now: of the one that ``ARSEG_HEVC_READER`` names, if it does.

    Raises
    ------
    CodecError, FileAccessError
        If there is no compiler, no source or no place, or the program cannot be compiled or does not run.
    """
    if os.environ.get(READER_VARIABLE) and (named := find_native_reader()):
        logger.info("%s names the HEVC reader: nothing to build", READER_VARIABLE)
        return ReaderRecord(str(named), reader_version(named), file_digest(named))
    program = _cached_program()
    with build_folder(program) as folder:
        kept = None if force else _read_record(program)
        if kept and source is None:
            return kept
        compiler = find_reader_compiler()
        library = fetch_source(source, folder)
        if kept and kept.library_sha256 == library.sha256:
            return kept
        logger.info("compiling the HEVC reader (libde265 %s), once, about a minute", library.version)
        built = _compile(library, compiler, folder / "build")
        version = reader_version(built)
        install(built, program)
        digest = file_digest(program)
        record = ReaderRecord(str(program), version, digest, library.origin, library.sha256, compiler.version)
        record.write(program.with_suffix(".json"))
        return record


def reader_version(program: Path) -> str:
    """Return the version that a program reports, like ``hevc-motion 1 libde265 1.0.16``; CodecError if it is none."""

    def unfit(error: Exception) -> CodecError:
        return CodecError(f"{program}: does not run on this machine: {error}. Build it again: arseg native build")

    try:
        with reading(program, unfit):
            run = subprocess.run([program, "--version"], capture_output=True, text=True, errors="replace", check=False)
    except FileNotFoundError as error:  # of the interpreter or loader that is to run it
        raise unfit(error) from error
    if run.returncode or not re.fullmatch(rf"{TARGET} \d+ libde265 [\d.]+\n", run.stdout):
        output = (run.stderr or run.stdout).strip()[:200]
        raise CodecError(
            f"{program}: not a {TARGET} program: --version printed {output!r} (exit status {run.returncode}). "
            "Build it again: arseg native build --force"
        )
    return run.stdout.strip()


def find_reader_compiler() -> Compiler:
    """Return the compiler to build the program with; raises CodecError if there is none."""
    alternative = ", or use H.264, which needs no compiler: codecs: [h264], arseg clips --codec h264"
    # A CodecError, on which videos are encoded again to get their motion.
    return find_compiler("the HEVC reader", CodecError, alternative)


def _cached_program() -> Path:
    """Return the program's place in the cache; its name changes with all that arseg decides about it."""
    sources = sorted(path for path in NATIVE_FOLDER.iterdir() if path.is_file())
    return cached_path(TARGET, sources, PACKAGE_SHA256, sysconfig.get_platform())


def _read_record(program: Path) -> ReaderRecord | None:
    """Return the record of a program that was built; None if it is not there, damaged, or does not run here."""
    try:
        record = ReaderRecord(**json.loads(program.with_suffix(".json").read_text()))
        whole = record.program == str(program) and record.sha256 == file_digest(program)
        return record if whole and reader_version(program) == record.version else None
    except (FileNotFoundError, TypeError, ValueError, CodecError):
        return None


def _compile(library: LibrarySource, compiler: Compiler, folder: Path) -> Path:
    options = {"CMAKE_BUILD_TYPE": "Release", "CMAKE_MAKE_PROGRAM": NINJA, "LIBDE265_SOURCE": library.folder}
    definitions = [f"-D{name}={value}" for name, value in options.items()]
    compiler.run(CMAKE, "-S", NATIVE_FOLDER, "-B", folder, "-G", "Ninja", *definitions)
    compiler.run(CMAKE, "--build", folder, "--target", TARGET, "--parallel", str(usable_cores()))
    return folder / TARGET
