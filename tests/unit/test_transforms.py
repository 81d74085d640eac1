"""Augmentations on hand-computed numbers; equality with the published programs is in tests/golden."""

import random

import numpy as np
import pytest

from arseg.config import Normalization, TrainConfig
from arseg.data.transforms import (
    PairSample,
    augment,
    color_jitter,
    flip,
    normalize,
    random_crop,
    random_scale,
)


class Draws:
    """Gives prepared draws and records what was asked for."""

    def __init__(self, *values):
        self.values = list(values)
        self.asked = []

    def uniform(self, low, high):
        self.asked.append(("uniform", low, high))
        return self.values.pop(0)

    def random(self):
        self.asked.append("random")
        return self.values.pop(0)

    def choice(self, options):
        self.asked.append(("choice", *options))
        return self.values.pop(0)


def pair(height, width, motion=(3.0, -2.0)):
    shades = np.arange(height * width, dtype=np.uint8).reshape(height, width)
    image = np.stack([shades, shades // 2, 255 - shades], axis=2)
    motion_qpel = np.broadcast_to(np.float32(motion), (height, width, 2)).copy()
    return PairSample(image, image[::-1].copy(), shades % 5, motion_qpel)


def test_flip_mirrors_all_and_negates_x_motion():
    sample = pair(2, 3)
    sample.motion_qpel[0, 0] = (7, 8)
    flipped = flip(sample, Draws(0.2))
    np.testing.assert_array_equal(flipped.image, sample.image[:, ::-1])
    np.testing.assert_array_equal(flipped.keyframe, sample.keyframe[:, ::-1])
    np.testing.assert_array_equal(flipped.labels, sample.labels[:, ::-1])
    np.testing.assert_array_equal(flipped.motion_qpel[0], [[-3, -2], [-3, -2], [-7, 8]])
    assert all(array.flags.c_contiguous for array in (flipped.image, flipped.keyframe, flipped.labels))


def test_scale_truncates_sizes_and_multiplies_motion():
    scaled = random_scale(pair(10, 14), Draws(0.675), [0.675])
    assert scaled.image.shape == scaled.keyframe.shape == (6, 9, 3)  # 6.75 x 9.45
    assert scaled.labels.shape == (6, 9)
    np.testing.assert_allclose(scaled.motion_qpel, np.broadcast_to([2.025, -1.35], (6, 9, 2)), rtol=1e-6)


def test_motion_is_resized_by_the_corner_rule_and_labels_by_the_centre_rule():
    sample = pair(1, 4)
    sample.motion_qpel[0, :, 0] = [0, 1, 2, 3]
    sample.labels[0] = [0, 1, 2, 3]
    scaled = random_scale(
        PairSample(*(np.repeat(array, 2, axis=0) for array in vars(sample).values())), Draws(0.5), [0.5]
    )
    np.testing.assert_array_equal(scaled.motion_qpel[0, :, 0], [0, 1])  # columns 0 and 2, halved
    np.testing.assert_array_equal(scaled.labels[0], [1, 3])  # floor(0.5 * 2), floor(1.5 * 2)


def test_crop_offsets_are_drawn_x_first():
    sample = pair(8, 12)
    cropped = random_crop(sample, Draws(0.5, 0.26), (4, 4))
    np.testing.assert_array_equal(cropped.image, sample.image[1:5, 4:8])  # int(0.26 * 4), int(0.5 * 8)
    np.testing.assert_array_equal(cropped.labels, sample.labels[1:5, 4:8])


def test_crop_of_the_same_size_draws_nothing():
    sample = pair(4, 6)
    draws = Draws()
    assert random_crop(sample, draws, (6, 4)) is sample
    assert draws.asked == []


@pytest.mark.parametrize(("original", "motion"), [(False, (6.0, -4.0)), (True, (3.0, -2.0))])
def test_enlarging_crop_multiplies_motion_unless_original(original, motion):
    cropped = random_crop(pair(4, 6), Draws(0.0, 0.0), (12, 8), original=original)
    assert cropped.labels.shape == (8, 12)
    np.testing.assert_allclose(cropped.motion_qpel, np.broadcast_to(motion, (8, 12, 2)))


@pytest.mark.parametrize("size", [(12, 3), (3, 12), (20, 20), (7, 4)])
def test_crop_covers_windows_of_any_shape(size):
    cropped = random_crop(pair(4, 6), Draws(0.99, 0.99), size)
    assert cropped.labels.shape == cropped.image.shape[:2] == (size[1], size[0])


def test_jitter_brightness_alone():
    sample = pair(2, 2)
    draws = Draws(0.5, 1.0, 1.0)
    jittered = color_jitter(sample, draws, 0.4)
    assert draws.asked == [("uniform", 0.6, 1.4)] * 3
    np.testing.assert_array_equal(jittered.image, (sample.image * 0.5).astype(np.uint8))
    np.testing.assert_array_equal(jittered.keyframe, (sample.keyframe * 0.5).astype(np.uint8))
    assert jittered.labels is sample.labels
    assert jittered.motion_qpel is sample.motion_qpel


def test_augment_draws_in_the_published_order():
    draws = Draws(1.0, 1.0, 1.0, 0.9, 1.0, 0.0, 0.0)
    train = TrainConfig(crop="4x3", random_scales=(1.0, 2.0), jitter=0.25)
    sample = pair(6, 8)
    augmented = augment(sample, draws, train)
    assert draws.asked == [("uniform", 0.75, 1.25)] * 3 + ["random", ("choice", 1.0, 2.0), "random", "random"]
    np.testing.assert_array_equal(augmented.image, sample.image[:3, :4])


def test_augment_obeys_original_quirks():
    train = {"crop": "16x12", "random_scales": (1.0,), "jitter": 0.0}
    draws = (1.0, 1.0, 1.0, 0.9, 1.0, 0.0, 0.0)
    mended = augment(pair(6, 8), Draws(*draws), TrainConfig(**train))
    original = augment(pair(6, 8), Draws(*draws), TrainConfig(**train, original_quirks=True))
    np.testing.assert_allclose(mended.motion_qpel, 2 * original.motion_qpel)


def test_single_frame_goes_through_the_whole_chain():
    sample = pair(6, 8)
    single = PairSample(sample.image, None, sample.labels, None)
    train = TrainConfig(crop="10x8", random_scales=(0.5, 1.5))
    augmented, together = (augment(each, random.Random(4), train) for each in (single, sample))
    assert augmented.keyframe is None
    assert augmented.motion_qpel is None
    np.testing.assert_array_equal(augmented.image, together.image)
    np.testing.assert_array_equal(augmented.labels, together.labels)


def test_normalize_by_hand():
    image = np.array([[[0, 51, 255]]], dtype=np.uint8)
    normalized = normalize(image, Normalization((0.5, 0.1, 0.0), (0.5, 0.2, 4.0)))
    assert normalized.shape == (3, 1, 1)
    assert normalized.dtype == np.float32
    np.testing.assert_allclose(normalized.ravel(), [-1, 0.5, 0.25], rtol=1e-6)
