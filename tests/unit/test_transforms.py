"""Augmentations on hand-computed numbers; equality with the published programs is in tests/golden."""

import random
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from arseg.config import TrainConfig
from arseg.data.augmentation import Augmentation, draw_augmentation, random_crop, random_scale
from arseg.data.transforms import PairSample, apply
from arseg.errors import ConfigError


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
    return PairSample(image, image[::-1].copy(), shades % 5, motion_qpel, shades % 2)


def source(sample):
    height, width = sample.labels.shape
    return Augmentation((width, height))


def augment(sample, draws, train):
    return apply(draw_augmentation(source(sample).source, draws, train), sample)


def test_stored_motion_is_as_good_as_floating_point():
    sample = pair(10, 14)
    stored = PairSample(sample.image, None, sample.labels, sample.motion_qpel.astype(np.int16))
    augmented, expected = (augment(each, random.Random(3), TrainConfig(crop="12x9")) for each in (stored, sample))
    assert augmented.motion_qpel.dtype == np.float32
    assert augmented.motion_qpel.flags.c_contiguous
    np.testing.assert_array_equal(augmented.motion_qpel, expected.motion_qpel)


def test_evidence_goes_where_motion_goes():
    """Blocks have their number as motion to the bottom, which mirroring leaves alone, and as a count."""
    numbers = np.arange(12, dtype=np.uint8).reshape(3, 4)
    of_pixels = numbers.repeat(4, axis=0).repeat(4, axis=1)[:10, :14]
    motion = np.stack([0 * of_pixels, of_pixels], axis=-1).astype(np.int16)
    sample = replace(pair(10, 14), motion_qpel=motion, evidence=np.stack([numbers] * 3, axis=-1))
    for seed in range(6):
        augmented = augment(sample, random.Random(seed), TrainConfig(crop="12x9", random_scales=(0.5, 1.0, 2.0)))
        assert augmented.evidence.shape == (9, 12, 3)
        found = augmented.evidence[..., 0].astype(float)
        np.testing.assert_allclose(found * augmented.motion_qpel.max() / found.max(), augmented.motion_qpel[..., 1])


@pytest.mark.parametrize(
    ("size", "crop", "mended", "published"),
    [
        ((854, 480), (960, 720), (1282, 721), (1282, 721)),  # landscape: to the height of the crop
        ((854, 480), (960, 480), (960, 540), None),  # whose width the published programs then miss
        ((352, 288), (960, 720), (960, 786), None),
        ((480, 854), (720, 960), (721, 1282), (721, 1282)),  # portrait: to its width
        ((288, 352), (720, 960), (786, 960), None),
        ((959, 720), (960, 720), (961, 721), (960, 721)),  # one pixel more than needed is just enough
    ],
)
def test_what_a_picture_is_enlarged_to(size, crop, mended, published):
    def enlarged(**words):
        return random_crop(Augmentation(size), random.Random(0), crop, **words).sizes[-1]

    assert enlarged() == mended
    if published:
        assert enlarged(original=True) == published
    else:
        message = rf"training\.crop {crop[0]}x{crop[1]}: .* of {size[0]}x{size[1]} .* does not cover.*original_quirks"
        with pytest.raises(ConfigError, match=message):
            enlarged(original=True)


def test_augment_draws_in_the_published_order():
    draws = Draws(1.0, 1.0, 1.0, 0.9, 1.0, 0.0, 0.0)
    train = TrainConfig(crop="4x3", random_scales=(1.0, 2.0), jitter=0.25)
    sample = pair(6, 8)
    augmented = augment(sample, draws, train)
    drawn = [("uniform", 0.75, 1.25)] * 3 + ["random", ("choice", 1.0, 2.0)]
    assert draws.asked == [*drawn, "random", "random"]
    fitting = Draws(1.0, 1.0, 1.0, 0.9, 1.0)
    augment(pair(3, 4), fitting, train)
    assert fitting.asked == drawn  # a crop of the same size draws nothing
    np.testing.assert_array_equal(augmented.image, sample.image[:3, :4])


def test_augment_obeys_original_quirks():
    draws = (1.0, 1.0, 1.0, 0.9, 1.0, 0.0, 0.0)
    mended, original = (
        augment(pair(6, 8), Draws(*draws), TrainConfig(crop="16x12", random_scales=(1.0,), jitter=0.0, **quirks))
        for quirks in ({}, {"original_quirks": True})
    )
    np.testing.assert_allclose(mended.motion_qpel, 2 * original.motion_qpel)


def test_a_crop_touches_few_pixels(monkeypatch):
    touched = []
    resize = Image.Image.resize
    monkeypatch.setattr(
        Image.Image, "resize", lambda image, *words: touched.append(image.size) or resize(image, *words)
    )
    sample = pair(72, 96)
    augmentation = random_crop(random_scale(source(sample), Draws(2.5), (2.5,)), Draws(0.5, 0.5), (96, 72))
    apply(augmentation, sample)
    frames = [size for size in touched if size[1] > 1]  # the others say how Pillow numbers pixels
    assert len(frames) == 2
    assert all(width <= 44 and height <= 36 for width, height in frames)
