"""Every network: the registered ones, those of other libraries, and one of a file."""

import logging
import re
from pathlib import Path

import pytest
import torch
from network_contract import NetworkContract, built, noise

from arseg.errors import ConfigError
from arseg.export.branches import export_branches
from arseg.models.adapters.smp import architecture
from arseg.models.branch import Branch
from arseg.models.registry import build_network
from arseg.networks import Networks, name_of, networks, own_file, path_part
from arseg.spec import NetworkSpec, SegmentationClass, TrainedOn
from arseg.train.parallel import span_processes

SMP = (
    "smp/fpn/tu-tf_efficientnet_lite0",
    "smp/unet/resnet18",
    "smp/deeplabv3plus/mobilenet_v2",
    "smp/segformer/mit_b0",
    "smp/pan/resnet18",
    "smp/linknet/tu-mobilenetv3_small_050",
)

OWN = """
import torch
from torch import nn
from torch.nn import functional as F


class Stripes(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 4, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.head = nn.Conv2d(8, num_classes, 3, padding=1)

    def forward(self, image):
        scores = F.interpolate(self.head(self.stem(image)), image.shape[2:], mode="bilinear", align_corners=False)
        return {"auxiliary": None, "out": scores}


class Fixed(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.patches, self.last = nn.Conv2d(3, 4, 16, 16), nn.Conv2d(4, num_classes, 1)
        self.positions = nn.Parameter(torch.zeros(1, 4, 14, 14))

    def forward(self, image):
        return self.last(self.patches(image) + self.positions)


def build(num_classes):
    return Stripes(num_classes)


def fixed(num_classes):
    return Fixed(num_classes)


def nineteen(num_classes):
    return Stripes(19)


def probabilities(num_classes):
    return nn.Sequential(nn.Conv2d(3, num_classes, 1), nn.Softmax(dim=1))


def transposed(num_classes):
    return nn.ConvTranspose2d(3, num_classes, 1)


def nothing(num_classes):
    return None
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    path = tmp_path_factory.mktemp("own") / "nets.py"
    path.write_text(OWN)
    return path


class TestRegistered(NetworkContract):
    @pytest.fixture(params=["tiny", "small", "bise18", "pidnet-s"])
    def backbone(self, request):
        return request.param


class TestSmp(NetworkContract):
    @pytest.fixture(params=SMP)
    def backbone(self, request):
        pytest.importorskip("segmentation_models_pytorch", reason="needs the extra 'smp'")
        return request.param

    def test_sides_are_padded_as_the_library_would_have_it(self, backbone, hr):
        """At sides that the stride divides, scores are those of the library's own network."""
        image = torch.randn(1, 3, 128, 160, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            torch.testing.assert_close(hr(image).scores, hr.network(image), rtol=1e-4, atol=1e-4)


class TestSegFormer(NetworkContract):
    @pytest.fixture
    def backbone(self):
        pytest.importorskip("transformers", reason="needs the extra 'transformers'")
        return "transformers/segformer-b0"


class TestOwn(NetworkContract):
    @pytest.fixture
    def backbone(self, own):
        return f"{own}:build"

    def test_a_convolution_can_be_named(self, backbone, hr):
        named = built(f"{backbone}#head", fusion=False)
        assert torch.equal(named(noise(1)).scores, hr(noise(1)).scores)


def test_a_module_is_probed_also_where_the_network_shall_have_no_storage():
    architecture.cache_clear()
    with torch.device("meta"):
        network = build_network("smp/fpn/resnet18", 4, fusion=None)
    assert network.last_convolution.weight.is_meta


def test_padding_is_said_once(caplog):
    pytest.importorskip("segmentation_models_pytorch", reason="needs the extra 'smp'")
    network = build_network("smp/fpn/resnet18", 3, fusion=False).eval()
    with caplog.at_level(logging.INFO), torch.no_grad():
        for _ in range(2):
            assert network(torch.zeros(1, 3, 70, 90)).feature.shape[2:] == (18, 23)
    assert [r.message for r in caplog.records if "padded" in r.message] == [
        "smp/fpn/resnet18 takes sides that are multiples of 32: images of 90x70 pixels are padded to 96x96"
    ]


def test_images_that_are_too_small_are_refused_with_the_size_that_works():
    """Not in PyTorch's words: this one halves its feature three times more."""
    pytest.importorskip("segmentation_models_pytorch", reason="needs the extra 'smp'")
    network = build_network("smp/pan/resnet18", 3, fusion=False)
    told = r"'smp/pan/resnet18': images of 96x64 pixels are too small .*must have more than 112\. .* 2 times as large"
    for mode in (network.eval, network.train):
        with torch.no_grad(), pytest.raises(ConfigError, match=told):
            mode()(torch.zeros(2, 3, 64, 96))
    assert network(torch.zeros(2, 3, 113, 128)).scores.shape == (2, 3, 113, 128)


def test_an_adapted_network_is_exported_as_it_runs(own, tmp_path):
    """The export compares both files with PyTorch, in onnxruntime, and refuses what differs."""
    name, classes = f"{own}:build", tuple(SegmentationClass(i, f"c{i}", (i, i, i), False) for i in range(5))
    hr, lr = (
        Branch(built(name, fusion), NetworkSpec(name, 5, fusion, scale, classes=classes), TrainedOn(), "")
        for fusion, scale in ((False, 100), (True, 50))
    )
    compared = []
    export_branches(hr, lr, (67, 90), tmp_path / "onnx", compared.append)
    assert len(compared) == 4
    assert {path.name for path in (tmp_path / "onnx").iterdir()} == {"hr.onnx", "lr.onnx"}


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("fixed", r"takes images of 224x224 pixels, but not of other sizes"),
        ("nineteen", "its last convolution makes 19 classes, and 5 are needed"),
        ("probabilities", r"not that of its last convolution \(0\).*without softmax"),
        ("transposed", "has no last convolution: it returns 5 channels"),
        ("nothing", "nothing returned a NoneType, no torch.nn.Module"),
        (
            "missing",
            r"nets\.py has no missing\. Name one that takes a number of classes: .*nets\.py:build, .*:nothing$",
        ),
        ("build#stem.9", r"no convolution 'stem\.9' runs in it; expected one of stem\.0, head"),
    ],
)
def test_modules_that_cannot_be_adapted_are_refused(own, function, message):
    with pytest.raises(ConfigError, match=message):
        build_network(f"{own}:{function}", 5, fusion=False)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("smp/fpn/tu-tf_efficientnet_lite0", "smp+fpn+tu-tf_efficientnet_lite0"),
        ("my nets/net-1.py:build#head.0", "my~20nets+net-1.py@build=head.0"),
        ("/a+b/c@d=e~20.py:f", "+a~2Bb+c~40d~3De~7E20.py@f"),
        ("{ü}/$(x);'\"%.py:f", "~7B~C3~BC~7D+~24~28x~29~3B~27~22~25.py@f"),
        ("tiny", "tiny"),
    ],
)
def test_any_name_has_a_part_of_a_path_of_its_own(name, part):
    assert (path_part(name), name_of(part), name_of(name)) == (part, name, name)
    assert networks.find(name) is not None
    assert re.fullmatch(Networks.pattern, name) or name == "tiny"
    assert own_file(name) == (Path(name.rpartition(":")[0]) if ":" in name else None)


def test_a_file_may_lie_anywhere_and_must_be_named_with_its_function(own, monkeypatch):
    folder = own.parent / "my nets: #2"
    folder.mkdir()
    (folder / "nets.py").write_text(OWN + "\n\ndef no(a, b): ...\n\n\ndef _helps(a): ...\n")
    monkeypatch.chdir(own.parent)
    name = "my nets: #2/nets.py:build"
    assert build_network(name, 5, fusion=False).num_classes == 5
    assert build_network(f"{name}#head", 5, fusion=False).cut.convolution == "head"
    with pytest.raises(
        ConfigError, match=r"'my nets: #2/nets.py': names no function\. .*: my nets: #2/nets.py:build, .*:nothing$"
    ):
        networks.get("my nets: #2/nets.py")
    (folder / "empty.py").write_text("x = 1\n")
    with pytest.raises(ConfigError, match=r"empty.py has none that takes a number of classes"):
        networks.get("my nets: #2/empty.py")
    with pytest.raises(ConfigError, match=r"Name one, as none.py:FUNCTION \(.*none.py cannot be read"):
        networks.get("none.py")
    monkeypatch.chdir(folder)
    with pytest.raises(
        ConfigError, match=r"nets: #2/my nets: #2/nets.py does not exist. Run the command where it leads"
    ):
        networks.get(name)


def test_names_that_stand_for_nothing_are_refused():
    with pytest.raises(ConfigError, match=r"nowhere\.py does not exist. Run the command where it leads"):
        build_network("nowhere.py:build", 5, fusion=False)
    with pytest.raises(ConfigError, match=r"expected one of psp18, .*smp/ARCHITECTURE/ENCODER; .*FILE.py:FUNCTION"):
        networks.get("smp/unet")
    pytest.importorskip("segmentation_models_pytorch", reason="needs the extra 'smp'")
    with pytest.raises(ConfigError, match=r"encoder 'resnot18': expected one of .* Did you mean 'resnet18'\?"):
        build_network("smp/fpn/resnot18", 5, fusion=False)


def test_norms_that_processes_cannot_share_are_refused(monkeypatch):
    pytest.importorskip("segmentation_models_pytorch", reason="needs the extra 'smp'")
    network = build_network("smp/fpn/tu-tf_efficientnet_lite0", 3, fusion=False)
    span_processes(network)  # one process alone is no matter
    monkeypatch.setattr("arseg.train.parallel.num_processes", lambda: 2)
    with pytest.raises(ConfigError, match=r"devices: .* is a BatchNormAct2d, .* Train this network on one device"):
        span_processes(network)
