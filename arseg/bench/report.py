"""What a benchmark is told, and what it found with all that is needed to judge it: as tables and as JSON."""

import json
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import torch
from cyclopts import Parameter
from tabulate import tabulate

from arseg.files import atomic_path
from arseg.machine import processor_name, usable_cores
from arseg.options import Count
from arseg.provenance.recording import P, R, records
from arseg.provenance.surroundings import describe_code

Row = dict[str, Any]


@dataclass(frozen=True)
class Common:
    """What all benchmarks are told."""

    repeats: Count = 3
    """Rounds; in each, everything is timed in turn."""
    quick: bool = False
    """Small sizes and one round, for a first look."""
    output: Path | None = None
    """JSON file to write, with machine, versions and command."""


Options = Annotated[Common, Parameter(name="*")]
DEFAULTS = Common()


def benchmark(*inputs: str, **quick: object) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return the decorator of a benchmark: it records the result's provenance, and makes the run quick if asked.

    `inputs` are the parameters that name files to read; `quick` has the arguments of a quick run.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            common = kwargs.get("common", DEFAULTS)
            if isinstance(common, Common) and common.quick:
                kwargs.update(quick, common=replace(common, repeats=1))
            return function(*args, **kwargs)

        outputs = [lambda arguments: [arguments["common"].output]]
        return records(f"bench {function.__name__}", inputs=inputs, outputs=outputs, folder_contents=False)(run)

    return decorate


def publish(
    tables: Mapping[str, Sequence[Row]], output: Path | None, device: torch.device | None = None, **facts: object
) -> None:
    """Print tables by title, but empty ones, and single figures by name; write them to a JSON file, if one is named.

    Rows of one table have the same keys. `device` is where networks ran, if there were any. The file has machine,
    versions, date and command as well.
    """
    tables = {title: rows for title, rows in tables.items() if rows}
    machine: Row = {"processor": processor_name(), "cores": usable_cores(), "threads": torch.get_num_threads()}
    if device is not None and device.type == "cuda":
        machine |= {"gpu": torch.cuda.get_device_name(device), "cuda": torch.version.cuda}
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    for title, rows in tables.items():
        shown = [{name.replace("_", " "): _shown(value) for name, value in row.items()} for row in rows]
        print(f"\n{title}\n\n{tabulate(shown, headers='keys', tablefmt='github', disable_numparse=True)}")
    print("".join(f"\n{name.replace('_', ' ')}: {_shown(value)}" for name, value in facts.items()))
    if output is not None:
        command, date = shlex.join(["arseg", *sys.argv[1:]]), datetime.now(UTC).isoformat(timespec="seconds")
        found = {"command": command, "date": date, "machine": machine, "code": describe_code()}
        with atomic_path(output) as temporary:
            everything = json.dumps(found | {"facts": facts, "tables": tables}, indent=1)
            temporary.write_text(f"{everything}\n", encoding="utf-8")
        print(f"\nwrote {output}")


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.3g}" if abs(value) < 100 else f"{value:,.0f}"
    return "-" if value is None else str(value)
