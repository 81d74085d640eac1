"""Running Snakemake as a user does, in a folder of the test's own."""

import os
import re
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def snakemake(
    folder: Path, *words: str, checkout: Path = REPOSITORY, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the workflow of a checkout with a working directory, and perhaps environment variables, of its own."""
    command = [Path(sys.executable).with_name("snakemake"), "--snakefile", checkout / "Snakefile"]
    profile = ["--workflow-profile", checkout / "profiles/default"]
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment.setdefault("ARSEG_CAMVID", os.environ.get("ARSEG_CAMVID", str(REPOSITORY)))
    return subprocess.run(
        [*map(str, command), "--directory", str(folder), "--cores", "2", *map(str, profile), *words],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )


def planned_jobs(folder: Path, config: Path, checkout: Path = REPOSITORY) -> dict[str, int]:
    """Count the jobs of each rule in a dry run; without `all`, which stands for the whole."""
    run = snakemake(folder, "--dry-run", "--configfile", str(config), checkout=checkout)
    assert run.returncode == 0, run.stdout + run.stderr
    text = run.stdout + run.stderr
    if "Nothing to be done" in text:
        return {}
    stats = text.partition("Job stats:")[2].partition("total ")[0]
    jobs = {rule: int(count) for rule, count in re.findall(r"^(\w+)\s+(\d+)$", stats, flags=re.MULTILINE)}
    jobs.pop("all", None)
    assert jobs, text
    return jobs
