"""What holds for every registered network: shapes, training, errors; and the table itself."""

import copy

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from arseg.ar import AlteringResolution, ConstantResolution
from arseg.errors import CheckpointError, ConfigError, DataError
from arseg.models.imagenet import initialize_network
from arseg.models.inference import to_low_resolution
from arseg.models.registry import build_network, get_architecture
from arseg.networks import networks

FEATURE_SHAPES = {
    "psp18": (64, 40, 56),
    "psp18-cityscapes": (512, 5, 7),
    "bise18": (256, 6, 8),
    "pidnet-s": (128, 5, 7),
} | dict.fromkeys(("tiny", "small"), (32, 9, 13))
"""Of an image of 36 x 50 pixels."""


@pytest.fixture(scope="module", params=sorted(networks.names()))
def backbone(request):
    return request.param


@pytest.fixture(scope="module")
def lr(backbone):
    torch.manual_seed(0)
    return build_network(backbone, 7, fusion=True).eval()


@pytest.fixture
def image():
    return torch.randn(2, 3, 36, 50, generator=torch.Generator().manual_seed(1))


def test_plain_and_fused_shapes(lr, backbone, image):
    with torch.no_grad():
        prediction = lr(image)
        assert prediction.feature.shape == (2, *FEATURE_SHAPES[backbone])
        assert prediction.feature.shape[1] == lr.feature_channels
        assert ConstantResolution(lr).frame(image).shape == (2, 7, 36, 50)
        motion_qpel = torch.zeros(2, 36, 50, 2, dtype=torch.int16)
        method = AlteringResolution(lr, lr, 50)
        method.begin(image)
        assert method.frame(image, motion_qpel).shape == (2, 7, 36, 50)


def test_fused_scores_do_not_depend_on_the_rest_of_the_batch(lr, image):
    motion_qpel = torch.randint(-40, 40, (2, 36, 50, 2), generator=torch.Generator().manual_seed(2)).short()
    with torch.no_grad():
        method = AlteringResolution(lr, lr, 50)
        method.begin(image)
        both = method.frame(image, motion_qpel)
        method.begin(image[1:])
        second = method.frame(image[1:], motion_qpel[1:])
    torch.testing.assert_close(both[1:], second, rtol=1e-4, atol=1e-4)


def test_every_parameter_gets_a_gradient(backbone, image):
    torch.manual_seed(0)
    network = build_network(backbone, 7, fusion=False)
    assert network.training
    labels = torch.randint(0, 7, (2, 36, 50))
    architecture = get_architecture(backbone)
    boundaries = {"edges": labels > 3} if architecture.boundaries else {}
    parts = architecture.loss(network(image), labels, **boundaries)
    sum(parts.values()).backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


def test_dropout_acts_in_training_only(backbone, image):
    network = build_network(backbone, 7, fusion=False)
    rates = sorted(module.p for module in network.modules() if isinstance(module, nn.Dropout2d))
    expected = {"psp18": [0.15, 0.3], "psp18-cityscapes": [0.1, 0.1], "bise18": [], "pidnet-s": []}
    assert rates == expected.get(backbone, [0.1])
    network.eval()
    assert torch.equal(network(image).scores, network(image).scores)


def test_networks_can_be_copied_and_keep_their_shared_tensors(lr):
    copied = copy.deepcopy(lr)
    assert copied.last_convolution is not lr.last_convolution
    names = [n for n, module in lr.named_modules(remove_duplicate=False) if module is lr.last_convolution]
    assert names
    assert all(copied.get_submodule(name) is copied.last_convolution for name in names)


def test_fusing_without_fusion_is_refused(backbone):
    network = build_network(backbone, 7, fusion=False)
    with pytest.raises(ConfigError, match="built without fusion; an LR branch needs a checkpoint of phase 2"):
        network.fuse(torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1, 1))


def test_foreign_keyframe_features_are_refused(lr):
    feature = torch.zeros(1, lr.feature_channels, 4, 4)
    with pytest.raises(DataError, match="differ in batch size or channels; both branches need one architecture"):
        lr.fuse(feature[:, 1:], feature)


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 4, 8, 8), (1, 3, 0, 8)])
def test_other_images_are_refused(lr, shape):
    with pytest.raises(DataError, match=r"expected \(N, 3, H, W\)"):
        lr(torch.zeros(shape))


def test_batches_too_small_to_train_on_are_refused(backbone, image):
    network = build_network(backbone, 7, fusion=False)
    if backbone in ("psp18", "tiny", "small"):
        network(image[:1])
        return
    with pytest.raises(ConfigError, match=r"batch_size 1: .* training needs batch_size 2 or more"):
        network(image[:1])


def test_scales_that_leave_nothing_are_refused():
    with pytest.raises(ConfigError, match=r"scale_percent 2: an image of 50 x 36 pixels would be 1 x 0; use 3"):
        to_low_resolution(torch.zeros(1, 3, 36, 50), 2)


def test_unknown_backbones_are_refused():
    with pytest.raises(ConfigError, match="backbone 'psp50': expected one of psp18, psp18-cityscapes, bise18"):
        build_network("psp50", 12, fusion=False)
    with pytest.raises(ConfigError, match="num_classes 0: at least one class"):
        build_network("psp18", 0, fusion=False)


@pytest.fixture(scope="module")
def resnet_weights():
    torch.manual_seed(3)
    return resnet18(weights=None).state_dict()


def test_a_network_without_resnet_takes_no_such_weights_but_none(caplog):
    network = build_network("tiny", 7, fusion=False)
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(ConfigError, match=r'initial_weights imagenet: tiny has no ResNet-18 .* to "none"'):
        initialize_network(network, "tiny", "imagenet")
    with caplog.at_level("INFO"):
        initialize_network(network, "tiny", "none")
    assert "random weights" in caplog.text
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


@pytest.mark.parametrize("backbone", [name for name in networks.names() if get_architecture(name).backbone_modules])
def test_imagenet_weights_reach_the_backbone(backbone, resnet_weights, tmp_path, caplog):
    path = tmp_path / "resnet18.pth"
    torch.save(resnet_weights, path)
    network = build_network(backbone, 7, fusion=False)
    head = network.last_convolution.weight.clone()
    with caplog.at_level("INFO"):
        initialize_network(network, backbone, str(path))
    assert str(path) in caplog.text
    assert torch.equal(head, network.last_convolution.weight)
    stem, block = {
        "psp18": ("feats.conv1.weight", "feats.layer4.1.bn2.running_var"),
        "psp18-cityscapes": ("layer0.0.weight", "layer4.1.bn2.running_var"),
        "bise18": ("cp.resnet.conv1.weight", "cp.resnet.layer4.1.bn2.running_var"),
    }[backbone]
    found = network.state_dict()
    assert torch.equal(found[stem], resnet_weights["conv1.weight"])
    assert torch.equal(found[block], resnet_weights["layer4.1.bn2.running_var"])
    convolutions = [found[name] for name in found if name.endswith(("conv1.weight", "conv2.weight"))]
    theirs = {tensor.sum().item() for tensor in resnet_weights.values()}
    assert sum(tensor.sum().item() in theirs for tensor in convolutions) >= 16  # both of all eight blocks


def test_backbone_weights_must_fit(resnet_weights, tmp_path):
    network, architecture = build_network("psp18", 7, False), get_architecture("psp18")
    missing = {k: v for k, v in resnet_weights.items() if k != "layer3.0.conv1.weight"}
    with pytest.raises(CheckpointError, match=r"layer3\.0\.conv1\.weight is missing \(1 problems"):
        architecture.load_imagenet(network, missing)
    with pytest.raises(CheckpointError, match=r"layer5\.weight is unknown"):
        architecture.load_imagenet(network, resnet_weights | {"layer5.weight": torch.zeros(1)})
    with pytest.raises(CheckpointError, match=r"conv1\.weight has shape \(1,\), expected \(64, 3, 7, 7\)"):
        architecture.load_imagenet(network, resnet_weights | {"conv1.weight": torch.zeros(1)})
    counters_missing = {k: v for k, v in resnet_weights.items() if not k.endswith("num_batches_tracked")}
    architecture.load_imagenet(network, counters_missing)
    path = tmp_path / "weights.pth"
    with pytest.raises(CheckpointError, match='no such file; expected "imagenet", "none" or a path'):
        initialize_network(network, "psp18", str(path))
    path.write_bytes(b"not weights")
    message = r"weights\.pth: not a readable checkpoint.*initial_weights takes a state dict"
    with pytest.raises(CheckpointError, match=message):
        initialize_network(network, "psp18", str(path))
    torch.save(missing, path)
    with pytest.raises(CheckpointError, match=r"initial_weights .*weights\.pth: backbone weights: .* missing"):
        initialize_network(network, "psp18", str(path))
