"""What holds for augmentations of any sample."""

import random
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from PIL import Image

from arseg.data.augmentation import (
    Augmentation,
    Resize,
    color_jitter,
    flip,
    random_crop,
    random_scale,
)
from arseg.data.transforms import PairSample, apply


@st.composite
def samples(draw):
    """Draw a pair whose image, keyframe and motion all carry the label of their pixel."""
    height, width = (draw(st.integers(1, 24)) for _ in range(2))
    labels = draw(st_numpy.arrays(np.uint8, (height, width)))
    image = np.repeat(labels[..., None], 3, axis=2)
    motion_qpel = np.stack([labels, 255 - labels], axis=2).astype(np.float32)
    return PairSample(image, 255 - image, labels, motion_qpel)


def source(sample):
    height, width = sample.labels.shape
    return Augmentation((width, height))


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


@given(samples(), st.floats(0, 1, exclude_max=True))
def test_a_flip_has_one_chance_in_two(sample, value):
    augmentation = flip(source(sample), Always(value))
    assert augmentation.mirrored == (value <= 0.5)
    flipped = apply(augmentation, sample)
    if augmentation.mirrored:
        flipped = apply(augmentation, flipped)  # two flips are none
    assert_equal(flipped, sample)


@given(samples(), st.integers(1, 40), st.integers(1, 40), st.integers())
def test_crop_has_the_asked_size_whatever_the_sample(sample, width, height, seed):
    cropped = apply(random_crop(source(sample), random.Random(seed), (width, height)), sample)
    assert cropped.image.shape == cropped.keyframe.shape == (height, width, 3)
    assert cropped.labels.shape == (height, width)
    assert cropped.motion_qpel.shape == (height, width, 2)
    assert set(np.unique(cropped.labels)) <= set(np.unique(sample.labels))


@given(st.integers(4, 24), st.integers(4, 24), st.floats(0.5, 3), st.integers())
def test_motion_of_a_uniform_field_scales_with_the_picture(height, width, scale, seed):
    motion_qpel = np.full((height, width, 2), (8.0, -4.0), dtype=np.float32)
    image = np.zeros((height, width, 3), dtype=np.uint8)
    sample = PairSample(image, image, image[..., 0], motion_qpel)
    scaled = apply(random_scale(source(sample), random.Random(seed), [scale]), sample)
    assert scaled.labels.shape == (int(height * scale), int(width * scale))
    np.testing.assert_allclose(scaled.motion_qpel[..., 0], 8 * scale, rtol=1e-6)
    np.testing.assert_allclose(scaled.motion_qpel[..., 1], -4 * scale, rtol=1e-6)


@st.composite
def augmentations(draw):
    """Draw a flip, a scale and a crop of pictures of any size."""
    size, crop = ((draw(st.integers(4, 60)), draw(st.integers(4, 60))) for _ in range(2))
    rng = random.Random(draw(st.integers()))
    augmentation = flip(color_jitter(Augmentation(size), rng, 0.5), rng)
    return random_crop(random_scale(augmentation, rng, [draw(st.floats(0.3, 3))]), rng, crop)


@given(augmentations())
def test_a_crop_is_that_of_the_whole_picture(augmentation):
    width, height = augmentation.source
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 256, (height, width), dtype=np.uint8)
    image = np.repeat(labels[..., None], 3, axis=2)
    motion_qpel = rng.integers(-99, 99, (height, width, 2), dtype=np.int16)
    sample = PairSample(image, 255 - image, labels, motion_qpel)
    part, whole = apply(augmentation, sample), apply(replace(augmentation, crop=None), sample)
    kept = np.ix_(augmentation.window.rows, augmentation.window.columns)
    np.testing.assert_array_equal(part.labels, whole.labels[kept])
    np.testing.assert_array_equal(part.motion_qpel, whole.motion_qpel[kept])
    np.testing.assert_allclose(part.image.astype(int), whole.image[kept].astype(int), rtol=0, atol=2)
    np.testing.assert_allclose(part.keyframe.astype(int), whole.keyframe[kept].astype(int), rtol=0, atol=2)


@given(st.integers(1, 4000), st.integers(1, 4000))
def test_labels_are_those_that_pillow_resizes(before, after):
    labels = np.random.default_rng(0).integers(0, 256, (1, before), dtype=np.uint8)
    resized = Image.fromarray(labels).resize((after, 1), Image.Resampling.NEAREST)
    plan = Augmentation((before, 1), resizes=(Resize(after, 1, 1.0),))
    image = np.repeat(labels[..., None], 3, axis=2)
    np.testing.assert_array_equal(apply(plan, PairSample(image, None, labels, None)).labels, np.asarray(resized))
