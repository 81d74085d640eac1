"""CamVid from the user's own files, up to its manifest, and what another split makes anew."""

from pathlib import Path

import pandas as pd
import pytest
import yaml
from camvid_examples import write_camvid
from snakemake_runs import REPOSITORY, planned_jobs, snakemake

pytestmark = pytest.mark.workflow


def write_config(folder: Path, split: str) -> Path:
    """The paper's configuration with CamVid alone, all of whose files the user has."""
    config = yaml.safe_load((REPOSITORY / "config/config.yaml").read_text())
    del config["datasets"]["cityscapes"]
    config["datasets"]["camvid"]["source"] = {
        "split": split,
        "package": "own/camvid-kaggle.zip",
        "videos": "own",
        "sequences": "own/sequences.csv",
    }
    path = folder / f"{split}.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def test_another_split_makes_the_manifest_anew_and_decodes_nothing(tmp_path):
    write_camvid(tmp_path / "own")
    (tmp_path / "config").symlink_to(REPOSITORY / "config")
    manifest = "results/paper/manifest/camvid.csv"
    kaggle, official = write_config(tmp_path, "kaggle"), write_config(tmp_path, "official")
    run = snakemake(tmp_path, manifest, "--configfile", str(kaggle))
    assert run.returncode == 0, run.stdout + run.stderr
    assert set(pd.read_csv(tmp_path / manifest)["split"]) == {"kaggle-train", "kaggle-val", "kaggle-test"}
    data_rules = {"download_camvid", "decode_camvid", "index_camvid_labels", "verify_camvid", "write_manifest"}
    assert not data_rules & set(planned_jobs(tmp_path, kaggle))
    assert data_rules & set(planned_jobs(tmp_path, official)) == {"write_manifest"}
