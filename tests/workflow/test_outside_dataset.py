"""A data set that another package adds, in one file and without a change of ours: tests/outside/drives_dataset.py."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from snakemake_runs import REPOSITORY, TINY, snakemake

from arseg.data.images import read_label
from arseg.store import ClipStore

pytestmark = pytest.mark.workflow

COLORS = np.array([[10, 20, 30], [200, 100, 0]], np.uint8)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Install the data set as a package is, and write its data and a configuration; return the configuration's file."""
    installed = tmp_path / "installed"
    facts = installed / "drives-1.0.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: drives\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[arseg.datasets]\ndrives = drives_dataset:Drives\n")
    (installed / "drives_dataset.py").symlink_to(REPOSITORY / "tests/outside/drives_dataset.py")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(installed), str(REPOSITORY)]))

    generator = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for kind in ("frames", "colors"):
            (tmp_path / "data" / kind / split).mkdir(parents=True)
        for index in range(6):
            frame = generator.integers(0, 255, (48, 64, 3), np.uint8)
            Image.fromarray(frame).save(tmp_path / f"data/frames/{split}/{split}_{index:03d}.png")
            colors = COLORS[frame[..., 0] % 2]
            colors[0, 0] = 255  # of no class
            if index in (2, 3):  # which have a GOP before and after them
                Image.fromarray(colors).save(tmp_path / f"data/colors/{split}/{split}_{index:03d}.png")
    (tmp_path / "data/classes.csv").write_text(
        "index,name,red,green,blue,void\n0,road,10,20,30,false\n1,other,200,100,0,false\n"
    )
    config = yaml.safe_load(TINY.read_text())
    dataset = config["datasets"].pop("synthetic") | {"kind": "drives", "source": {"root": "data"}}
    del dataset["splits"]  # it has its own
    config["datasets"]["night"] = dataset
    path = tmp_path / "drives.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def run(config: Path, *words: str, fails: bool = False) -> str:
    """Run the workflow, or part of it; return what it prints."""
    found = snakemake(config.parent, *words, "--configfile", str(config), cold=True)
    text = found.stdout + found.stderr
    assert (found.returncode != 0) == fails, text
    return text


def test_a_data_set_of_another_package_becomes_clips(package, tmp_path):
    planned = run(package, "--dry-run")
    assert {"convert_labels", "write_manifest", "make_test_clips", "train_phase2", "plot_panel"} <= set(planned.split())
    run(package, "clips")
    manifest = pd.read_csv(tmp_path / "results/tiny/manifest/night.csv")
    assert manifest["split"].value_counts().to_dict() == {f"drives-{name}": 2 for name in ("train", "val", "test")}
    frame = np.asarray(Image.open(tmp_path / "data/frames/val/val_003.png"))
    label = read_label(tmp_path / "results/tiny/labels/night/val/val_003.png", 2)
    expected = frame[..., 0] % 2
    expected[0, 0] = 255
    np.testing.assert_array_equal(label, expected)
    encoding = tmp_path / "results/tiny/clips/night/h264-200k-gop3-medium"
    with ClipStore(encoding / "all-distances/drives-test/shard0/d02.h5") as store:
        assert len(store) == 2


def test_the_command_line_and_the_configuration_know_the_kind_and_its_keys(package):
    code = "from arseg.cli.main import main; main(['manifest', '--help'])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "drives" in shown
    assert "Drives with labels in colours." in shown
    text = package.read_text()
    package.write_text(text.replace("kind: drives", "kind: drive"))
    assert (
        "datasets.night.kind: 'drive' is not allowed; did you mean 'drives'? "
        "Allowed: camvid, cityscapes, frames, synthetic, videos, drives"
    ) in run(package, "--dry-run", fails=True)
    package.write_text(text.replace("root: data", "roots: data"))
    refusal = run(package, "--dry-run", fails=True)
    assert "datasets.night.source.roots: unknown key; did you mean 'root'? Allowed: root" in refusal
    assert "datasets.night.source.root: this key is missing" in refusal
