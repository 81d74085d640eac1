"""Metric against numbers of the published programs (data/models/README.md, part E)."""

import numpy as np
import pytest
import torch
from golden_weights import load_arrays
from torch.nn import functional as F

from arseg.metrics.confusion import confusion_matrix, iou_per_class, mean_iou, num_classes_present

CASES = ("ar05", "ar03", "arodd", "hr10", "lr05", "hr05")


@pytest.fixture(scope="module")
def metric():
    return load_arrays("E_metric")


@pytest.fixture(scope="module")
def evaluation():
    return load_arrays("E_camvid-psp18")


@pytest.mark.parametrize("case", ["full", "absent"])
def test_scores_to_mean(metric, case):
    predicted = torch.from_numpy(metric[f"{case}_logits"]).argmax(dim=1)
    confusion = confusion_matrix(torch.from_numpy(metric[f"{case}_label"]), predicted, 5).numpy()
    np.testing.assert_array_equal(confusion, metric[f"{case}_hist"])
    # The published programs divide in float32.
    np.testing.assert_allclose(mean_iou(confusion, absent="nan"), metric[f"{case}_miou"], rtol=0, atol=1e-6)


def test_absent_class_is_nan_as_published_and_skipped_by_default(metric):
    assert np.isnan(metric["absent_miou"])
    confusion = metric["absent_hist"]
    present = num_classes_present(confusion)
    assert present == 4
    assert mean_iou(confusion) == pytest.approx(np.nansum(iou_per_class(confusion)) / present, abs=1e-12)


def test_low_resolution_scores_are_resized_before_the_maximum(metric):
    label = torch.from_numpy(metric["upsample_label"])
    scores = F.interpolate(
        torch.from_numpy(metric["upsample_logits"]), size=label.shape[1:], mode="bilinear", align_corners=True
    )
    predicted = scores.argmax(dim=1)
    np.testing.assert_array_equal(predicted, metric["upsample_pred"])
    confusion = confusion_matrix(label, predicted, 5).numpy()
    np.testing.assert_allclose(mean_iou(confusion, absent="nan"), metric["upsample_miou"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_evaluation_step(evaluation, case):
    label, predicted = (torch.from_numpy(evaluation[f"{case}_{name}"]) for name in ("label", "pred"))
    confusion = confusion_matrix(label, predicted, 12).numpy()
    np.testing.assert_array_equal(confusion, evaluation[f"{case}_hist"])
    np.testing.assert_allclose(iou_per_class(confusion), evaluation[f"{case}_iou"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(mean_iou(confusion, absent="nan"), evaluation[f"{case}_miou"], rtol=0, atol=1e-6)
