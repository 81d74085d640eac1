"""What finished commands of an experiment took, by their records: better than any table."""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arseg.machine import processor_name
from arseg.plan.inventory import Inventory
from arseg.plan.jobs import Command, parse_command
from arseg.plan.rates import Rates
from arseg.plan.workload import work_of
from arseg.provenance.fingerprint import read_record, recorded_in


@dataclass(frozen=True)
class Run:
    """A finished command."""

    command: Command
    seconds: float
    core_seconds: float
    processor: str
    gpus: int


class Finished:
    """Compares finished commands with what is reckoned for them.

    Parameters
    ----------
    runs : list of Run
        The finished commands.
    inventory : Inventory
        What they read.
    rates : Rates
        What a unit of work takes.
    """

    def __init__(self, runs: list[Run], inventory: Inventory, rates: Rates) -> None:
        self._taken: dict[tuple[str, bool], list[tuple[float, float]]] = defaultdict(list)
        for run in runs:
            work = work_of(run.command, inventory, rates)
            if work is None:
                continue
            if run.gpus and work.gmacs:
                self._taken[run.command.name, True].append((run.seconds * run.gpus, work.gmacs))
            elif run.processor == processor_name() and (reckoned := work.core_seconds + work.network_core_seconds):
                self._taken[run.command.name, False].append((run.core_seconds, reckoned))

    def count(self, name: str, *, on_gpu: bool = False) -> int:
        """Count the finished commands of a name that tell something about the next ones."""
        return len(self._taken.get((name, on_gpu), ()))

    def factor(self, name: str) -> float:
        """Give how many times the reckoned processor seconds finished commands took; 1 if there is none."""
        taken = self._taken.get((name, False))
        return sum(seconds for seconds, _ in taken) / sum(reckoned for _, reckoned in taken) if taken else 1.0

    def gpu_speed(self, name: str) -> float | None:
        """Give the 1e9 multiply-accumulates per second and GPU that finished commands reached."""
        taken = self._taken.get((name, True))
        return sum(gmacs for _, gmacs in taken) / sum(seconds for seconds, _ in taken) if taken else None


def read_runs(folder: Path) -> list[Run]:
    """Read the finished commands of an experiment off the records in its folder.

    Parts of a resumed training do not tell what the whole takes, and are left out.
    """
    runs: dict[str, Run] = {}
    for result in recorded_in(folder, deep=True):
        record = read_record(result)
        if record is None or record["facts"].get("resumed"):
            continue
        command = parse_command(record["command_line"])
        if command is not None:
            runs[json.dumps([record["command_line"], record["time"]])] = _run(command, record)
    return list(runs.values())


def _run(command: Command, record: dict[str, Any]) -> Run:
    time, machine = record["time"], record["machine"]
    return Run(command, time["seconds"], time["cpu_seconds"], machine["processor"], len(machine.get("gpus", ())))
