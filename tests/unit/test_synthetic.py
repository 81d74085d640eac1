"""The synthetic street: exact sampling, real motion, reproducible files, and splits that clips can be made of."""

import hashlib
from collections import Counter

import numpy as np
import pytest

from arseg.data.images import read_image, read_label
from arseg.data.manifest import read_manifest, write_manifest
from arseg.datasets.frames.manifest import frames_manifest
from arseg.datasets.synthetic.canvas import Canvas
from arseg.datasets.synthetic.dataset import synthesize
from arseg.datasets.synthetic.render import Street
from arseg.datasets.synthetic.scene import CLASSES, Camera, Label
from arseg.datasets.synthetic.street import paint_building
from arseg.datasets.synthetic.things import paint_lamp
from arseg.errors import ConfigError

CAMERA = Camera(focal=100.0, center_column=50.0, horizon_row=40.0, x=1.0, y=1.5, z=20.0)
TINY = {
    "num_train_sequences": 2,
    "num_val_sequences": 1,
    "num_test_sequences": 1,
    "frames_per_sequence": 9,
    "width": 64,
    "height": 48,
    "gop": 4,
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthetic") / "tree"
    synthesize(folder, seed=3, **TINY)
    return folder


@pytest.fixture(scope="module")
def manifest(tree):
    path = tree.parent / "manifest.csv"
    write_manifest(path, *frames_manifest("synthetic", tree, tree / "classes.csv", tree / "splits.csv"))
    return read_manifest(path)


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_camera_projects_by_the_pinhole_rule():
    # 10 m ahead, 2 m to the right, 0.5 m above the camera: 100 / 10 pixels per metre.
    assert CAMERA.project((3.0, 2.0, 30.0)) == (70.0, 35.0)
    # Twice as far: half the offset from the centre.
    assert CAMERA.project((3.0, 2.0, 40.0)) == (60.0, 37.5)


def empty_canvas(width: int, height: int) -> Canvas:
    return Street(np.random.default_rng(0), 1, width, height).canvas(0)


def test_label_is_sampled_in_the_centre_and_colour_averaged():
    canvas = empty_canvas(4, 3)
    # Covers pixel 1 up to its middle, pixel 2 wholly, and 3/4 of pixel 3: centres of 1 (on the edge), 2 and 3.
    canvas.polygon([(1.5, 0.0), (3.75, 0.0), (3.75, 2.0), (1.5, 2.0)], 7, (100.0, 0.0, 0.0))
    np.testing.assert_array_equal(canvas.label.values, [[0, 7, 7, 7], [0, 7, 7, 7], [0, 0, 0, 0]])
    np.testing.assert_allclose(canvas.pixels()[0, :, 0], [0, 50, 100, 100])


@pytest.mark.parametrize("points", [[(1.0, 1.0), (17.0, 3.0), (6.0, 14.0)], [(6.0, 14.0), (17.0, 3.0), (1.0, 1.0)]])
def test_polygon_is_filled_as_by_edge_tests_in_either_orientation(points):
    canvas = empty_canvas(20, 16)
    canvas.polygon(points, 1, (1.0, 1.0, 1.0))
    corners = np.array(points)
    x, y = np.meshgrid(np.arange(20) + 0.5, np.arange(16) + 0.5)
    turns = np.stack(
        [
            (bx - ax) * (y - ay) - (by - ay) * (x - ax)
            for (ax, ay), (bx, by) in zip(corners, np.roll(corners, -1, axis=0), strict=True)
        ]
    )
    inside = (turns >= 0).all(axis=0) | (turns <= 0).all(axis=0)
    assert abs(inside.sum() - 99) < 10  # the area of the triangle
    np.testing.assert_array_equal(canvas.label.values == 1, inside)


def test_polygon_outside_or_edge_on_paints_nothing():
    canvas = empty_canvas(8, 8)
    canvas.polygon([(-9.0, 0.0), (-2.0, 0.0), (-2.0, 5.0)], 1, (1.0, 1.0, 1.0))
    canvas.polygon([(1.0, 2.5), (6.0, 2.5), (4.0, 2.5)], 1, (1.0, 1.0, 1.0))
    assert not canvas.label.values.any()
    assert not canvas.color.values.any()


def test_objects_move_as_the_camera_does():
    """A lamp's post is where the camera projects it, in every frame, and grows as it comes closer."""
    street = Street(np.random.default_rng(5), 24, 192, 128)
    behind, things = street.layers
    lamp = next(
        found for found in things if found.paint.func is paint_lamp and found.paint.keywords["x"] > 0 and found.z > 16
    )
    street.layers = [[thing for thing in behind if thing.paint.func is paint_building], [lamp]]
    columns, heights = [], []
    for frame in (0, 8, 16):
        _, label = street.render(frame)
        column, foot = street.canvas(frame).camera.project((lamp.paint.keywords["x"], 0.0, lamp.z))
        rows = np.flatnonzero(label[:, int(column)] == Label.POLE)
        assert abs(rows[-1] - (foot - 0.5)) <= 1
        columns.append(column)
        heights.append(len(rows))
    assert heights[0] < heights[1] < heights[2]
    assert abs(columns[2] - columns[0]) > 3


def test_same_seed_same_bytes_with_any_number_of_processes(tree, tmp_path):
    synthesize(tmp_path / "again", seed=3, num_workers=2, **TINY)
    assert digests(tmp_path / "again") == digests(tree)


def test_seeds_and_sequences_differ_and_more_sequences_leave_the_others_as_they_are(tree, tmp_path):
    synthesize(tmp_path / "other", seed=4, **TINY)
    synthesize(tmp_path / "more", seed=3, **{**TINY, "num_train_sequences": 3})
    own, other, more = digests(tree), digests(tmp_path / "other"), digests(tmp_path / "more")
    assert other.keys() == own.keys()
    assert not any(other[name] == own[name] for name in own if name.startswith("images"))
    assert all(more[name] == own[name] for name in own if name.startswith(("images", "labels")))
    first, second = (read_image(tree / "images" / f"train0{number}_000.png") for number in range(2))
    assert np.abs(first.astype(int) - second).mean() > 10


def test_a_frame_of_a_faster_street_is_a_later_frame_of_the_same_street(tmp_path):
    synthesize(tmp_path / "slow", seed=3, **TINY | {"frames_per_sequence": 18})
    synthesize(tmp_path / "fast", seed=3, **TINY, speed=2)
    for frame in range(9):
        fast = read_label(tmp_path / f"fast/labels/val00_{frame:03d}.png", len(CLASSES))
        np.testing.assert_array_equal(
            fast, read_label(tmp_path / f"slow/labels/val00_{2 * frame:03d}.png", len(CLASSES))
        )


def test_every_frame_is_written_and_splits_are_by_sequence(tree, manifest):
    assert len(list((tree / "images").iterdir())) == len(list((tree / "labels").iterdir())) == 4 * 9
    assert manifest.classes == CLASSES
    assert {split: {row.sequence for row in manifest.split(split)} for split in ("train", "val", "test")} == {
        "train": {"train00", "train01"},
        "val": {"val00"},
        "test": {"test00"},
    }
    # 9 frames, GOP 4: frames 3, 5, 7 have 3 frames before them, of these 3 and 5 have 3 after them, too.
    assert Counter(row.split for row in manifest.rows) == {"train": 6, "val": 3, "test": 2}
    assert [row.frame_index for row in manifest.split("test")] == [3, 5]
    for row in manifest.rows:
        assert read_image(row.image).shape[:2] == read_label(row.label, manifest.num_classes).shape == (48, 64)
        assert row.frame_path(-3).is_file()
        assert row.split != "test" or row.frame_path(3).is_file()


def test_all_classes_occur_and_small_ones_are_small():
    share = np.zeros(len(CLASSES))
    for seed in range(6):
        _, label = Street(np.random.default_rng(seed), 20, 192, 128).render(10)
        share += np.bincount(label.ravel(), minlength=len(CLASSES)) / label.size / 6
    assert (share > 0.002).all(), share
    assert share[[Label.POLE, Label.SIGN, Label.PERSON]].max() < 0.05
    assert share[[Label.ROAD, Label.BUILDING, Label.SKY]].min() > 0.1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames_per_sequence": 6}, r"frames_per_sequence 6: .* Set frames_per_sequence to 7 or more"),
        ({"num_val_sequences": 0}, r"num_val_sequences 0: must be at least 1"),
    ],
)
def test_impossible_sizes_are_refused(tmp_path, change, message):
    with pytest.raises(ConfigError, match=message):
        synthesize(tmp_path / "tree", **{**TINY, **change})
    assert not (tmp_path / "tree").exists()
