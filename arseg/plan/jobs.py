"""The jobs that Snakemake would run: from its own dry run, with the ``arseg`` command of each."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from arseg.errors import ConfigError

GROUPS = {"camvid", "cityscapes", "manifest", "train", "checkpoint", "plot", "native"}
"""First words of commands that have a second one."""

PREFIXES = re.compile(r"exec|env|time|nice|\w+=.*")
"""What may stand before a command."""

REDIRECTIONS = re.compile(r"\d*[<>]&?.*|\|+|&+|;")
SHOWN_LINES = 12


@dataclass(frozen=True)
class Command:
    """An ``arseg`` command, taken apart."""

    name: str
    """``clips``, ``train phase1``, ..."""
    options: dict[str, tuple[str, ...]]
    """Values by option, without the hyphens; none for a flag. ``--no-x`` is ``no-x``."""
    arguments: tuple[str, ...] = ()
    """Words in front of the first option."""

    def value(self, option: str, default: str = "") -> str:
        """Give the value of an option that has one."""
        values = self.options.get(option, ())
        return values[0] if values else default

    def number(self, option: str, default: float) -> float:
        """Give the value of an option as a number."""
        return float(self.value(option, str(default)))


@dataclass(frozen=True)
class Job:
    """A job that is still to be done."""

    rule: str
    threads: int
    gpus: int
    """How many GPUs it asks for."""
    command: Command | None
    """None if what it runs is no command of arseg."""
    inputs: tuple[str, ...] = field(default=(), repr=False)
    outputs: tuple[str, ...] = field(default=(), repr=False)


def parse_command(text: str) -> Command | None:
    """Take a shell command apart.

    Parameters
    ----------
    text : str
        A command line, perhaps with redirections at its end.

    Returns
    -------
    command : Command or None
        None if it is none of arseg.
    """
    try:
        words = shlex.split(text)
    except ValueError:
        return None
    while words and PREFIXES.fullmatch(words[0]):
        words = words[1:]
    if not words or Path(words[0]).name != "arseg":
        return None
    words = words[1:]
    for index, word in enumerate(words):
        if REDIRECTIONS.fullmatch(word):
            words = words[:index]
            break
    size = 2 if (words and words[0] in GROUPS) or words[:2] == ["motion", "show"] else 1
    arguments: list[str] = []
    options: dict[str, list[str]] = {}
    current = arguments
    for word in words[size:]:
        if word.startswith("--"):
            current = options[word[2:]] = []
        else:
            current.append(word)
    return Command(" ".join(words[:size]), {name: tuple(values) for name, values in options.items()}, tuple(arguments))


def jobs_to_do(config: Path, snakefile: Path, cores: int, targets: Sequence[str] = ()) -> list[Job]:
    """Ask Snakemake what it would run here.

    Parameters
    ----------
    config : Path
        Configuration of the experiment.
    snakefile : Path
        The workflow's entry point.
    cores : int
        Cores that the jobs may use.
    targets : sequence of str
        Rules or files to make; everything by default.

    Raises
    ------
    ConfigError
        If there is no such file, or Snakemake refuses the configuration; the message has its words.
    """
    for path, mend in ((config, "Name a configuration"), (snakefile, "Run in the checkout, or name it: --snakefile")):
        if not path.is_file():
            raise ConfigError(f"{path}: no such file. {mend}")
    with TemporaryDirectory() as folder:
        listing = Path(folder, "jobs.json")
        words = ["--snakefile", str(snakefile), "--cores", str(cores), "--configfile", str(config), "--nocolor"]
        # A configuration takes any number of words: targets go before it.
        command = [sys.executable, "-m", "arseg.plan.dry_run", str(listing), *targets, *words]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode:
            lines = [line for line in (run.stdout + run.stderr).splitlines() if line.strip()]
            first = next((index for index, line in enumerate(lines) if re.search(r"Error|Exception", line)), 0)
            said = "\n".join(f"  {line}" for line in lines[first:][:SHOWN_LINES])
            raise ConfigError(f"{config}: Snakemake cannot plan it. It said:\n{said}")
        jobs = json.loads(listing.read_text(encoding="utf-8"))
    return [
        Job(
            job["rule"],
            job["threads"],
            job["gpus"],
            parse_command(job["command"]),
            tuple(job["inputs"]),
            tuple(job["outputs"]),
        )
        for job in jobs
        if job["command"]  # a target rule runs nothing
    ]
