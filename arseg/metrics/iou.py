"""From an integer confusion matrix to intersection over union: the one division at the end.

NumPy only, so that tables and figures load without PyTorch; the counting is in `arseg.metrics.confusion`.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

AbsentRule = Literal["skip", "nan"]
"""What a class does that occurs in neither labels nor predictions: leave the mean, or make it NaN."""


def iou_per_class(confusion: NDArray[np.integer]) -> NDArray[np.float64]:
    """Intersection over union of each class, tp / (tp + fp + fn).

    Parameters
    ----------
    confusion : ndarray of int, shape (..., K, K)
        Pixel counts, [target, predicted].

    Returns
    -------
    iou : ndarray of float64, shape (..., K)
        0 ... 1; NaN for a class that occurs in neither targets nor predictions.
    """
    intersection = np.diagonal(confusion, axis1=-2, axis2=-1)
    union = confusion.sum(axis=-1) + confusion.sum(axis=-2) - intersection
    with np.errstate(invalid="ignore"):  # 0 / 0 is the NaN of an absent class
        iou: NDArray[np.float64] = intersection / union
    return iou


def num_classes_present(confusion: NDArray[np.integer]) -> NDArray[np.int64]:
    """Count the classes that occur in targets or predictions.

    Parameters
    ----------
    confusion : ndarray of int, shape (..., K, K)
        Pixel counts, [target, predicted].

    Returns
    -------
    count : ndarray of int64, shape (...)
        0 ... K.
    """
    return np.asarray(np.count_nonzero(~np.isnan(iou_per_class(confusion)), axis=-1), np.int64)


def mean_iou(confusion: NDArray[np.integer], classes: Sequence[int] | None = None, absent: AbsentRule = "skip") -> Any:
    """Mean intersection over union over classes (mIoU).

    Parameters
    ----------
    confusion : ndarray of int, shape (..., K, K)
        Pixel counts, [target, predicted].
    classes : sequence of int, optional
        Indices of the classes to average over, for example all but void; by default all. The matrix stays
        whole: a road pixel predicted as void is an error of the road in either mean.
    absent : {"skip", "nan"}
        With "skip" a class that occurs in neither targets nor predictions does not count (see
        `num_classes_present` for how many do). "nan" restores the published programs, where one such class
        makes the mean NaN.

    Returns
    -------
    miou : float, or ndarray of float64 of shape (...)
        0 ... 1; NaN if no class counts.
    """
    iou = iou_per_class(confusion)
    if classes is not None:
        iou = iou[..., list(classes)]
    counted = ~np.isnan(iou) if absent == "skip" else np.ones(iou.shape, dtype=bool)
    with np.errstate(invalid="ignore"):  # 0 / 0 where no class counts
        return np.where(counted, iou, 0).sum(axis=-1) / counted.sum(axis=-1)
