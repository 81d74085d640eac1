"""Gated fusions: they begin as propagation, learn where to distrust it, and are fusions like any other."""

import pytest
import torch

from arseg.errors import ConfigError, DataError
from arseg.evaluate.complexity import count_macs
from arseg.fusions import get_fusion
from arseg.models.gated import HIDDEN_CHANNELS, OPEN_BIAS, Gated, GatedByCodec
from arseg.models.registry import build_network
from arseg.models.resize import resize


def features(seed=0, size=(12, 16)):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 8, *size, generator=generator), torch.randn(2, 8, 6, 8, generator=generator)


def counts(seed=0, size=(12, 16), num=2):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 12, (num, *size, 3), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize(("name", "made"), [("gated", Gated), ("gated-codec", GatedByCodec)])
class TestGated:
    """What holds for each of them."""

    def test_it_begins_as_propagation(self, name, made):
        torch.manual_seed(0)
        warped, low = features()
        assert get_fusion(name) is made
        fused = made(8)(warped, low, counts())
        opened = torch.sigmoid(torch.tensor(OPEN_BIAS))
        assert 0.85 < opened < 1
        torch.testing.assert_close(fused, opened * warped + (1 - opened) * resize(low, warped.shape[-2:]))

    def test_it_learns_where_the_warped_feature_is_wrong(self, name, made):
        torch.manual_seed(0)
        fusion = made(8)

        def example(seed):
            truth, _ = features(seed, (6, 8))
            wrong = torch.zeros(2, 1, 6, 8)
            wrong[..., seed % 4 :: 4] = 1
            warped = torch.where(wrong > 0, truth + 6, truth)
            return warped, truth + 0.3 * torch.randn(truth.shape), truth

        def error(seed):
            warped, low, truth = example(seed)
            return (fusion(warped, low, 0 * counts()) - truth).square().mean(), (low - truth).square().mean()

        assert learnt(fusion, error)

    def test_features_of_another_network_are_refused(self, name, made):
        with pytest.raises(DataError, match="both branches need one architecture"):
            made(8)(torch.zeros(1, 8, 4, 4), torch.zeros(1, 7, 2, 2))

    def test_its_costs_are_counted(self, name, made):
        size = (5, 32, 48)
        plain = count_macs("tiny", *size, mode="lr", scale_percent=50, device="meta").total
        fused = count_macs("tiny", *size, mode="ar", scale_percent=50, fusion=name, device="meta").total
        last_at_both = 32 * 5 * (8 * 12 - 4 * 6)  # the last convolution runs on the HR feature's size
        seen = 3 * 32 + 3 * made.uses_evidence
        assert fused - plain == 8 * 12 * HIDDEN_CHANNELS * (seen + 9) + last_at_both

    def test_it_runs_the_same_in_onnx(self, name, made, tmp_path):
        onnxruntime = pytest.importorskip("onnxruntime")
        torch.manual_seed(0)
        fusion = build_network("tiny", 5, fusion=name).eval().fuse_attention
        torch.nn.init.normal_(fusion.gate.weight)
        inputs = {"warped": torch.randn(1, 32, 8, 12), "low": torch.randn(1, 32, 4, 6)}
        if made.uses_evidence:
            inputs["evidence"] = counts(0, (16, 23), 1)
        path = tmp_path / "gated.onnx"
        torch.onnx.export(fusion, tuple(inputs.values()), path, input_names=list(inputs), dynamo=False)
        session = onnxruntime.InferenceSession(path)
        (found,) = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
        expected = fusion(*inputs.values()).detach()
        torch.testing.assert_close(torch.from_numpy(found), expected, rtol=1e-4, atol=1e-5)


def learnt(fusion, error):
    """Whether some steps bring the error of the fused feature, and of the LR feature alone, into that order."""
    optimizer = torch.optim.Adam(fusion.parameters(), lr=0.02)
    before = error(1000)[0].item()
    for step in range(150):
        optimizer.zero_grad()
        error(step)[0].backward()
        optimizer.step()
    after, low_alone = error(1000)
    return after < low_alone < before


def test_it_learns_from_the_codec_what_features_do_not_tell():
    """One of the two is as wrong as the other is elsewhere: the warped feature where steps had no vector."""

    def error(fusion, seed):
        truth, noise = torch.randn(2, 2, 8, 6, 8, generator=torch.Generator().manual_seed(seed))
        evidence = counts(seed, (6, 8)) % 2
        still = evidence[..., 1][:, None]
        fused = fusion(truth + still * noise, truth + (1 - still) * noise, evidence)
        return (fused - truth).square().mean(), torch.tensor(0.5)

    errors = {}
    for made in (Gated, GatedByCodec):
        torch.manual_seed(0)
        fusion = made(8)
        learnt(fusion, lambda seed, fusion=fusion: error(fusion, seed))
        errors[made] = error(fusion, 1000)[0].item()
    assert errors[GatedByCodec] < 0.5 * errors[Gated], errors


def test_at_an_eighth_a_pixel_sees_the_mean_of_its_blocks():
    """Counts of 4x4 blocks and of pixels, as augmentation leaves them, are seen alike."""
    torch.manual_seed(0)
    fusion = GatedByCodec(8)
    torch.nn.init.normal_(fusion.gate.weight)
    warped, low = features()
    for size, repeated in (((12, 16), 4), ((24, 32), 4)):
        blocks = counts(1, size)
        pixels = blocks.repeat_interleave(repeated, dim=1).repeat_interleave(repeated, dim=2)
        torch.testing.assert_close(fusion(warped, low, blocks), fusion(warped, low, pixels))
    blocks = torch.zeros(2, 24, 32, 3, dtype=torch.uint8)
    blocks[:, ::2, ::2, 1] = 15  # log(1 + 15) = 4 log(1 + 1)
    ones = torch.zeros(2, 12, 16, 3, dtype=torch.uint8)
    ones[..., 1] = 1
    torch.testing.assert_close(fusion(warped, low, blocks), fusion(warped, low, ones))


def test_a_network_wants_the_evidence_that_its_fusion_uses_and_no_other():
    feature = torch.randn(1, 32, 8, 12)
    network = build_network("tiny", 5, fusion="gated-codec")
    assert network.uses_evidence
    with pytest.raises(ConfigError, match=r"GatedByCodec: needs the evidence of the codec .* with_evidence=True"):
        network.fuse(feature, feature)
    for fusion in ("creff", "gated"):
        network = build_network("tiny", 5, fusion=fusion)
        assert not network.uses_evidence
        assert torch.equal(network.fuse(feature, feature), network.fuse(feature, feature, counts(0, (16, 24), 1)))
    assert not build_network("tiny", 5, fusion=None).uses_evidence
