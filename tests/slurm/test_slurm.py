"""The tiny workflow on a real SLURM, with the shipped profile: two nodes, two GPUs, a time limit, a requeue."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pytest
from cluster import GPUS, Cluster, missing_programs, slurm_cluster
from snakemake_runs import REPOSITORY, TINY

pytestmark = [pytest.mark.workflow, pytest.mark.slurm]

PROFILE = REPOSITORY / "workflow/profiles/slurm"
GPU_RULES = ("train_phase1", "train_phase2", "evaluate", "plot_panel")

ARSEG = """\
#!/bin/sh
# Trainings get signals, and are ordinary processes; all others may start at once.
case $1 in
    train) exec {python} {folder}/training.py "$@" ;;
    *) exec {warm}/arseg "$@" ;;
esac
"""

TRAINING = """\
# The first start of each training of phase 1 lasts until it is told to stop: time for the test to strike.
# At the time limit, Snakemake may try again in what is left of the allocation: such a start lasts until it is killed.
import os, signal, sys, time
from pathlib import Path
from arseg.cli.main import main
from arseg.train.phases import Phase1
if sys.argv[2] == "phase1":
    marker = Path(sys.argv[sys.argv.index("--output") + 1]).parent / "at-work"
    allocation = os.environ["SLURM_JOB_ID"]
    told, ordinary, begin_batch = [], signal.signal, Phase1.begin_batch
    def listen(number, handler):
        heard = (lambda *words: (told.append(number), handler(*words))) if callable(handler) else handler
        return ordinary(number, heard)
    signal.signal = listen
    def wait(*words):
        first = not marker.exists()
        if first:
            marker.write_text(allocation)
        lasts = first or ("scale100" in str(marker) and marker.read_text() == allocation)
        deadline = time.monotonic() + 600
        while lasts and time.monotonic() < deadline and not (first and told):
            time.sleep(0.2)
        begin_batch(*words)
    Phase1.begin_batch = wait
main()
"""

SNAKEMAKE = """\
# The plugin asks for the states of jobs ever more rarely while none ends. Here none takes long.
from snakemake.cli import main
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
RemoteExecutor.next_seconds_between_status_checks = property(lambda executor: 1, lambda executor, seconds: None)
main()
"""


@dataclass
class Finished:
    """A run through SLURM that has ended, and what was seen of it."""

    folder: Path
    jobs: list[dict[str, str]]
    output: str
    gpus_at_once: list[int] = field(default_factory=list)

    def of_rule(self, *rules: str) -> list[dict[str, str]]:
        """Records of the jobs of some rules; each run of a job is one."""
        return [job for job in self.jobs if any(job["Comment"].startswith(f"rule_{rule}_wild") for rule in rules)]


def results(folder: Path) -> dict[str, bytes]:
    """Tables, and published result files."""
    root = folder / "results/tiny"
    paths = [root / "miou.csv", root / "miou.md", *sorted((root / "published").rglob("*.txt"))]
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of its own, or a skip."""
    if missing := missing_programs():
        assert os.environ.get("ARSEG_REQUIRE_SLURM") != "1", f"ARSEG_REQUIRE_SLURM=1, but {missing} are not installed"
        pytest.skip(f"no SLURM here ({', '.join(missing)} not found; Debian: apt-get install slurm-wlm munge)")
    if os.getuid() != 0:
        assert os.environ.get("ARSEG_REQUIRE_SLURM") != "1", "ARSEG_REQUIRE_SLURM=1, but this is not root"
        pytest.skip("the daemons of SLURM run as root")
    with slurm_cluster(tmp_path_factory.mktemp("slurm")) as running:
        yield running


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, cluster: Cluster, programs: Path) -> Finished:
    """A run through SLURM in which one training is stopped at its time limit, and the other one is requeued."""
    folder = tmp_path_factory.mktemp("through-slurm")
    own = folder / "bin"
    own.mkdir()
    (own / "training.py").write_text(TRAINING)
    (own / "workflow.py").write_text(SNAKEMAKE)
    (own / "arseg").write_text(ARSEG.format(python=sys.executable, folder=own, warm=programs))
    (own / "arseg").chmod(0o755)
    shutil.copytree(PROFILE, folder / "profile")
    (folder / "tiny.yaml").write_text(TINY.read_text().replace("device: cpu", "device: auto"))
    path = os.pathsep.join([str(own), str(Path(sys.executable).parent), cluster.environment["PATH"]])
    environment = os.environ | cluster.environment | {"PATH": path}
    words = [sys.executable, own / "workflow.py", "--snakefile", REPOSITORY / "Snakefile"]
    words += ["--workflow-profile", folder / "profile", "--configfile", folder / "tiny.yaml"]
    words += ["--slurm-status-command", "squeue", "--latency-wait", "5"]
    words += ["--set-threads", *(f"{rule}=2" for rule in GPU_RULES)]
    seen, struck = Finished(folder, [], ""), set()
    with (folder / "output.log").open("w") as log:
        run = subprocess.Popen(list(map(str, words)), cwd=folder, env=environment, stdout=log, stderr=log)
        while run.poll() is None:
            time.sleep(1)
            running = [job for job in cluster.jobs() if job["JobState"] == "RUNNING"]
            seen.gpus_at_once.append(sum("gres:gpu" in str(job) for job in running))
            for job in running:
                _strike(cluster, folder, job, struck)
    seen.jobs, seen.output = cluster.jobs(), (folder / "output.log").read_text()
    assert run.returncode == 0, seen.output
    assert struck == {"scale100", "scale50"}
    return seen


def _strike(cluster: Cluster, folder: Path, job: dict[str, str], struck: set[str]) -> None:
    """Bring a training that is at work to its time limit, or take its node away."""
    scale = re.search(r"rule_train_phase1_wildcards_.*_(100|50)_", job["Comment"])
    if scale is None or (name := f"scale{scale[1]}") in struck:
        return
    if not (folder / f"results/tiny/phase1/synthetic/tiny/{name}/seed233/at-work").exists():
        return
    struck.add(name)
    if name == "scale100":  # less than two minutes before its limit: the profile's --signal asks for the end
        cluster.command("scontrol", "update", f"JobId={job['JobId']}", "TimeLimit=1")
    else:
        cluster.command("scontrol", "requeue", job["JobId"])


def test_every_job_went_through_slurm_and_clips_as_an_array(finished):
    counts = {
        rule: len({job["JobId"] for job in finished.of_rule(rule)})
        for rule in ("synthesize", "write_manifest", "make_test_clips", "train_phase2", "evaluate", "plot_panel")
    }
    expected = {"synthesize": 1, "write_manifest": 1, "make_test_clips": 1, "train_phase2": 1}
    assert counts == expected | {"evaluate": 3, "plot_panel": 1}
    assert [*(finished.folder / "logs/tiny").glob("*/**/*.log")]  # each job wrote its own, wherever it ran
    tasks = finished.of_rule("make_training_clips")
    assert len(tasks) == 2
    assert len({job["ArrayJobId"] for job in tasks}) == 1
    assert {job["JobState"] for job in tasks} == {"COMPLETED"}


def test_jobs_with_networks_asked_for_a_gpu_and_others_for_none(finished):
    for job in finished.jobs:
        asked = job.get("TresPerJob", "") + job.get("TresPerNode", "")
        needs = any(job["Comment"].startswith(f"rule_{rule}_") for rule in GPU_RULES)
        assert ("gpu:1" in asked) == needs, job
    assert max(finished.gpus_at_once) == GPUS  # both were in use at some time


def test_a_training_at_its_time_limit_goes_on_in_another_job(finished):
    records = [job for job in finished.of_rule("train_phase1") if "_100_" in job["Comment"]]
    assert len(records) == 2
    first, second = sorted(records, key=lambda job: int(job["JobId"]))
    assert first["JobState"] in ("FAILED", "TIMEOUT")
    assert second["JobState"] == "COMPLETED"
    assert "Trying to restart" in finished.output
    log = (finished.folder / "logs/tiny/train_phase1/synthetic/tiny/scale100/seed233.log").read_text()
    assert "resuming in epoch 0, after step 1, from" in log


def test_a_requeued_training_is_one_job_and_goes_on(finished):
    (record,) = [job for job in finished.of_rule("train_phase1") if "_50_" in job["Comment"]]
    assert record["Restarts"] == "1"
    assert record["JobState"] == "COMPLETED"


def test_results_are_those_of_a_run_without_slurm(finished, tiny_run):
    assert results(finished.folder) == results(tiny_run)
    assert len(pd.read_csv(finished.folder / "results/tiny/miou.csv")) == 9
