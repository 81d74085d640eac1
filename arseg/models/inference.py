"""Steps of the method that callers share: resizing, warping, choosing classes (docs/method.md, 'Warping')."""

from typing import Literal

import torch
from torch import Tensor

from arseg.codec.frame import num_blocks
from arseg.config import scaled_size
from arseg.errors import ConfigError
from arseg.models.resize import resize
from arseg.models.warp import prepare_motion, warp
from arseg.spec import EVIDENCE, WarpAlignment

__all__ = [
    "labels_of",
    "no_evidence",
    "resize",
    "to_low_resolution",
    "warp_keyframe",
]


def to_low_resolution(image: Tensor, scale_percent: int) -> Tensor:
    """Resize an image to the size that a branch sees at a scale.

    Parameters
    ----------
    image : Tensor, shape (N, 3, H, W)
        Normalised RGB image.
    scale_percent : int
        Scale in percent of the image's sides.

    Returns
    -------
    low : Tensor, shape (N, 3, h, w)
        Sides truncated to whole pixels.

    Raises
    ------
    ConfigError
        If nothing would be left of a side.
    """
    height, width = image.shape[-2:]
    size = scaled_size(height, width, scale_percent)
    if min(size) < 1:
        least = next(p for p in range(1, 101) if min(scaled_size(height, width, p)) >= 1)
        raise ConfigError(
            f"scale_percent {scale_percent}: an image of {width} x {height} pixels would be {size[1]} x "
            f"{size[0]}; use {least} or more"
        )
    return resize(image, size)


def warp_keyframe(
    keyframe_feature: Tensor,
    motion_qpel: Tensor,
    alignment: WarpAlignment = "published",
    mode: Literal["bilinear", "nearest"] = "bilinear",
) -> Tensor:
    """Warp the keyframe's feature to the current frame.

    Parameters
    ----------
    keyframe_feature : Tensor, shape (N, C, H', W')
        HR branch's feature of the keyframe.
    motion_qpel : Tensor, shape (N, H, W, 2)
        Displacement (x, y) in quarter pixels from each pixel of the frame to its source in the keyframe.
    alignment : {"published", "consistent"}
        Convention of the warp.
    mode : {"bilinear", "nearest"}
        How motion is resized: the published evaluation does it bilinearly, the training takes the nearest vector.

    Returns
    -------
    warped : Tensor, shape (N, C, H', W')
        The feature as it would lie in the current frame.
    """
    height, width = keyframe_feature.shape[-2:]
    motion = prepare_motion(motion_qpel.double() / 4, (height, width), mode)
    return warp(keyframe_feature, motion, alignment)


def no_evidence(height: int, width: int) -> Tensor:
    """Return the evidence of a frame that is its own keyframe: zeros, uint8, shape (1, H / 4, W / 4, 3), rounded up."""
    return torch.zeros(1, num_blocks(height), num_blocks(width), len(EVIDENCE), dtype=torch.uint8)


def labels_of(scores: Tensor) -> Tensor:
    """Take the class of the highest score of each pixel, the first one of several.

    Parameters
    ----------
    scores : Tensor, shape (N, K, H, W)
        Logits or log-probabilities of at most 256 classes, none of them NaN.

    Returns
    -------
    labels : Tensor of uint8, shape (N, H, W)
        ``scores.argmax(dim=1)``. On the CPU, class by class, which takes a fifth of that function's time: it would
        collect the scores of each pixel from all over the memory.
    """
    if scores.device.type != "cpu":
        return scores.argmax(dim=1).to(torch.uint8)
    best = scores[:, 0].clone()
    labels = torch.zeros_like(best, dtype=torch.uint8)
    for number in range(1, scores.shape[1]):
        higher = scores[:, number] > best
        labels.masked_fill_(higher, number)
        torch.maximum(best, scores[:, number], out=best)
    return labels
