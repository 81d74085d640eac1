"""Counting pixels: one integer confusion matrix, which adds up over frames, shards and devices.

The scores made from it are in `arseg.metrics.iou`, and importable from here as well.
"""

from typing import TYPE_CHECKING

from arseg.config import IGNORE_INDEX
from arseg.metrics.iou import iou_per_class, mean_iou, num_classes_present

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["confusion_matrix", "iou_per_class", "mean_iou", "num_classes_present"]


def confusion_matrix(target: "Tensor", predicted: "Tensor", num_classes: int) -> "Tensor":
    """Count the pixels of each pair of true and predicted class.

    Parameters
    ----------
    target : Tensor of integers, any shape
        True classes, 0 ... K - 1, or 255 for pixels that do not count.
    predicted : Tensor of integers, the same shape and device
        Predicted classes, 0 ... K - 1.
    num_classes : int
        Number of classes K.

    Returns
    -------
    confusion : Tensor of int64, shape (K, K)
        Pixel counts, [target, predicted], on the device of the arguments.

    Raises
    ------
    RuntimeError
        If a target is neither a class nor 255; label maps are checked when they are read.
    """
    # torchmetrics counts the same, but its import (torchvision, torch._dynamo) takes longer than many an evaluation.
    counted = target != IGNORE_INDEX
    pairs = num_classes * target[counted].long() + predicted[counted].long()
    return pairs.bincount(minlength=num_classes**2).reshape(num_classes, num_classes)
