"""How far AR-Seg's labels are those of its HR branch, on frames that nobody has annotated."""

import numpy as np
import torch
from numpy.typing import NDArray

from arseg.metrics.confusion import confusion_matrix
from arseg.metrics.iou import iou_per_class, mean_iou


class Agreement:
    """Confusion of two labellings, by reference distance.

    Parameters
    ----------
    num_classes : int
        Number K of classes.
    """

    def __init__(self, num_classes: int) -> None:
        self._num_classes = num_classes
        self._confusions: dict[int, NDArray[np.int64]] = {}

    def add(self, hr_labels: NDArray[np.uint8], labels: NDArray[np.uint8], distance: int) -> None:
        """Count the pixels of a frame.

        Parameters
        ----------
        hr_labels, labels : ndarray of uint8, shape (H, W)
            What the HR branch says, and what AR-Seg says.
        distance : int
            Reference distance of the frame.
        """
        target, predicted = torch.from_numpy(hr_labels), torch.from_numpy(labels)
        counted = confusion_matrix(target, predicted, self._num_classes).numpy()
        self._confusions[distance] = self._confusions.get(distance, 0) + counted

    def confusion(self, distance: int | None = None) -> NDArray[np.int64]:
        """Give pixel counts [HR, AR], shape (K, K), at one distance or, by default, of all frames."""
        empty = np.zeros((self._num_classes, self._num_classes), np.int64)
        if distance is not None:
            return self._confusions.get(distance, empty)
        return sum(self._confusions.values(), empty)

    @property
    def distances(self) -> list[int]:
        """Distances that occurred, sorted."""
        return sorted(self._confusions)

    def mean_iou(self, distance: int | None = None) -> float:
        """Mean IoU of both labellings over the classes that occur, 0 ... 1."""
        return float(mean_iou(self.confusion(distance)))

    def iou_per_class(self) -> NDArray[np.float64]:
        """IoU of each class, shape (K,); NaN where neither labelling has it."""
        return iou_per_class(self.confusion())

    def same_pixels(self) -> float:
        """Share of pixels that have the same class in both, 0 ... 1."""
        counts = self.confusion()
        return float(np.trace(counts) / max(1, counts.sum()))
