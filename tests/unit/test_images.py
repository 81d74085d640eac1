"""Reading frames and label maps, and what is said about broken ones."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from arseg.data.images import read_image, read_label
from arseg.errors import DataError

LABEL = np.array([[0, 1, 2], [2, 255, 0]], dtype=np.uint8)


def test_labels_are_the_stored_indices_with_and_without_a_palette(tmp_path):
    image = Image.fromarray(LABEL)
    for _ in range(2):
        image.save(tmp_path / "a.png")
        label = read_label(tmp_path / "a.png", num_classes=3)
        assert label.dtype == np.uint8
        np.testing.assert_array_equal(label, LABEL)
        image.putpalette([value for index in range(256) for value in (255 - index, 0, 7)])


def textured(mode, size=(37, 29)):
    """Draw a picture for which an encoder chooses various filters."""
    rng = np.random.default_rng(0)
    steps = rng.integers(0, 4, (size[1], size[0], 4)).cumsum(axis=0) + rng.integers(0, 60, (1, size[0], 4))
    image = Image.fromarray(steps.astype(np.uint8), "RGBA")
    return image.convert("RGB").quantize(16) if mode == "P" else image.convert(mode)


def plain_png(rows, width, height, color_type=2, name=b"IDAT", bits=8):
    """Write a PNG whose compressed rows are given, filters included."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(name, rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
@pytest.mark.parametrize("options", [{}, {"compress_level": 0}, {"optimize": True}, {"transparency": 0}])
def test_frames_are_what_pillow_reads(tmp_path, mode, options):
    image = textured(mode)
    if "transparency" in options and mode == "RGB":
        options = {"transparency": image.getpixel((0, 0))}
    image.save(tmp_path / "a.png", **({} if mode == "RGBA" else options))
    with Image.open(tmp_path / "a.png") as stored:
        np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.asarray(stored.convert("RGB")))


def test_all_filters_of_png_are_undone(tmp_path):
    rng = np.random.default_rng(0)
    for width, channels, read in ((1, 3, read_image), (31, 3, read_image), (31, 1, lambda path: read_label(path, 256))):
        rows = rng.integers(0, 256, (25, 1 + channels * width), dtype=np.uint8)
        rows[:, 0] = np.arange(25) % 5
        color_type = 2 if channels == 3 else 0
        (tmp_path / "a.png").write_bytes(plain_png(zlib.compress(rows.tobytes()), width, 25, color_type))
        with Image.open(tmp_path / "a.png") as image:
            np.testing.assert_array_equal(read(tmp_path / "a.png"), np.asarray(image))


def test_pixels_in_many_parts_are_joined(tmp_path, monkeypatch):
    monkeypatch.setattr(ImageFile, "MAXBLOCK", 200)
    image = textured("RGB")
    image.save(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().count(b"IDAT") > 2
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.asarray(image))


ROWS = bytes(3 * [0, 1, 2, 3])


DAMAGED = {
    "too few pixels": plain_png(zlib.compress(ROWS[:-1]), 1, 3),
    "too many": plain_png(zlib.compress(ROWS + b"0"), 1, 3),
    "zlib's own checksum cut": plain_png(zlib.compress(ROWS)[:-1], 1, 3),
    "and wrong": plain_png(zlib.compress(ROWS)[:-1] + b"?", 1, 3),
    "no such filter": plain_png(zlib.compress(b"\5" + ROWS[1:]), 1, 3),
    "no pixels": plain_png(zlib.compress(ROWS), 1, 3, name=b"tEXt"),
    "no end": plain_png(zlib.compress(ROWS), 1, 3)[:-12],
    "last checksum wrong": plain_png(zlib.compress(ROWS), 1, 3)[:-1] + b"?",
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_what_intact_parts_cannot_tell_is_refused(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.png: the frame cannot be read .*intact copy"):
        read_image(tmp_path / "a.png")


def test_pictures_of_unbelievable_size_are_left_to_pillow(tmp_path):
    (tmp_path / "a.png").write_bytes(plain_png(zlib.compress(bytes(1000)), 2**16, 2**16))
    with pytest.raises(DataError, match=r"cannot be read .*decompression bomb"):
        read_image(tmp_path / "a.png")


def test_label_outside_the_classes_names_value_place_range_and_mend(tmp_path):
    Image.fromarray(LABEL).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png: label value 2 at row 0, column 2; allowed are 0 to 1 .*255"):
        read_label(tmp_path / "a.png", num_classes=2)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_label_map_of_few_bits_gives_the_indices_that_are_stored(tmp_path, bits):
    indices = np.random.default_rng(bits).integers(0, min(2**bits, 12), (3, 5), np.uint8)
    packed = np.packbits(np.unpackbits(indices[..., np.newaxis], axis=2)[..., -bits:].reshape(3, -1), axis=1)
    rows = np.insert(packed, 0, 0, axis=1).tobytes()
    (tmp_path / "label.png").write_bytes(plain_png(zlib.compress(rows), 5, 3, color_type=0, bits=bits))
    np.testing.assert_array_equal(read_label(tmp_path / "label.png", 16), indices)


def test_a_label_map_of_16_bits_is_told_to_take_8(tmp_path):
    Image.fromarray(np.ones((2, 2), np.uint16)).save(tmp_path / "label.png")
    with pytest.raises(DataError, match=r"pixel format I;16, .* Store the indices in 8 bits\."):
        read_label(tmp_path / "label.png", 4)
    # Of a frame, Pillow reads half.
    (tmp_path / "a.png").write_bytes(plain_png(zlib.compress(bytes(2 * (1 + 3 * 6))), 3, 2, bits=16))
    with pytest.raises(DataError, match=r"pixel format RGB;16, expected 8-bit RGB or grey"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("read", [read_image, lambda path: read_label(path, 3)])
def test_missing_and_unreadable_files_are_told_apart(tmp_path, read):
    with pytest.raises(DataError, match=r"a\.png: no such"):
        read(tmp_path / "a.png")
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(DataError, match=r"a\.png: .* cannot be read"):
        read(tmp_path / "a.png")
