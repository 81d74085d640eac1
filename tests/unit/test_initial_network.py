"""A training may start from a trained network of other classes, and says what it took of it."""

import pytest
import torch
from command_line import phase1_words, run
from torchvision.models import resnet18

from arseg.compat.checkpoints import export_network
from arseg.errors import CheckpointError, ConfigError
from arseg.models.checkpoint import load_checkpoint, save_checkpoint
from arseg.models.imagenet import initialize_network
from arseg.models.registry import build_network
from arseg.spec import NetworkSpec

HEADS = {
    "tiny": ["final_conv.weight", "final_conv.bias", "aux.weight", "aux.bias"],
    "psp18": ["final_conv.weight", "final_conv.bias", "classifier.2.weight", "classifier.2.bias"],
    "pidnet-s": [f"{head}.conv2.{kind}" for head in ("seghead_p", "final_layer") for kind in ("weight", "bias")],
    "bise18": [f"conv_out{stride}.conv_out.{kind}" for stride in ("", 16, 32) for kind in ("weight", "bias")],
}


def trained(backbone, num_classes=3, fusion=False, seed=1):
    torch.manual_seed(seed)
    return build_network(backbone, num_classes, fusion)


def save(path, network, backbone):
    save_checkpoint(path, network, NetworkSpec(backbone, network.num_classes, network.fuse_attention is not None))
    return path


@pytest.mark.parametrize("form", ["checkpoint", "state dict"])
@pytest.mark.parametrize("backbone", sorted(HEADS))
def test_all_but_the_heads_is_taken_from_a_network_of_other_classes(tmp_path, caplog, backbone, form):
    source, network = trained(backbone), trained(backbone, 5, seed=2)
    path = tmp_path / "source.pt"
    if form == "checkpoint":
        save(path, source, backbone)
    else:
        torch.save(export_network(source, backbone, fusion=False), path)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with caplog.at_level("INFO"):
        facts = initialize_network(network, backbone, str(path))
    assert (facts["file"], facts["left_random"]) == ("source.pt", HEADS[backbone])
    theirs = source.state_dict()
    left = [name for name, tensor in network.state_dict().items() if tensor.shape != theirs[name].shape]
    assert set(HEADS[backbone]) <= set(left)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, (before if name in left else theirs)[name])
    assert f"{backbone} without fusion, 3 classes: {facts['num_taken']} tensors" in caplog.text
    assert f"left random: {', '.join(HEADS[backbone])}" in caplog.text


def test_a_pidnet_may_start_from_the_part_of_it_that_saw_imagenet(tmp_path):
    source, network = trained("pidnet-s"), trained("pidnet-s", 5, seed=2)
    tensors = {name: tensor for name, tensor in source.state_dict().items() if name.startswith("layer")}
    part = tensors | {"linear.weight": torch.ones(1000, 3), "conv1.0.weight": torch.ones(1)}
    torch.save({"state_dict": part}, tmp_path / "imagenet.pth.tar")
    facts = initialize_network(network, "pidnet-s", str(tmp_path / "imagenet.pth.tar"))
    assert facts["num_taken"] == len(tensors)
    assert "conv1.0.weight" in facts["left_random"]
    assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in tensors.items())
    torch.save({"linear.weight": torch.ones(2)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"other\.pth: has 0 of the 479 tensors of pidnet-s.* give a file of"):
        initialize_network(network, "pidnet-s", str(tmp_path / "other.pth"))


@pytest.mark.parametrize(("theirs", "ours"), [(True, False), (False, True), (True, True)])
def test_the_fusion_is_taken_where_both_have_one(tmp_path, theirs, ours):
    source, network = trained("tiny", fusion=theirs), trained("tiny", fusion=ours, seed=2)
    facts = initialize_network(network, "tiny", str(save(tmp_path / "s.pt", source, "tiny")))
    fusion = [name for name in network.state_dict() if name.startswith("fuse_attention.")]
    assert facts["left_random"] == (fusion if ours and not theirs else [])
    taken = network.state_dict().keys() - facts["left_random"]
    assert facts["num_taken"] == len(taken)
    assert all(torch.equal(network.state_dict()[name], source.state_dict()[name]) for name in taken)


def test_a_network_of_another_architecture_is_refused(tmp_path):
    path = save(tmp_path / "source.pt", trained("small"), "small")
    with pytest.raises(CheckpointError, match=r"source\.pt: is a checkpoint of small; .* or a checkpoint of tiny"):
        initialize_network(trained("tiny"), "tiny", str(path))
    torch.save(export_network(trained("small"), "small", fusion=False), path)
    with pytest.raises(CheckpointError, match=r"(?s)source\.pt: does not fit tiny .*This looks like small"):
        initialize_network(trained("tiny"), "tiny", str(path))
    torch.save(resnet18(weights=None).state_dict(), path)
    with pytest.raises(ConfigError, match="tiny has no ResNet-18"):
        initialize_network(trained("tiny"), "tiny", str(path))


def test_a_training_says_in_its_checkpoint_what_it_started_from(tiny_dataset, tmp_path, capsys):
    path = save(tmp_path / "source.pt", trained("tiny"), "tiny")
    run(*phase1_words(tiny_dataset.manifest, tmp_path / "run/weights.pt", epochs=1, initial_weights=path))
    trained_on = load_checkpoint(tmp_path / "run/weights.pt").trained_on
    assert trained_on.initialized_from["left_random"] == HEADS["tiny"]
    run("checkpoint", "show", tmp_path / "run/weights.pt")
    assert "but for: final_conv.weight, final_conv.bias, aux.weight, aux.bias" in capsys.readouterr().out
