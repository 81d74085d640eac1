"""`arseg plan` on the real workflow: the jobs that Snakemake would run, before and after some of them."""

import json
from pathlib import Path

import pytest
import yaml
from snakemake_runs import REPOSITORY, planned_jobs, snakemake

from arseg.cli.main import main

pytestmark = pytest.mark.workflow

CONFIG = REPOSITORY / "tests/workflow/configs/tiny.yaml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder for all tests here; later ones find what earlier ones made."""
    return tmp_path_factory.mktemp("plan")


def plan(capsys: pytest.CaptureFixture[str], *words: object) -> dict:
    """Run `arseg plan` here, as on a machine of two cores without GPU."""
    capsys.readouterr()
    fixed = ["--snakefile", REPOSITORY / "Snakefile", "--cores", 2, "--gpus", 0, "--json"]
    main(["plan", *map(str, (*words, *fixed))])
    return json.loads(capsys.readouterr().out)


def test_the_plan_has_the_jobs_of_snakemakes_dry_run(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    reckoned = plan(capsys, CONFIG)
    jobs = {rule["rule"]: rule["jobs"] for rule in reckoned["rules"]}
    assert jobs == planned_jobs(folder, CONFIG)
    assert reckoned["jobs"] == sum(jobs.values())
    assert {rule["unknown"] for rule in reckoned["rules"]} == {0}
    assert {rule["measured_on"] for rule in reckoned["rules"]} == {0}
    assert all(rule["core_seconds"] > 0 for rule in reckoned["rules"])
    assert reckoned["bytes"] > 0
    # A training and an evaluation wait for one another; the work of both cores is more than half of the whole.
    assert reckoned["least"]["least"] >= sum(rule["core_seconds"] for rule in reckoned["rules"]) / 2
    assert not (folder / "results").exists()


def test_what_is_finished_is_no_longer_planned_and_tells_what_the_rest_takes(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    store = "results/tiny/clips/synthetic/h264-200k-gop3-medium/last-distance/train/shard0/d02.h5"
    run = snakemake(folder, store, "--configfile", str(CONFIG))
    assert run.returncode == 0, run.stdout + run.stderr
    main(["provenance", store])  # exits with 1 if anything is not as recorded
    rules = {rule["rule"]: rule for rule in plan(capsys, CONFIG, "clips")["rules"]}
    assert {name: rule["jobs"] for name, rule in rules.items()} == {"make_test_clips": 1, "make_training_clips": 1}
    assert {rule["measured_on"] for rule in rules.values()} == {1}
    main(["plan", str(CONFIG), store, "--snakefile", str(REPOSITORY / "Snakefile")])
    assert capsys.readouterr().out == f"{CONFIG}: 0 jobs to do, into results/tiny\n"


def test_a_configuration_that_snakemake_refuses_is_one_message(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    bad = folder / "bad.yaml"
    bad.write_text(yaml.safe_dump(yaml.safe_load(CONFIG.read_text()) | {"scale": [0.5]}))
    with pytest.raises(SystemExit) as stopped:
        plan(capsys, bad)
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert error.count("error:") == 1
    assert "scale: unknown key; did you mean 'scales'?" in error
    assert "Traceback" not in error
