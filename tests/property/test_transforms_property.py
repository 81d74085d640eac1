"""What holds for augmentations of any sample."""

import random
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from arseg.data.augmentation import Augmentation, Resize, color_jitter, flip, random_crop, random_scale
from arseg.data.transforms import PairSample, apply


def sample_of(width, height):
    """Draw a pair whose image and keyframe carry the label of their pixel."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 256, (height, width), dtype=np.uint8)
    image = np.repeat(labels[..., None], 3, axis=2)
    return PairSample(image, 255 - image, labels, rng.integers(-99, 99, (height, width, 2), dtype=np.int16), labels)


class Always(random.Random):
    """A source whose `random` gives one value."""

    def __init__(self, value):
        super().__init__(0)
        self.value = value

    def random(self):
        return self.value


@given(st.integers(1, 24), st.integers(1, 24), st.floats(0, 1, exclude_max=True))
def test_a_flip_has_one_chance_in_two_and_two_flips_are_none(width, height, value):
    sample = sample_of(width, height)
    augmentation = flip(Augmentation((width, height)), Always(value))
    assert augmentation.mirrored == (value <= 0.5)
    flipped = apply(augmentation, sample)
    if augmentation.mirrored:
        np.testing.assert_array_equal(flipped.edges, sample.labels[:, ::-1])
        flipped = apply(augmentation, flipped)
    for name, array in vars(sample).items():
        np.testing.assert_array_equal(getattr(flipped, name), array, err_msg=name)


@st.composite
def augmentations(draw):
    """Draw a flip, a scale and a crop of pictures of any size."""
    size, crop = ((draw(st.integers(4, 60)), draw(st.integers(4, 60))) for _ in range(2))
    rng = random.Random(draw(st.integers()))
    augmentation = flip(color_jitter(Augmentation(size), rng, 0.5), rng)
    return random_crop(random_scale(augmentation, rng, [draw(st.floats(0.3, 3))]), rng, crop), crop


@given(augmentations())
def test_a_crop_has_the_asked_size_and_is_that_of_the_whole_picture(drawn):
    augmentation, (width, height) = drawn
    sample = sample_of(*augmentation.source)
    part, whole = apply(augmentation, sample), apply(replace(augmentation, crop=None), sample)
    assert part.labels.shape == (height, width)
    kept = np.ix_(augmentation.window.rows, augmentation.window.columns)
    np.testing.assert_array_equal(part.labels, whole.labels[kept])
    np.testing.assert_array_equal(part.motion_qpel, whole.motion_qpel[kept])
    np.testing.assert_allclose(part.image.astype(int), whole.image[kept].astype(int), rtol=0, atol=2)
    np.testing.assert_allclose(part.keyframe.astype(int), whole.keyframe[kept].astype(int), rtol=0, atol=2)


@given(st.integers(1, 4000), st.integers(1, 4000))
def test_labels_are_those_that_pillow_resizes(before, after):
    sample = sample_of(before, 1)
    resized = Image.fromarray(sample.labels).resize((after, 1), Image.Resampling.NEAREST)
    plan = Augmentation((before, 1), resizes=(Resize(after, 1, 1.0),))
    np.testing.assert_array_equal(apply(plan, sample).labels, np.asarray(resized))
