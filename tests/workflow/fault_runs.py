"""Runs that something happens to: how to start them, and how to tell that their results are the same after all."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from snakemake_runs import REPOSITORY, TINY

PATIENCE_SECONDS = 240
"""Until something that must happen counts as not happening."""


class Runs:
    """Runs of the tiny configuration in one folder, by the programs in another."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder, self.programs = folder, programs

    def words(self, *words: str) -> list[str]:
        """Words behind ``snakemake``."""
        place = ["--snakefile", REPOSITORY / "Snakefile", "--directory", self.folder, "--configfile", TINY]
        return list(map(str, [*place, "--workflow-profile", REPOSITORY / "profiles/default", "--cores", "2", *words]))

    def start(self, *words: str, **environment: str) -> "subprocess.Popen[str]":
        """Start a run."""
        path = os.pathsep.join([str(self.programs), str(Path(sys.executable).parent), os.environ["PATH"]])
        return subprocess.Popen(
            [self.programs / "snakemake", *self.words(*words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"PATH": path} | environment,
        )

    def finish(self, *words: str, **environment: str) -> tuple[int, str]:
        """Run to the end; return exit code and output."""
        with self.start(*words, **environment) as run:
            output, _ = run.communicate()
        return run.returncode, output

    def complete(self, *words: str, **environment: str) -> str:
        """Run to the end, which must be a good one; return the output."""
        code, output = self.finish(*words, **environment)
        assert code == 0, output
        return output

    def kill_when(self, condition: Callable[[], object], *words: str, **environment: str) -> None:
        """Start a run, and kill -9 Snakemake, but none of its jobs, when something has happened."""
        number = self.folder / "process"
        with self.start(*words, PROCESS=str(number), **environment):
            wait_until(condition)
            os.kill(int(number.read_text()), signal.SIGKILL)
        number.unlink()


class Faults:
    """What shall happen to commands of `arseg`, for `warm_start`."""

    def __init__(self, folder: Path, **faults: str) -> None:
        self.folder, self.names = folder, {name.replace("_", "-") for name in faults}
        folder.mkdir()
        for name, fault in faults.items():
            self._file(name).write_text(fault)

    @property
    def struck(self) -> set[str]:
        """Names of the commands to which it has happened."""
        return {name for name in self.names if self.process(name)}

    def process(self, name: str) -> int | None:
        """Number of the process to which it has happened."""
        taken = self._file(name).with_suffix(".taken")
        return int(taken.read_text().split()[0]) if taken.exists() and taken.read_text() else None

    def let_go(self, name: str) -> None:
        """Let a command go on that stands still."""
        self._file(name).unlink()

    def _file(self, name: str) -> Path:
        return self.folder / name.replace("_", "-")


def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end, "what was waited for did not happen"
        time.sleep(0.05)


def contents(runs: Runs, below: str = "results") -> dict[str, bytes | list[bytes]]:
    """Everything that runs made, but for what is about the run: times, records of provenance, resumable states."""
    return {
        str(path.relative_to(runs.folder)): arrays(path) if path.suffix == ".npz" else path.read_bytes()
        for path in sorted((runs.folder / below).rglob("*"))
        if path.is_file()
        and not {"benchmarks", "resume"} & set(path.parts)
        and not path.name.endswith((".snakemake_timestamp", ".provenance.json"))
    }


def arrays(path: Path) -> list[bytes]:
    """The arrays of an archive, which itself tells the time."""
    with np.load(path) as archive:
        return [archive[name].tobytes() for name in archive.files]


def assert_same(found: Runs, expected: Runs, below: str = "results") -> None:
    """Nothing is missing, nothing half is left, and all is equal byte for byte."""
    ours, theirs = contents(found, below), contents(expected, below)
    different = ours.keys() ^ theirs.keys() | {
        name for name in ours.keys() & theirs.keys() if ours[name] != theirs[name]
    }
    assert not different, f"missing, too many, or not the same: {sorted(different)}"


def damage(path: Path, *, cut: bool = False) -> None:
    """Flip a bit in the middle, or lose the second half, and nothing else: times stay what they were."""
    times = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content[: len(content) // 2] if cut else content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def in_namespace(folder: Path, script: str) -> None:
    """Run a shell script that may mount, with the installed `arseg` and `snakemake`; skip where nobody may mount."""
    if not shutil.which("unshare") or subprocess.run(["unshare", "-Urm", "true"], check=False).returncode:
        assert os.environ.get("ARSEG_REQUIRE_FAULTS") != "1", "ARSEG_REQUIRE_FAULTS=1, but nothing can be mounted here"
        pytest.skip("`unshare -Urm` does not work here: no disk to fill or to protect")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    run = subprocess.run(
        ["unshare", "-Urm", "sh", "-euc", script],
        cwd=folder,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
