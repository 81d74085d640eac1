"""``arseg evaluate-published``, and ``arseg evaluate`` on what is made of published files."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import refusal, run
from published_examples import write_camvid_tree, write_cityscapes_tree

from arseg.compat.evaluation import find_checkpoint
from arseg.compat.naming import PublishedSetup
from arseg.compat.results import read_published
from arseg.datasets.camvid.manifest import camvid_classes
from arseg.datasets.cityscapes.manifest import cityscapes_classes
from arseg.errors import CheckpointError, ConfigError
from arseg.evaluate.result import load_evaluation
from arseg.models.checkpoint import load_checkpoint, save_checkpoint
from arseg.models.registry import build_network
from arseg.spec import NORMALIZATIONS, Mode, NetworkSpec

GOP = 2
PUBLISHED_NAMES: dict[Mode, str] = {
    "hr": "HR/PSPNet_resnet18_1.0_9_.pth",
    "lr": "LR/PSPNet_resnet18_0.5_80_.pth",
    "ar": "AR/PSPNet_resnet18_0.5_99_.pth",
}


def save_network(path: Path, mode: Mode, backbone="psp18", classes=None, normalization="camvid") -> Path:
    """Save a network as training would, with weights and statistics of its own."""
    classes = classes or camvid_classes()
    torch.manual_seed(sum(mode.encode()))
    network = build_network(backbone, len(classes), mode == "ar")
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
        elif isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)  # PyTorch's own is so small that one class wins everywhere
    scale_percent = 100 if mode == "hr" else 50
    spec = NetworkSpec(backbone, len(classes), mode == "ar", scale_percent, normalization, classes=tuple(classes))
    save_checkpoint(path, network, spec)
    return path


@pytest.fixture(scope="module")
def ours(tmp_path_factory) -> dict[Mode, Path]:
    """Checkpoints of arseg for CamVid, by role."""
    folder = tmp_path_factory.mktemp("ours")
    return {mode: save_network(folder / f"{mode}.pt", mode) for mode in PUBLISHED_NAMES}


@pytest.fixture(scope="module")
def roots(ours, tmp_path_factory) -> tuple[Path, Path]:
    """The same networks as published checkpoints, and a tree of data."""
    folder = tmp_path_factory.mktemp("published")
    for mode, name in PUBLISHED_NAMES.items():
        run("checkpoint", "export", ours[mode], "--output", folder / "checkpoints/camvid-psp18" / name)
    write_camvid_tree(folder / "data", gop=GOP)
    return folder / "checkpoints", folder / "data"


def evaluate(roots, output, *words) -> None:
    """Run the command, with `words` after its other options."""
    checkpoints, data = roots
    options = ["--gop", GOP, "--device", "cpu", "--workers", 0, "--output", output]
    run("evaluate-published", "--checkpoint-root", checkpoints, "--data-root", data, *options, *words)


@pytest.fixture(scope="module")
def results(roots, tmp_path_factory) -> Path:
    """Results of all three modes."""
    output = tmp_path_factory.mktemp("results")
    evaluate(roots, output, "--mode", "HR", "LR", "AR")
    return output


def published_file(mode: str) -> str:
    return f"camvid-psp18-{mode}-resolution-exp-GOP2-3M-evaluation.txt"


@pytest.mark.parametrize(("mode", "published"), [("hr", "1.0x"), ("lr", "0.5x"), ("ar", "AR-0.5x")])
def test_checkpoints_that_went_out_and_in_give_equal_counts(ours, roots, results, tmp_path, mode, published):
    clips, output = tmp_path / "clips", tmp_path / "ours.npz"
    run("import", roots[1] / "camvid-sequence/3M-GOP2", "--dataset", "camvid", "--split", "test", "--output", clips)
    networks = {
        "hr": ["--hr", ours["hr"]],
        "lr": ["--lr", ours["lr"]],
        "ar": ["--hr", ours["hr"], "--lr", ours["ar"]],
    }[mode]
    scale = 100 if mode == "hr" else 50
    stores = sorted(clips.glob("d*.h5"))
    assert len(stores) == GOP
    options = ["--scale-percent", scale, "--device", "cpu", "--workers", 0, "--output", output]
    run("evaluate", "--mode", mode, "--manifest", clips / "manifest.csv", "--stores", *stores, *networks, *options)
    original = load_evaluation(output)
    converted = load_evaluation((results / published_file(published)).with_suffix(".npz"))
    np.testing.assert_array_equal(converted.confusions, original.confusions)
    np.testing.assert_array_equal(original.num_frames, [4, 3])  # Seq05VD_f00000 counts at d = 0 only
    assert (original.confusions.sum(axis=(0, 1)) > 0).sum() >= 2, "a network that predicts one class tests nothing"


def test_scores_are_written_as_published(results):
    assert sorted(path.name for path in results.iterdir() if path.suffix == ".txt") == [
        published_file("0.5x"),
        published_file("1.0x"),
        published_file("AR-0.5x"),
    ]
    published = read_published(results / published_file("AR-0.5x"))
    evaluation = load_evaluation((results / published_file("AR-0.5x")).with_suffix(".npz"))
    np.testing.assert_allclose(published.miou, evaluation.miou, rtol=1e-15)
    settings = evaluation.settings
    assert (settings.dataset, settings.split, settings.backbone, settings.seed) == ("camvid", "test", "psp18", 233)
    assert evaluation.encoding_name == "hevc-3000k-gop2-medium-imported"
    assert evaluation.encoders == ("the authors' processed data",)


def test_a_second_run_converts_nothing_and_says_what_it_wrote(roots, results, capsys):
    kept = {path: path.stat().st_mtime_ns for pattern in ("*.pt", "*.h5") for path in (results / "work").rglob(pattern)}
    assert len(kept) == 3 + GOP
    evaluate(roots, results, "--mode", "ar", "HR")
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    lines = capsys.readouterr().out.splitlines()
    for line, mode in zip(lines, ("AR-0.5x", "1.0x"), strict=True):
        path = results / published_file(mode)
        assert line == f"wrote {path} (mean mIoU {100 * read_published(path).miou.mean():.2f})"


def test_a_replaced_checkpoint_is_converted_anew(ours, roots, tmp_path):
    confusions = []
    for mode in ("hr", "lr"):  # both are plain networks, with other weights
        file = tmp_path / "checkpoints/camvid-psp18" / PUBLISHED_NAMES["hr"]
        run("checkpoint", "export", ours[mode], "--output", file)
        evaluate((tmp_path / "checkpoints", roots[1]), tmp_path / "out", "--mode", "HR", "--work", tmp_path / "work")
        confusions.append(load_evaluation((tmp_path / "out" / published_file("1.0x")).with_suffix(".npz")).confusions)
    assert (confusions[0] != confusions[1]).any()
    assert len(list((tmp_path / "work/checkpoints").rglob("*.pt"))) == 2
    assert not (tmp_path / "out/work").exists()


@pytest.mark.parametrize(
    ("backbone", "network", "normalization"),
    [("psp18", "psp18-cityscapes", "imagenet"), ("bise18", "bise18", "bisenet")],
)
def test_cityscapes(tmp_path, backbone, network, normalization):
    weights = save_network(tmp_path / "hr.pt", "hr", network, cityscapes_classes(), normalization)
    published = tmp_path / f"checkpoints/cityscapes-{backbone}/HR/PSPNet_resnet18_1.0_199_.pth"
    run("checkpoint", "export", weights, "--output", published)
    write_cityscapes_tree(tmp_path / "data", collection="cityscapes-sequence")
    options = ["--dataset", "cityscapes", "--backbone", backbone, "--mode", "HR"]
    evaluate((tmp_path / "checkpoints", tmp_path / "data"), tmp_path / "out", *options)
    name = f"cityscapes-{backbone}-1.0x-resolution-exp-GOP2-5M-evaluation"
    settings = load_evaluation(tmp_path / f"out/{name}.npz").settings
    assert (settings.dataset, settings.split, settings.backbone) == ("cityscapes", "val", network)
    assert settings.encoding.fps == 17
    assert read_published(tmp_path / f"out/{name}.txt").miou.shape == (GOP,)
    (converted,) = (tmp_path / "out/work/checkpoints").rglob("*.pt")
    _, spec, _ = load_checkpoint(converted)
    assert NORMALIZATIONS[spec.normalization] == NORMALIZATIONS[normalization]


def test_the_latest_of_several_epochs_is_taken(tmp_path, caplog):
    for epoch in (9, 87, 100):
        (tmp_path / f"PSPNet_resnet18_0.5_{epoch}_.pth").touch()
    (tmp_path / "PSPNet_resnet18_0.3_200_.pth").touch()
    with caplog.at_level("INFO"):
        assert find_checkpoint(tmp_path, 30) == tmp_path / "PSPNet_resnet18_0.3_200_.pth"
        assert not caplog.messages
        assert find_checkpoint(tmp_path, 50) == tmp_path / "PSPNet_resnet18_0.5_100_.pth"
    assert any("PSPNet_resnet18_0.5_100_.pth is taken, the latest of epochs 9, 87, 100" in m for m in caplog.messages)


def test_a_missing_checkpoint_lists_what_is_there(tmp_path):
    (tmp_path / "PSPNet_resnet18_0.3_20_.pth").touch()
    (tmp_path / "notes.txt").touch()
    with pytest.raises(
        CheckpointError,
        match=r"resnet18_0\.5_\{epoch\}_\.pth, found: PSPNet_resnet18_0\.3_20_\.pth, notes\.txt\. .*--sc",
    ):
        find_checkpoint(tmp_path, 50)
    with pytest.raises(CheckpointError, match=r"camvid-psp18/AR: expected a checkpoint .*, found: no such folder"):
        find_checkpoint(tmp_path / "camvid-psp18/AR", 50)


def test_checkpoints_are_looked_for_before_the_data_are_read(roots, tmp_path, capsys):
    options = ["--gop", 2, "--mode", "HR", "AR", "--scale", 0.3, "--output", tmp_path / "out", "--device", "cpu"]
    error = refusal(capsys, "evaluate-published", "--checkpoint-root", roots[0], "--data-root", tmp_path, *options)
    assert "PSPNet_resnet18_0.3_{epoch}_.pth, found: PSPNet_resnet18_0.5_99_.pth" in error


def test_a_checkpoint_of_another_backbone(roots, tmp_path, capsys):
    shutil.copytree(roots[0] / "camvid-psp18/HR", tmp_path / "camvid-bise18/HR")
    options = ["--gop", 2, "--mode", "HR", "--backbone", "bise18", "--output", tmp_path / "out", "--device", "cpu"]
    error = refusal(capsys, "evaluate-published", "--checkpoint-root", tmp_path, "--data-root", roots[1], *options)
    assert "camvid-bise18/HR/PSPNet_resnet18_1.0_9_.pth: does not fit bise18" in error
    assert not (tmp_path / "out").exists()


def test_missing_data_name_both_folders_that_were_tried(roots, tmp_path, capsys):
    options = ["--gop", 12, "--mode", "HR", "--bitrate", 0.5, "--output", tmp_path / "out", "--device", "cpu"]
    error = refusal(capsys, "evaluate-published", "--checkpoint-root", roots[0], "--data-root", roots[1], *options)
    assert f"{roots[1]}/camvid-sequence/0.5M-GOP12: no such folder" in error
    assert "--bitrate, --gop" in error


@pytest.mark.parametrize("scale", [1.0, 0.0, 1.5, 0.555, -0.5])
def test_scales_that_cannot_be(scale):
    with pytest.raises(ConfigError, match=rf"--scale {scale:g}: expected whole hundredths from 0\.01 to 0\.99"):
        PublishedSetup(scale=(0.5, scale)).scales_percent_of("lr")


def test_scales_in_percent():
    setup = PublishedSetup(scale=(0.5, 0.29, 0.57, 0.5))
    assert setup.scales_percent_of("ar") == (50, 29, 57)
    assert setup.scales_percent_of("hr") == (100,)
