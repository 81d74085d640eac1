"""Cityscapes from the user's own folder, where a split is missing."""

import shutil

import pytest
import yaml
from cityscapes_examples import write_cityscapes
from snakemake_runs import REPOSITORY, snakemake

pytestmark = pytest.mark.workflow


def test_clips_of_val_are_made_without_train_and_those_of_train_say_what_is_missing(tmp_path):
    write_cityscapes(tmp_path / "city")
    shutil.rmtree(tmp_path / "city/gtFine/train")
    (tmp_path / "config").symlink_to(REPOSITORY / "config")
    config = yaml.safe_load((REPOSITORY / "config/config.yaml").read_text()) | {"codecs": ["h264"], "gops": [2]}
    del config["datasets"]["camvid"]
    config["datasets"]["cityscapes"] |= {"source": {"root": "city"}, "shards": 1}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    run = snakemake(tmp_path, "clips", "--keep-going", "--configfile", str(tmp_path / "config.yaml"))
    assert run.returncode != 0
    message = (
        "data set cityscapes: its manifest has no split 'train'; its splits are: val. Unpack what that split needs"
    )
    assert message in run.stdout + run.stderr
    made = {path.name for path in tmp_path.glob("results/paper/clips/cityscapes/*/all-distances/val/shard0/*.h5")}
    assert made == {"d00.h5", "d01.h5"}
