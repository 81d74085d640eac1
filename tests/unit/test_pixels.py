"""Bytes to network input: hand-computed values, and the same bits for every layout of a batch."""

import numpy as np
import torch

from arseg.models.pixels import normalize
from arseg.spec import NORMALIZATIONS, Normalization


def test_values_are_those_of_the_formula():
    pixels = torch.tensor([[[[0, 51, 255], [255, 0, 102]]]], dtype=torch.uint8)  # (1, 1, 2, 3)
    image = normalize(pixels, Normalization((0.5, 0.2, 0.0), (0.5, 0.2, 4.0)))
    assert image.shape == (1, 3, 1, 2)
    torch.testing.assert_close(image[0, :, 0], torch.tensor([[-1.0, 1.0], [0.0, -1.0], [0.25, 0.1]]))


def test_each_byte_gets_one_value_wherever_it_stands():
    normalization = NORMALIZATIONS["camvid"]
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 37, 53, 3), dtype=np.uint8))
    image = normalize(pixels, normalization)
    for channel in range(3):
        mean, std = (np.float32(values[channel]) for values in (normalization.mean, normalization.std))
        table = (np.arange(256, dtype=np.float32) / np.float32(255) - mean) / std
        np.testing.assert_array_equal(image[:, channel].numpy(), table[pixels[..., channel].numpy()])


def test_the_result_is_channels_last_without_a_copy():
    pixels = torch.zeros(1, 4, 6, 3, dtype=torch.uint8)
    assert normalize(pixels, NORMALIZATIONS["imagenet"]).is_contiguous(memory_format=torch.channels_last)
