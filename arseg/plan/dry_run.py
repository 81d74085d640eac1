"""A program of its own: run Snakemake's command line dry, and write the jobs that it would run as JSON.

``python -m arseg.plan.dry_run JOBS.json SNAKEMAKE_WORDS...``; in a process of its own, because Snakemake changes the
working directory, logging and import path of the process that it runs in. Jobs come from Snakemake's log events, which
are its interface for such programs; its text output is not.
"""

import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from snakemake.cli import main as snakemake_main  # type: ignore[import-untyped]
from snakemake.logging import logger  # type: ignore[import-untyped]
from snakemake_interface_logger_plugins.common import LogEvent


def as_job(record: logging.LogRecord) -> dict[str, Any] | None:
    """Return the job that a log record announces, as the fields of `arseg.plan.estimate.Job`; None if there is none."""
    facts = vars(record)
    if facts.get("event") != LogEvent.JOB_INFO or not facts["output"]:  # a target rule makes nothing itself
        return None
    return {
        "rule": facts["rule_name"],
        "benchmark": str(facts["benchmark"] or ""),
        "threads": int(facts["threads"]),
        "gpus": int(facts["resources"].get("gpu", 0) or 0),
    }


def main(arguments: Sequence[str]) -> None:
    """Run Snakemake with all but the first word, and write its jobs to the file that this one names."""
    target, *words = arguments
    jobs: list[dict[str, Any]] = []

    def collect(record: logging.LogRecord) -> bool:
        if job := as_job(record):
            jobs.append(job)
        return True

    logger.addFilter(collect)  # handlers are replaced when Snakemake sets up its logging, filters are not
    try:
        snakemake_main([*words, "--dry-run"])
    finally:
        Path(target).write_text(json.dumps(jobs), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
