"""What runs again when files of the user change, of which Snakemake sees the folder alone."""

import os
import shutil
from pathlib import Path

import pytest
import yaml
from PIL import Image
from snakemake_runs import TINY, planned_jobs, snakemake

pytestmark = pytest.mark.workflow


@pytest.fixture
def finished(tiny_run: Path, tmp_path: Path) -> Path:
    """A folder with somebody's own frames, and what rules make that read them."""
    shutil.copytree(tiny_run / "results/tiny/frames/synthetic", tmp_path / "own")
    config = yaml.safe_load(TINY.read_text())
    source = {"root": "own", "classes": "own/classes.csv", "splits": "own/splits.csv"}
    config["datasets"]["synthetic"] |= {"kind": "frames", "source": source}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(config))
    run = snakemake(tmp_path, "clips", "--configfile", str(tmp_path / "own.yaml"))
    assert run.returncode == 0, run.stdout + run.stderr
    return tmp_path


def jobs(folder: Path) -> dict[str, int]:
    """What is to be done of the clips."""
    return planned_jobs(folder, folder / "own.yaml", "clips")


def recolour(folder: Path) -> None:
    """Edit a label map in place, which leaves its folder's time as it is."""
    path = next((folder / "own").rglob("labels/**/*.png"))
    label = Image.open(path)
    label.putpixel((0, 0), (label.getpixel((0, 0)) + 1) % 3)
    with path.open("r+b") as file:
        label.save(file, format="png")
        file.truncate()


def add_and_leave_the_folders_time(folder: Path) -> None:
    path = next((folder / "own").rglob("labels/**/*.png"))
    times = path.parent.stat()
    shutil.copy(path, path.with_name("another_00001.png"))
    os.utime(path.parent, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_files_that_change_in_place_are_noticed(finished):
    assert jobs(finished) == {}
    recolour(finished)
    assert jobs(finished) == {"write_manifest": 1, "make_test_clips": 1, "make_training_clips": 2}
    run = snakemake(finished, "clips", "--touch", "--configfile", str(finished / "own.yaml"))
    assert run.returncode == 0, run.stdout + run.stderr
    assert jobs(finished) == {}  # as somebody said who knows better
    add_and_leave_the_folders_time(finished)
    assert jobs(finished)["write_manifest"] == 1


NETWORK = """
from torch import nn


def build(num_classes):
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, num_classes, 1))
"""


def test_an_edited_network_is_trained_again_and_no_other(tiny_run, tmp_path):
    """The results of `tiny` stand in for those of the other network: what counts is who is newer."""
    folder, file = tmp_path / "run", tmp_path / "run/nets.py"
    shutil.copytree(tiny_run, folder)
    for path in [*folder.glob("results/tiny/**/tiny")]:
        shutil.copytree(path, path.with_name("nets.py@build"))
    file.write_text(NETWORK)
    os.utime(file, (1, 1))
    config = yaml.safe_load(TINY.read_text())
    config["datasets"]["synthetic"]["backbones"] += ["nets.py:build"]
    (folder / "own.yaml").write_text(yaml.safe_dump(config))

    def trained() -> dict[str, int]:
        planned = planned_jobs(folder, folder / "own.yaml")
        return {rule: planned[rule] for rule in ("train_phase1", "train_phase2", "evaluate") if rule in planned}

    assert trained() == {}
    file.write_text(NETWORK.replace("8", "16"))
    assert trained() == {"train_phase1": 2, "train_phase2": 1, "evaluate": 3}
