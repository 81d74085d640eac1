"""From jobs to time and disk, by rule and in all."""

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from arseg.plan.finished import Finished
from arseg.plan.inventory import Inventory
from arseg.plan.jobs import Job
from arseg.plan.rates import Rates
from arseg.plan.workload import Work, start_of, work_of


@dataclass(frozen=True)
class Span:
    """A time, or the range that it lies in, in seconds."""

    least: float
    most: float

    def __add__(self, other: "Span") -> "Span":
        return Span(self.least + other.least, self.most + other.most)


NO_TIME = Span(0.0, 0.0)


@dataclass(frozen=True)
class JobEstimate:
    """What a job takes."""

    job: Job
    work: Work | None
    """None if it is not known."""
    core_seconds: float
    """Processor seconds."""
    gpu: Span
    """Seconds of a GPU."""
    duration: Span
    """Seconds from its start to its end, if it uses its threads to the full."""


@dataclass
class RuleEstimate:
    """What the jobs of a rule take together."""

    rule: str
    jobs: int = 0
    unknown: int = 0
    """Jobs of which at most the start is reckoned."""
    core_seconds: float = 0.0
    gpu: Span = NO_TIME
    bytes: float = 0.0
    download: float = 0.0
    measured_on: int = 0
    """Finished commands of the experiment that the time was measured on; 0 means the table of rates."""


@dataclass(frozen=True)
class Plan:
    """What is still to be done."""

    rules: list[RuleEstimate]
    """In the order in which they can begin."""
    cores: int
    gpus: int
    work: Span
    """Seconds that the work takes if all cores and GPUs are always busy."""
    critical: Span
    """Seconds that the longest chain takes of jobs which wait for one another."""
    free_bytes: int
    """Free space where the results are written."""

    @property
    def jobs(self) -> int:
        """Count all jobs."""
        return sum(rule.jobs for rule in self.rules)

    @property
    def least(self) -> Span:
        """The time below which it cannot be done."""
        return Span(max(self.work.least, self.critical.least), max(self.work.most, self.critical.most))

    @property
    def bytes(self) -> float:
        """Add up what is written."""
        return sum(rule.bytes for rule in self.rules)

    @property
    def download(self) -> float:
        """Add up what is fetched from a network."""
        return sum(rule.download for rule in self.rules)


def estimate(
    jobs: Iterable[Job],
    inventory: Inventory,
    rates: Rates,
    finished: Finished,
    *,
    cores: int,
    gpus: int,
    folder: Path,
) -> Plan:
    """Reckon what jobs take.

    Parameters
    ----------
    jobs : iterable of Job
        In an order in which they can be done.
    inventory : Inventory
        What they read.
    rates : Rates
        What a unit of work takes.
    finished : Finished
        What finished commands of the same kind took, compared with what was reckoned.
    cores : int
        Cores to use.
    gpus : int
        GPUs to use; with none, networks run on the processor.
    folder : Path
        Where to look for free space.
    """
    estimates = [_estimate_job(job, inventory, rates, finished, cores, gpus) for job in jobs]
    rules: dict[str, RuleEstimate] = {}
    for each in estimates:
        rule = rules.setdefault(each.job.rule, RuleEstimate(each.job.rule))
        rule.jobs += 1
        rule.core_seconds += each.core_seconds
        rule.gpu += each.gpu
        if each.job.command is not None:
            rule.measured_on = finished.count(each.job.command.name, on_gpu=each.gpu.most > 0)
        if each.work is None:
            rule.unknown += 1
        else:
            rule.bytes += each.work.bytes
            rule.download += each.work.download
    on_cores = sum(rule.core_seconds for rule in rules.values()) / cores
    on_gpus = sum((rule.gpu for rule in rules.values()), NO_TIME)
    work = Span(*(max(on_cores, seconds / max(gpus, 1)) for seconds in (on_gpus.least, on_gpus.most)))
    return Plan(list(rules.values()), cores, gpus, work, _critical(estimates), shutil.disk_usage(folder).free)


def _estimate_job(
    job: Job, inventory: Inventory, rates: Rates, finished: Finished, cores: int, gpus: int
) -> JobEstimate:
    if job.command is None:
        return JobEstimate(job, None, 0.0, NO_TIME, NO_TIME)
    name = job.command.name
    work = work_of(job.command, inventory, rates)
    start = start_of(job.command, rates)
    known = work or Work()
    on_gpu = gpus > 0 and job.gpus > 0 and known.gmacs > 0
    threads = max(1, min(job.threads, cores))
    if not on_gpu:
        core_seconds = (known.core_seconds + known.network_core_seconds) * finished.factor(name)
        alone = start + core_seconds / threads
        return JobEstimate(job, work, start + core_seconds, NO_TIME, Span(alone, alone))
    speed = finished.gpu_speed(name)
    slowest, fastest = (speed, speed) if speed else (rates["gpu least"], rates["gpu most"])
    used = min(job.gpus, gpus)
    gpu = Span(known.gmacs / fastest, known.gmacs / slowest)
    duration = Span(*(start + max(known.core_seconds / threads, seconds / used) for seconds in (gpu.least, gpu.most)))
    return JobEstimate(job, work, start + known.core_seconds, gpu, duration)


def _critical(estimates: Sequence[JobEstimate]) -> Span:
    """Follow the longest chain: a job begins when all that write its inputs have ended."""
    producers = {output: index for index, each in enumerate(estimates) for output in each.job.outputs}
    ends: dict[int, Span] = {}

    def end(index: int) -> Span:
        if index not in ends:
            each = estimates[index]
            before = [end(producers[path]) for path in each.job.inputs if path in producers]
            least = max((span.least for span in before), default=0.0)
            most = max((span.most for span in before), default=0.0)
            ends[index] = each.duration + Span(least, most)
        return ends[index]

    spans = [end(index) for index in range(len(estimates))]
    return Span(max((s.least for s in spans), default=0.0), max((s.most for s in spans), default=0.0))
