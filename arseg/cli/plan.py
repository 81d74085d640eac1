"""``arseg plan``: what a configuration still needs, before one starts."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import torch
import yaml
from cyclopts import Parameter
from cyclopts.validators import Number

from arseg.access import reading
from arseg.errors import ConfigError
from arseg.machine import usable_cores
from arseg.plan.estimate import NO_TIME, Plan, Span, estimate
from arseg.plan.finished import Finished, read_runs
from arseg.plan.inventory import Inventory
from arseg.plan.jobs import jobs_to_do
from arseg.plan.rates import read_rates
from arseg.plan.sizes import DataSizes
from arseg.schema import check_config, read_schema

Count = Annotated[int, Parameter(validator=Number(gte=0))]

SCHEMA = Path("workflow/schemas/config.schema.yaml")
"""Beside the Snakefile."""


def plan(
    config: Path = Path("config/config.yaml"),
    /,
    *targets: str,
    cores: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    gpus: Count | None = None,
    snakefile: Path = Path("Snakefile"),
    rates: Path | None = None,
    json_: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Tell what a configuration still needs: jobs by rule, time and disk.

    Jobs are those of Snakemake's dry run, in the folder where this is called. Times are reckoned from the rates in
    arseg/plan/rates.csv, corrected by what finished commands of the same experiment took on this processor.

    Parameters
    ----------
    config : Path
        Configuration of the experiment.
    targets : str
        Rules or files to make, as for Snakemake; everything by default.
    cores : int
        Cores to use; all of this machine by default.
    gpus : int
        GPUs to use; those of this machine by default. With 0, networks run on the processor.
    snakefile : Path
        The workflow's entry point.
    rates : Path
        Rates of another machine, as benchmarks/rates.py prints them.
    json_ : bool
        Print JSON.
    """
    table = read_rates(rates)
    cores = cores or usable_cores()
    gpus = torch.cuda.device_count() if gpus is None else gpus
    jobs = jobs_to_do(config, snakefile, cores, targets)
    settings = _complete(config, snakefile)
    results = Path("results") / settings["name"]
    runs = read_runs(results)
    commands = [run.command for run in runs] + [job.command for job in jobs if job.command is not None]
    inventory = Inventory(commands, DataSizes(settings["datasets"], max(settings["gops"])))
    reckoned = estimate(
        jobs, inventory, table, Finished(runs, inventory, table), cores=cores, gpus=gpus, folder=Path.cwd()
    )
    if json_:
        totals = {"jobs": reckoned.jobs, "bytes": reckoned.bytes, "least": asdict(reckoned.least)}
        print(json.dumps(asdict(reckoned) | totals, indent=1))
        return
    print(f"{config}: {reckoned.jobs} jobs to do, into {results}")
    if reckoned.jobs:
        print("\n".join(_table(reckoned)))
        print("\n".join(_summary(reckoned, table.machines if rates is None else [str(rates)])))


def _complete(config: Path, snakefile: Path) -> dict[str, Any]:
    schema = snakefile.parent / SCHEMA
    try:
        with reading(config):
            return check_config(yaml.safe_load(config.read_text(encoding="utf-8")), read_schema(schema), str(config))
    except FileNotFoundError as error:
        raise ConfigError(f"{schema}: {error.strerror}. Name the Snakefile of a checkout: --snakefile") from error


def _table(reckoned: Plan) -> list[str]:
    with_gpu = any(rule.gpu != NO_TIME for rule in reckoned.rules)
    head = ["rule", "jobs", "core time", *(["GPU time"] if with_gpu else []), "writes", "reckoned from"]
    rows = [head]
    for rule in reckoned.rules:
        source = f"{rule.measured_on} finished here" if rule.measured_on else "table of rates"
        if rule.unknown:
            source = f"unknown for {rule.unknown}"
        time = [_seconds(rule.core_seconds), *([_span(rule.gpu)] if with_gpu else [])]
        rows.append([rule.rule, str(rule.jobs), *time, _size(rule.bytes), source])
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    left = {0, len(head) - 1}
    return [
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _summary(reckoned: Plan, sources: list[str]) -> list[str]:
    gpus = f" and {reckoned.gpus} GPU{'s' if reckoned.gpus > 1 else ''}" if reckoned.gpus else ""
    lines = [
        f"Time with {reckoned.cores} cores{gpus}: at least {_span(reckoned.least)}"
        f" (all work {_span(reckoned.work)}, longest chain of jobs {_span(reckoned.critical)})"
    ]
    if reckoned.download:
        lines.append(f"Downloads: {_size(reckoned.download)}; their time, and that of unpacking, is not reckoned")
    enough = "" if reckoned.bytes < reckoned.free_bytes else ": TOO LITTLE"
    lines.append(f"Disk: {_size(reckoned.bytes)} to write, {_size(reckoned.free_bytes)} free here{enough}")
    lines.append(f"Rates: {'; '.join(sources[:1])}")
    if any(rule.gpu != NO_TIME and not rule.measured_on for rule in reckoned.rules):
        lines.append(
            "GPU time was not measured: it is the networks' arithmetic at a tenth of a V100's and at a fifth of an "
            "A100's peak"
        )
    return lines


def _span(span: Span) -> str:
    least, most = _seconds(span.least), _seconds(span.most)
    return least if least == most else f"{least} to {most}"


def _seconds(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s" if seconds else "-"


def _size(size: float) -> str:
    for unit, length in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if size >= length:
            return f"{size / length:.1f} {unit}"
    return f"{size / 1e3:.0f} kB" if size else "-"
