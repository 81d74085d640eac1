"""A program of its own: run Snakemake's command line dry, and write the jobs that it would run as JSON.

``python -m arseg.plan.dry_run JOBS.json SNAKEMAKE_WORDS...``; in a process of its own, because Snakemake changes the
working directory, logging and import path of the process that it runs in. Jobs come from Snakemake's log events, which
are its interface for such programs; its text output is not.
"""

import json
import logging
import sys
from pathlib import Path
from typing import Any

from snakemake.cli import main as snakemake_main  # type: ignore[import-untyped]
from snakemake.logging import logger  # type: ignore[import-untyped]
from snakemake_interface_logger_plugins.common import LogEvent


def main(target: str, *words: str) -> None:
    """Run Snakemake with these words, and write its jobs to a file, each as the fields of `arseg.plan.estimate.Job`."""
    jobs: list[dict[str, Any]] = []

    def collect(record: logging.LogRecord) -> bool:
        facts = vars(record)
        if facts.get("event") == LogEvent.JOB_INFO and facts["output"]:  # a target rule makes nothing itself
            jobs.append(
                {
                    "rule": facts["rule_name"],
                    "benchmark": str(facts["benchmark"] or ""),
                    "threads": int(facts["threads"]),
                    "gpus": int(facts["resources"].get("gpu", 0) or 0),
                    "video": _video(facts["rule_name"], [*map(str, facts["input"])]),
                }
            )
        return True

    logger.addFilter(collect)  # handlers are replaced when Snakemake sets up its logging, filters are not
    try:
        snakemake_main([*words, "--dry-run"])
    finally:
        Path(target).write_text(json.dumps(jobs), encoding="utf-8")


def _video(rule: str, inputs: list[str]) -> str:
    """Return the video that a job segments; empty for other jobs, also for one that joins its parts."""
    joins = any("/segment-parts/" in path for path in inputs)
    return inputs[0] if rule in ("segment_video", "segment_part") and not joins else ""


if __name__ == "__main__":
    main(*sys.argv[1:])
