"""Networks from plain state dicts: every published form goes in, and a misfit is told."""

import os

import pytest
import torch
from published_examples import assert_same_network, example, published

from arseg.compat.checkpoints import export_network
from arseg.errors import CheckpointError
from arseg.models.state_dict import guess_network, network_from_state_dict, read_state_dict
from arseg.networks import networks


@pytest.mark.parametrize("fusion", [False, True])
@pytest.mark.parametrize("backbone", networks.names())
def test_what_is_exported_is_recognised_and_the_same_network_when_imported(backbone, fusion):
    tensors, network = published(backbone, fusion), example(backbone, fusion)
    loaded = network_from_state_dict(tensors, backbone, fusion=fusion)
    assert not loaded.network.training
    assert_same_network(loaded.network, network)
    assert loaded.num_tensors == len({tensor.data_ptr() for tensor in network.state_dict().values()})
    assert loaded.description == f"{backbone} {'with' if fusion else 'without'} fusion, 5 classes"
    assert loaded.left_out == loaded.differing_twins == ()
    assert guess_network(tensors) == (backbone, fusion, loaded.description, 1)
    if fusion:  # which a baseline never runs
        baseline = network_from_state_dict(tensors, backbone, fusion=False)
        assert baseline.network.fuse_attention is None
        assert baseline.left_out == tuple(
            f"fuse_attention.{conv}.{kind}"
            for conv in ("lr_query_conv", "hr_key_conv", "hr_value_conv")
            for kind in ("weight", "bias")
        )
        image = torch.randn(1, 3, 40, 56)
        with torch.inference_mode():
            assert torch.equal(baseline.network(image).scores, network(image).scores)


@pytest.mark.parametrize("fusion", [False, True])
def test_public_bisenet_names_and_their_conversion(fusion):
    complete = published("bise18", fusion)
    public = {name: t for name, t in complete.items() if not name.startswith(("final_conv.", "feat_conv_out."))}
    assert len(complete) - len(public) == 8
    converted = {}  # the published conversion lists the second name right after the first
    for name, tensor in public.items():
        converted[name] = tensor
        second = name.replace("conv_out.conv_out.", "final_conv.").replace("conv_out.conv.", "feat_conv_out.")
        if name.startswith("conv_out.") and second != name:
            converted[second] = tensor
    assert len(converted) == len(complete)
    for form in (public, converted):
        loaded = network_from_state_dict(form, "bise18", fusion=fusion)
        assert_same_network(loaded.network, example("bise18", fusion))


def test_cityscapes_pspnet_in_plain_and_converted_form():
    plain = published("psp18-cityscapes", False)
    assert not any(name.startswith("final_conv.") for name in plain)
    converted = plain | {f"final_conv.{name}": plain[f"cls.4.{name}"] for name in ("weight", "bias")}
    only_second = {name: tensor for name, tensor in converted.items() if not name.startswith("cls.4.")}
    for form in (plain, converted, only_second):
        loaded = network_from_state_dict(form, "psp18-cityscapes", fusion=False)
        assert_same_network(loaded.network, example("psp18-cityscapes", False))

    fused = published("psp18-cityscapes", True)
    without_second = {name: tensor for name, tensor in fused.items() if not name.startswith("final_conv.")}
    network = network_from_state_dict(without_second, "psp18-cityscapes", fusion=True).network
    assert_same_network(network, example("psp18-cityscapes", True))
    assert network.final_conv is network.cls[-1]


@pytest.mark.parametrize(
    ("backbone", "first", "second"),
    [("bise18", "conv_out.conv_out.bias", "final_conv.bias"), ("psp18-cityscapes", "cls.4.bias", "final_conv.bias")],
)
def test_of_two_values_the_last_listed_wins(backbone, first, second):
    rest = {name: tensor for name, tensor in published(backbone, False).items() if name not in (first, second)}
    ones, twos = torch.full((5,), 1.0), torch.full((5,), 2.0)
    for values, last, value in (({first: ones, second: twos}, second, 2), ({second: twos, first: ones}, first, 1)):
        loaded = network_from_state_dict(rest | values, backbone, fusion=False)
        assert (loaded.network.last_convolution.bias == value).all()
        assert loaded.differing_twins == (last,)


def test_counters_of_old_files_may_be_absent():
    tensors = published("psp18", False)
    old = {name: tensor for name, tensor in tensors.items() if not name.endswith("num_batches_tracked")}
    network, _, num_tensors, *_ = network_from_state_dict(old, "psp18", fusion=False)
    assert num_tensors == len(old) == len(tensors) - 23
    assert network.state_dict()["feats.bn1.num_batches_tracked"] == 0
    assert torch.equal(network.state_dict()["feats.bn1.running_mean"], old["feats.bn1.running_mean"])
    assert guess_network(old).agreement == 1


def misfit(tensors, backbone, fusion):
    with pytest.raises(CheckpointError) as refused:
        network_from_state_dict(tensors, backbone, fusion=fusion)
    return str(refused.value).splitlines()


def test_a_misfit_is_reported_in_a_few_lines_of_pytorchs():
    lines = misfit(published("bise18", False), "psp18", False)
    assert lines[0] == "does not fit psp18 without fusion, 5 classes:"
    assert lines[1].startswith('  Missing key(s) in state_dict: "feats.conv1.weight", ')
    assert lines[2].startswith('  Unexpected key(s) in state_dict: "cp.resnet.conv1.weight", ')
    assert lines[3].startswith("  size mismatch for final_conv.weight: copying a param with shape torch.Size([5, 256,")
    assert max(map(len, lines)) <= 302

    wide = {name: t[None] if name.startswith("sp.") else t for name, t in published("bise18", False).items()}
    lines = misfit(wide, "bise18", False)
    assert len(lines) == 10
    assert lines[-1] == "  and 12 more"


def test_whole_numbers_are_not_taken_for_weights_but_half_precision_is():
    tensors = published("bise18", False)
    whole = tensors | {"sp.conv1.bn.weight": torch.ones(64, dtype=torch.int8)}
    assert misfit(whole, "bise18", False)[1:] == ["  sp.conv1.bn.weight: is int8, expected float32"]
    half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    network = network_from_state_dict(half, "bise18", fusion=False).network
    assert network.sp.conv1.conv.weight.dtype == torch.float32


def test_fusion_that_is_not_there_cannot_be_exported():
    with pytest.raises(CheckpointError, match="this psp18 has no fusion to export; give a checkpoint of phase 2"):
        export_network(example("psp18", False), "psp18", fusion=True)
    exported = export_network(example("psp18", True), "psp18", fusion=False)
    assert exported.keys() == export_network(example("psp18", False), "psp18", fusion=False).keys()


@pytest.mark.parametrize("nest", [None, "state_dict", "model", "net"])
@pytest.mark.parametrize("prefix", ["module.", ""])
def test_state_dict_may_be_nested_and_prefixed(tmp_path, nest, prefix):
    tensors = {f"{prefix}b.weight": torch.ones(2), f"{prefix}a.weight": torch.zeros(3)}
    torch.save(tensors if nest is None else {"epoch": 3, nest: tensors}, tmp_path / "w.pth")
    found = read_state_dict(tmp_path / "w.pth")
    assert list(found) == ["b.weight", "a.weight"]
    assert torch.equal(found["b.weight"], torch.ones(2))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.ones(1)], "holds a list where tensors by name were expected; expected a state dict"),
        ({}, "holds nothing where tensors by name were expected"),
        ({"a": torch.ones(1), "lr": 0.1, "b": None}, r"of its 3 entries, 2 are not tensors .*\('lr' is a float\)"),
        ({"net": {"a": "b"}}, r"of its 1 entries, 1 are not tensors .*\('a' is a str\)"),
        ({3: torch.ones(1)}, r"of its 1 entries, 1 are not tensors with a name \(3 is a Tensor\)"),
    ],
)
def test_other_contents_are_refused(tmp_path, content, message):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=rf"w\.pth: {message}"):
        read_state_dict(tmp_path / "w.pth")


class Trap:
    """Runs a command of its own when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_does_not_run(tmp_path, zipped):
    content = {"a.weight": torch.ones(1), "b.weight": Trap(tmp_path / "sprung")}
    torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(
        CheckpointError, match=r"w\.pth: .* holds \w+\.mkdir, not only tensors .* can run code"
    ) as refused:
        read_state_dict(tmp_path / "w.pth")
    assert "weights_only" not in str(refused.value)
    assert not (tmp_path / "sprung").exists()
    torch.load(tmp_path / "w.pth", weights_only=False)
    assert (tmp_path / "sprung").exists(), "the trap is one"


def test_unreadable_files(tmp_path):
    path = tmp_path / "w.pth"
    with pytest.raises(CheckpointError, match=r"w\.pth: no such file; expected a state dict"):
        read_state_dict(path)
    path.write_bytes(b"not weights")
    with pytest.raises(CheckpointError, match=r"w\.pth: not a readable checkpoint: it is damaged, or was not made"):
        read_state_dict(path)
    for zipped in (True, False):
        torch.save({"a": torch.ones(1000)}, path, _use_new_zipfile_serialization=zipped)
        content = path.read_bytes()
        for length in (40, len(content) // 2, len(content) - 3):
            path.write_bytes(content[:length])
            with pytest.raises(CheckpointError, match=r"w\.pth: not a readable checkpoint.*; expected a state dict"):
                read_state_dict(path)
