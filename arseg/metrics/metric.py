"""What a metric is, and the metrics by name; mIoU is one of them (docs/extending.md)."""

from abc import ABC, abstractmethod
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from arseg.metrics.confusion import confusion_matrix
from arseg.metrics.iou import AbsentRule, iou_per_class, mean_iou
from arseg.plugins import Registry

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Context:
    """What a metric knows beside labels and predictions."""

    class_names: tuple[str, ...]
    """Names of the K classes."""
    void: tuple[bool, ...]
    """Whether each class means "none of the others"."""
    absent: AbsentRule
    """What a class does in a mean that occurs in neither labels nor predictions, see `arseg.metrics.iou.mean_iou`."""


class Metric(ABC):
    """Scores of predictions, made from counts of pixels, frames or whatever else adds up."""

    @property
    @abstractmethod
    def score(self) -> str:
        """Which of its columns figures draw; a class that sets ``score = "..."`` says so."""

    @abstractmethod
    def empty(self, context: Context) -> NDArray[Any]:
        """Return the counts of no frame, an array of any shape (...)."""

    @abstractmethod
    def update(self, counts: "Tensor", target: "Tensor", predicted: "Tensor", context: Context) -> None:
        """Add frames to counts, in place.

        Parameters
        ----------
        counts : Tensor, shape (...)
            Counts of the frames so far at one reference distance.
        target : Tensor of uint8, shape (N, H, W)
            True classes, or 255 for pixels that do not count.
        predicted : Tensor of integers, shape (N, H, W)
            Predicted classes. All three are on one device.
        context : Context
        """

    def merge(self, first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
        """Return the counts of two shards of a split together, each of shape (L, ...): their sum."""
        merged: NDArray[Any] = first + second
        return merged

    @abstractmethod
    def columns(self, counts: NDArray[Any], context: Context) -> Mapping[str, Sequence[Any] | NDArray[Any]]:
        """Return what the metric adds to the table of scores.

        Parameters
        ----------
        counts : ndarray, shape (L, ...)
            By reference distance.
        context : Context

        Returns
        -------
        columns : mapping
            Values by distance, L in each column. Scores are 0 ... 1.
        """


AGREEMENT = "agreement"
"""What mIoU is called where a network made the labels."""


def main_score(columns: Container[str]) -> str:
    """Return which of the columns of an evaluation or a table is its main score: ``miou`` or ``agreement``."""
    return AGREEMENT if AGREEMENT in columns else "miou"


def agreement_name(score: str) -> str:
    """Return what a score is called where a network made the labels: ``agreement``, ``agreement_no_void``, ..."""
    return score.replace("miou", AGREEMENT, 1) if score.startswith("miou") else f"{AGREEMENT}_{score}"


def agreement_columns(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of a metric as they are called where a network made the labels; only scores change names."""
    return {
        agreement_name(name) if np.asarray(values).dtype.kind == "f" else name: values
        for name, values in columns.items()
    }


def describe_score(score: str) -> str:
    """Return what a column of scores is called in words."""
    main, _, other = score.partition("_")
    name = {"miou": "mIoU", AGREEMENT: "agreement with HR"}.get(main)
    if name is None:
        return score.replace("_", " ")
    return name + {"": "", "no_void": " without void"}.get(other, f" in {other.replace('_', ' ')}")


metrics: Registry[type[Metric]] = Registry("metric", "arseg.metrics")


@metrics.register("miou")
class MeanIoU(Metric):
    """Mean intersection over union, over one confusion matrix per distance: counts (K, K) of [target, predicted]."""

    score = "miou"

    def empty(self, context: Context) -> NDArray[np.int64]:
        """Return a confusion matrix of zeros."""
        return np.zeros((len(context.class_names),) * 2, np.int64)

    def update(self, counts: "Tensor", target: "Tensor", predicted: "Tensor", context: Context) -> None:
        """Count the pixels of each pair of true and predicted class."""
        counts += confusion_matrix(target, predicted, len(context.class_names))

    def columns(self, counts: NDArray[Any], context: Context) -> Mapping[str, Sequence[Any] | NDArray[Any]]:
        """Return mIoU, over how many classes it is, which of them have no labels, and the IoU of each."""
        iou, void = iou_per_class(counts), np.array(context.void)
        is_unlabelled = counts.sum(axis=2) == 0  # its IoU is 0 or NaN, whatever a network does
        return {
            "miou": mean_iou(counts, absent=context.absent),
            "miou_no_void": mean_iou(counts, np.flatnonzero(~void).tolist(), absent=context.absent),
            "num_classes_present": np.count_nonzero(~np.isnan(iou), axis=-1),
            "num_classes_no_void": np.count_nonzero(~np.isnan(iou) & ~void, axis=-1),
            "classes_without_labels": [";".join(np.array(context.class_names)[row]) for row in is_unlabelled],
            **{f"iou_{name}": iou[:, index] for index, name in enumerate(context.class_names)},
        }
