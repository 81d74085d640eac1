"""What must hold for every network, whoever wrote it: inherit from `NetworkContract` and name one or more."""

import copy
from functools import cache

import pytest
import torch
from torch import nn

from arseg.ar import AlteringResolution, ConstantResolution
from arseg.config import TrainConfig
from arseg.evaluate.complexity import count_macs
from arseg.models.checkpoint import load_checkpoint, save_checkpoint
from arseg.models.optimize import prepare_for_inference
from arseg.models.registry import build_network
from arseg.networks import name_of, networks, path_part
from arseg.spec import NetworkSpec
from arseg.train.phases import Phase1, Phase2

NUM_CLASSES = 5
SIZE = 150, 182
"""Height and width that no stride divides; half of it suffices for every decoder."""


class NetworkContract:
    """Holds for `backbone`, a fixture that the heir parametrises."""

    @pytest.fixture
    def hr(self, backbone):
        return built(backbone, fusion=False)

    @pytest.fixture
    def lr(self, backbone):
        return built(backbone, fusion=True)

    def test_the_feature_and_the_last_convolution_make_the_scores(self, hr):
        image = noise(1)
        with torch.no_grad():
            prediction = hr(image)
            assert prediction.feature.shape[:2] == (1, hr.feature_channels)
            assert torch.equal(hr.classify(prediction.feature, SIZE), prediction.scores)
            assert hr.last_convolution(prediction.feature).shape == (1, NUM_CLASSES, *prediction.feature.shape[2:])
            assert ConstantResolution(hr).frame(image).shape == (1, NUM_CLASSES, *SIZE)

    def test_both_phases_train(self, backbone, hr, lr):
        generator = torch.Generator().manual_seed(2)
        image, labels = noise(2), torch.randint(0, NUM_CLASSES, (2, *SIZE), generator=generator)
        edges = torch.randint(0, 2, (2, *SIZE), generator=generator, dtype=torch.uint8)
        batch = {"image": image, "keyframe": image, "labels": labels, "edges": edges}
        batch["motion_qpel"] = torch.zeros(2, *SIZE, 2, dtype=torch.int16)
        config = TrainConfig(unfused_epochs=0, warp_alignment="consistent")
        spec = NetworkSpec(backbone, NUM_CLASSES)
        network = copy.deepcopy(hr).train()
        sum(Phase1(network, spec, config, seed=0).batch_loss(batch).values()).backward()
        assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []
        student = copy.deepcopy(lr).train()
        spec = NetworkSpec(backbone, NUM_CLASSES, True, 80, warp_alignment="consistent")
        parts = Phase2(copy.deepcopy(hr), student, spec, config, seed=0).batch_loss(batch)
        assert "feature_similarity" in parts
        before = [parameter.clone() for parameter in student.fuse_attention.parameters()]
        sum(parts.values()).backward()
        torch.optim.SGD([p for p in student.parameters() if p.requires_grad], 0.1).step()
        after = student.fuse_attention.parameters()
        assert not all(torch.equal(old, new) for old, new in zip(before, after, strict=True))

    def test_a_network_ready_for_inference_says_the_same_of_every_frame(self, hr, lr):
        image, motion = noise(1), torch.zeros(1, *SIZE, 2, dtype=torch.int16)
        found = []
        with torch.no_grad():
            for branches in ((hr, lr), map(prepare_for_inference, (hr, lr))):
                method = AlteringResolution(*branches, 80)
                found.append((method.keyframe(image), method.frame(image, motion)))
        for prepared, plain in zip(*reversed(found), strict=True):
            assert plain.shape == (1, NUM_CLASSES, *SIZE)
            torch.testing.assert_close(prepared, plain, rtol=1e-3, atol=1e-3 * float(plain.abs().max()))

    def test_costs_are_counted(self, backbone):
        macs = [count_macs(backbone, NUM_CLASSES, *SIZE, mode, 80).total for mode in ("hr", "lr", "ar")]
        assert 0 < macs[1] < macs[0]
        assert macs[1] < macs[2]

    def test_a_checkpoint_keeps_it(self, backbone, lr, tmp_path):
        path = tmp_path / f"{path_part(backbone)}.pt"
        assert path.parent == tmp_path
        assert name_of(path.stem) == backbone
        save_checkpoint(path, lr, NetworkSpec(backbone, NUM_CLASSES, fusion=True))
        loaded = load_checkpoint(path).network
        with torch.no_grad():
            assert torch.equal(loaded(noise(1)).scores, lr(noise(1)).scores)


@cache
def built(backbone, fusion):
    """Build a network whose batch norms have each seen something else; leave it as it is."""
    assert networks.find(backbone) is not None
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    network = build_network(backbone, NUM_CLASSES, fusion).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    return network


def noise(count):
    return torch.randn(count, 3, *SIZE, generator=torch.Generator().manual_seed(1))
