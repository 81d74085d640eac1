"""The time that `arseg plan` finds for jobs, by the benchmark files of those that have finished."""

from pathlib import Path

import pytest

from arseg.errors import ConfigError, DataError
from arseg.plan.estimate import Job, Plan, Row, estimate, jobs_to_do

ROOT = "results/x/benchmarks"


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def finish(name: str, seconds: float) -> None:
    path = Path(ROOT, f"{name}.tsv")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"s\th:m:s\tmax_rss\n{seconds}\t0:00:00\tNA\n")


def job(name: str, threads: int = 1, gpus: int = 0) -> Job:
    return Job(name.partition("/")[0], f"{ROOT}/{name}.tsv", threads, gpus)


def plan(*jobs: Job, cores: int = 1, gpus: int = 1) -> Plan:
    return estimate(jobs, cores=cores, gpus=gpus)


def test_nothing_is_made_up_before_a_job_of_the_kind_has_finished():
    finish("train/camvid/psp18/scale50/seed0", 100)
    planned = plan(job("train/cityscapes/psp18/scale50/seed0"), job("write_manifest/camvid"), job("tabulate"))
    assert planned.rows == [
        Row("train", "cityscapes", 1, None),
        Row("write_manifest", "camvid", 1, None),
        Row("tabulate", "", 1, None),
    ]
    assert (planned.jobs, planned.unmeasured, planned.least_seconds) == (3, 3, 0)
    assert (planned.finished, planned.finished_seconds) == (1, 100)


@pytest.mark.parametrize(
    ("finished", "seconds"),
    [
        ({"bise18/scale50/seed0": 30}, 30),
        ({"bise18/scale50/seed0": 30, "psp18/scale30/seed0": 90, "psp18/scale40/seed0": 110}, 100),
        ({"bise18/scale50/seed0": 30, "psp18/scale30/seed0": 90, "psp18/scale50/seed0": 120}, 120),
    ],
)
def test_the_jobs_that_are_most_alike_count(finished, seconds):
    for name, taken in finished.items():
        finish(f"train/camvid/{name}", taken)
    (row,) = plan(job("train/camvid/psp18/scale50/seed1")).rows
    assert (row.rule, row.dataset, row.seconds) == ("train", "camvid", seconds)


def test_a_job_that_must_run_again_takes_what_it_took_and_is_not_finished():
    finish("tabulate", 5)
    finish("clips/camvid/3M/shard0", 10)
    finish("clips/camvid/3M/shard1", 30)
    planned = plan(job("clips/camvid/3M/shard1"), job("clips/camvid/3M/shard2"), job("tabulate"))
    assert [row.seconds for row in planned.rows] == [30 + 20, 5]
    assert (planned.finished, planned.finished_seconds) == (1, 10)


def test_the_time_is_bounded_by_cores_and_by_gpus():
    finish("clips/camvid", 40)
    finish("train/camvid", 100)
    jobs = [job("clips/camvid", threads=2), job("clips/camvid", threads=2), job("train/camvid", threads=8, gpus=1)]
    assert plan(*jobs, cores=8).least_seconds == (40 * 2 * 2 + 100 * 8) / 8
    assert plan(*jobs, cores=32).least_seconds == 100
    assert plan(*jobs, cores=32, gpus=4).least_seconds == (40 * 2 * 2 + 100 * 8) / 32


def test_a_rule_without_a_benchmark_is_not_measured():
    assert plan(Job("own", "", 1, 0)).rows == [Row("own", "", 1, None)]


@pytest.mark.parametrize("text", ["", "s\th:m:s\n", "time\n1\n", "s\nsoon\n"])
def test_a_file_that_is_no_benchmark_is_named(text):
    finish("clips/camvid/shard0", 1)
    Path(ROOT, "clips/camvid/shard0.tsv").write_text(text)
    with pytest.raises(DataError, match=r"clips/camvid/shard0.tsv: not a benchmark file of Snakemake's. Delete it"):
        plan(job("clips/camvid/shard1"))


def test_files_that_are_not_there_are_named():
    with pytest.raises(ConfigError, match=r"nothing.yaml: no such file. Name a configuration"):
        jobs_to_do(Path("nothing.yaml"), Path("Snakefile"), 1)
    Path("some.yaml").touch()
    with pytest.raises(ConfigError, match=r"Snakefile: no such file. Run in the checkout, or name it: --snakefile"):
        jobs_to_do(Path("some.yaml"), Path("Snakefile"), 1)
