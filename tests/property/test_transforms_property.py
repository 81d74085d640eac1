"""What holds for augmentations of any sample."""

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from arseg.data.transforms import PairSample, flip, random_crop, random_scale


@st.composite
def samples(draw, min_side=1):
    """Draw a pair whose image, keyframe and motion all carry the label of their pixel."""
    height, width = (draw(st.integers(min_side, 24)) for _ in range(2))
    labels = draw(st_numpy.arrays(np.uint8, (height, width)))
    image = np.repeat(labels[..., None], 3, axis=2)
    motion_qpel = np.stack([labels, 255 - labels], axis=2).astype(np.float32)
    return PairSample(image, 255 - image, labels, motion_qpel)


def assert_equal(sample, expected):
    for name, array in vars(expected).items():
        np.testing.assert_array_equal(getattr(sample, name), array, err_msg=name)


class Always(random.Random):
    """A source whose `random` gives one value."""

    def __init__(self, value):
        super().__init__(0)
        self.value = value

    def random(self):
        return self.value


@given(samples())
def test_two_flips_are_none(sample):
    once = flip(sample, Always(0.5))
    assert_equal(flip(once, Always(0.0)), sample)


@given(samples(), st.floats(0.5, 1, exclude_min=True, exclude_max=True))
def test_no_flip_above_one_half(sample, value):
    assert flip(sample, Always(value)) is sample


@given(samples(), st.integers())
def test_scale_one_is_the_identity(sample, seed):
    assert_equal(random_scale(sample, random.Random(seed), [1.0]), sample)


@given(samples(min_side=2), st.data())
def test_crop_keeps_everything_aligned(sample, data):
    height, width = sample.labels.shape
    size = data.draw(st.integers(1, width)), data.draw(st.integers(1, height))
    cropped = random_crop(sample, random.Random(data.draw(st.integers())), size)
    assert cropped.labels.shape == (size[1], size[0])
    for channel in range(3):
        np.testing.assert_array_equal(cropped.image[..., channel], cropped.labels)
        np.testing.assert_array_equal(cropped.keyframe[..., channel], 255 - cropped.labels)
    np.testing.assert_array_equal(cropped.motion_qpel[..., 0], cropped.labels)
    np.testing.assert_array_equal(cropped.motion_qpel[..., 1], 255.0 - cropped.labels)


@given(samples(), st.integers(1, 40), st.integers(1, 40), st.integers())
def test_crop_has_the_asked_size_whatever_the_sample(sample, width, height, seed):
    cropped = random_crop(sample, random.Random(seed), (width, height))
    assert cropped.image.shape == cropped.keyframe.shape == (height, width, 3)
    assert cropped.labels.shape == (height, width)
    assert cropped.motion_qpel.shape == (height, width, 2)
    assert set(np.unique(cropped.labels)) <= set(np.unique(sample.labels))


@given(st.integers(4, 24), st.integers(4, 24), st.floats(0.5, 3), st.integers())
def test_motion_of_a_uniform_field_scales_with_the_picture(height, width, scale, seed):
    motion_qpel = np.full((height, width, 2), (8.0, -4.0), dtype=np.float32)
    image = np.zeros((height, width, 3), dtype=np.uint8)
    scaled = random_scale(PairSample(image, image, image[..., 0], motion_qpel), random.Random(seed), [scale])
    assert scaled.labels.shape == (int(height * scale), int(width * scale))
    np.testing.assert_allclose(scaled.motion_qpel[..., 0], 8 * scale, rtol=1e-6)
    np.testing.assert_allclose(scaled.motion_qpel[..., 1], -4 * scale, rtol=1e-6)
