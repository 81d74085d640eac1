"""What segmentation costs in multiply-accumulates, counted on the networks that run."""

import torch

from arseg.ar import ConstantResolution, method_of
from arseg.infer.segment import Segmentation
from arseg.models.macs import counting_macs


def count_macs(segmentation: Segmentation, height: int, width: int, num_frames: int) -> tuple[int, int]:
    """Return the multiply-accumulates of a segmentation so far, and those of full resolution on each of its frames.

    For it, a black keyframe and another frame of the size are segmented; `num_frames` are those that had labels.
    """
    hr, lr, runs = segmentation.hr, segmentation.lr, segmentation.watch.runs
    device = next(hr.network.parameters()).device
    image = torch.zeros(1, 3, height, width, device=device)
    method = method_of(hr, lr)
    with counting_macs(hr.network) as full:
        ConstantResolution(hr.network).frame(image)
    with torch.no_grad():
        method.keyframe(image)
    with counting_macs((lr or hr).network) as other:
        method.frame(image, torch.zeros(1, height, width, 2, dtype=torch.int16, device=device))
    if lr is None:
        return num_frames * other.total, num_frames * full.total
    # A keyframe with labels is encoded, and classified; one without is encoded if another frame needs it.
    encoded = runs["hr"] - (num_frames - runs["lr"])
    return encoded * full.total + runs["lr"] * other.total, num_frames * full.total
