"""One whole run, small, and what running again does."""

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from fault_runs import Runs, assert_same
from PIL import Image
from snakemake_runs import REPOSITORY, TINY, planned_jobs, snakemake

pytestmark = pytest.mark.workflow


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_run: Path) -> Path:
    """The folder of a finished run; plans and reports leave their traces in this copy."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    shutil.copytree(tiny_run, folder, symlinks=True)
    return folder


def changed(folder: Path, **changes: object) -> Path:
    """A copy of the tiny configuration with some keys changed; keys of the data set are found by themselves."""
    config = yaml.safe_load(TINY.read_text())
    for key, value in changes.items():
        (
            config
            if key in {"codecs", "encoder", "gops", "motion", "scales", "seeds"}
            else config["datasets"]["synthetic"]
        )[key] = value
    path = folder / "changed.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def test_table_has_a_row_for_each_mode_scale_and_distance(finished):
    table = pd.read_csv(finished / "results/tiny/miou.csv")
    expected = {("HR", 1.0, d) for d in range(3)} | {(m, 0.5, d) for m in ("LR", "AR") for d in range(3)}
    assert set(zip(table["mode"], table["scale"], table["distance"], strict=True)) == expected
    assert len(table) == 9
    assert table["miou"].between(0, 1).all()
    assert table["iou_road"].notna().all()
    miou, cost = table.set_index(["mode", "distance"])["miou"], table.groupby("mode")["gmacs_per_frame"].first()
    assert miou["AR", 0] == miou["HR", 0]  # keyframes of AR are the HR branch alone
    assert cost["LR"] < cost["AR"] < cost["HR"]


def test_report_holds_table_and_figures(finished):
    for name in ("miou_by_distance", "miou_by_cost", "panel/synthetic/h264-200k-gop3-medium/tiny/scale50/seed233"):
        picture = np.asarray(Image.open(finished / f"results/tiny/figures/{name}.png").convert("L"))
        assert min(picture.shape) > 300
        assert picture.std() > 10
    run = snakemake(finished, "--configfile", str(TINY), "--report", "report.html")
    assert run.returncode == 0, run.stdout + run.stderr
    report = (finished / "report.html").read_text()
    for shown in ("miou.csv", "miou_by_distance.png", "miou_by_cost.png", "seed233.png"):
        assert shown in report


def test_ordinary_programs_make_the_same(finished, tiny_run, programs):
    """As a user starts them; the run itself was one of programs that need not import anything first."""
    (evaluation,) = (finished / "results/tiny/evaluation").rglob("ar/**/*.npz")
    for path in (evaluation, finished / "results/tiny/miou.csv"):
        path.unlink()
    run = snakemake(finished, "--configfile", str(TINY), cold=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert_same(Runs(finished, programs), Runs(tiny_run, programs))


EVALUATED = {"tabulate": 1, "plot_curves": 1}
ONE_MORE_ENCODING = {"make_test_clips": 1, "make_training_clips": 2, "train_phase2": 1, "evaluate": 3, "plot_panel": 1}
TRAINING = yaml.safe_load(TINY.read_text())["datasets"]["synthetic"]["training"]
RETRAINED = {"train_phase2": 1, "evaluate": 1, "plot_panel": 1}


@pytest.mark.parametrize(
    ("change", "jobs"),
    [
        ({}, None),
        ({"scales": [0.5, 0.75]}, {"train_phase1": 1, "train_phase2": 1, "evaluate": 2}),
        # The latter is not for H.264.
        ({"rates": ["200k", "qp30"], "encoder": {"parameters": {"hevc": "aq-mode=1"}}}, ONE_MORE_ENCODING),
        ({"presets": ["medium", "slow"]}, ONE_MORE_ENCODING),
        ({"encoder": {"parameters": {"h264": "subme=2"}}, "motion": {"subpixel": True}}, ONE_MORE_ENCODING),
        ({"codecs": ["h264", "hevc"]}, {"build_native_reader": 1, **ONE_MORE_ENCODING}),
        ({"training": TRAINING | {"learning_rate": 0.01}}, {**RETRAINED, "train_phase1": 2, "evaluate": 3}),
        ({"training": TRAINING | {"warp_alignment": "consistent"}}, RETRAINED),  # a constant of phase 2
    ],
    ids=lambda value: next(iter(value), "nothing") if isinstance(value, dict) else "",
)
def test_a_change_makes_only_what_depends_on_it(change, jobs, finished):
    assert planned_jobs(finished, changed(finished, **change)) == (jobs | EVALUATED if jobs else {})


def test_a_bumped_stage_reruns_from_that_stage_on(finished, tmp_path):
    # Snakemake imports the package that lies beside the Snakefile.
    for part in ("arseg", "config", "workflow", "profiles"):
        shutil.copytree(REPOSITORY / part, tmp_path / part)
    shutil.copy(REPOSITORY / "Snakefile", tmp_path)
    stages = tmp_path / "arseg/stages.py"
    stages.write_text(re.sub('"evaluate": [0-9]+', '"evaluate": 99', stages.read_text()))
    assert planned_jobs(finished, TINY, checkout=tmp_path) == {"evaluate": 3, "tabulate": 1, "plot_curves": 1}
