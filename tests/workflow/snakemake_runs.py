"""Running Snakemake as a user does, in a folder of the test's own."""

import os
import re
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
TINY = REPOSITORY / "tests/workflow/configs/tiny.yaml"

WARM_PROGRAMS: Path | None = None
"""Folder of an `arseg` and a `snakemake` that need not import PyTorch first; see the fixture `programs`."""


def snakemake(
    folder: Path, *words: str, checkout: Path = REPOSITORY, cold: bool = False, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the workflow of a checkout with a working directory, and perhaps environment variables, of its own.

    `cold` starts ordinary programs, and so does another checkout, whose package is another.
    """
    programs = Path(sys.executable).parent
    path = [str(programs), os.environ["PATH"]]
    if WARM_PROGRAMS and not cold and checkout == REPOSITORY:
        programs = WARM_PROGRAMS
        path.insert(0, str(programs))
    command = [programs / "snakemake", "--snakefile", checkout / "Snakefile", "--directory", folder, "--cores", "2"]
    command += ["--workflow-profile", checkout / "profiles/default", *words]
    environment["PATH"] = os.pathsep.join(path)
    environment.setdefault("ARSEG_CAMVID", os.environ.get("ARSEG_CAMVID", str(REPOSITORY)))
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, env=os.environ | environment
    )


def planned_jobs(folder: Path, config: Path | None, *targets: str, checkout: Path = REPOSITORY) -> dict[str, int]:
    """Count the jobs of each rule in a dry run; without target rules, which stand for others."""
    named = ["--configfile", str(config)] if config else []
    run = snakemake(folder, *targets, "--dry-run", *named, checkout=checkout)
    assert run.returncode == 0, run.stdout + run.stderr
    text = run.stdout + run.stderr
    if "Nothing to be done" in text:
        return {}
    stats = text.partition("Job stats:")[2].partition("total ")[0]
    jobs = {rule: int(count) for rule, count in re.findall(r"^(\w+)\s+(\d+)$", stats, flags=re.MULTILINE)}
    for target in ("all", *targets):
        jobs.pop(target, None)
    assert jobs, text
    return jobs
