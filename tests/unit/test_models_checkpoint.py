"""Checkpoints: round trip, and one clear message for each way of not fitting."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from arseg import __version__
from arseg.errors import CheckpointError
from arseg.models.checkpoint import load_checkpoint, read_checkpoint, save_checkpoint
from arseg.models.registry import build_network
from arseg.spec import Encoding, NetworkSpec, SegmentationClass, TrainedOn

CLASSES = tuple(SegmentationClass(index, name, (index, 0, 255), index == 4) for index, name in enumerate("abcde"))
SPEC = NetworkSpec("bise18", 5, fusion=True, scale_percent=50, classes=CLASSES)
TRAINED_ON = TrainedOn(
    seed=7,
    score=0.5,
    encoding=Encoding(rate="qp27", fps="30000/1001"),
    constants={"random_scales": (0.5, 1.0), "initial_weights": "none", "note": None},
)
VERSION_1 = {
    "backbone": "bise18",
    "num_classes": 5,
    "fusion": True,
    "scale_percent": 50,
    "normalization": "camvid",
    "class_names": list("abcde"),
    "class_colors": [[index, 0, 255] for index in range(5)],
    "class_void": [False, False, False, False, True],
    "seed": 7,
    "score": 0.5,
    "train_config": TRAINED_ON.constants,
    "encoding": {"encoding": "hevc-qp27-gop12-medium", "codec": "hevc", "rate": "qp27", "gop": 12, "fps": 30}
    | {"preset": "medium", "references": 0, "parameters": "", "subpixel": False, "tail": "gop"},
}
"""What files of format version 1 say of the same network, but for the frames per second."""


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = build_network("bise18", 5, fusion=True)
    network(torch.randn(2, 3, 32, 32))  # moves the batch-norm statistics
    return network


@pytest.fixture(scope="module")
def saved(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "weights.pt"
    save_checkpoint(path, network, SPEC, TRAINED_ON)
    return path


def rewrite(saved, path, **changes):
    content = torch.load(saved, weights_only=True) | changes
    torch.save({key: value for key, value in content.items() if value is not None}, path)
    return path


def test_round_trip(network, saved):
    loaded, spec, trained_on = load_checkpoint(saved, expect_backbone="bise18", expect_num_classes=5)
    assert (spec, trained_on) == (SPEC, replace(TRAINED_ON, arseg_version=__version__))
    assert (spec, trained_on) == read_checkpoint(saved)[1:3]
    assert not loaded.training
    assert all(torch.equal(loaded.state_dict()[name], value) for name, value in network.state_dict().items())
    assert loaded.final_conv is loaded.conv_out.conv_out
    assert [p.name for p in saved.parent.iterdir()] == ["weights.pt"]


def test_same_weights_give_the_same_bytes(network, saved, tmp_path, monkeypatch):
    monkeypatch.setattr("os.getpid", lambda: 1234567)  # which is part of temporary names
    save_checkpoint(tmp_path / "weights.pt", network, SPEC, TRAINED_ON)
    assert (tmp_path / "weights.pt").read_bytes() == saved.read_bytes()


def test_of_two_values_of_a_shared_tensor_the_last_listed_wins(saved, tmp_path):
    state = torch.load(saved, weights_only=True)["state_dict"]
    state = {name: value.clone() for name, value in state.items()}
    state["conv_out.conv_out.weight"].fill_(1)
    state["final_conv.weight"].fill_(2)
    loaded, *_ = load_checkpoint(rewrite(saved, tmp_path / "weights.pt", state_dict=state))
    assert (loaded.conv_out.conv_out.weight == 2).all()


def test_a_checkpoint_of_another_network_is_refused(saved):
    for expected, message in (
        ({"expect_backbone": "psp18"}, "backbone is bise18, expected psp18"),
        ({"expect_num_classes": 19}, "num_classes is 5, expected 19"),
    ):
        with pytest.raises(CheckpointError, match=rf"weights\.pt: {message}\. Give a checkpoint that was trained wi"):
            load_checkpoint(saved, **expected)


def test_missing_and_foreign_files(network, tmp_path):
    path = tmp_path / "weights.pt"
    with pytest.raises(CheckpointError, match=r"weights\.pt: no such file"):
        load_checkpoint(path)
    torch.save(network.state_dict(), path)
    with pytest.raises(CheckpointError, match=r"another program; .* plain state dict must be converted first"):
        load_checkpoint(path)
    torch.save(nn.Linear(2, 2), path)
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 99}, "format_version 99, expected 2; use the version of arseg"),
        ({"network": None}, "description is incomplete .*network"),
        ({"network": {"backbone": "bise18", "fusion": True}}, "description is incomplete .*num_classes"),
        ({"trained_on": {"encoding": {"codec": "hevc"}}}, "description is incomplete .*rate"),
        ({"state_dict": None}, "state_dict is missing"),
        ({"network": SPEC.to_dict() | {"backbone": "psp99"}}, "its network cannot be built: .*expected one of"),
        ({"network": SPEC.to_dict() | {"fusion": False}}, r"do not fit .*fuse_attention"),
        ({"network": SPEC.to_dict() | {"num_classes": 6}}, r"do not fit a bise18 with 6 classes .*size mismatch"),
    ],
)
def test_damaged_files(saved, tmp_path, changes, message):
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(rewrite(saved, tmp_path / "weights.pt", **changes))


def test_a_description_of_another_network_is_not_saved(network, tmp_path):
    with pytest.raises(ValueError, match="has 5 classes and fusion True"):
        save_checkpoint(tmp_path / "weights.pt", network, replace(SPEC, num_classes=6))
    assert list(tmp_path.iterdir()) == []


def test_files_of_version_1_are_read(saved, tmp_path):
    old = rewrite(saved, tmp_path / "old.pt", format_version=1, metadata=VERSION_1, network=None, trained_on=None)
    loaded, spec, trained_on = load_checkpoint(old)
    assert spec == SPEC
    assert trained_on == replace(TRAINED_ON, encoding=Encoding(rate="qp27"))
    assert torch.equal(loaded.final_conv.weight, load_checkpoint(saved).network.final_conv.weight)


def save_cityscapes(path, **trained_on):
    network = build_network("psp18-cityscapes", 5, fusion=False)
    save_checkpoint(path, network, NetworkSpec("psp18-cityscapes", 5), TrainedOn(**trained_on))
    return path


def test_weights_for_a_network_that_was_corrected_since_are_refused(network, tmp_path):
    """Which names and shapes do not tell: dilations have neither."""
    old = save_cityscapes(tmp_path / "old.pt", stage=2)
    with pytest.raises(CheckpointError, match=r"old\.pt: was trained at stage 2, .* Train it again: arseg train"):
        load_checkpoint(old)
    imported = {"file": "PSPNet_resnet18_1.0_0_.pth", "sha256": "0" * 64}
    load_checkpoint(save_cityscapes(tmp_path / "imported.pt", stage=2, imported_from=imported))
    load_checkpoint(save_cityscapes(tmp_path / "new.pt", stage=3))
    save_checkpoint(tmp_path / "other.pt", network, SPEC, TrainedOn(stage=2))
    load_checkpoint(tmp_path / "other.pt")
