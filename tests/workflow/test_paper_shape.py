"""The paper's whole experiment on miniature data: both data sets in their published layouts, all distances."""

import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from camvid_examples import write_camvid
from cityscapes_examples import write_cityscapes
from file_server import Answer, FileServer
from snakemake_runs import REPOSITORY, planned_jobs, snakemake
from torchvision.models import resnet18

from arseg.compat.results import read_published

pytestmark = pytest.mark.workflow

SCALES = [0.5]
NETWORKS = {"camvid": ["psp18"], "cityscapes": ["psp18-cityscapes", "bise18"]}
ONE_THREAD = ("make_training_clips", "make_test_clips", "train_phase1", "train_phase2", "evaluate", "plot_panel")


def miniature(source: dict[str, dict[str, str]]) -> dict:
    """The paper's configuration with tiny trainings, one of its seven scales, and each form of a network once."""
    config = yaml.safe_load((REPOSITORY / "config/config.yaml").read_text())
    config |= {"scales": SCALES, "device": "cpu"}
    for name, size, shards in (("camvid", "96x64", 2), ("cityscapes", "32x64", 1)):
        dataset = config["datasets"][name]
        dataset |= {"shards": shards, "source": source[name], "backbones": NETWORKS[name]}
        dataset.setdefault("training", {}).update(
            {"crop": size, "epochs": 1, "batch_size": 2, "random_scales": [1.0], "unfused_epochs": 0}
        )
        dataset.setdefault("training_overrides", []).append({"set": {"batch_size": 2}})
    return config


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a miniature configuration; CamVid comes from a web server, Cityscapes from a folder."""
    return tmp_path_factory.mktemp("paper")


@pytest.fixture(scope="module")
def finished(folder: Path, hevc_reader: Path) -> Path:
    """The folder of a finished run."""
    sequences = write_camvid(folder / "web", packaging="kaggle")
    write_cityscapes(folder / "cityscapes")
    cache = folder / "torch/hub/checkpoints"
    cache.mkdir(parents=True)
    torch.manual_seed(0)
    torch.save(resnet18().state_dict(), cache / "resnet18-f37072fd.pth")
    with FileServer() as server:
        rows = []
        for path in sorted((folder / "web").iterdir()):
            good = server.serve(f"/{path.name}", Answer(path.read_bytes()))
            dead = f"http://127.0.0.1:9/{path.name}"
            rows += [f"{path.name},{address},,\n" for address in (dead, good)]
        (folder / "files.csv").write_text("file,url,sha256,bytes\n" + "".join(rows))
        source = {
            "camvid": {"split": "kaggle", "files": "files.csv", "sequences": str(sequences)},
            "cityscapes": {"root": "cityscapes"},
        }
        (folder / "paper.yaml").write_text(yaml.safe_dump(miniature(source)))
        run = paper(folder)
    assert run.returncode == 0, run.stdout + run.stderr
    return folder


def paper(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the miniature experiment, with ImageNet weights from the folder's own cache."""
    threads = [f"{rule}=1" for rule in ONE_THREAD]
    words = ("--configfile", str(folder / "paper.yaml"), "--set-threads", *threads, *words)
    return snakemake(folder, *words, TORCH_HOME=str(folder / "torch"))


def test_table_has_every_network_mode_scale_and_distance(finished):
    table = pd.read_csv(finished / "results/paper/miou.csv")
    rows = set(table[["dataset", "split", "backbone", "mode", "scale", "distance"]].itertuples(index=False, name=None))
    networks = {("camvid", "kaggle-test"): NETWORKS["camvid"], ("cityscapes", "val"): NETWORKS["cityscapes"]}
    lines = [("HR", 1.0), *((mode, scale) for mode in ("LR", "AR") for scale in SCALES)]
    assert rows == {
        (*dataset, backbone, mode, scale, distance)
        for dataset, backbones in networks.items()
        for backbone in backbones
        for mode, scale in lines
        for distance in range(12)
    }
    assert table["miou"].between(0, 1).all()
    manifest = pd.read_csv(finished / "results/paper/manifest/camvid.csv")
    assert (manifest["max_distance"] == 0).sum() == 1  # the frame without room counts at the keyframe only


def test_the_published_values_stand_beside_ours_and_result_files_carry_their_names(finished):
    comparison = pd.read_csv(finished / "results/paper/comparison.csv", keep_default_na=False)
    assert len(comparison) == 3 * 3 * 12  # every published value of these networks at this scale
    assert set(comparison["differs"]) == {""}
    np.testing.assert_allclose(comparison["difference"], comparison["miou"] - comparison["published"], atol=2e-6)
    assert "## camvid kaggle-test, psp18" in (finished / "results/paper/comparison.md").read_text()

    folder = finished / "results/paper/published"
    camvid = folder / "hevc-3000k-gop12-medium/seed233/camvid-psp18-AR-0.5x-resolution-exp-GOP12-3M-evaluation.txt"
    table = pd.read_csv(finished / "results/paper/miou.csv").query(
        "dataset == 'camvid' and backbone == 'psp18' and mode == 'AR' and scale == 0.5"
    )
    np.testing.assert_allclose(read_published(camvid).miou, table["miou"], atol=1e-6)
    assert (folder / "hevc-5000k-gop12-medium/seed233").is_dir()


def test_again_does_nothing_and_the_official_split_downloads_nothing_again(finished):
    assert planned_jobs(finished, finished / "paper.yaml") == {}
    config = yaml.safe_load((finished / "paper.yaml").read_text())
    config["datasets"]["camvid"]["source"] |= {"split": "official", "package": "web/camvid-kaggle.zip"}
    (finished / "official.yaml").write_text(yaml.safe_dump(config))
    jobs = planned_jobs(finished, finished / "official.yaml")
    assert not {"download_camvid", "decode_camvid", "fetch_imagenet_weights"} & set(jobs)
    assert jobs["train_phase1"] == 2  # CamVid's network alone
    assert "compare_with_published" in jobs  # Cityscapes is still as published
