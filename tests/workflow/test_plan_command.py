"""`arseg plan` on the real workflow: the jobs that Snakemake would run, before and after some of them."""

import json
import re
from pathlib import Path

import pytest
import yaml
from snakemake_runs import REPOSITORY, planned_jobs, snakemake

from arseg.cli.main import main

pytestmark = pytest.mark.workflow

CONFIG = REPOSITORY / "tests/workflow/configs/tiny.yaml"


def plan(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    capsys.readouterr()
    main(["plan", *map(str, words), "--snakefile", str(REPOSITORY / "Snakefile"), "--cores", "2"])
    return capsys.readouterr().out


def test_the_plan_has_the_jobs_of_snakemakes_dry_run_and_the_times_of_finished_ones(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    planned = json.loads(plan(capsys, CONFIG, "--json"))
    assert {row["rule"]: row["jobs"] for row in planned["rows"]} == planned_jobs(tmp_path, CONFIG)
    assert planned["unmeasured"] == planned["jobs"] == sum(row["jobs"] for row in planned["rows"])
    assert not (tmp_path / "results").exists()

    store = "results/tiny/clips/synthetic/h264-200k-gop3-medium/last-distance/train/shard0/d02.h5"
    run = snakemake(tmp_path, store, "--configfile", str(CONFIG))
    assert run.returncode == 0, run.stdout + run.stderr
    main(["provenance", store])  # exits with 1 if anything is not as recorded
    planned = json.loads(plan(capsys, CONFIG, "clips", "--json"))
    rows = {row["rule"]: row for row in planned["rows"]}
    assert {rule: row["jobs"] for rule, row in rows.items()} == {"make_test_clips": 1, "make_training_clips": 1}
    assert rows["make_training_clips"]["seconds"] > 0  # the other split's clips are like these
    assert rows["make_test_clips"]["seconds"] is None
    assert planned["finished"] == 3
    shown = plan(capsys, CONFIG, "clips")
    assert re.search(r"make_test_clips +synthetic +1 +not measured yet\n", shown)
    assert "with 2 cores and 1 GPU, and 1 job not measured yet" in shown
    assert plan(capsys, CONFIG, store) == f"{CONFIG}: 0 jobs to do\n"


def test_a_configuration_that_snakemake_refuses_is_one_message(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("bad.yaml").write_text(yaml.safe_dump(yaml.safe_load(CONFIG.read_text()) | {"scale": [0.5]}))
    with pytest.raises(SystemExit) as stopped:
        plan(capsys, "bad.yaml")
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert error.count("error:") == 1
    assert "scale: unknown key; did you mean 'scales'?" in error
    assert "Traceback" not in error
