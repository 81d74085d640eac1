"""The graphs that are exported compute what evaluation computes; all in PyTorch, without ONNX."""

import pytest
import torch
from infer_examples import CLASSES

from arseg.ar import AlteringResolution, ConstantResolution
from arseg.export.attention import TILE, TiledAttention
from arseg.export.graphs import ConstantGraph, FusedGraph, KeyframeGraph, warp_in_graph
from arseg.fusions import fusions
from arseg.models.attention import local_attention
from arseg.models.branch import Branch
from arseg.models.inference import warp_keyframe
from arseg.models.pixels import normalize
from arseg.models.registry import build_network
from arseg.models.resize import resize
from arseg.networks import networks
from arseg.spec import NORMALIZATIONS, NetworkSpec, TrainedOn

NORMALIZATION = NORMALIZATIONS["bisenet"]
SIZE = (37, 50)


def images(size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (1, *size, 3), dtype=torch.uint8, generator=generator)


def vectors(size, reach=90):
    generator = torch.Generator().manual_seed(9)
    return torch.randint(-reach, reach + 1, (1, *size, 2), generator=generator).to(torch.int16)


def branch_of(backbone, fusion=False, scale_percent=100, alignment="published"):
    torch.manual_seed(scale_percent)
    network = build_network(backbone, len(CLASSES), fusion).eval()
    spec = NetworkSpec(backbone, len(CLASSES), fusion, scale_percent, "bisenet", alignment)
    return Branch(network, spec, TrainedOn(), "0" * 64)


@pytest.mark.parametrize(
    ("size", "strip_bytes", "num_strips"),
    [((1, 1), 1, 1), ((5, 9), 1, 1), ((2 * TILE, TILE), 1, 2), ((30, 41), 1, 4), ((30, 41), 610_000, 2)],
)
@pytest.mark.parametrize("window", [3, 7])
def test_tiled_attention_is_the_local_attention(size, strip_bytes, num_strips, window):
    torch.manual_seed(1)
    query, key, value = torch.randn(3, 1, 6, *size)
    attention = TiledAttention(6, size, window, strip_bytes)
    if window == 7:
        assert attention.num_strips == num_strips
    expected = local_attention(query, key, value, window)
    torch.testing.assert_close(attention(query, key, value), expected, rtol=1e-5, atol=1e-5)


def test_similarities_that_are_all_far_below_zero_keep_their_weights():
    """What lies outside a pixel's window gets no weight however unlike its neighbours are."""
    torch.manual_seed(2)
    query = torch.full((1, 4, 9, 9), 100.0)
    key = -100 - torch.rand(1, 4, 9, 9)
    value = torch.randn(1, 4, 9, 9)
    attended = TiledAttention(4, (9, 9), 3)(query, key, value)
    torch.testing.assert_close(attended, local_attention(query, key, value, 3), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("alignment", ["published", "consistent"])
@pytest.mark.parametrize(
    ("image_size", "feature_size"),
    [((75, 101), (80, 104)), ((75, 101), (10, 14)), ((64, 96), (64, 96)), ((8, 9), (1, 1)), ((1, 1), (8, 8))],
)
def test_the_warp_is_that_of_evaluation(image_size, feature_size, alignment):
    torch.manual_seed(3)
    feature = torch.randn(1, 3, *feature_size)
    motion = vectors(image_size)
    warped = warp_in_graph(feature, motion, alignment)
    torch.testing.assert_close(warped, warp_keyframe(feature, motion, alignment), rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("backbone", networks.names())
def test_the_keyframe_graph_gives_scores_and_feature_of_the_hr_branch(backbone):
    branch = branch_of(backbone)
    scores, feature = KeyframeGraph(branch)(images(SIZE))
    image = normalize(images(SIZE), NORMALIZATION)
    torch.testing.assert_close(scores, ConstantResolution(branch.network, 100).frame(image))
    torch.testing.assert_close(feature, branch.network.encode(image).feature)


@torch.no_grad()
def test_the_constant_graph_sees_its_scale():
    branch = branch_of("bise18", scale_percent=70)
    (scores,) = ConstantGraph(branch)(images(SIZE))
    image = normalize(images(SIZE), NORMALIZATION)
    torch.testing.assert_close(scores, ConstantResolution(branch.network, 70).frame(image))


@torch.no_grad()
@pytest.mark.parametrize("alignment", ["published", "consistent"])
@pytest.mark.parametrize("backbone", networks.names())
def test_the_fused_graph_is_the_ar_protocol(backbone, alignment):
    lr = branch_of(backbone, fusion=True, scale_percent=50, alignment=alignment)
    hr = branch_of(backbone).network
    hr.encode = lambda image, encode=hr.encode: encode(image)._replace(feature=20 * encode(image).feature)
    method = AlteringResolution(hr, lr.network, 50, alignment)  # attention chooses between features so far apart
    method.begin(normalize(images(SIZE, seed=1), NORMALIZATION))
    feature = method.feature
    graph = FusedGraph(lr, tuple(feature.shape[-2:]))
    (scores,) = graph(images(SIZE), feature, vectors(SIZE))
    image = normalize(images(SIZE), NORMALIZATION)
    expected = method.frame(image, vectors(SIZE))
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


class Sum(torch.nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.weight = torch.nn.Conv2d(channels, channels, 1)

    def forward(self, warped_feature, lr_feature):
        return self.weight(warped_feature) + resize(lr_feature, warped_feature.shape[-2:])


@torch.no_grad()
def test_the_fused_graph_has_the_fusion_of_its_network(monkeypatch):
    monkeypatch.setitem(fusions._registered, "sum", Sum)
    lr, hr = branch_of("tiny", fusion="sum", scale_percent=50), branch_of("tiny")
    method = AlteringResolution(hr.network, lr.network, 50)
    method.begin(normalize(images(SIZE, seed=1), NORMALIZATION))
    (scores,) = FusedGraph(lr, tuple(method.feature.shape[-2:]))(images(SIZE), method.feature, vectors(SIZE))
    expected = method.frame(normalize(images(SIZE), NORMALIZATION), vectors(SIZE))
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-4)
