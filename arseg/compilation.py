"""The machine's C++ compiler, and where compiled things are kept: outside environments and results, once per user."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

CACHE_VARIABLE = "ARSEG_CACHE"
"""Environment variable that names the folder to keep compiled programs in."""

COMPILERS = ("c++", "g++", "clang++")
"""What is looked for on the search path if the environment variable ``CXX`` names no compiler."""

HOW_TO_GET_ONE = (
    "Install one (Debian, Ubuntu: apt-get install g++; conda: conda install cxx-compiler; "
    "macOS: xcode-select --install)"
)


def search_compiler() -> tuple[str | None, str]:
    """Look for a C++ compiler, by the environment variable ``CXX`` or a usual name.

    Returns
    -------
    path : str or None
        The program, if there is one.
    missing : str
        What was looked for in vain.
    """
    named = shlex.split(os.environ.get("CXX", ""))[:1]
    for candidate in named or COMPILERS:
        if found := shutil.which(candidate):
            return found, ""
    return None, f"CXX={named[0]} is no program" if named else f"none of {', '.join(COMPILERS)} is there"


def compiler_version(compiler: str) -> str:
    """Give the first line that a compiler says of itself."""
    run = subprocess.run([compiler, "--version"], capture_output=True, text=True, errors="replace", check=False)
    return (run.stdout.splitlines() or [""])[0]


def cache_folder() -> Path:
    """Give the folder to keep compiled things in, by ``ARSEG_CACHE``, or in the user's caches."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get(CACHE_VARIABLE) or Path(caches, "arseg")).expanduser().absolute()
