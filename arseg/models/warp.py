"""Warping of the keyframe's feature to the current frame along the codec's motion (docs/method.md, 'Warping')."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from arseg.errors import MotionError
from arseg.spec import WarpAlignment


def prepare_motion(motion_px: Tensor, feature_size: tuple[int, int], mode: Literal["bilinear", "nearest"]) -> Tensor:
    """Bring a motion field to the size and the unit of a feature.

    Parameters
    ----------
    motion_px : Tensor of float, shape (N, H, W, 2)
        Displacement (x, y) in image pixels from each pixel to its source in the keyframe.
    feature_size : tuple of int
        Height and width of the feature.
    mode : {"bilinear", "nearest"}
        How to resize; the published programs do it bilinearly (aligned corners) in evaluation and by the
        nearest vector in training.

    Returns
    -------
    motion : Tensor, shape (N, height, width, 2)
        Displacement (x, y) in feature pixels; dtype of `motion_px`.

    Raises
    ------
    MotionError
        If `motion_px` is not a batch of vector fields in floating point.
    """
    if motion_px.ndim != 4 or motion_px.shape[-1] != 2 or not motion_px.is_floating_point():
        raise MotionError(
            f"motion of shape {tuple(motion_px.shape)} and type {motion_px.dtype}: expected floating-point "
            "pixels of shape (N, H, W, 2); divide quarter pixels by 4 first"
        )
    # Published quirk: the ratio of the heights serves both axes, also where the widths' ratio is another.
    motion = motion_px * (feature_size[0] / motion_px.shape[1])
    if motion.shape[1:3] == feature_size:
        return motion
    planes = motion.permute(0, 3, 1, 2)  # (N, 2, H, W)
    align_corners = True if mode == "bilinear" else None
    planes = F.interpolate(planes, size=feature_size, mode=mode, align_corners=align_corners)
    return planes.permute(0, 2, 3, 1)  # (N, height, width, 2)


def warp(feature: Tensor, motion: Tensor, alignment: WarpAlignment = "published") -> Tensor:
    """Sample a feature at each pixel's source.

    Sampling is bilinear with zeros outside. The published programs normalise positions as if -1 and 1 were
    the centres of the outermost pixels, but sample as if they were the picture's edges: pixel x with
    displacement u is read at (x + u) W / (W - 1) - 0.5, up to half a pixel away, and zero motion is not the
    identity. Published checkpoints were trained that way.

    Parameters
    ----------
    feature : Tensor, shape (N, C, H, W)
        Feature of the keyframe.
    motion : Tensor, shape (N, H, W, 2)
        Displacement (x, y) in feature pixels.
    alignment : {"published", "consistent"}
        The half-pixel quirk, or aligned corners in both steps, where zero motion is the identity.

    Returns
    -------
    warped : Tensor, shape (N, C, H, W)
        In the dtype of `feature`.

    Raises
    ------
    MotionError
        If feature and motion disagree in batch size, height or width.
    """
    batch, _, height, width = feature.shape
    if motion.shape != (batch, height, width, 2):
        raise MotionError(
            f"motion of shape {tuple(motion.shape)} for a feature of shape {tuple(feature.shape)}: expected "
            f"{(batch, height, width, 2)}"
        )
    columns = torch.arange(width, dtype=motion.dtype, device=motion.device)
    rows = torch.arange(height, dtype=motion.dtype, device=motion.device)
    # A side of one pixel has no extent to divide by.
    x = 2 * (columns + motion[..., 0]) / max(width - 1, 1) - 1
    y = 2 * (rows[:, None] + motion[..., 1]) / max(height - 1, 1) - 1
    # The published programs round the grid to float32. Coarser types could not tell neighbouring pixels
    # apart.
    grid = torch.stack((x, y), dim=-1).float()
    sampled = feature if feature.dtype in (torch.float32, torch.float64) else feature.float()
    warped = F.grid_sample(
        sampled,
        grid.to(sampled.dtype),
        mode="bilinear",
        padding_mode="zeros",
        align_corners=alignment == "consistent",
    )
    return warped.to(feature.dtype)
