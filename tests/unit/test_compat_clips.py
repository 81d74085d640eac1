"""Trees of the published programs as clip stores: miniature trees, and what may be wrong with a real one."""

import shutil

import numpy as np
import pytest
from PIL import Image
from published_examples import (
    CITYSCAPES_NAMES,
    HEIGHT,
    WIDTH,
    motion,
    picture,
    save_picture,
    write_camvid_tree,
    write_cityscapes_tree,
)

from arseg.cli.main import main
from arseg.compat.clips import import_published_clips
from arseg.data.manifest import read_manifest
from arseg.datasets.cityscapes.labels import convert_label_map
from arseg.errors import ConfigError, DataError, MotionError, StoreError
from arseg.spec import Encoding
from arseg.store import ClipStore

FRAME = "0001TP_006690"


@pytest.fixture
def tree(tmp_path):
    return write_camvid_tree(tmp_path)


def import_camvid(tree, split="test", **options):
    return import_published_clips(tree, dataset="camvid", split=split, output=tree.parent / "out", **options)


def import_cityscapes(tree, split="val", **options):
    return import_published_clips(tree, dataset="cityscapes", split=split, output=tree.parent / "out", **options)


def test_camvid_manifest(tree):
    imported = import_camvid(tree)
    assert imported.manifest == tree.parent / "out/manifest.csv"
    manifest = read_manifest(imported.manifest)
    assert [(row.sequence, row.frame_index, row.max_distance) for row in manifest.rows] == [
        ("0001TP", 31, None),
        ("0016E5", 422, None),
        ("Seq05VD", 2, 0),
        ("Seq05VD", 62, None),
    ]
    assert {(row.dataset, row.split, row.frame_pattern, row.frame_step) for row in manifest.rows} == {
        ("camvid", "test", "", 0)
    }
    decoded = tree / "decoded_GOP3_dist_0"
    assert manifest.rows[0].image == str(decoded / f"test/{FRAME}.png")
    assert manifest.rows[0].label == str(decoded / f"test_labels_with_ignored/{FRAME}.png")
    assert (manifest.num_classes, manifest.class_names[0], manifest.class_names[11]) == (12, "sky", "void")


def test_camvid_stores_hold_the_trees_own_arrays_and_say_how_they_were_made(tree):
    imported = import_camvid(tree)
    assert [path.name for path in imported.stores] == ["d00.h5", "d01.h5", "d02.h5"]
    with ClipStore(imported.stores[2]) as store:
        found = store.attributes
        assert [(i.sequence, i.frame_index, i.keyframe_index) for i in store.identities()] == [
            ("0001TP", 31, 29),
            ("0016E5", 422, 420),
            ("Seq05VD", 62, 60),
        ]
        sample = store.read(1)
    assert (found.dataset, found.split, found.distance, found.shard, found.num_shards) == ("camvid", "test", 2, 0, 1)
    assert found.encoding == Encoding("hevc", "3000k", gop=3, tail="gop")
    assert found.encoder == "the authors' processed data"
    assert found.manifest_digest == read_manifest(imported.manifest).digest
    np.testing.assert_array_equal(sample.frame, picture(1, 2))
    np.testing.assert_array_equal(sample.keyframe, picture(1, 2, 1))
    np.testing.assert_array_equal(sample.motion_qpel, motion(1, 2))
    assert sample.intra is None
    assert sample.identity.keyframe_image == str(tree / "frames/0016E5/0016E5_000420.png")
    with ClipStore(imported.stores[0]) as store:  # frames are their own keyframes, the one without room among them
        assert [i.frame_index for i in store.identities()] == [31, 422, 2, 62]
        sample = store.read(2)
    np.testing.assert_array_equal(sample.frame, picture(2, 0))
    np.testing.assert_array_equal(sample.keyframe, sample.frame)
    assert not sample.motion_qpel.any()


def test_labels_may_be_named_as_camvids_own(tmp_path):
    tree = write_camvid_tree(tmp_path, label_suffix="_L")
    row = read_manifest(import_camvid(tree).manifest).rows[0]
    assert row.label == str(tree / f"decoded_GOP3_dist_0/test_labels_with_ignored/{FRAME}_L.png")


def test_training_splits_have_the_largest_distance_only(tmp_path):
    tree = write_camvid_tree(tmp_path, split="train")
    for distance in (0, 1):
        shutil.rmtree(tree / f"decoded_GOP3_dist_{distance}")
    imported = import_camvid(tree, split="train", distances=[2])
    assert [path.name for path in imported.stores] == ["d02.h5"]
    rows = read_manifest(imported.manifest).rows
    assert [row.frame_index for row in rows] == [31, 422, 62]  # the frame for d = 0 only has no place here
    assert rows[0].image == str(tree / f"decoded_GOP3_dist_2/train/{FRAME}.png")


def test_the_manifest_does_not_depend_on_the_distances(tree):
    digest = read_manifest(import_camvid(tree, distances=[2]).manifest).digest
    assert read_manifest(import_camvid(tree, distances=[0, 1]).manifest).digest == digest


@pytest.mark.parametrize(
    ("collection", "stem"),
    [("leftImg8bit_sequence", "_leftImg8bit"), ("cityscapes-sequence", "_gtFine_leftImg8bit")],
)
def test_cityscapes(tmp_path, collection, stem):
    tree = write_cityscapes_tree(tmp_path, collection=collection, stem=stem)
    imported = import_cityscapes(tree)
    manifest = read_manifest(imported.manifest)
    assert [(row.sequence, row.frame_index, row.max_distance) for row in manifest.rows] == [
        ("frankfurt_000000", 294, None),
        ("munster_000001", 19, None),
    ]
    assert manifest.rows[0].image.endswith(f"leftImg8bit/val/frankfurt/frankfurt_000000_000294{stem}.png")
    assert (manifest.num_classes, manifest.class_names[0]) == (19, "road")
    with ClipStore(imported.stores[1]) as store:
        found, sample = store.attributes, store.read(1)
    assert found.encoding == Encoding("hevc", "5000k", gop=2, fps=17, tail="annotated")
    np.testing.assert_array_equal(sample.frame, picture(1, 1))
    np.testing.assert_array_equal(sample.keyframe, picture(1, 1, 1))
    np.testing.assert_array_equal(sample.motion_qpel, motion(1, 1))
    assert sample.identity.keyframe_index == 18


def test_cityscapes_labels_become_train_ids(tmp_path):
    tree = write_cityscapes_tree(tmp_path)
    row = read_manifest(import_cityscapes(tree).manifest).rows[0]
    assert row.label == str(
        tmp_path / f"leftImg8bit_sequence/out/labels/{CITYSCAPES_NAMES[0]}_gtFine_labelTrainIds.png"
    )
    source = tree / f"decoded_GOP2_dist_0/gtFine/val/frankfurt/{CITYSCAPES_NAMES[0]}_gtFine_labelIds.png"
    ids, train_ids = np.array(Image.open(source)), np.array(Image.open(row.label))
    for label_id, train_id in {0: 255, 3: 255, 7: 0, 8: 1, 11: 2, 21: 8, 23: 10, 26: 13, 33: 18}.items():
        assert set(train_ids[ids == label_id]) == {train_id}


def test_cityscapes_labels_that_are_train_ids_already_are_refused(tmp_path):
    tree = write_cityscapes_tree(tmp_path)
    for path in tree.rglob("*_gtFine_labelIds.png"):
        convert_label_map(path, path)
    with pytest.raises(DataError, match=r"none of the 2 label maps of its split has a value above 18"):
        import_cityscapes(tree)


# Runs that go on


def test_finished_stores_are_kept_and_missing_ones_made(tree, caplog):
    imported = import_camvid(tree)
    kept = imported.stores[1].stat().st_mtime_ns
    imported.stores[2].unlink()
    with caplog.at_level("INFO"):
        assert import_camvid(tree) == imported
    assert imported.stores[1].stat().st_mtime_ns == kept
    assert imported.stores[2].is_file()
    assert [m for m in caplog.messages if "is there already" in m] == [
        f"{path}: is there already" for path in imported.stores[:2]
    ]


def test_damaged_stores_and_those_of_another_manifest_are_made_again(tree):
    imported = import_camvid(tree)
    imported.stores[0].write_bytes(imported.stores[0].read_bytes()[:1000])
    shutil.copy(imported.stores[2], imported.stores[1])
    import_camvid(tree)
    for distance, path in enumerate(imported.stores):
        with ClipStore(path) as store:
            assert store.attributes.distance == distance
    for folder in tree.glob("decoded*"):
        (folder / "test/0016E5_00420.png").unlink()
    import_camvid(tree)
    with ClipStore(imported.stores[1]) as store:
        assert [i.frame_index for i in store.identities()] == [31, 62]


def test_a_failure_leaves_no_half_store(tree):
    motion_file = tree / "MVmap_GOP3_dist_2/Seq05VD/Seq05VD_f00060.bin"
    motion_file.write_bytes(b"")
    with pytest.raises(MotionError):
        import_camvid(tree)
    assert sorted(path.name for path in (tree.parent / "out").iterdir()) == [
        "d00.h5",
        "d01.h5",
        "manifest.classes.csv",
        "manifest.csv",
    ]


# What may be wrong with a tree


def remove(path):
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def draw(*shape):
    """Put another picture of (H, W) or RGB in a place."""
    return lambda path: save_picture(path, np.full(shape, 31, np.uint8))


DECODED, LABELS = "decoded_GOP3_dist_0/test", "decoded_GOP3_dist_0/test_labels_with_ignored"


@pytest.mark.parametrize(
    ("place", "spoil", "message"),
    [
        (f"MVmap_GOP3_dist_1/0001TP/{FRAME}.bin", remove,
         rf"MVmap_GOP3_dist_1/0001TP/{FRAME}\.bin: no such motion; .*decoded_GOP3_dist_1/test/{FRAME}\.png needs it"),
        (f"MVmap_GOP3_dist_1/0001TP/{FRAME}.bin", lambda path: path.write_bytes(path.read_bytes()[:-4]),
         rf"{FRAME}\.bin: has {HEIGHT * WIDTH * 4 - 4} bytes, expected {HEIGHT * WIDTH * 4}: .*64x48"),
        ("frames/0001TP/0001TP_000029.png", remove,
         r"frames/0001TP/0001TP_000029\.png: no such keyframe; .*dist_2/test/"),
        ("frames/0001TP/0001TP_000030.png", draw(24, WIDTH, 3),
         r"0001TP_000030\.png: the keyframe has 64x24 pixels, its frame .* has 64x48"),
        (f"{LABELS}/{FRAME}.png", remove, rf"{FRAME}\.png or .*{FRAME}_L\.png: no such label map"),
        (f"{LABELS}/{FRAME}.png", draw(HEIGHT, 32), rf"{FRAME}\.png: the label map has 32x48 pixels, its frame 64x48"),
        (f"{LABELS}/{FRAME}.png", draw(HEIGHT, WIDTH),
         rf"{FRAME}\.png: label values that are no class: 31; .*the 12 classes"),
        (f"decoded_GOP3_dist_2/test/{FRAME}.png", remove,
         rf"decoded_GOP3_dist_2/test: lacks the decoded frame of {FRAME}, .* another distance: .*test/{FRAME}\.png"),
        (f"{DECODED}/{FRAME}.png", remove, rf"dist_0/test: lacks the decoded frame of {FRAME}, .*dist_1/test/{FRAME}"),
        ("decoded_GOP3_dist_1", remove, r"decoded_GOP3_dist_1/test: no such folder\. .*arseg import --distances"),
        (f"{DECODED}/0099ZZ_000001.png", draw(HEIGHT, WIDTH, 3),
         r"dist_0/test/0099ZZ_000001\.png: .*0099ZZ.*\. Remove it, or give it its name"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_camvid_is_named(tree, place, spoil, message):
    spoil(tree / place)
    with pytest.raises((DataError, MotionError), match=message):
        import_camvid(tree)
    assert not list((tree.parent / "out").glob("d0[12].h5"))


CITYSCAPES_LABEL = f"decoded_GOP2_dist_0/gtFine/val/frankfurt/{CITYSCAPES_NAMES[0]}_gtFine_labelIds.png"


@pytest.mark.parametrize(
    ("place", "spoil", "message"),
    [
        ("frames/val/munster/munster_000001_000018_leftImg8bit.png", remove,
         r"val/munster/munster_000001_000018_leftImg8bit\.png: no such keyframe"),
        (CITYSCAPES_LABEL, lambda path: save_picture(path, np.full((HEIGHT, WIDTH), 40, np.uint8)),
         rf"{CITYSCAPES_NAMES[0]}_gtFine_labelIds\.png: label value 40 at row 0, .* id"),
        ("decoded_GOP2_dist_1/leftImg8bit/val/bonn/bonn.png", draw(HEIGHT, WIDTH, 3),
         r"val/bonn/bonn\.png: 'bonn' is not a name of Cityscapes; expected CITY_000000_"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_cityscapes_is_named(tmp_path, place, spoil, message):
    tree = write_cityscapes_tree(tmp_path)
    spoil(tree / place)
    with pytest.raises(DataError, match=message):
        import_cityscapes(tree)


def test_frames_of_two_sizes(tree):
    draw(24, WIDTH, 3)(tree / DECODED / "Seq05VD_f00060.png")
    save_picture(tree / LABELS / "Seq05VD_f00060.png", np.zeros((24, WIDTH), np.uint8))
    with pytest.raises(StoreError, match=r"Seq05VD_f00060\.png: the frame has 64x24 pixels, those before it 64x48"):
        import_camvid(tree)


def test_empty_and_unknown_splits(tree):
    with pytest.raises(DataError, match=r"dist_0/val: no such folder, .*; the splits there: test\. .*--split"):
        import_camvid(tree, split="val")
    (tree / "decoded_GOP3_dist_0/val").mkdir()
    with pytest.raises(DataError, match=r"decoded_GOP3_dist_0/val: holds no decoded frames"):
        import_camvid(tree, split="val", distances=[0])


def test_folders_that_are_no_tree(tree):
    with pytest.raises(DataError, match=r"nowhere/3M-GOP12: no such folder"):
        import_camvid(tree.parent / "nowhere/3M-GOP12")
    with pytest.raises(DataError, match=r"decoded_GOP3_dist_0: expected a folder named .* like 3M-GOP12"):
        import_camvid(tree / "decoded_GOP3_dist_0")


def test_distances_that_cannot_be(tree):
    with pytest.raises(ConfigError, match=r"distances \[3\]: .*3M-GOP3 has distances 0 to 2"):
        import_camvid(tree, distances=[0, 3])


# The command


def test_command_names_what_it_wrote(tree, tmp_path, capsys):
    output = tmp_path / "imported"
    words = ["import", tree, "--dataset", "camvid", "--split", "test", "--output", output, "--distances", 0, 2]
    main([str(word) for word in words])
    assert capsys.readouterr().out.splitlines() == [
        f"wrote {output / name}" for name in ("manifest.csv", "d00.h5", "d02.h5")
    ]
