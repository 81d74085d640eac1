"""How long videos take: the time of jobs for each hour of video, by those that are segmented."""

import json
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from arseg.codec.stream import duration_of
from arseg.plan.estimate import Job, read_seconds

OPENED_TOGETHER = 8

THREADS = 2
"""Cores of a job that segments, as its rule asks for them."""


@dataclass(frozen=True)
class Rate:
    """What segmentation has taken so far."""

    videos: int
    hours: float
    """Length of these videos."""
    job_hours: float
    """Wall-clock time of their jobs, added up."""
    gpus: int
    """GPUs of a job."""

    @property
    def per_hour(self) -> float:
        """Hours of jobs for an hour of video."""
        return self.job_hours / self.hours

    def least_hours(self, hours: float, cores: int, gpus: int) -> float:
        """Return the time that so many hours of video take if all cores, and GPUs, are always busy."""
        return hours * self.per_hour * max(THREADS / cores, self.gpus / gpus)


def measure_rate(results: Path) -> Rate | None:
    """Return the rate by the benchmark files and summaries in a folder of results; None if no video is finished."""
    videos, seconds, job_seconds, gpus = 0, 0.0, 0.0, 0
    for path in sorted((results / "benchmarks/segment_video/videos").glob("*.tsv")):
        try:
            summary = json.loads((results / "segment" / path.stem / "summary.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):  # it is to be made anew
            continue
        if "error" not in summary:
            parts = (results / "benchmarks/segment_part/videos" / path.stem).glob("*.tsv")
            videos, seconds = videos + 1, seconds + summary["video_seconds"]
            job_seconds += sum(map(read_seconds, (path, *parts)))
            gpus = max(gpus, int(summary["device"] != "cpu"))
    return Rate(videos, seconds / 3600, job_seconds / 3600, gpus) if seconds else None


def with_hours(jobs: Sequence[Job]) -> list[Job]:
    """Return jobs with the length of the video that each segments, by its header; 0 if that does not say it."""
    with ThreadPoolExecutor(OPENED_TOGETHER) as pool:
        videos = sorted({job.video for job in jobs if job.video})
        seconds = dict(zip(videos, pool.map(duration_of, videos), strict=True))
    return [replace(job, hours=seconds[job.video] * _share(job) / 3600) if job.video else job for job in jobs]


def _share(job: Job) -> float:
    """Return the share of its video that a job segments: one of several parts, or all."""
    part = re.search(r"/\d+of(\d+)\.tsv$", job.benchmark)
    return 1 / int(part[1]) if part else 1.0
