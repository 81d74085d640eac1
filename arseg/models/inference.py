"""The forward protocols that evaluation, validation and inference share (docs/method.md, 'Task and names').

Gradient mode, device and precision are the caller's; these functions only say what is computed.
"""

import torch
from torch import Tensor

from arseg.config import WarpAlignment, scaled_size
from arseg.errors import ConfigError
from arseg.models.network import SegmentationNetwork
from arseg.models.resize import resize
from arseg.models.warp import prepare_motion, warp

__all__ = [
    "fuse_frame",
    "labels_of",
    "predict_constant",
    "predict_fused",
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


def predict_constant(
    network: SegmentationNetwork, image: Tensor, scale_percent: int, output_size: tuple[int, int]
) -> Tensor:
    """Segment images at a constant resolution: the HR branch at 100, the LR baseline below.

    Parameters
    ----------
    network : SegmentationNetwork
        Run in its plain pass.
    image : Tensor, shape (N, 3, H, W)
        Normalised RGB image at full resolution.
    scale_percent : int
        Scale in percent at which the network sees the image.
    output_size : tuple of int
        Height and width of the scores.

    Returns
    -------
    scores : Tensor, shape (N, K, height, width)
        Logits or log-probabilities, whichever the network gives; resized as they are.
    """
    return resize(network(to_low_resolution(image, scale_percent)).scores, output_size)


def warp_keyframe(keyframe_feature: Tensor, motion_qpel: Tensor, alignment: WarpAlignment = "published") -> Tensor:
    """Warp the keyframe's feature to the current frame, as in evaluation.

    Parameters
    ----------
    keyframe_feature : Tensor, shape (N, C, H', W')
        HR branch's feature of the keyframe.
    motion_qpel : Tensor of int16, shape (N, H, W, 2)
        Displacement (x, y) in quarter pixels from each pixel of the frame to its source in the keyframe.
    alignment : {"published", "consistent"}
        Convention of the warp.

    Returns
    -------
    warped : Tensor, shape (N, C, H', W')
        The feature as it would lie in the current frame.
    """
    height, width = keyframe_feature.shape[-2:]
    motion = prepare_motion(motion_qpel.double() / 4, (height, width), "bilinear")
    return warp(keyframe_feature, motion, alignment)


def fuse_frame(
    lr_network: SegmentationNetwork,
    keyframe_feature: Tensor,
    feature: Tensor,
    motion_qpel: Tensor,
    output_size: tuple[int, int],
    alignment: WarpAlignment = "published",
) -> Tensor:
    """Fuse a frame's own feature with its keyframe's, and classify: what comes after the LR branch's encoder.

    Parameters
    ----------
    lr_network : SegmentationNetwork
        LR branch, built with fusion.
    keyframe_feature : Tensor, shape (N, C, H', W')
        ``hr_network.encode(keyframe).feature`` at full resolution.
    feature : Tensor, shape (N, C, h, w)
        ``lr_network.encode(low).feature`` of the frame at low resolution.
    motion_qpel, output_size, alignment
        As in `predict_fused`.

    Returns
    -------
    scores : Tensor, shape (N, K, height, width)

    Raises
    ------
    ConfigError
        If `lr_network` was built without fusion.
    """
    warped = warp_keyframe(keyframe_feature, motion_qpel, alignment)
    scores = lr_network.classify(lr_network.fuse(warped, feature))
    return resize(scores, output_size)


def predict_fused(
    lr_network: SegmentationNetwork,
    keyframe_feature: Tensor,
    image: Tensor,
    motion_qpel: Tensor,
    scale_percent: int,
    output_size: tuple[int, int],
    alignment: WarpAlignment = "published",
) -> Tensor:
    """Segment non-keyframes at low resolution with the help of their keyframe: the AR protocol.

    Parameters
    ----------
    lr_network : SegmentationNetwork
        LR branch, built with fusion.
    keyframe_feature : Tensor, shape (N, C, H', W')
        ``hr_network.encode(keyframe).feature`` at full resolution.
    image : Tensor, shape (N, 3, H, W)
        Normalised RGB image of the current frame at full resolution.
    motion_qpel : Tensor of int16, shape (N, H, W, 2)
        Displacement (x, y) in quarter pixels from each pixel of the frame to its source in the keyframe.
    scale_percent : int
        Scale in percent at which the LR branch sees the image.
    output_size : tuple of int
        Height and width of the scores.
    alignment : {"published", "consistent"}
        Convention of the warp; the one the LR branch was trained with.

    Returns
    -------
    scores : Tensor, shape (N, K, height, width)
        Logits or log-probabilities, whichever the network gives; resized as they are.

    Raises
    ------
    ConfigError
        If `lr_network` was built without fusion.
    """
    feature = lr_network.encode(to_low_resolution(image, scale_percent)).feature
    return fuse_frame(lr_network, keyframe_feature, feature, motion_qpel, output_size, alignment)


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
