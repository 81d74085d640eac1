"""How far AR-Seg's labels are those of its HR branch, on frames that nobody has annotated."""

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor

from arseg.metrics.metric import Context, agreement_columns
from arseg.metrics.metric import metrics as registered
from arseg.spec import SegmentationClass


class Agreement:
    """What metrics count by reference distance, with the HR branch's labels as the truth.

    Parameters
    ----------
    classes : sequence of SegmentationClass
        What the labels mean.
    metrics : sequence of str
        Metrics beside mIoU, by their names in `arseg.metrics.metric.metrics`.

    Raises
    ------
    ConfigError
        If a metric is not registered.
    """

    def __init__(self, classes: Sequence[SegmentationClass], metrics: Sequence[str] = ()) -> None:
        self._metrics = {name: registered.get(name)() for name in ("miou", *metrics)}
        self._context = Context(tuple(cls.name for cls in classes), tuple(cls.void for cls in classes), absent="skip")
        self._counts: dict[int, dict[str, Tensor]] = {}
        self._same_pixels = self._pixels = 0

    def add(self, hr_labels: Tensor, labels: Tensor, distance: int) -> None:
        """Count a frame: labels of the HR branch and of AR-Seg, uint8, shape (1, H, W), on one device."""
        if distance not in self._counts:
            self._counts[distance] = {
                name: torch.from_numpy(metric.empty(self._context)).to(labels.device)
                for name, metric in self._metrics.items()
            }
        for name, metric in self._metrics.items():
            metric.update(self._counts[distance][name], hr_labels, labels, self._context)
        self._same_pixels += int((hr_labels == labels).sum())
        self._pixels += labels.numel()

    def same_pixels(self) -> float:
        """Return the share of all pixels that have the same class in both, 0 ... 1."""
        return self._same_pixels / self._pixels

    def scores(self) -> dict[str, dict[str, Any]]:
        """Return the columns of all metrics over ``all`` frames and at each distance that occurred: builtins.

        Names are those of `agreement_columns`. Scores are 0 ... 1, rounded to six digits; None where there is none.
        """
        distances = sorted(self._counts)
        rows: dict[str, dict[str, Any]] = {name: {} for name in ("all", *map(str, distances))}
        for name, metric in self._metrics.items():
            counts = np.stack([self._counts[distance][name].cpu().numpy() for distance in distances])
            total = reduce(metric.merge, counts[:, None])
            found = metric.columns(np.concatenate([total, counts]), self._context)
            for column, values in agreement_columns(found).items():
                for row, value in zip(rows.values(), values, strict=True):
                    row[column] = _builtin(value)
        return rows


def _builtin(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    if not isinstance(value, float):
        return value
    return None if np.isnan(value) else round(value, 6)
