"""What `arseg segment` writes: videos, palette PNGs, HDF5 and tables, each whole or not at all."""

import csv
import zipfile
from xml.etree import ElementTree as ET

import av
import h5py
import numpy as np
import pytest
from infer_examples import CLASSES, COLORS, HEIGHT, SEGMENTATION_CLASSES, WIDTH, frames_of, rgb_frames
from PIL import Image

from arseg.errors import ConfigError
from arseg.infer.outputs import open_output, overlay
from arseg.infer.segment import FrameInfo


def written(path, labels, alpha=0.5):
    frames = frames_of(len(labels), *labels[0].shape)
    with open_output(path, SEGMENTATION_CLASSES, alpha) as write:
        for index, one in enumerate(labels):
            frame = frames_of(1, *one.shape)[0] if one.shape != labels[0].shape else frames[index]
            write(frame, one, info(index, index / 10))
    return frames


def info(index, seconds):
    return FrameInfo(index, seconds, index % 4, None, is_damaged=index == 1)


def stripes(num_frames, height=HEIGHT, width=WIDTH):
    return [np.tile(np.arange(width) // 7 + shift, (height, 1)).astype(np.uint8) % 4 for shift in range(num_frames)]


def test_pngs_hold_indices_and_colours(tmp_path):
    written(tmp_path / "maps", stripes(3))
    paths = sorted((tmp_path / "maps").iterdir())
    assert [path.name for path in paths] == ["000000.png", "000001.png", "000002.png"]
    for path, expected in zip(paths, stripes(3), strict=True):
        image = Image.open(path)
        np.testing.assert_array_equal(np.asarray(image), expected)
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), np.array(COLORS, np.uint8)[expected])
        with av.open(str(path)) as container:
            pixels = next(container.decode(video=0))
        assert pixels.format.name == "pal8"
        np.testing.assert_array_equal(pixels.to_ndarray()[0], expected)
        assert path.read_bytes()[24] == 8  # bits of a pixel
    with pytest.raises(Exception, match="not empty"):
        written(tmp_path / "maps", stripes(1))


def test_labels_in_hdf5_by_part(tmp_path):
    written(tmp_path / "labels.h5", [*stripes(3), *stripes(2, 48, 80)])
    with h5py.File(tmp_path / "labels.h5") as file:
        assert file.attrs["complete"]
        assert file.attrs["classes"].decode().split("\n") == CLASSES
        np.testing.assert_array_equal(file["palette"], COLORS)
        np.testing.assert_array_equal(file["part0/labels"], stripes(3))
        np.testing.assert_array_equal(file["part1/labels"], stripes(2, 48, 80))
        np.testing.assert_array_equal(file["part1/index"], [3, 4])
        np.testing.assert_allclose(file["part0/seconds"], [0, 0.1, 0.2])
        np.testing.assert_array_equal(file["part0/distance"], [0, 1, 2])
        np.testing.assert_array_equal(file["part0/is_damaged"], [False, True, False])


def test_areas(tmp_path):
    written(tmp_path / "areas.csv", stripes(2))
    with (tmp_path / "areas.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["index", "seconds", "distance", "keyframe_reason", "is_damaged", *CLASSES]
    assert [row["is_damaged"] for row in rows] == ["0", "1"]
    for row, expected in zip(rows, stripes(2), strict=True):
        for number, name in enumerate(CLASSES):
            assert float(row[name]) == pytest.approx((expected == number).mean(), abs=1e-6)


def test_coco_annotations_have_a_mask_for_each_class(tmp_path, monkeypatch):
    coco = pytest.importorskip("pycocotools.coco", reason="needs the extra 'coco'")
    written(tmp_path / "a.json", [*stripes(2), np.full((48, 80), 2, np.uint8)])
    found = coco.COCO(str(tmp_path / "a.json"))
    assert [found.cats[number]["name"] for number in sorted(found.cats)] == CLASSES
    for number, expected in enumerate([*stripes(2), np.full((48, 80), 2, np.uint8)]):
        assert found.imgs[number]["file_name"] == f"{number:06d}.png"
        assert (found.imgs[number]["height"], found.imgs[number]["width"]) == expected.shape
        annotations = found.imgToAnns[number]
        assert [one["category_id"] - 1 for one in annotations] == np.unique(expected).tolist()
        for one in annotations:
            mask = expected == one["category_id"] - 1
            np.testing.assert_array_equal(found.annToMask(one), mask)
            assert (one["area"], one["bbox"], one["iscrowd"]) == (mask.sum(), box_of(mask), 0)
    monkeypatch.setattr("arseg.infer.annotations.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"b\.json: needs the package pycocotools.*pip install 'arseg\[coco\]'"):
        written(tmp_path / "b.json", stripes(1))


def box_of(mask):
    rows, columns = np.nonzero(mask)
    return [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]


def test_cvat_annotations_have_a_mask_for_each_class(tmp_path):
    maps = [*stripes(2), np.full((48, 80), 2, np.uint8)]
    maps[1][5:9, 20:30] = 3  # inside other classes: a row has more than one run
    written(tmp_path / "a.zip", maps)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        root = ET.fromstring(archive.read("annotations.xml"))
    labels = [(label.findtext("name"), label.findtext("color")) for label in root.findall("meta/task/labels/label")]
    assert labels == [(cls.name, "#{:02x}{:02x}{:02x}".format(*cls.color)) for cls in SEGMENTATION_CLASSES]
    for number, (image, expected) in enumerate(zip(root.findall("image"), maps, strict=True)):
        assert (image.get("id"), image.get("name")) == (str(number), f"{number:06d}.png")
        assert (int(image.get("height")), int(image.get("width"))) == expected.shape
        found = np.full(expected.shape, 255)
        for mask in image.findall("mask"):
            left, top, width, height = (int(mask.get(name)) for name in ("left", "top", "width", "height"))
            runs = [int(length) for length in mask.get("rle").split(",")]
            inside = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
            assert box_of(inside) == [0, 0, width, height]
            found[top : top + height, left : left + width][inside] = CLASSES.index(mask.get("label"))
        np.testing.assert_array_equal(found, expected)


def test_a_video_shows_classes_over_frames(tmp_path):
    wide = [np.repeat(np.repeat(one[:4, :6], 16, axis=0), 16, axis=1) for one in stripes(3, 4, 6)]
    frames = written(tmp_path / "over.mp4", wide, alpha=0.5)
    palette = np.array(COLORS, np.uint8)
    for found, frame, labels in zip(rgb_frames(tmp_path / "over.mp4"), frames, wide, strict=True):
        mixed = (frame.astype(int) + palette[labels]) // 2
        assert np.abs(overlay(frame, labels, palette, 0.5) - mixed).max() <= 1
        assert np.abs(found - mixed).mean() < 12
    written(tmp_path / "labels.mp4", wide, alpha=1)
    for found, labels in zip(rgb_frames(tmp_path / "labels.mp4"), wide, strict=True):
        assert np.abs(found - palette[labels]).mean() < 6


def test_a_video_keeps_its_first_size(tmp_path):
    written(tmp_path / "over.mp4", [*stripes(1, 49, 95), *stripes(1, 64, 96)])
    assert [picture.shape for picture in rgb_frames(tmp_path / "over.mp4")] == [(50, 96, 3)] * 2


@pytest.mark.parametrize("name", ["over.mp4", "labels.h5", "areas.csv", "coco.json", "cvat.zip"])
def test_nothing_half_written_stays(tmp_path, name):
    with pytest.raises(AttributeError):
        written(tmp_path / name, [*stripes(2), None])
    assert not list(tmp_path.iterdir())
