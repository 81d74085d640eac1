"""``arseg plan``: what a configuration still needs."""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import yaml
from cyclopts import Parameter
from cyclopts.validators import Number
from tabulate import tabulate

from arseg.machine import usable_cores
from arseg.options import Count, Json
from arseg.plan.estimate import Job, Plan, estimate, jobs_to_do
from arseg.plan.videos import Rate, measure_rate, with_hours


def plan(
    config: Path = Path("config/config.yaml"),
    /,
    *targets: str,
    cores: Count | None = None,
    gpus: Count = 1,
    hours: Annotated[float, Parameter(validator=Number(gt=0))] | None = None,
    snakefile: Path = Path("Snakefile"),
    json_: Json = False,
) -> None:
    """Print the jobs that a configuration still needs, and the time that they take.

    Jobs are those of Snakemake's dry run in the working directory. Their time is known where jobs of the same rule and
    data set have finished; that of videos to segment, by the length of those that are finished.

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
    hours : float
        Say also what so many hours of video would take.
    snakefile : Path
        The workflow's entry point.
    """
    cores = cores or usable_cores()
    jobs = with_hours(jobs_to_do(config, snakefile, cores, targets))
    rate = measure_rate(Path("results", yaml.safe_load(config.read_text(encoding="utf-8"))["name"]))
    estimated = estimate(jobs, cores=cores, gpus=gpus, per_hour=rate.per_hour if rate else None)
    told = [*_videos(jobs, rate), *([_outlook(hours, rate, cores, gpus)] if hours else [])]
    free = shutil.disk_usage(Path.cwd()).free
    if json_:
        print(json.dumps(asdict(estimated) | {"free_bytes": free, "video_rate": rate and asdict(rate)}, indent=1))
        return
    print(f"{config}: {_count(estimated.jobs, 'job')} to do")
    if estimated.jobs:
        print(_table(estimated))
        print("\n".join([*_summary(estimated, cores, gpus), f"Disk: {free / 1e9:.1f} GB free here"]))
    print("\n".join(told), end="\n" if told else "")


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


def _videos(jobs: Sequence[Job], rate: Rate | None) -> Iterator[str]:
    if videos := {job.video for job in jobs if job.video}:
        yield f"Videos: {len(videos)} to do, {_time(3600 * sum(job.hours for job in jobs))} long"
    if rate:
        measured = f"{_count(rate.videos, 'video')}, {_time(3600 * rate.hours)} long"
        yield f"An hour of video takes {_time(3600 * rate.per_hour)} of job time (measured on {measured})"


def _outlook(hours: float, rate: Rate | None, cores: int, gpus: int) -> str:
    if rate is None:
        return f"{hours:g} hours of video: not measured yet. Segment a few videos first"
    jobs, least = 3600 * hours * rate.per_hour, 3600 * rate.least_hours(hours, cores, gpus)
    machine = _count(cores, "core") + (f" and {_count(gpus, 'GPU')}" if rate.gpus else "")
    return f"{hours:g} hours of video: {_time(jobs)} of job time, at least {_time(least)} with {machine}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _time(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"
