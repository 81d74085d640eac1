"""What `arseg segment` writes: videos, palette PNGs, HDF5 and tables, each whole or not at all."""

import csv

import h5py
import numpy as np
import pytest
from infer_examples import CLASSES, COLORS, HEIGHT, SEGMENTATION_CLASSES, WIDTH, frames_of, rgb_frames
from PIL import Image

from arseg.infer.outputs import open_output, overlay
from arseg.infer.segment import FrameInfo


def written(path, labels, alpha=0.5, rate=10.0, seconds=None):
    frames = frames_of(len(labels), *labels[0].shape)
    with open_output(path, SEGMENTATION_CLASSES, alpha=alpha, rate=rate) as write:
        for index, one in enumerate(labels):
            at = index / rate if seconds is None else seconds[index]
            write(frames_of(1, *one.shape)[0] if one.shape != labels[0].shape else frames[index], one, info(index, at))
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


def test_a_video_keeps_its_time_where_frames_are_missing(tmp_path):
    seconds = [0, 0.1, 0.5, 0.6, 5000.0, 5000.1]  # two lost pictures, and a clock that jumps
    written(tmp_path / "over.mp4", stripes(6), seconds=seconds)
    assert len(rgb_frames(tmp_path / "over.mp4")) == 6 + 3 + 100


def test_a_video_keeps_its_first_size_and_takes_odd_ones(tmp_path):
    written(tmp_path / "over.mp4", [*stripes(1, 49, 95), *stripes(1, 64, 96)])
    assert [picture.shape for picture in rgb_frames(tmp_path / "over.mp4")] == [(50, 96, 3)] * 2


@pytest.mark.parametrize("name", ["over.mp4", "labels.h5", "areas.csv"])
def test_nothing_half_written_stays(tmp_path, name):
    with pytest.raises(AttributeError):
        written(tmp_path / name, [*stripes(2), None])
    assert not list(tmp_path.iterdir())
