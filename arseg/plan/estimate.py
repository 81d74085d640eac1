"""The jobs that Snakemake would run, and the time that finished jobs of the same kind took.

Snakemake writes the time of each job to ``benchmarks/<rule>/<data set>/...tsv``. The paths say which jobs are alike: a
training is most like one with another seed, whose file is in the same folder, then like one at another scale, a folder
up, then like one of another network, and not at all like one on another data set.
"""

import csv
import json
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory

from arseg.access import reading
from arseg.errors import ConfigError, DataError

SHOWN_LINES = 12


@dataclass(frozen=True)
class Job:
    """A job that is still to be done.

    `benchmark` is the file that Snakemake will write its time to (empty if its rule has none), `gpus` how many it asks
    for, `video` what it segments (empty if nothing), and `hours` the length of that.
    """

    rule: str
    benchmark: str
    threads: int
    gpus: int
    video: str = ""
    hours: float = 0.0


@dataclass
class Row:
    """The jobs of a rule that are still to be done for one data set, or for all data sets together ("").

    `seconds` is their wall-clock time, added up; None if none of their kind has finished.
    """

    rule: str
    dataset: str
    jobs: int = 0
    seconds: float | None = None


@dataclass(frozen=True)
class Plan:
    """What is still to be done, and the wall-clock time of what is finished, added up."""

    rows: list[Row]
    """In the order in which they can begin."""
    jobs: int
    unmeasured: int
    """Jobs whose time is unknown, because none of their kind has finished."""
    least_seconds: float
    """Time of the other jobs, if all cores and GPUs are always busy."""
    finished: int
    finished_seconds: float


def jobs_to_do(config: Path, snakefile: Path, cores: int, targets: Sequence[str] = ()) -> list[Job]:
    """Return the jobs that Snakemake would run in the working directory to make targets: rules or files, or everything.

    A ConfigError says that a file is not there, or has Snakemake's words where it refuses the configuration.
    """
    for path, fix in ((config, "Name a configuration"), (snakefile, "Run in the checkout, or name it: --snakefile")):
        if not path.is_file():
            raise ConfigError(f"{path}: no such file. {fix}")
    with TemporaryDirectory() as folder:
        listing = Path(folder, "jobs.json")
        words = ["--snakefile", str(snakefile), "--cores", str(cores), "--configfile", str(config), "--nocolor"]
        # --configfile takes any number of words: targets go before it.
        command = [sys.executable, "-m", "arseg.plan.dry_run", str(listing), *targets, *words]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode:
            lines = [line for line in (run.stdout + run.stderr).splitlines() if line.strip()]
            first = next((index for index, line in enumerate(lines) if re.search(r"Error|Exception", line)), 0)
            said = "\n".join(f"  {line}" for line in lines[first:][:SHOWN_LINES])
            raise ConfigError(f"{config}: Snakemake cannot plan it. It said:\n{said}")
        return [Job(**job) for job in json.loads(listing.read_text(encoding="utf-8"))]


def estimate(jobs: Sequence[Job], *, cores: int, gpus: int, per_hour: float | None = None) -> Plan:
    """Return the time that jobs take on so many cores and GPUs, by the benchmark files of those that have finished.

    That of jobs that segment videos is `per_hour` hours for each hour of video. Jobs are in an order in which they can
    be done. A DataError names a benchmark file that is not one of Snakemake's.
    """
    to_do = [Path(job.benchmark) for job in jobs]
    roots = {parent for path in to_do for parent in path.parents if parent.name == "benchmarks"}
    measured = {path: read_seconds(path) for root in roots for path in sorted(root.rglob("*.tsv"))}
    alike: dict[Path, list[float]] = defaultdict(list)
    for path, seconds in measured.items():
        for place in _places(path):
            alike[place].append(seconds)

    rows: dict[tuple[str, str], Row] = {}
    unmeasured, on_cores, on_gpus = 0, 0.0, 0.0
    for job, path in zip(jobs, to_do, strict=True):
        places = _places(path)
        name = places[-1].name.removesuffix(".tsv")
        dataset = "" if name == job.rule else name
        row = rows.setdefault((job.rule, dataset), Row(job.rule, dataset))
        row.jobs += 1
        times = next((alike[place] for place in places if place in alike), None)
        if job.video:
            times = None if per_hour is None else [3600 * job.hours * per_hour]
        if times is None:
            unmeasured += 1
            continue
        seconds = fmean(times)
        row.seconds = (row.seconds or 0.0) + seconds
        on_cores += seconds * job.threads
        on_gpus += seconds * job.gpus
    finished = [measured[path] for path in measured.keys() - set(to_do)]
    least = max(on_cores / cores, on_gpus / gpus)
    return Plan(list(rows.values()), len(jobs), unmeasured, least, len(finished), sum(finished))


def _places(benchmark: Path) -> list[Path]:
    """Return a benchmark file and the folders above it up to that of its data set, the nearest first."""
    above = [benchmark, *benchmark.parents]
    names = [path.name for path in above]
    return above[: max(1, names.index("benchmarks") - 1)] if "benchmarks" in names else above[:1]


def read_seconds(benchmark: Path) -> float:
    """Read the wall-clock time of a job; a DataError says that the file is not one of Snakemake's."""
    try:
        with reading(benchmark), benchmark.open(newline="", encoding="utf-8") as file:
            return fmean(float(row["s"]) for row in csv.DictReader(file, delimiter="\t"))
    except (KeyError, ValueError) as error:
        raise DataError(f"{benchmark}: not a benchmark file of Snakemake's. Delete it") from error
