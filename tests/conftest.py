"""Fixtures shared by all tests: real frames where they are, a CUDA device where there is one."""

import os
from pathlib import Path

import pytest
import torch

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout that the tests run from."""
    return REPOSITORY


@pytest.fixture(scope="session")
def camvid_root() -> Path:
    """Folder of the real CamVid frames; the test is skipped where ARSEG_CAMVID does not name it."""
    named = os.environ.get("ARSEG_CAMVID")
    if not named:
        pytest.skip("ARSEG_CAMVID is not set: no real CamVid frames to test on")
    root = Path(named)
    assert root.is_dir(), f"ARSEG_CAMVID={named} is no folder"
    return root


@pytest.fixture(autouse=True)
def _cuda_where_promised(request: pytest.FixtureRequest) -> None:
    """Skip CUDA tests without a GPU, but not where ARSEG_REQUIRE_CUDA=1 promises one."""
    if request.node.get_closest_marker("needs_cuda") and not torch.cuda.is_available():
        assert os.environ.get("ARSEG_REQUIRE_CUDA") != "1", "ARSEG_REQUIRE_CUDA=1, but PyTorch sees no CUDA device"
        pytest.skip("no CUDA device")
