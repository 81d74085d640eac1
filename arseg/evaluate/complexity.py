"""Cost of segmenting a frame, in the paper's "GFLOPs": giga-multiply-accumulates (docs/method.md, 'Cost')."""

import torch

from arseg.config import scaled_size
from arseg.errors import ConfigError
from arseg.models.inference import no_evidence
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
    fusion: str | bool | None = True,
    device: torch.device | str = "cpu",
) -> MacCount:
    """Return the multiply-accumulates of one frame that is no keyframe; see `gmacs_per_frame`."""
    return _count(backbone, num_classes, (height, width), mode, scale_percent, fusion, device)[1]


def gmacs_per_frame(
    backbone: str,
    num_classes: int,
    height: int,
    width: int,
    mode: Mode,
    scale_percent: int,
    gop: int,
    fusion: str | bool | None = True,
    device: torch.device | str = "cpu",
) -> float:
    """Return the average cost of a frame over a group of pictures.

    Parameters
    ----------
    backbone : str
        Name in `arseg.networks.networks`.
    num_classes : int
        Number K of classes.
    height, width : int
        Size of the full-resolution image in pixels.
    mode : {"hr", "lr", "warp", "ar"}
        With "warp" and "ar", one keyframe at full resolution pays for `gop` - 1 other frames, which cost the last
        convolution or the fused pass: (HR + (L - 1) AR) / L.
    scale_percent : int
        Scale in percent of "lr" and "ar".
    gop : int
        Length L of a group of pictures, in frames.
    fusion : str or bool, optional
        Fusion of "ar", as `arseg.models.registry.build_network` takes it.
    device : torch.device or str
        Where to run the frames that are counted. On "meta", nothing is computed, but PyTorch loads its compiler first,
        for longer than the evaluation of a small split takes.

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
    keyframe, frame = _count(backbone, num_classes, (height, width), mode, scale_percent, fusion, device)
    return (keyframe.total + (gop - 1) * frame.total) / gop / 1e9


def _count(
    backbone: str,
    num_classes: int,
    size: tuple[int, int],
    mode: Mode,
    scale_percent: int,
    fusion: str | bool | None,
    device: torch.device | str,
) -> tuple[MacCount, MacCount]:
    """Run frames; return the cost of a keyframe and of another frame."""

    def build(fusion: str | bool | None) -> SegmentationNetwork:
        with torch.random.fork_rng(devices=[]):  # initial weights are drawn for nothing
            return build_network(backbone, num_classes, fusion).eval().to(device)

    scaled = torch.zeros(1, 3, *scaled_size(*size, scale_percent), device=device)
    first = build(None)
    with counting_macs(first) as keyframe:
        feature = first(scaled if mode == "lr" else torch.zeros(1, 3, *size, device=device)).feature
    if mode in ("hr", "lr"):
        return keyframe, keyframe
    network = build(fusion) if mode == "ar" else first
    with counting_macs(network) as frame:
        if mode == "ar":
            feature = network.fuse(feature, network.encode(scaled).feature, no_evidence(*size).to(device))
        network.classify(feature, None if mode == "ar" else size)
    return keyframe, frame
