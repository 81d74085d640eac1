"""What a benchmark is told, and what it found with all that is needed to judge it: as tables and as JSON."""

import json
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
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


def benchmark(*inputs: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return the decorator of a benchmark that reads these parameters' files: it records the result's provenance."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        name = f"bench {function.__name__}"
        outputs = [lambda arguments: [arguments["common"].output]]
        return records(name, inputs=inputs, outputs=outputs, folder_contents=False)(function)

    return decorate


def publish(
    tables: Mapping[str, Sequence[Row]], output: Path | None, device: torch.device | None = None, **facts: object
) -> None:
    """Print tables and single figures; write them to a JSON file, if one is named, with machine, date and command.

    Parameters
    ----------
    tables : mapping of str to rows
        By title; rows of one table have the same keys. Empty tables are left out.
    output : Path or None
        The file.
    device : torch.device, optional
        Where networks ran, if there were any.
    **facts : object
        Single figures by name.
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
