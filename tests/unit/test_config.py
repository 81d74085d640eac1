import pytest

from arseg.config import EncodeConfig, TrainConfig, scaled_size
from arseg.errors import ConfigError


@pytest.mark.parametrize("rate", ["3000k", "375k", "qp27", "crf23"])
def test_rates_that_exist(rate):
    assert EncodeConfig(rate=rate).rate == rate


@pytest.mark.parametrize("rate", ["3M", "0k", "qp", "27", "3000", ""])
def test_rates_that_do_not_exist_are_refused_with_an_example(rate):
    with pytest.raises(ConfigError, match="expected a bitrate like 3000k, or qp27, or crf23"):
        EncodeConfig(rate=rate)


def test_a_group_of_pictures_needs_two_frames():
    with pytest.raises(ConfigError, match="gop 1: a group of pictures has at least 2 frames"):
        EncodeConfig(gop=1)


def test_crop_is_width_by_height():
    assert TrainConfig(crop="960x720").crop_size == (960, 720)


@pytest.mark.parametrize("crop", ["960", "960x", "0x720", "a x b"])
def test_malformed_crops_are_refused(crop):
    with pytest.raises(ConfigError, match="expected WIDTHxHEIGHT"):
        TrainConfig(crop=crop)


@pytest.mark.parametrize(
    ("percent", "size"),
    [(100, (720, 960)), (70, (503, 672)), (50, (360, 480)), (30, (216, 288)), (90, (648, 864))],
)
def test_low_resolution_is_truncated_as_published(percent, size):
    assert scaled_size(720, 960, percent) == size
