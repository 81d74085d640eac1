"""Local attention and CReFF against the published programs, gradients included (golden section C)."""

import numpy as np
import pytest
import torch
from golden_weights import assert_matches, load_arrays

from arseg.models.attention import local_attention
from arseg.models.creff import CReFF

OPERATOR = 2e-5
FEATURES = 5e-5
PARAMETERS = 5e-4


@pytest.fixture(scope="module")
def attention_golden():
    return load_arrays("C_local_attention")


@pytest.mark.parametrize("case", ["c0", "c1", "c2", "c3"])  # c4 has a window that is not square
def test_attention_and_its_gradients(attention_golden, case):
    window = attention_golden[f"{case}_kHkW"][0]
    inputs = [torch.from_numpy(attention_golden[f"{case}_{n}"]) for n in ("query", "key", "value")]
    without_gradient = local_attention(*inputs, int(window))
    for tensor in inputs:
        tensor.requires_grad_()
    attended = local_attention(*inputs, int(window))
    assert_matches(attended, attention_golden, f"{case}_weighting", OPERATOR)
    assert torch.equal(attended, without_gradient)
    (attended * torch.from_numpy(attention_golden[f"{case}_G_out"])).sum().backward()
    for name, tensor in zip(("query", "key", "value"), inputs, strict=True):
        assert_matches(tensor.grad, attention_golden, f"{case}_chain_grad_{name}", OPERATOR)


@pytest.mark.parametrize("case", ["c0", "c1", "c2"])
def test_creff_and_its_gradients(case):
    golden = load_arrays("C_creff")
    hr_feature, lr_feature = (
        torch.from_numpy(golden[f"{case}_{name}"]).requires_grad_() for name in ("hr_feat", "lr_feat")
    )
    creff = CReFF(hr_feature.shape[1])
    creff.load_state_dict({name: torch.from_numpy(golden[f"{case}_param_{name}"]) for name in creff.state_dict()})
    fused = creff(hr_feature, lr_feature)
    assert_matches(fused, golden, f"{case}_out", FEATURES)
    (fused * torch.from_numpy(golden[f"{case}_G"])).sum().backward()
    assert_matches(hr_feature.grad, golden, f"{case}_grad_hr_feat", FEATURES)
    assert_matches(lr_feature.grad, golden, f"{case}_grad_lr_feat", FEATURES)
    for name, parameter in creff.named_parameters():
        np.testing.assert_allclose(parameter.grad, golden[f"{case}_grad_{name}"], rtol=0, atol=PARAMETERS, err_msg=name)
