"""What is told of frames and label maps when their manifest is made."""

import zlib

import numpy as np
import pytest
from PIL import Image
from test_images import plain_png

from arseg.data.checks import check_files
from arseg.data.manifest import ManifestRow
from arseg.errors import DataError
from arseg.spec import SegmentationClass

CLASSES = (
    SegmentationClass(0, "road", (128, 64, 128), void=False),
    SegmentationClass(1, "car", (64, 0, 128), void=False),
    SegmentationClass(2, "void", (0, 0, 0), void=True),
)
HEIGHT, WIDTH = 4, 6
INDICES = np.arange(HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH) % 3
FRAME = np.zeros((HEIGHT, WIDTH, 3), np.uint8)


@pytest.fixture
def files(tmp_path):
    """A folder of eight sound frames and label maps, and the rows that name them."""
    rows = []
    for index in range(8):
        frame, label = tmp_path / f"a_{index}.png", tmp_path / f"label_{index}.png"
        Image.fromarray(FRAME).save(frame)
        Image.fromarray(INDICES).save(label)
        split = "train" if index < 4 else "test"
        rows.append(ManifestRow("own", split, "a", index, str(frame), str(label), f"{tmp_path}/a_{{index}}.png", 1))
    return rows


def save_label(row, indices, palette=None):
    image = Image.fromarray(np.asarray(indices, np.uint8))
    if palette is not None:
        image.putpalette(np.asarray(palette, np.uint8).ravel().tolist())
    image.save(row.label)


def warnings(caplog):
    return [record.message for record in caplog.records if record.levelname == "WARNING"]


def test_sound_files_pass_without_a_word_and_frames_without_labels_need_none(files, caplog):
    check_files(files, CLASSES)
    check_files([ManifestRow("own", "all", "a", 0, files[0].image, "", "", 0)], CLASSES)
    assert not warnings(caplog)


def test_values_outside_the_classes_are_found_in_all_splits_at_once(files):
    for row, value in zip(files[2:], (3, 7, 3, 200, 3, 3), strict=True):
        save_label(row, np.where(INDICES == 1, value, INDICES))
    message = (
        r"label_2\.png, .*label_3\.png, .*label_4\.png and 3 more: label values that are no class: 3, 7, 200; allowed "
        r"are 0 to 2 \(the 3 classes\) and 255 \(ignored\)\. "
        r"Set such pixels to 255, or add the classes to the classes sheet\.$"
    )
    with pytest.raises(DataError, match=message):
        check_files(files, CLASSES)


def save_cmyk(path):
    Image.new("CMYK", (WIDTH, HEIGHT)).save(path, format="JPEG")


def save_rgb16(path):
    path.write_bytes(plain_png(zlib.compress(bytes(HEIGHT * (1 + 6 * WIDTH))), WIDTH, HEIGHT, bits=16))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (save_rgb16, r"the frame has the pixel format RGB;16, expected 8-bit RGB or grey\. Convert"),
        (save_cmyk, r"the frame has the pixel format CMYK"),
        (lambda path: Image.new("I;16", (WIDTH, HEIGHT)).save(path), r"the pixel format I;16"),
        (lambda path: path.write_text("text"), r"the frame cannot be read"),
        (lambda path: path.unlink(), r"no such frame"),
        (
            lambda path: Image.new("RGB", (WIDTH, HEIGHT + 1)).save(path),
            r"the label map has 6x4 pixels, its frame 6x5\. Resize(?s:.*)others of its video 6x4",
        ),
    ],
    ids=["16 bits", "CMYK", "grey of 16 bits", "no image", "missing", "another size"],
)
def test_frames_that_cannot_be_used_are_found_by_their_headers(files, tmp_path, spoil, message):
    spoil(tmp_path / "a_7.png")
    with pytest.raises(DataError, match=message):
        check_files(files, CLASSES)


@pytest.mark.parametrize(
    ("mode", "suffix", "message"),
    [
        ("RGB", "png", r"pixel format RGB, expected one 8-bit channel .*Convert colour labels"),
        ("LA", "png", r"pixel format LA, .* Remove the alpha channel"),
        ("I;16", "png", r"pixel format I;16, .* Store the indices in 8 bits"),
        ("L", "jpeg", r"the label map is a JPEG, which changes class indices .* save it as PNG"),
    ],
)
def test_label_maps_of_another_kind_are_found_and_counted(files, mode, suffix, message):
    for row in files[3:]:
        Image.new(mode, (WIDTH, HEIGHT)).save(row.label, format=suffix)
    with pytest.raises(DataError, match=rf"label_3\.png, .*label_4\.png, .*label_5\.png and 2 more: .*{message}"):
        check_files(files, CLASSES)


def test_problems_of_all_kinds_are_in_one_message(files, tmp_path):
    save_cmyk(tmp_path / "a_0.png")
    Image.new("RGB", (WIDTH, HEIGHT)).save(files[1].label)
    save_label(files[2], INDICES + 9)
    save_label(files[3], INDICES[:, :-1])
    with pytest.raises(DataError, match=r"^4 problems with frames and label maps:") as raised:
        check_files(files, CLASSES)
    for line, word in zip(str(raised.value).splitlines()[1:], ("CMYK", "RGB", "5x4", "9, 10, 11"), strict=True):
        assert word in line


def test_a_mostly_ignored_split_is_a_warning_with_the_share(files, caplog):
    for row in files[4:]:
        save_label(row, np.where(np.arange(HEIGHT)[:, np.newaxis] < 3, 255, INDICES))
    check_files(files, CLASSES)
    assert warnings(caplog) == [
        "split test: 75 % of the pixels of its 4 label maps are 255 (ignored). Is that meant?",
    ]
    with pytest.raises(DataError, match=r"^split test: 75 % of the pixels .* are 255 \(ignored\)\. Made by mistake\.$"):
        check_files(files, CLASSES, label_hint="Made by mistake.")
    for row in files[:4]:
        save_label(row, np.full_like(INDICES, 255))
    with pytest.raises(DataError, match=r"^split train: 100 % of the pixels of its 4 label maps are 255"):
        check_files(files, CLASSES)


def test_palettes_that_contradict_the_classes_sheet_are_told(files, caplog):
    colors = [cls.color for cls in CLASSES]
    save_label(files[0], INDICES, colors)
    save_label(files[1], INDICES, [[index] * 3 for index in range(256)])  # a grey ramp says nothing
    check_files(files, CLASSES)
    assert not warnings(caplog)
    for row in files[2:7]:
        save_label(row, INDICES, [colors[0], colors[2], (1, 2, 3)])
    check_files([files[1], *files[2:]], CLASSES)
    (said,) = warnings(caplog)
    assert "palettes of label maps contradict the classes sheet; the index counts, not the colour" in said
    names = f"{files[2].label}, {files[3].label}, {files[4].label} and 2 more"
    in_palette, in_sheet = "(0, 0, 0) (that of void) in the palette", "(64, 0, 128) in the classes sheet"
    assert f"index 1 has the colour {in_palette}, class car has {in_sheet}: {names}" in said
    assert "index 2 has the colour (1, 2, 3) in the palette, class void has (0, 0, 0) in the classes sheet" in said


def test_a_class_that_never_occurs_is_told(files, caplog):
    check_files(files, [*CLASSES, SegmentationClass(3, "fence", (64, 64, 128), void=False)])
    assert warnings(caplog) == ["classes that occur in none of the 8 label maps: fence"]


def test_palettes_that_contradict_one_another_are_told(files, caplog):
    colors = [cls.color for cls in CLASSES]
    save_label(files[0], INDICES, colors)
    save_label(files[1], INDICES, [colors[1], colors[0], colors[2]])
    save_label(files[2], INDICES * 0 + 2, [colors[1], colors[0], colors[2]])  # the swapped ones do not occur
    check_files(files, CLASSES)
    (_, said) = warnings(caplog)
    assert "palettes of label maps contradict one another" in said
    color, first = (64, 0, 128), (128, 64, 128)
    assert f"index 0 has the colour {color} in the palette, {first} in {files[0].label}: {files[1].label}" in said
    assert files[2].label not in said


def test_what_reading_a_frame_drops_is_told(files, tmp_path, caplog):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(FRAME).save(tmp_path / "a_1.png", format="JPEG", exif=exif)
    Image.new("RGBA", (WIDTH, HEIGHT)).save(tmp_path / "a_2.png")
    check_files(files, CLASSES)
    alpha, turned = warnings(caplog)
    assert alpha == f"1 of 8 frames have an alpha channel, which is dropped: {tmp_path}/a_2.png"
    assert "1 of 8 frames have an EXIF orientation, which is not followed" in turned
    assert turned.endswith(f": {tmp_path}/a_1.png")
