"""Find the FFmpeg program that encodes clips. Decoding does not need it: PyAV brings its own libraries."""

import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import imageio_ffmpeg

from arseg.access import HINTS, access_error
from arseg.errors import CodecError

FFMPEG_VARIABLE = "ARSEG_FFMPEG"
"""Environment variable that names the FFmpeg program to use."""


def find_ffmpeg(explicit: str | None = None) -> str:
    """Return the path of the FFmpeg program.

    That of `explicit`, a path or a name on the search path; else that of the environment variable ``ARSEG_FFMPEG``;
    else the one that the package imageio-ffmpeg brings along. Raises CodecError if it is missing or not executable.
    """
    if explicit:
        wanted, chosen_by = explicit, "--ffmpeg"
    elif variable := os.environ.get(FFMPEG_VARIABLE):
        wanted, chosen_by = variable, f"the environment variable {FFMPEG_VARIABLE}"
    else:
        try:
            return imageio_ffmpeg.get_ffmpeg_exe()
        except RuntimeError as error:
            raise CodecError(
                "no FFmpeg program: the package imageio-ffmpeg has none for this platform. Install FFmpeg "
                f"with libx264 and libx265, and name it with --ffmpeg or {FFMPEG_VARIABLE}"
            ) from error
    if found := shutil.which(wanted):
        return found
    problem = "is not executable" if Path(wanted).is_file() else "does not exist"
    raise CodecError(
        f"{wanted}: the FFmpeg program named by {chosen_by} {problem}. Name another one, or none to use the "
        "one that the package imageio-ffmpeg brings along"
    )


def raise_refusal(words: str, path: Path, *, writes: bool) -> None:
    """Raise FileAccessError if FFmpeg's messages contain the operating system's own words against a file."""
    if number := next((number for number in HINTS if os.strerror(number) in words), None):
        raise access_error(path, OSError(number, os.strerror(number)), writes=writes)


def last_lines(words: str, count: int = 5) -> str:
    """Return the last lines of FFmpeg's messages, indented, for an error."""
    return "\n".join(f"  {line}" for line in words.strip().splitlines()[-count:] or ["(nothing)"])


@cache
def ffmpeg_version(path: str) -> str:
    """Return the version that an FFmpeg program reports, like ``7.0.2-static``; raise CodecError if it is none."""
    try:
        run = subprocess.run([path, "-version"], capture_output=True, text=True, check=False)
    except OSError as error:
        raise CodecError(f"{path}: cannot be run as FFmpeg: {error}") from error
    match = re.match(r"ffmpeg version (\S+)", run.stdout)
    if not match:
        raise CodecError(
            f"{path}: not an FFmpeg program: -version printed {run.stdout[:80]!r}. Name one with --ffmpeg or "
            f"{FFMPEG_VARIABLE}"
        )
    return match[1]
