import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from arseg.config import IGNORE_INDEX
from arseg.metrics.confusion import confusion_matrix, mean_iou

K = 5


@st.composite
def labelled_pixels(draw):
    size = draw(st.integers(0, 60))
    classes = st.integers(0, K - 1)
    target = draw(hnp.arrays(np.uint8, size, elements=classes | st.just(IGNORE_INDEX)))
    predicted = draw(hnp.arrays(np.int64, size, elements=classes))
    return target, predicted


def count(target, predicted):
    return confusion_matrix(torch.from_numpy(target), torch.from_numpy(predicted), K).numpy()


@given(labelled_pixels())
def test_matrix_holds_every_scored_pixel_once(pixels):
    target, predicted = pixels
    expected = np.zeros((K, K), dtype=np.int64)
    for true, found in zip(target, predicted, strict=True):
        if true != IGNORE_INDEX:
            expected[true, found] += 1
    np.testing.assert_array_equal(count(target, predicted), expected)


@given(labelled_pixels(), st.integers(0, 60))
def test_matrix_does_not_depend_on_how_pixels_are_batched(pixels, cut):
    target, predicted = pixels
    parts = count(target[:cut], predicted[:cut]) + count(target[cut:], predicted[cut:])
    np.testing.assert_array_equal(parts, count(target, predicted))


@given(labelled_pixels())
def test_absent_classes_do_not_change_the_mean(pixels):
    confusion = count(*pixels)
    wider = np.pad(confusion, ((0, 2), (0, 2)))
    np.testing.assert_equal(mean_iou(wider), mean_iou(confusion))
    assert np.isnan(mean_iou(wider, absent="nan"))
