"""Reading frames and label maps, and what is said about broken ones."""

import numpy as np
import pytest
from PIL import Image

from arseg.data.images import check_sizes_match, read_image, read_label
from arseg.errors import DataError

LABEL = np.array([[0, 1, 2], [2, 255, 0]], dtype=np.uint8)


def save(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return path


def test_image_is_rgb_in_file_order(tmp_path):
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    image = read_image(save(tmp_path / "a.png", pixels))
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, pixels)


def test_grey_image_becomes_rgb(tmp_path):
    image = read_image(save(tmp_path / "a.png", np.full((2, 3), 7, dtype=np.uint8)))
    np.testing.assert_array_equal(image, np.full((2, 3, 3), 7))


def test_label_keeps_indices_and_ignored_pixels(tmp_path):
    label = read_label(save(tmp_path / "a.png", LABEL), num_classes=3)
    assert label.dtype == np.uint8
    np.testing.assert_array_equal(label, LABEL)


def test_palette_label_gives_its_indices(tmp_path):
    image = Image.fromarray(LABEL)
    image.putpalette([value for index in range(256) for value in (255 - index, 0, 7)])
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_label(tmp_path / "a.png", num_classes=3), LABEL)


def test_label_outside_the_classes_names_value_place_range_and_mend(tmp_path):
    path = save(tmp_path / "a.png", LABEL)
    with pytest.raises(DataError, match=r"a\.png: label value 2 at row 0, column 2; allowed are 0 to 1 .*255"):
        read_label(path, num_classes=2)


def test_color_label_is_refused(tmp_path):
    path = save(tmp_path / "a.png", np.zeros((2, 3, 3), dtype=np.uint8))
    with pytest.raises(DataError, match=r"pixel format RGB, expected one 8-bit channel .*Convert"):
        read_label(path, num_classes=3)


def test_16_bit_frame_is_refused(tmp_path):
    path = save(tmp_path / "a.png", np.zeros((2, 3), dtype=np.uint16))
    with pytest.raises(DataError, match=r"pixel format I;16, expected 8-bit"):
        read_image(path)


@pytest.mark.parametrize("read", [read_image, lambda path: read_label(path, 3)])
def test_missing_unreadable_and_truncated_files_are_told_apart(tmp_path, read):
    with pytest.raises(DataError, match=r"none\.png: no such"):
        read(tmp_path / "none.png")
    text = tmp_path / "text.png"
    text.write_text("no picture")
    with pytest.raises(DataError, match=r"text\.png: .* cannot be read"):
        read(text)
    noise = np.random.default_rng(0).integers(0, 3, (64, 64), dtype=np.uint8)
    whole = save(tmp_path / "whole.png", noise).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"cut\.png: .* cannot be read .*intact copy"):
        read(tmp_path / "cut.png")


def test_frame_and_label_of_different_size_are_refused(tmp_path):
    image = save(tmp_path / "image.png", np.zeros((4, 6, 3), dtype=np.uint8))
    label = save(tmp_path / "label.png", np.zeros((4, 5), dtype=np.uint8))
    with pytest.raises(DataError, match=r"label\.png: the label map has 5x4 pixels, its frame .* has 6x4"):
        check_sizes_match(image, label)
    check_sizes_match(image, image)
