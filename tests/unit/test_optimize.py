"""Networks made ready for inference: the same results, and no batch norm that could be folded."""

import copy

import pytest
import torch
from torch import nn

from arseg.ar import AlteringResolution, ConstantResolution
from arseg.models.network import Encoded, SegmentationNetwork
from arseg.models.optimize import fold_batch_norms, prepare_for_inference
from arseg.models.registry import build_network
from arseg.networks import networks

SIZE = 72, 104
PRENORMS = [
    *(f"spp.scale{number}.1" for number in (1, 2, 3, 4)),
    *(f"spp.{unit}.0" for unit in ("scale0", "scale_process", "compression", "shortcut")),
    *(f"{head}.bn1" for head in ("seghead_p", "seghead_d", "final_layer")),
]


def trained_like(backbone, fusion):
    """A network whose batch norms have seen something, each channel something else."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    network = build_network(backbone, 7, fusion)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            nn.init.normal_(module.bias, 0, 0.3, generator=generator)
            module.momentum = None  # the mean of all batches
    with torch.no_grad():
        network.encode(torch.randn(8, 3, *SIZE, generator=generator))
    return network.eval()


@pytest.fixture(scope="module", params=sorted(networks.names()))
def backbone(request):
    return request.param


@pytest.fixture(scope="module")
def hr(backbone):
    return trained_like(backbone, fusion=False)


@pytest.fixture(scope="module")
def lr(backbone):
    return trained_like(backbone, fusion=True)


@pytest.fixture
def image():
    return torch.randn(1, 3, *SIZE, generator=torch.Generator().manual_seed(1))


def assert_same_scores(found, wanted):
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=max(1e-4, 1e-5 * wanted.abs().max().item()))
    assert (found.argmax(dim=1) == wanted.argmax(dim=1)).float().mean() > 0.9999


@pytest.mark.parametrize("channels_last", [False, True])
def test_scores_and_features_stay(hr, lr, image, channels_last):
    motion_qpel = (4 * torch.randint(-9, 9, (1, *SIZE, 2), generator=torch.Generator().manual_seed(2))).short()
    fast_hr, fast_lr = (prepare_for_inference(network, channels_last=channels_last) for network in (hr, lr))
    with torch.inference_mode():
        assert_same_scores(ConstantResolution(fast_hr).frame(image), ConstantResolution(hr).frame(image))
        wanted, found = hr.encode(image).feature, fast_hr.encode(image).feature
        assert wanted.abs().max() > 0.1
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
        methods = AlteringResolution(fast_hr, fast_lr, 50), AlteringResolution(hr, lr, 50)
        for method in methods:
            method.begin(image)
        assert_same_scores(*(method.frame(image, motion_qpel) for method in methods))


def test_batch_norms_and_auxiliary_heads_are_gone(hr, lr, backbone, image):
    for network in (hr, lr):
        prepared = prepare_for_inference(network)
        left = [name for name, module in prepared.named_modules() if isinstance(module, nn.BatchNorm2d)]
        # The fused form of PSPNet on Cityscapes runs its auxiliary head in training only. Some norms of PIDNet lie
        # before their convolutions, behind sums.
        expected = {"psp18-cityscapes": ["aux.1"] if network is lr else [], "pidnet-s": PRENORMS}
        assert left == expected.get(backbone, [])
        assert not prepared.training
        assert not any(parameter.requires_grad for parameter in prepared.parameters())
        with torch.inference_mode():
            assert prepared.encode(image).auxiliary == ()


def test_the_given_network_stays_as_it_is(hr, image):
    before = copy.deepcopy(hr.state_dict())
    prepare_for_inference(hr, channels_last=True)
    assert list(before) == list(hr.state_dict())
    assert all(torch.equal(before[name], tensor) for name, tensor in hr.state_dict().items())
    assert all(parameter.requires_grad for parameter in hr.parameters())
    if hr.runs_auxiliary:
        with torch.no_grad():
            assert hr.encode(image).auxiliary != ()


def test_preparing_twice_changes_nothing(hr, image):
    once = prepare_for_inference(hr)
    with torch.inference_mode():
        assert torch.equal(once(image).scores, prepare_for_inference(once)(image).scores)


class Branched(SegmentationNetwork):
    """Batch norms that must stay, beside one that must go."""

    def __init__(self):
        super().__init__(num_classes=2, feature_channels=3, min_training_batch=1)
        self.folds, self.folded = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
        self.read_twice, self.of_read_twice = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
        self.run_twice, self.of_run_twice = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
        self.halved, self.of_halved = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
        self.given, self.of_given = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
        self.alone = nn.BatchNorm2d(3)
        self.final = nn.Conv2d(3, 2, 1)
        self.fuse_attention = None

    @property
    def last_convolution(self):
        return self.final

    def encode(self, image):
        x = self.alone(torch.relu(self.folded(self.folds(image))))
        twice = self.read_twice(x)
        x = self.of_read_twice(twice) + torch.sigmoid(twice)
        for _ in range(2):
            x = self.of_run_twice(self.run_twice(x))
        halved = self.halved(x)
        tokens = (self.of_halved(halved) + halved.chunk(2, dim=3)[0].mean()).view(len(x), 3, -1)
        given = self.given(tokens.view(x.shape))
        return Encoded(self.of_given(given), (given,))

    def classify(self, feature, image_size=None):
        return self.final(feature)


def test_only_sole_readers_of_convolutions_are_folded(image):
    torch.manual_seed(0)
    network = Branched().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            module.running_mean.uniform_(-1, 1)
    folded = copy.deepcopy(network)
    with torch.inference_mode():
        assert fold_batch_norms(folded) == 1
        torch.testing.assert_close(folded(image).scores, network(image).scores)
        torch.testing.assert_close(folded(image).auxiliary, network(image).auxiliary)
    kept = {name for name, module in folded.named_modules() if isinstance(module, nn.BatchNorm2d)}
    assert kept == {"of_read_twice", "of_run_twice", "of_halved", "of_given", "alone"}


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_features_are_classified_in_either_memory_format(lr, memory_format):
    prepared = prepare_for_inference(lr)
    names = [name for name, module in lr.named_modules(remove_duplicate=False) if module is lr.last_convolution]
    assert all(prepared.get_submodule(name) is prepared.last_convolution for name in names)
    feature = torch.randn(2, lr.feature_channels, 9, 11, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        found = prepared.classify(feature.contiguous(memory_format=memory_format))
        torch.testing.assert_close(found, lr.classify(feature), rtol=1e-4, atol=1e-5)
