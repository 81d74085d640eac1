"""What a machine offers and what it lacks: programs, codecs, GPU, disk, limits, schedulers.

Each check says what it found; one that finds something missing says what that is needed for, and how to get it. Few
things are needed by every use; the others are needed by some, and their absence is no failure.
"""

from pathlib import Path

from arseg.doctor import places, programs
from arseg.doctor.check import Check, Outcome
from arseg.doctor.programs import hevc_reader_state

__all__ = ["Check", "Outcome", "check_machine", "hevc_reader_state"]


def check_machine(folder: Path, ffmpeg: str | None = None) -> list[Check]:
    """Look for everything that some use of arseg needs.

    Parameters
    ----------
    folder : Path
        Where Snakemake is, or will be, run.
    ffmpeg : str, optional
        FFmpeg to look at; the one that is used by default.

    Returns
    -------
    checks : list of Check
        In the order to print them in.
    """
    return [
        *programs.checks(ffmpeg),
        *places.checks(folder),
        programs.scheduler(),
        *programs.deployment(),
        programs.variables(),
    ]
