"""The Triton kernels against plain PyTorch: in Triton's interpreter, and on a GPU where there is one."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from arseg.models.attention import gpu, local_attention

CASES = [
    # shape, window, type of numbers, channels last
    ((1, 5, 4, 18), 7, torch.float32, False),
    ((1, 33, 2, 70), 3, torch.float32, False),  # more than one program for a row
    ((2, 3, 2, 5), 3, torch.float32, True),
    ((1, 16, 3, 4), 5, torch.float32, False),
    ((1, 1, 2, 3), 1, torch.float32, False),
    ((1, 6, 2, 9), 7, torch.bfloat16, False),
    ((1, 6, 3, 7), 3, torch.float16, True),
]

TOLERANCE = {torch.float32: 2e-5, torch.bfloat16: 2**-6, torch.float16: 2**-9}


def compare(device):
    """Raise AssertionError unless values and gradients are those of plain PyTorch."""
    for shape, window, dtype, channels_last in CASES:
        generator = torch.Generator().manual_seed(0)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        drawn = [torch.randn(shape, generator=generator) for _ in range(4)]
        rounded = [x.to(dtype).to(device=device, memory_format=layout) for x in drawn]
        inputs = [x.clone(memory_format=torch.preserve_format).requires_grad_() for x in rounded[:3]]
        wanted_inputs = [x.float().cpu().requires_grad_() for x in rounded[:3]]
        wanted = local_attention(*wanted_inputs, window, implementation="eager")
        found = gpu.attend(*inputs, window)
        assert found.dtype == dtype
        gradients = torch.autograd.grad(found, inputs, rounded[3])
        wanted_gradients = torch.autograd.grad(wanted, wanted_inputs, rounded[3].float().cpu())
        for one, other in zip([found, *gradients], [wanted, *wanted_gradients], strict=True):
            tolerance = TOLERANCE[dtype]
            torch.testing.assert_close(
                one.detach().float().cpu(), other.detach(), rtol=4 * tolerance, atol=4 * tolerance
            )


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
def test_in_the_interpreter():
    # The variable must be there before Triton is imported, so this takes another process.
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": str(Path(__file__).parent)}
    program = "import torch, test_attention_triton as t; t.compare(torch.device('cpu'))"
    run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


@pytest.mark.needs_cuda
def test_on_a_gpu():
    compare(torch.device("cuda"))


@pytest.mark.needs_cuda
def test_is_chosen_on_a_gpu():
    query, key, value = (torch.randn(1, 64, 48, 80, device="cuda") for _ in range(3))
    found = local_attention(query, key, value)
    assert torch.equal(found, local_attention(query, key, value, implementation="triton"))
    torch.testing.assert_close(found, local_attention(query, key, value, implementation="eager"), rtol=1e-4, atol=1e-4)


def test_without_triton_and_gpu_there_is_nothing_to_choose(monkeypatch):
    monkeypatch.setattr(gpu.importlib.util, "find_spec", lambda name: None)
    gpu.available.cache_clear()
    try:
        assert not gpu.available()
    finally:
        monkeypatch.undo()
        gpu.available.cache_clear()
