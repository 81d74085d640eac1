"""Native parts: compiled once per user by the machine's C++ compiler, and kept outside environments and results."""

import hashlib
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, STDOUT
from tempfile import TemporaryDirectory

from filelock import FileLock

from arseg.access import writing
from arseg.errors import ArsegError, KernelError
from arseg.files import atomic_path

CACHE_VARIABLE = "ARSEG_CACHE"
"""Environment variable that names the folder to keep compiled programs in."""

COMPILERS = ("c++", "g++", "clang++")
"""What is looked for on the search path if the environment variable ``CXX`` names no compiler."""

INSTALL_HINT = (
    "Install one (Debian, Ubuntu: apt-get install g++; conda: conda install cxx-compiler; "
    "macOS: xcode-select --install)"
)

SHOWN_LINES = 8
"""Of a build's output, for the message that it failed."""


@dataclass(frozen=True)
class Compiler:
    """The machine's C++ compiler, as it is used for one part of arseg."""

    path: str
    part: str
    """What it compiles, for messages: "the HEVC reader"."""
    error: type[ArsegError]
    """What is raised if it cannot."""
    alternative: str
    """How to do without that part, to end a message with: ", or use ..."; may be empty."""

    @property
    def version(self) -> str:
        """First line of what the compiler prints about its version."""
        run = subprocess.run([self.path, "--version"], capture_output=True, text=True, errors="replace", check=False)
        return (run.stdout.splitlines() or [""])[0]

    def run(self, *command: str | Path) -> None:
        """Run a build command, which finds the compiler in the environment variable ``CXX``.

        Raises an `error`, with the command's output from the first error on, if it fails.
        """
        environment = {"CXX": self.path} | os.environ  # CXX may have options as well
        run = subprocess.run(
            command, env=environment, stdout=PIPE, stderr=STDOUT, text=True, errors="replace", check=False
        )
        if run.returncode:
            lines = [line for line in run.stdout.splitlines() if line.strip()]
            errors = (index for index, line in enumerate(lines) if re.search(r"\berror\b", line, re.IGNORECASE))
            first = next(errors, max(0, len(lines) - SHOWN_LINES))
            output = "\n".join(f"  {line}" for line in lines[first:][:SHOWN_LINES])
            words = shlex.join(map(str, command))
            raise self.error(
                f"{self.part} cannot be compiled with {self.path}. The command was:\n  {words}\nIts output:\n{output}\n"
                f"Try another C++ compiler (environment variable CXX; GCC or Clang, with C++17){self.alternative}"
            )


def find_compiler(part: str, error: type[ArsegError] = KernelError, alternative: str = "") -> Compiler:
    """Return the C++ compiler that the environment variable ``CXX`` names, or one of a usual name; see `Compiler`.

    Raises `error` if there is none.
    """
    named = shlex.split(os.environ.get("CXX", ""))[:1]
    for candidate in named or COMPILERS:
        if found := shutil.which(candidate):
            return Compiler(found, part, error, alternative)
    missing = f"CXX={named[0]} is no program" if named else f"none of {', '.join(COMPILERS)} is there"
    raise error(f"no C++ compiler to build {part} with: {missing}. {INSTALL_HINT}{alternative}")


def cached_path(name: str, sources: Iterable[Path], *settings: str) -> Path:
    """Return the path of a compiled file in the user's cache, whether it is there or not.

    The cache is ``$ARSEG_CACHE``, else ``$XDG_CACHE_HOME/arseg``, else ``~/.cache/arseg``. A digest goes before the
    suffix of `name`: of the files it is compiled from and of all `settings` (flags, compiler, processor).
    """
    digest = hashlib.sha256(" ".join(settings).encode())
    for source in sources:
        digest.update(f"\0{source.name}\0".encode() + source.read_bytes())
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(os.environ.get(CACHE_VARIABLE) or Path(caches, "arseg")).expanduser().absolute()
    return folder / f"{Path(name).stem}-{digest.hexdigest()[:12]}{Path(name).suffix}"


@contextmanager
def build_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder to build a cached file in, while no other process or thread builds that file.

    Whoever waited looks whether the file is there now; `install` puts it there. Raises FileAccessError if the cache or
    the temporary folder cannot be written.
    """
    with ExitStack() as held:
        with writing(path, f"The environment variable {CACHE_VARIABLE} names another folder."):
            path.parent.mkdir(parents=True, exist_ok=True)
            folder = held.enter_context(TemporaryDirectory(prefix="arseg-native-", ignore_cleanup_errors=True))
            held.enter_context(FileLock(f"{path}.lock"))
        yield Path(folder)


def install(built: Path, path: Path) -> None:
    """Copy what was built into the cache, with its permissions; a killed process leaves nothing under that name."""
    with atomic_path(path) as temporary:
        shutil.copy2(built, temporary)
