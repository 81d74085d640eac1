"""What a benchmark found, with what is needed to judge it: as a table and as JSON."""

import json
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate

from arseg.errors import ConfigError
from arseg.files import atomic_path
from arseg.machine import processor_name, usable_cores
from arseg.provenance.surroundings import describe_code

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """Rows of one kind."""

    title: str
    rows: Sequence[Row]


@dataclass(frozen=True)
class Report:
    """Tables of one benchmark."""

    benchmark: str
    """Its name."""
    options: Mapping[str, Any]
    """What it was asked for."""
    tables: Sequence[Table]
    """What it found."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Single figures: limits of the machine, ratios."""

    def as_dict(self, device: torch.device | None) -> dict[str, Any]:
        """Give everything, with machine, versions, command and date, in builtins."""
        return {
            "benchmark": self.benchmark,
            "command": shlex.join(["arseg", *sys.argv[1:]]),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine(device),
            "code": describe_code(),
            "options": dict(self.options),
            "facts": dict(self.facts),
            "tables": {table.title: [dict(row) for row in table.rows] for table in self.tables},
        }

    def text(self) -> str:
        """Give the tables in Markdown, for people."""
        parts = []
        for table in self.tables:
            parts.append(table.title)
            rows = [{name.replace("_", " "): _shown(value) for name, value in row.items()} for row in table.rows]
            parts.append(tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True))
        if self.facts:
            parts.append("\n".join(f"{name.replace('_', ' ')}: {_shown(value)}" for name, value in self.facts.items()))
        return "\n\n".join(parts)


def machine(device: torch.device | None) -> dict[str, Any]:
    """Say what a benchmark ran on.

    Parameters
    ----------
    device : torch.device, optional
        Where the networks ran, if there were any.
    """
    described: dict[str, Any] = {
        "processor": processor_name(),
        "cores": usable_cores(),
        "threads": torch.get_num_threads(),
        "device": str(device or "cpu"),
    }
    if device is not None and device.type == "cuda":
        described |= {"gpu": torch.cuda.get_device_name(device), "cuda": torch.version.cuda}
    return described


def publish(report: Report, device: torch.device | None, output: Path | None) -> None:
    """Print the tables; write everything to a JSON file, if one is named."""
    everything = report.as_dict(device)
    where = everything["machine"]
    print(f"{where.get('gpu', where['processor'])}, {where['cores']} cores, {where['threads']} threads\n")
    print(report.text())
    if output is not None:
        with atomic_path(output) as temporary:
            temporary.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")
        print(f"\nwrote {output}")


def parse_size(text: str, option: str = "--size") -> tuple[int, int]:
    """Read ``WIDTHxHEIGHT``.

    Returns
    -------
    height, width : int

    Raises
    ------
    ConfigError
        If it is something else.
    """
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise ConfigError(f"{option} {text}: expected WIDTHxHEIGHT in pixels, for example 960x720")
    return int(height), int(width)


def check_positive(**options: int) -> None:
    """Refuse counts below 1.

    Raises
    ------
    ConfigError
        Naming the option.
    """
    for name, value in options.items():
        if value < 1:
            raise ConfigError(f"--{name.replace('_', '-')} {value}: must be at least 1")


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.3g}" if abs(value) < 100 else f"{value:,.0f}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_shown(entry)}" for name, entry in value.items())
    if isinstance(value, Iterable) and not isinstance(value, str):
        return ", ".join(map(_shown, value))
    return "-" if value is None else str(value)
