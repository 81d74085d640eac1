"""What one optimisation step of each phase computes: pure functions from a batch to the parts of the loss.

The loop around them, with its optimiser, devices and checkpoints, is not here. See docs/method.md, 'Training'.
"""

import torch
from torch import Tensor

from arseg.models.inference import to_low_resolution, warp_keyframe
from arseg.models.losses import feature_similarity as feature_similarity_loss
from arseg.models.network import Prediction, SegmentationNetwork
from arseg.models.registry import Architecture
from arseg.spec import WarpAlignment


def phase1_loss(
    network: SegmentationNetwork,
    architecture: Architecture,
    image: Tensor,
    labels: Tensor,
    scale_percent: int,
    original: bool = False,
) -> dict[str, Tensor]:
    """Loss of the HR branch (scale 100) or of the constant-low-resolution baseline.

    Parameters
    ----------
    network : SegmentationNetwork
        The network in training.
    architecture : Architecture
        Its loss is taken.
    image : Tensor, shape (N, 3, H, W)
        Normalised RGB image at the size of the crop.
    labels : Tensor of integers, shape (N, H, W)
        Class indices; 255 is ignored.
    scale_percent : int
        Scale in percent at which the network sees the crop.
    original : bool
        Restore what the published losses do wrong.

    Returns
    -------
    parts : dict of str to Tensor
        Named parts whose sum is the loss.
    """
    return architecture.loss(network(to_low_resolution(image, scale_percent)), labels, original)


def start_phase2(hr: SegmentationNetwork, lr: SegmentationNetwork, feature_similarity: bool) -> None:
    """Bring both branches into the state in which phase 2 begins.

    The HR branch is frozen in evaluation mode. With feature similarity, the LR branch takes over the HR
    branch's last convolution and keeps it: features that resemble each other can share their classifier.
    Without, the LR branch learns its own.

    Parameters
    ----------
    hr, lr : SegmentationNetwork
        The branches, of one architecture; changed in place.
    feature_similarity : bool
        Whether the fused feature will be supervised with the HR branch's.
    """
    hr.eval().requires_grad_(False)
    if feature_similarity:
        lr.last_convolution.load_state_dict(hr.last_convolution.state_dict())
        lr.last_convolution.requires_grad_(False)


def phase2_loss(
    hr: SegmentationNetwork,
    lr: SegmentationNetwork,
    architecture: Architecture,
    image: Tensor,
    keyframe: Tensor,
    motion_qpel: Tensor,
    labels: Tensor,
    scale_percent: int,
    fused: bool,
    feature_similarity: bool,
    alignment: WarpAlignment,
    original: bool = False,
) -> dict[str, Tensor]:
    """Loss of the LR branch under a frozen HR branch.

    Without `fused` (the first epochs on CamVid) the LR branch runs its plain pass, and the fusion's
    parameters get no gradient at all: an optimiser then leaves them alone.

    Parameters
    ----------
    hr : SegmentationNetwork
        HR branch in evaluation mode; runs without gradients.
    lr : SegmentationNetwork
        LR branch in training, built with fusion.
    architecture : Architecture
        Its loss is taken.
    image, keyframe : Tensor, shape (N, 3, H, W)
        Normalised RGB images of the labelled frame and of its keyframe, at the size of the crop.
    motion_qpel : Tensor, shape (N, H, W, 2)
        Displacement (x, y) in quarter pixels from each pixel of the frame to its source in the keyframe;
        int16, or floating point after a random scale.
    labels : Tensor of integers, shape (N, H, W)
        Class indices; 255 is ignored.
    scale_percent : int
        Scale in percent at which the LR branch sees the crop.
    fused : bool
        Whether the keyframe's feature is fused in.
    feature_similarity : bool
        Whether the LR branch's feature should resemble the HR branch's of the same frame (FST).
    alignment : {"published", "consistent"}
        Convention of the warp.
    original : bool
        Restore what the published losses do wrong.

    Returns
    -------
    parts : dict of str to Tensor
        Named parts whose sum is the loss.
    """
    assert not hr.training, "the HR branch must stay in evaluation mode; see start_phase2"
    low = to_low_resolution(image, scale_percent)
    encoded = lr.encode(low)
    if fused:
        with torch.no_grad():
            # The published training takes the nearest vector, where evaluation resizes bilinearly.
            warped = warp_keyframe(hr.encode(keyframe).feature, motion_qpel, alignment, "nearest")
        feature = lr.fuse(warped, encoded.feature)
        scores = lr.classify(feature)
    else:
        feature = encoded.feature
        height, width = low.shape[-2:]
        scores = lr.classify(feature, (height, width))
    parts = architecture.loss(Prediction(scores, feature, encoded.auxiliary), labels, original)
    if feature_similarity:
        with torch.no_grad():
            hr_feature = hr.encode(image).feature
        parts["feature_similarity"] = feature_similarity_loss(feature, hr_feature)
    return parts
