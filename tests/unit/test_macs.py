"""Multiply-accumulates of products that no layer stands for, against counts by hand."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from arseg.models.creff import CReFF
from arseg.models.macs import MacCount, counting_macs

N, T, S, C = 2, 5, 7, 12
"""Images, queries, keys and channels."""
QUERY, KEY = torch.ones(N, T, C), torch.ones(N, S, C)

PRODUCTS = {
    "matmul": lambda: QUERY @ KEY.mT,
    "bmm": lambda: torch.bmm(QUERY, KEY.mT),
    "baddbmm": lambda: torch.baddbmm(torch.ones(N, T, S), QUERY, KEY.mT),
    "einsum": lambda: torch.einsum("ntc,nsc->nts", QUERY, KEY),
    "matrix and vector": lambda: QUERY[0] @ KEY[0, 0] + QUERY[1] @ KEY[1, 0],
    "attention": lambda: F.scaled_dot_product_attention(QUERY, KEY, KEY),
}


@pytest.mark.parametrize("product", PRODUCTS)
def test_products(product):
    with counting_macs(nn.Identity()) as count:
        PRODUCTS[product]()
    assert count == MacCount(N * T * C * {"matrix and vector": 1, "attention": 2 * S}.get(product, S))


@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("inference", [False, True])
def test_self_attention(need_weights, inference):
    """Four projections of each token, and two products of T x T pairs."""
    with torch.inference_mode(inference):
        attention = nn.MultiheadAttention(C, num_heads=3, batch_first=True).eval()
        tokens = torch.ones(N, T, C)
        with counting_macs(attention) as count:
            attention(tokens, tokens, tokens, need_weights=need_weights)
    assert count == MacCount(N * (4 * T * C * C + 2 * T * T * C))
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize(
    ("layer", "macs"),
    [
        (nn.Conv2d(4, 6, 3, padding=1, groups=2), 6 * 8 * 9 * 2 * 9),
        (nn.ConvTranspose2d(4, 6, 2, stride=2), 4 * 8 * 9 * 6 * 4),
        (nn.Linear(9, 5), 4 * 8 * 9 * 5),
    ],
    ids=["grouped", "transposed", "linear"],
)
def test_layers(layer, macs, inference):
    with torch.inference_mode(inference), counting_macs(layer) as count:
        layer(torch.ones(1, 4, 8, 9))
    assert count == MacCount(macs)


def test_a_module_that_counts_itself_is_counted_once():
    fusion = CReFF(4)
    with counting_macs(nn.Sequential(fusion)) as count:
        fusion(torch.ones(1, 4, 8, 9), torch.ones(1, 4, 4, 5))
        torch.ones(2, 3) @ torch.ones(3, 5)
    assert count == MacCount(3 * 9 * 4 * 8 * 9 + 30, 2 * 4 * 8 * 9 * 49)
