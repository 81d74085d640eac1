"""``arseg doctor``: what this machine offers, and what is missing."""

import json
from dataclasses import asdict
from pathlib import Path

from arseg.doctor import Outcome, check_machine
from arseg.errors import ConfigError
from arseg.options import Json

MARKS = {Outcome.OK: "", Outcome.NOTE: "note: ", Outcome.MISSING: "MISSING: "}


def doctor(*, ffmpeg: str | None = None, json_: Json = False) -> None:
    """Check what this machine offers; say what is missing, what it is needed for, and how to get it.

    Fails only if something is missing that every use needs.

    Parameters
    ----------
    ffmpeg : str
        FFmpeg to look at; the one of the Python environment by default.
    """
    checks = list(check_machine(Path.cwd(), ffmpeg))
    if json_:
        print(json.dumps([asdict(check) for check in checks], indent=1))
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            print(f"{check.name:>{width}}  {MARKS[check.outcome]}{check.found}")
            if check.advice:
                print(f"{'':>{width}}  -> {check.advice}")
    if failures := [f"{check.name}: {check.found}. {check.advice}" for check in checks if check.fails]:
        raise ConfigError(f"required parts are missing: {'; '.join(failures)}")
