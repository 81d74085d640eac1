import numpy as np
import pytest
import torch

from arseg.metrics.confusion import confusion_matrix, iou_per_class, mean_iou, num_classes_present

TARGET = torch.tensor([[0, 0, 1, 1], [2, 2, 255, 255]], dtype=torch.uint8)
PREDICTED = torch.tensor([[0, 1, 1, 1], [2, 0, 2, 3]])
COUNTS = np.array([[1, 1, 0, 0], [0, 2, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]])  # class 3 occurs only where ignored


def test_confusion_counts_target_by_predicted_and_ignores_255():
    confusion = confusion_matrix(TARGET, PREDICTED, 4)
    assert confusion.dtype == torch.int64
    np.testing.assert_array_equal(confusion, COUNTS)


def test_confusion_of_many_classes_does_not_overflow_uint8():
    target = torch.full((2, 3), 40, dtype=torch.uint8)
    confusion = confusion_matrix(target, torch.full((2, 3), 41), 60)
    assert confusion[40, 41] == 6
    assert confusion.sum() == 6


def test_target_that_is_no_class_is_an_error():
    with pytest.raises(RuntimeError):
        confusion_matrix(torch.tensor([4]), torch.tensor([0]), 4)


def test_iou_by_hand():
    # Class 0: tp 1, fp 1, fn 1. Class 1: tp 2, fp 1. Class 2: tp 1, fn 1. Class 3 is absent.
    np.testing.assert_array_equal(iou_per_class(COUNTS), [1 / 3, 2 / 3, 1 / 2, np.nan])
    assert num_classes_present(COUNTS) == 3


def test_absent_class_leaves_the_mean_or_makes_it_nan():
    assert mean_iou(COUNTS) == pytest.approx((1 / 3 + 2 / 3 + 1 / 2) / 3, abs=1e-15)
    assert np.isnan(mean_iou(COUNTS, absent="nan"))
    assert mean_iou(COUNTS[:3, :3], absent="nan") == mean_iou(COUNTS)


def test_mean_over_a_subset_keeps_the_errors_made_with_other_classes():
    # Without class 0 the two others keep their union with it.
    assert mean_iou(COUNTS, [1, 2]) == pytest.approx((2 / 3 + 1 / 2) / 2, abs=1e-15)
    assert np.isnan(mean_iou(COUNTS, [1, 2, 3], absent="nan"))


def test_scores_of_several_distances_at_once():
    both = np.stack((COUNTS, np.diag([1, 2, 3, 4])))
    np.testing.assert_allclose(mean_iou(both), [0.5, 1.0], rtol=0, atol=1e-15)
    np.testing.assert_array_equal(num_classes_present(both), [3, 4])


def test_no_pixel_has_no_score():
    assert np.isnan(mean_iou(np.zeros((3, 3), dtype=np.int64)))
