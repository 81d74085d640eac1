"""``arseg plan``: what a configuration still needs."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from tabulate import tabulate

from arseg.machine import usable_cores
from arseg.options import Count, Json
from arseg.plan.estimate import Plan, estimate, jobs_to_do


def plan(
    config: Path = Path("config/config.yaml"),
    /,
    *targets: str,
    cores: Count | None = None,
    gpus: Count = 1,
    snakefile: Path = Path("Snakefile"),
    json_: Json = False,
) -> None:
    """Print the jobs that a configuration still needs, and the time that they take.

    Jobs are those of Snakemake's dry run in the working directory. Their time is known where jobs of the same rule and
    data set have finished.

    Parameters
    ----------
    config : Path
        Configuration of the experiment.
    targets : str
        Rules or files to make, as for Snakemake; everything by default.
    cores : int
        Cores to use; all of this machine by default.
    gpus : int
        GPUs to use, each for one network at a time.
    snakefile : Path
        The workflow's entry point.
    """
    cores = cores or usable_cores()
    estimated = estimate(jobs_to_do(config, snakefile, cores, targets), cores=cores, gpus=gpus)
    free = shutil.disk_usage(Path.cwd()).free
    if json_:
        print(json.dumps(asdict(estimated) | {"free_bytes": free}, indent=1))
        return
    print(f"{config}: {_count(estimated.jobs, 'job')} to do")
    if estimated.jobs:
        print(_table(estimated))
        print("\n".join([*_summary(estimated, cores, gpus), f"Disk: {free / 1e9:.1f} GB free here"]))


def _table(estimated: Plan) -> str:
    rows = []
    for row in estimated.rows:
        times = ["not measured yet"] if row.seconds is None else [_time(row.seconds / row.jobs), _time(row.seconds)]
        rows.append([row.rule, row.dataset, row.jobs, *times])
    head = ["rule", "data set", "jobs", "time of each", "of all"]
    return tabulate(rows, head, tablefmt="plain", colalign=("left", "left", "right", "right", "right"))


def _summary(estimated: Plan, cores: int, gpus: int) -> Iterator[str]:
    if estimated.finished:
        yield f"Finished: {_count(estimated.finished, 'job')}, {_time(estimated.finished_seconds)} of job time"
    if estimated.unmeasured < estimated.jobs:
        rest = f", and {_count(estimated.unmeasured, 'job')} not measured yet" if estimated.unmeasured else ""
        least = _time(estimated.least_seconds)
        yield f"Time: at least {least} with {_count(cores, 'core')} and {_count(gpus, 'GPU')}{rest}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _time(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"
