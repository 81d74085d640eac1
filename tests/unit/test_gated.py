"""Gated fusion: it begins as propagation, learns where to distrust it, and is a fusion like any other."""

import pytest
import torch

from arseg.errors import DataError
from arseg.evaluate.complexity import count_macs
from arseg.fusions import get_fusion
from arseg.models.gated import HIDDEN_CHANNELS, OPEN_BIAS, Gated
from arseg.models.registry import build_network
from arseg.models.resize import resize


def features(seed=0, size=(12, 16)):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 8, *size, generator=generator), torch.randn(2, 8, 6, 8, generator=generator)


def test_it_begins_as_propagation():
    torch.manual_seed(0)
    warped, low = features()
    assert get_fusion("gated") is Gated
    fused = Gated(8)(warped, low)
    opened = torch.sigmoid(torch.tensor(OPEN_BIAS))
    assert 0.85 < opened < 1
    torch.testing.assert_close(fused, opened * warped + (1 - opened) * resize(low, warped.shape[-2:]))


def test_it_learns_where_the_warped_feature_is_wrong():
    torch.manual_seed(0)
    fusion = Gated(8)
    optimizer = torch.optim.Adam(fusion.parameters(), lr=0.02)

    def example(seed):
        truth, _ = features(seed, (6, 8))
        wrong = torch.zeros(2, 1, 6, 8)
        wrong[..., seed % 4 :: 4] = 1
        warped = torch.where(wrong > 0, truth + 6, truth)
        return warped, truth + 0.3 * torch.randn(truth.shape), truth

    def error(seed):
        warped, low, truth = example(seed)
        return (fusion(warped, low) - truth).square().mean(), (low - truth).square().mean()

    before = error(1000)[0].item()
    for step in range(150):
        optimizer.zero_grad()
        error(step)[0].backward()
        optimizer.step()
    after, low_alone = error(1000)
    assert after < low_alone < before


def test_features_of_another_network_are_refused():
    with pytest.raises(DataError, match="both branches need one architecture"):
        Gated(8)(torch.zeros(1, 8, 4, 4), torch.zeros(1, 7, 2, 2))


def test_its_costs_are_counted():
    size = (5, 32, 48)
    plain = count_macs("tiny", *size, mode="lr", scale_percent=50, device="meta").total
    fused = count_macs("tiny", *size, mode="ar", scale_percent=50, fusion="gated", device="meta").total
    last_at_both = 32 * 5 * (8 * 12 - 4 * 6)  # the last convolution runs on the HR feature's size
    assert fused - plain == 8 * 12 * HIDDEN_CHANNELS * (3 * 32 + 9) + last_at_both


def test_it_runs_the_same_in_onnx(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    fusion = build_network("tiny", 5, fusion="gated").eval().fuse_attention
    torch.nn.init.normal_(fusion.gate.weight)
    inputs = torch.randn(1, 32, 8, 12), torch.randn(1, 32, 4, 6)
    path = tmp_path / "gated.onnx"
    torch.onnx.export(fusion, inputs, path, input_names=["warped", "low"], dynamo=False)
    session = onnxruntime.InferenceSession(path)
    (found,) = session.run(None, {"warped": inputs[0].numpy(), "low": inputs[1].numpy()})
    torch.testing.assert_close(torch.from_numpy(found), fusion(*inputs).detach(), rtol=1e-4, atol=1e-5)
