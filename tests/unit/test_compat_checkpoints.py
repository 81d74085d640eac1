"""Checkpoints of the published programs: every form goes in, a misfit is told, and what goes out comes back."""

import os
import shutil
from functools import cache

import pytest
import torch

from arseg.compat.checkpoints import describe_state_dict, export_checkpoint, export_network, import_checkpoint
from arseg.compat.naming import parse_checkpoint_name, published_normalization
from arseg.errors import CheckpointError, ConfigError
from arseg.models.branch import load_branch
from arseg.models.checkpoint import load_checkpoint, save_checkpoint
from arseg.models.describe import describe_checkpoint
from arseg.models.registry import build_network
from arseg.models.state_dict import guess_network, network_from_state_dict, read_state_dict, without_prefix
from arseg.networks import networks
from arseg.spec import NORMALIZATIONS, NetworkSpec, SegmentationClass, TrainedOn

CLASSES = tuple(SegmentationClass(i, f"class{i}", (i, 2 * i, 3 * i), i == 4) for i in range(5))


@cache
def example(backbone, fusion):
    """A network of 5 classes whose tensors all differ from those of a fresh one."""
    torch.manual_seed(len(backbone) + fusion)
    network = build_network(backbone, 5, fusion)
    network(torch.randn(2, 3, 32, 32))  # moves the batch-norm statistics
    return network.eval()


def published(backbone, fusion):
    """Its tensors as the published programs list them, without the prefix."""
    return without_prefix(export_network(example(backbone, fusion), backbone, fusion=fusion))


def assert_same_network(found, expected):
    assert found.state_dict().keys() == expected.state_dict().keys()
    assert all(torch.equal(tensor, expected.state_dict()[name]) for name, tensor in found.state_dict().items())
    image = torch.randn(1, 3, 40, 56, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        one, other = found(image), expected(image)
        assert torch.equal(one.scores, other.scores)
        if expected.fuse_attention is not None:
            assert torch.equal(found.fuse(one.feature, one.feature), expected.fuse(other.feature, other.feature))


@pytest.mark.parametrize("fusion", [False, True])
@pytest.mark.parametrize("backbone", networks.names())
def test_export_then_import_is_the_same_network(backbone, fusion):
    loaded = network_from_state_dict(published(backbone, fusion), backbone, fusion=fusion)
    assert not loaded.network.training
    assert_same_network(loaded.network, example(backbone, fusion))
    assert loaded.num_tensors == len({t.data_ptr() for t in example(backbone, fusion).state_dict().values()})
    assert loaded.description == f"{backbone} {'with' if fusion else 'without'} fusion, 5 classes"
    assert loaded.left_out == loaded.differing_twins == ()


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


@pytest.mark.parametrize("backbone", networks.names())
def test_fusion_that_a_baseline_never_runs_is_left_out(backbone):
    loaded = network_from_state_dict(published(backbone, True), backbone, fusion=False)
    assert loaded.network.fuse_attention is None
    assert loaded.left_out == tuple(
        f"fuse_attention.{conv}.{kind}"
        for conv in ("lr_query_conv", "hr_key_conv", "hr_value_conv")
        for kind in ("weight", "bias")
    )
    image = torch.randn(1, 3, 40, 56)
    with torch.inference_mode():
        assert torch.equal(loaded.network(image).scores, example(backbone, True)(image).scores)


@pytest.mark.parametrize("nested", [False, True])
def test_public_pidnet_files(tmp_path, nested):
    tensors = export_network(example("pidnet-s", False), "pidnet-s", fusion=False)
    assert all(name.startswith("model.") for name in tensors)  # of which the public loader cuts six characters off
    tensors["sem_loss.criterion.weight"] = torch.ones(5)
    torch.save({"epoch": 3, "state_dict": tensors} if nested else tensors, tmp_path / "best.pt")
    assert describe_state_dict(tmp_path / "best.pt")["looks like"] == "pidnet-s without fusion, 5 classes"
    words = {"backbone": "pidnet-s", "mode": "hr", "scale_percent": 100, "classes": CLASSES}
    report = import_checkpoint(tmp_path / "best.pt", tmp_path / "weights.pt", normalization="imagenet", **words)
    assert "479 tensors" in report
    assert "only the loss uses them (training.class_weights): sem_loss.criterion.weight" in report
    network, _, trained_on = load_checkpoint(tmp_path / "weights.pt")
    assert_same_network(network, example("pidnet-s", False))
    assert trained_on.seed == 304


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


@pytest.mark.parametrize("fusion", [False, True])
@pytest.mark.parametrize("backbone", networks.names())
def test_every_network_is_recognised(backbone, fusion):
    description = f"{backbone} {'with' if fusion else 'without'} fusion, 5 classes"
    assert guess_network(published(backbone, fusion)) == (backbone, fusion, description, 1)
    assert guess_network({"weight": torch.zeros(2), "bias": torch.zeros(2)}) is None


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


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("PSPNet_resnet18_0.5_92_.pth", (50, 92)),
        ("PSPNet_resnet18_1.0_7_.pth", (100, 7)),
        ("PSPNet_resnet18_0.3_199_.pth", (30, 199)),
        ("PSPNet_resnet18_0.58_1_.pth", (58, 1)),
        ("PSPNet_resnet18_0.5_92_.pt", None),
        ("PSPNet_resnet18_0.5_.pth", None),
        ("weights.pth", None),
    ],
)
def test_scale_and_epoch_from_the_name(tmp_path, name, expected):
    assert parse_checkpoint_name(tmp_path / name) == expected


def test_published_normalization():
    assert published_normalization("camvid", "psp18") == "camvid"
    assert published_normalization("camvid", "bise18") == "camvid"
    assert published_normalization("cityscapes", "psp18-cityscapes") == "imagenet"
    assert published_normalization("cityscapes", "bise18") == "bisenet"
    with pytest.raises(ConfigError, match="no network 'psp18' was published for 'cityscapes'; expected one of camvid"):
        published_normalization("cityscapes", "psp18")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Folder of published files of the example networks, which are large: removed at the end."""
    folder = tmp_path_factory.mktemp("published")
    for name, fusion in (("PSPNet_resnet18_1.0_61_.pth", False), ("PSPNet_resnet18_0.5_92_.pth", True)):
        torch.save(export_network(example("bise18", fusion), "bise18", fusion=fusion), folder / name)
    yield folder
    shutil.rmtree(folder)


SETTINGS = {"backbone": "bise18", "classes": CLASSES, "normalization": "bisenet"}


@pytest.mark.parametrize(
    ("mode", "percent", "name"),
    [
        ("hr", 100, "PSPNet_resnet18_1.0_61_.pth"),
        ("lr", 50, "PSPNet_resnet18_0.5_92_.pth"),
        ("ar", 50, "PSPNet_resnet18_0.5_92_.pth"),
    ],
)
def test_imported_checkpoint_takes_its_role_and_goes_out_again(folder, mode, percent, name):
    report = import_checkpoint(folder / name, folder / "w.pt", mode=mode, scale_percent=percent, **SETTINGS)
    assert report.startswith(f"bise18 {'with' if mode == 'ar' else 'without'} fusion, 5 classes: ")
    left_out = "left out, because only a network with fusion uses them: fuse_attention.lr_query_conv.weight, "
    assert (left_out in report) == (mode == "lr")
    branch = load_branch(
        folder / "w.pt",
        role=mode,
        scale_percent=percent,
        class_names=[cls.name for cls in CLASSES],
        device=torch.device("cpu"),
    )
    assert branch.normalization == NORMALIZATIONS["bisenet"]
    assert branch.spec.warp_alignment == "published"

    network, spec, trained_on = load_checkpoint(folder / "w.pt", expect_backbone="bise18", expect_num_classes=5)
    assert trained_on.imported_from["file"] == name
    assert len(trained_on.imported_from["sha256"]) == 64
    assert (spec.role, trained_on.seed) == (mode, 233)
    assert trained_on.epoch == (61 if mode == "hr" else 92)
    assert spec.classes == tuple(CLASSES)
    if mode != "lr":  # whose fusion was left out
        assert_same_network(network, example("bise18", mode == "ar"))
        export_checkpoint(folder / "w.pt", folder / "again.pth")
        original, again = (torch.load(folder / file, weights_only=True) for file in (name, "again.pth"))
        assert list(again) == list(original)
        assert all(torch.equal(again[key], tensor) for key, tensor in original.items())


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"mode": "hr"}, ConfigError, r"scale_percent 50 of .*_0\.5_92_\.pth in mode hr: an HR branch sees 100 %"),
        ({"scale_percent": 0}, ConfigError, "scale_percent 0: expected 1 to 100"),
        ({"normalization": "none"}, ConfigError, "normalization 'none': expected one of camvid, imagenet, bisenet"),
        ({"backbone": "psp50"}, ConfigError, "backbone 'psp50': expected one of psp18"),
        ({"classes": CLASSES[:4]}, CheckpointError, r"_0\.5_92_\.pth: has 5 classes, the data set 4\. Name the data"),
        (
            {"backbone": "psp18"},
            CheckpointError,
            r"(?s)_0\.5_92_\.pth: does not fit psp18 with fusion, 5 classes:\n"
            r".*\nThis looks like bise18 with fusion, 5 classes: give --backbone bise18",
        ),
    ],
)
def test_contradictions_are_refused(folder, tmp_path, changes, error, message):
    settings = SETTINGS | {"mode": "ar", "scale_percent": 50} | changes
    with pytest.raises(error, match=message):
        import_checkpoint(folder / "PSPNet_resnet18_0.5_92_.pth", tmp_path / "w.pt", **settings)
    assert not list(tmp_path.iterdir())


def test_lr_branch_needs_its_fusion(folder, tmp_path):
    with pytest.raises(
        CheckpointError,
        match=r'(?s)Missing key.*: "fuse_attention\.lr_query_conv\.weight", .*\nThis looks like bise18 without '
        r"fusion, 5 classes, an HR branch or LR baseline: give --mode hr or --mode lr",
    ):
        import_checkpoint(
            folder / "PSPNet_resnet18_1.0_61_.pth", tmp_path / "w.pt", mode="ar", scale_percent=50, **SETTINGS
        )


def test_a_damaged_baseline_is_not_said_to_be_something_else(tmp_path):
    tensors = published("bise18", True)
    tensors["sp.conv1.conv.weight"] = tensors["sp.conv1.conv.weight"][:1]
    torch.save(tensors, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"size mismatch for sp\.conv1\.conv\.weight: ") as refused:
        import_checkpoint(tmp_path / "w.pth", tmp_path / "w.pt", mode="lr", scale_percent=50, **SETTINGS)
    assert "looks like" not in str(refused.value)


def test_a_file_is_not_overwritten_by_its_own_conversion(folder):
    path = folder / "PSPNet_resnet18_0.5_92_.pth"
    for convert in (
        lambda: import_checkpoint(path, folder / "." / path.name, mode="ar", scale_percent=50, **SETTINGS),
        lambda: export_checkpoint(path, path),
    ):
        with pytest.raises(ConfigError, match=r"0\.5_92_\.pth is the file to read, which would be lost"):
            convert()


def test_descriptions(folder):
    path = folder / "PSPNet_resnet18_0.5_92_.pth"
    foreign = describe_state_dict(path)
    assert foreign["format"] == "state dict of another program, 236 entries"
    assert foreign["looks like"] == "bise18 with fusion, 5 classes"
    assert foreign["scale"] == "50 %, by the file's name"

    import_checkpoint(path, folder / "w.pt", mode="ar", scale_percent=50, **SETTINGS)
    own = describe_checkpoint(folder / "w.pt")
    assert (own["backbone"], own["role"], own["scale"], own["epoch"]) == (
        "bise18",
        "ar (LR branch of AR)",
        "50 %",
        "92",
    )
    assert own["classes"] == "5: class0, class1, class2, class3, class4"
    assert own["imported from"] == f"{path.name} (sha256 {foreign['sha256']})"
    assert "score" not in own
    with pytest.raises(CheckpointError, match=r"w\.pt: is a checkpoint of arseg already, which needs no import"):
        read_state_dict(folder / "w.pt")


def test_descriptions_of_our_own_training(folder):
    network = example("bise18", False)
    for percent, role in ((100, "hr (HR branch)"), (50, "lr (constant-resolution baseline)")):
        spec = NetworkSpec("bise18", 5, scale_percent=percent)
        save_checkpoint(folder / "own.pt", network, spec, TrainedOn(score=0.68412, epoch=7))
        facts = describe_checkpoint(folder / "own.pt")
        assert (facts["role"], facts["score"], facts["epoch"]) == (role, "mIoU 68.41 in validation", "7")


def test_descriptions_of_what_is_no_network(tmp_path):
    torch.save({"a": torch.ones(1)}, tmp_path / "w.pth")
    assert describe_state_dict(tmp_path / "w.pth")["looks like"] == "no network known here"
    nearly = {name: tensor for name, tensor in published("bise18", False).items() if "conv_out32" not in name}
    torch.save(nearly, tmp_path / "w.pth")
    facts = describe_state_dict(tmp_path / "w.pth")
    assert facts["looks like"] == "bise18 without fusion, 5 classes"
    assert facts["agreement"] == "96.2% of the tensors, by name and shape"
