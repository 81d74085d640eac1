"""Cost of segmenting a frame, in the paper's "GFLOPs".

What the paper calls GFLOPs are giga-multiply-accumulates: those of convolutions, linear layers and other products of
matrices, auxiliary heads included (the published programs run them at evaluation too), plus those of the local
attention. Norms, activations, resizes, pooling and warping are not counted. A multiply-accumulate counts once, not as
two operations.
"""

import torch
from torch import Tensor

from arseg.config import scaled_size
from arseg.errors import ConfigError
from arseg.models.macs import MacCount, counting_macs
from arseg.models.network import SegmentationNetwork
from arseg.models.registry import build_network
from arseg.spec import Mode


def count_macs(
    backbone: str,
    num_classes: int,
    height: int,
    width: int,
    mode: Mode,
    scale_percent: int,
    device: torch.device | str = "cpu",
) -> MacCount:
    """Count the multiply-accumulates of one frame, by running one.

    Parameters
    ----------
    backbone : str
        Name in `arseg.networks.networks`.
    num_classes : int
        Number K of classes.
    height, width : int
        Size of the full-resolution image in pixels.
    mode : {"hr", "lr", "ar"}
        The plain pass at full resolution, the plain pass at the scale, or the fused pass of a non-keyframe at
        the scale (its keyframe's feature is there already).
    scale_percent : int
        Scale in percent of "lr" and "ar".
    device : torch.device or str
        Where to run it. On "meta", nothing is computed, but PyTorch loads its compiler first, for longer than the
        evaluation of a small split takes.

    Returns
    -------
    count : MacCount
        For one frame.
    """
    if mode == "hr":
        return _count_plain(backbone, num_classes, (height, width), device)[0]
    scaled = scaled_size(height, width, scale_percent)
    if mode == "lr":
        return _count_plain(backbone, num_classes, scaled, device)[0]
    _, keyframe_feature = _count_plain(backbone, num_classes, (height, width), device)
    return _count_fused(backbone, num_classes, scaled, keyframe_feature)


def _build(backbone: str, num_classes: int, fusion: bool, device: torch.device | str) -> SegmentationNetwork:
    with torch.random.fork_rng(devices=[]):  # initial weights are drawn for nothing
        return build_network(backbone, num_classes, fusion).eval().to(device)


def _count_plain(
    backbone: str, num_classes: int, size: tuple[int, int], device: torch.device | str
) -> tuple[MacCount, Tensor]:
    network = _build(backbone, num_classes, False, device)
    with counting_macs(network) as count:
        prediction = network(torch.zeros(1, 3, *size, device=device))
    return count, prediction.feature


def _count_fused(backbone: str, num_classes: int, size: tuple[int, int], keyframe_feature: Tensor) -> MacCount:
    network = _build(backbone, num_classes, True, keyframe_feature.device)
    with counting_macs(network) as count:
        encoded = network.encode(torch.zeros(1, 3, *size, device=keyframe_feature.device))
        network.classify(network.fuse(keyframe_feature, encoded.feature))
    return count


def gmacs_per_frame(
    backbone: str,
    num_classes: int,
    height: int,
    width: int,
    mode: Mode,
    scale_percent: int,
    gop: int,
    device: torch.device | str = "cpu",
) -> float:
    """Average cost of a frame over a group of pictures.

    Parameters
    ----------
    backbone : str
        Name in `arseg.networks.networks`.
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
    device : torch.device or str
        Where to run the frames that are counted, see `count_macs`.

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
    if mode != "ar":
        return count_macs(backbone, num_classes, height, width, mode, scale_percent, device).total / 1e9
    keyframe, feature = _count_plain(backbone, num_classes, (height, width), device)
    frame = _count_fused(backbone, num_classes, scaled_size(height, width, scale_percent), feature)
    return (keyframe.total + (gop - 1) * frame.total) / gop / 1e9
