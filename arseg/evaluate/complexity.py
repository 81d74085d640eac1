"""Cost of segmenting a frame, in the paper's "GFLOPs".

What the paper calls GFLOPs are giga-multiply-accumulates: those of convolutions and linear layers, auxiliary
heads included (the published programs run them at evaluation too), plus those of the local attention. Norms,
activations, resizes, pooling and warping are not counted. A multiply-accumulate counts once, not as two
operations.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from arseg.config import scaled_size
from arseg.errors import ConfigError
from arseg.models.creff import WINDOW
from arseg.models.registry import build_network
from arseg.spec import Mode


@dataclass(frozen=True)
class MacCount:
    """Multiply-accumulates of one frame."""

    conv_linear: int
    """In convolutions and linear layers."""
    local_attention: int
    """In the similarities and the weighted sum of the local attention."""

    @property
    def total(self) -> int:
        """Both together: what the paper reports."""
        return self.conv_linear + self.local_attention


def count_macs(backbone: str, num_classes: int, height: int, width: int, mode: Mode, scale_percent: int) -> MacCount:
    """Count the multiply-accumulates of one frame, by running a batch of no frames.

    Tensors of the meta device would do, too, and PyTorch's own counter; but both import its compiler first, for longer
    than the evaluation of a small split takes.

    Parameters
    ----------
    backbone : str
        Name of an architecture.
    num_classes : int
        Number K of classes.
    height, width : int
        Size of the full-resolution image in pixels.
    mode : {"hr", "lr", "ar"}
        The plain pass at full resolution, the plain pass at the scale, or the fused pass of a non-keyframe at
        the scale (its keyframe's feature is there already).
    scale_percent : int
        Scale in percent of "lr" and "ar".

    Returns
    -------
    count : MacCount
        For one frame.
    """
    scaled = (height, width) if mode == "hr" else scaled_size(height, width, scale_percent)
    with torch.random.fork_rng(devices=[]):  # initial weights are drawn for nothing
        network = build_network(backbone, num_classes, fusion=mode == "ar").eval()
    image, full_image = torch.empty(0, 3, *scaled), torch.empty(0, 3, height, width)
    with torch.no_grad():
        if mode != "ar":
            with _counting(network) as macs:
                network(image)
            return MacCount(sum(macs), 0)
        keyframe_feature: Tensor = network.encode(full_image).feature
        with _counting(network) as macs:
            network.classify(network.fuse(keyframe_feature, network.encode(image).feature))
    # One multiply-accumulate per channel and window entry for the similarities, one more for the weighted
    # sum.
    return MacCount(sum(macs), 2 * keyframe_feature.shape[1:].numel() * WINDOW**2)


@contextmanager
def _counting(network: nn.Module) -> Iterator[list[int]]:
    """Collect the multiply-accumulates that each convolution and linear layer takes for one frame."""
    macs: list[int] = []

    def count(layer: nn.Module, _: object, output: Tensor) -> None:
        assert isinstance(layer.weight, Tensor)
        macs.append(output.shape[1:].numel() * layer.weight.shape[1:].numel())

    hooks = [
        layer.register_forward_hook(count) for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)
    ]
    try:
        yield macs
    finally:
        for hook in hooks:
            hook.remove()


def gmacs_per_frame(
    backbone: str, num_classes: int, height: int, width: int, mode: Mode, scale_percent: int, gop: int
) -> float:
    """Average cost of a frame over a group of pictures.

    Parameters
    ----------
    backbone : str
        Name of an architecture.
    num_classes : int
        Number K of classes.
    height, width : int
        Size of the full-resolution image in pixels.
    mode : {"hr", "lr", "ar"}
        With "ar", one keyframe at full resolution pays for `gop` - 1 fused frames: (HR + (L - 1) AR) / L.
    scale_percent : int
        Scale in percent of "lr" and "ar".
    gop : int
        Length L of a group of pictures, in frames.

    Returns
    -------
    gmacs : float
        Giga-multiply-accumulates per frame: the paper's "GFLOPs".

    Raises
    ------
    ConfigError
        If `gop` is less than 1.
    """
    if gop < 1:
        raise ConfigError(f"gop {gop}: a group of pictures has at least 1 frame")
    frame = count_macs(backbone, num_classes, height, width, mode, scale_percent).total
    if mode == "ar":
        keyframe = count_macs(backbone, num_classes, height, width, "hr", 100).total
        return (keyframe + (gop - 1) * frame) / gop / 1e9
    return frame / 1e9
