"""The deterministic weights of the golden model data: a rule instead of stored checkpoints.

The rule is section 1 of ``data/models/README.md``. Arrays stored as strided subsets are compared here too.
"""

import json
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from arseg.models.network import SegmentationNetwork
from arseg.models.registry import build_network

DATA = Path(__file__).parent / "data" / "models"
PIDNET = DATA.parent / "pidnet"

HR_SALT = ""
LR_SALT = "lr:"


@cache
def rule_tensor(name: str, shape: tuple[int, ...], salt: str) -> Tensor:
    """Give one entry of a checkpoint by the rule."""
    generator = np.random.Generator(np.random.PCG64(zlib.crc32((salt + name).encode())))
    if name.endswith("num_batches_tracked"):
        return torch.tensor(0)
    if name.endswith("running_var"):
        value = 0.5 + generator.random(shape)
    elif name.endswith("running_mean"):
        value = 0.1 * generator.standard_normal(shape)
    elif len(shape) == 1 and name.endswith("weight"):
        value = 0.75 + 0.5 * generator.random(shape)
    elif name.endswith("bias"):
        value = 0.05 * generator.standard_normal(shape)
    else:
        value = generator.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
    value = value.astype(np.float32)
    if "fuse_attention.lr_query_conv." in name or "fuse_attention.hr_key_conv." in name:
        value = (value.astype(np.float64) * shape[0] ** -0.25).astype(np.float32)
    return torch.from_numpy(value)


def rule_network(
    backbone: str, fusion: bool, salt: str, calibration: str | None, num_classes: int = 12, data: Path = DATA
) -> SegmentationNetwork:
    """Build a network with the rule's weights; `calibration` names batch-norm statistics."""
    network = build_network(backbone, num_classes, fusion)
    state = {name: rule_tensor(name, tuple(own.shape), salt) for name, own in network.state_dict().items()}
    if calibration is not None:
        statistics = np.load(data / "calib" / f"{calibration}.npz")
        assert set(statistics.files) <= set(state)
        state |= {name: torch.from_numpy(statistics[name]) for name in statistics.files}
    network.load_state_dict(state, strict=True)
    return network.eval()


def hr_network(backbone: str) -> SegmentationNetwork:
    """Build the calibrated HR branch."""
    return rule_network(backbone, False, HR_SALT, f"camvid-{backbone}__hr")


def lr_network(backbone: str) -> SegmentationNetwork:
    """Build the calibrated LR branch with fusion."""
    return rule_network(backbone, True, LR_SALT, f"camvid-{backbone}-fuse__lr")


def load_arrays(name: str, data: Path = DATA) -> dict[str, NDArray]:
    """Load a golden file; float16 stands for float32 there."""
    with np.load(data / f"{name}.npz") as file:
        arrays = {key: file[key] for key in file.files}
    return {key: a.astype(np.float32) if a.dtype == np.float16 else a for key, a in arrays.items()}


def load_json(name: str, data: Path = DATA) -> dict:
    """Load a golden JSON file."""
    return json.loads((data / f"{name}.json").read_text())


def assert_matches(found: Tensor, golden: dict[str, NDArray], quantity: str, tolerance: float) -> None:
    """Compare a tensor with a golden quantity, stored whole or as a strided subset, and its statistics."""
    array = found.detach().double().numpy()
    checked = False
    if quantity in golden:
        np.testing.assert_allclose(array, golden[quantity], rtol=0, atol=tolerance, err_msg=quantity)
        checked = True
    if f"{quantity}__sub" in golden:
        assert array.shape == tuple(golden[f"{quantity}__shape"])
        subset = array[tuple(slice(None, None, step) for step in golden[f"{quantity}__strides"])]
        np.testing.assert_allclose(subset, golden[f"{quantity}__sub"], rtol=0, atol=tolerance, err_msg=quantity)
        checked = True
    if f"{quantity}__stats" in golden:
        mean, deviation, magnitude = golden[f"{quantity}__stats"]
        # The statistics' tolerance is 1e-4 where the elements' is 5e-4, and grows with it.
        wide = max(1e-4, tolerance / 5)
        np.testing.assert_allclose([array.mean(), array.std()], [mean, deviation], rtol=0, atol=wide)
        np.testing.assert_allclose(np.abs(array).sum(), magnitude, rtol=1e-4)
        checked = True
    assert checked, f"no golden values of {quantity}"
