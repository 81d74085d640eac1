"""Cityscapes as it is unpacked: train ids, manifest rows, and checks of what is there."""

import json
import re
import shutil

import numpy as np
import pytest
from cityscapes_examples import save, write_cityscapes
from PIL import Image

from arseg.cli.main import main
from arseg.data.manifest import read_manifest, write_manifest
from arseg.datasets.cityscapes.labels import convert_label_map, write_train_ids
from arseg.datasets.cityscapes.manifest import annotated_frames, cityscapes_classes, cityscapes_manifest
from arseg.datasets.cityscapes.verify import verify_cityscapes
from arseg.errors import ConfigError, DataError

FIRST_LABEL = "gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png"
FIRST_TRAIN_IDS = "train/aachen/aachen_000000_000019_gtFine_labelTrainIds.png"
FIRST_FRAME = "leftImg8bit_sequence/train/aachen/aachen_000000_000019_leftImg8bit.png"
FIRST_STILL = "leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The miniature and its train ids, not to be changed."""
    folder = tmp_path_factory.mktemp("cityscapes")
    write_cityscapes(folder / "root")
    write_train_ids(folder / "root", folder / "labels")
    return folder


@pytest.fixture
def example(written, tmp_path):
    """A copy of the miniature and its train ids: a folder with `root` and `labels`."""
    shutil.copytree(written, tmp_path / "copy")
    return tmp_path / "copy"


def verify(folder, gop=12):
    return verify_cityscapes(folder / "root", folder / "labels", folder / "report.json", gop=gop)


def test_label_ids_become_train_ids_of_the_official_classes(tmp_path):
    classes = cityscapes_classes()
    assert [cls.index for cls in classes] == list(range(19))
    assert [(classes[index].name, classes[index].color) for index in (0, 13, 18)] == [
        ("road", (128, 64, 128)),
        ("car", (0, 0, 142)),  # not licence plate, of the same colour
        ("bicycle", (119, 11, 32)),
    ]
    assert not any(cls.void for cls in classes)
    ids = np.array([list(range(34)), [255] * 34], dtype=np.uint8)
    for split, city in (("train", "aachen"), ("val", "frankfurt")):
        save(tmp_path / f"gtFine/{split}/{city}/{city}_000000_000019_gtFine_labelIds.png", ids)
    write_train_ids(tmp_path, tmp_path / "labels")
    expected = [
        *[255] * 7,  # unlabeled ... ground
        *[0, 1, 255, 255, 2, 3, 4, 255, 255, 255, 5, 255, 6, 7],  # road ... traffic sign
        *[8, 9, 10, 11, 12, 13, 14, 15, 255, 255, 16, 17, 18],  # vegetation ... bicycle
    ]
    train_ids = np.asarray(Image.open(tmp_path / "labels" / FIRST_TRAIN_IDS))
    np.testing.assert_array_equal(train_ids, np.uint8([expected, [255] * 34]), strict=True)


def test_two_processes_write_what_one_does_and_keep_what_is_finished(written, tmp_path):
    kept = tmp_path / FIRST_TRAIN_IDS
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"finished before the kill")
    write_train_ids(written / "root", tmp_path, num_workers=2)
    assert kept.read_bytes() == b"finished before the kill"
    paths = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.png") if path != kept)
    assert len(paths) == 3
    assert all((tmp_path / path).read_bytes() == (written / "labels" / path).read_bytes() for path in paths)


@pytest.mark.parametrize("workers", [1, 2])
def test_value_outside_the_table_is_named(example, workers):
    shutil.rmtree(example / "labels")
    label = np.zeros((32, 64), dtype=np.uint8)
    label[3, 5] = 34
    save(example / "root" / FIRST_LABEL, label)
    message = r"aachen_000000_000019_gtFine_labelIds\.png: label value 34 at row 3, column 5 is no label id"
    with pytest.raises(DataError, match=message):
        write_train_ids(example / "root", example / "labels", num_workers=workers)
    assert not (example / "labels" / FIRST_TRAIN_IDS).exists()


def test_manifest_rows_name_the_video_also_with_braces_in_the_path(example, tmp_path):
    root, labels = example.rename(tmp_path / "{city}") / "root", tmp_path / "{city}/labels"
    save(root / "gtFine/test/berlin/berlin_000000_000019_gtFine_labelIds.png", np.zeros((2, 2), np.uint8))  # a dummy
    rows = cityscapes_manifest("city", root, labels)
    assert [(row.split, row.sequence, row.frame_index) for row in rows] == [
        ("train", "aachen_000000", 19),
        ("train", "aachen_000001", 19),
        ("val", "frankfurt_000000", 294),  # two snippets of one recording: the same sequence, told apart by frame
        ("val", "frankfurt_000000", 576),
    ]
    first = rows[0]
    assert (first.dataset, first.image, first.label) == ("city", str(root / FIRST_FRAME), str(labels / FIRST_TRAIN_IDS))
    assert (first.frame_step, first.max_distance) == (1, None)
    assert first.frame_path(-11) == root / FIRST_FRAME.replace("000019", "000008")
    write_manifest(tmp_path / "city.csv", rows, cityscapes_classes())
    assert list(read_manifest(tmp_path / "city.csv").rows) == rows


def test_stills_without_videos_serve_phase_1_only(example, caplog):
    shutil.rmtree(example / "root/leftImg8bit_sequence/val")
    report = verify(example)["val"]
    assert (report.stills_only, report.videos, report.compared_stills) == (2, 0, 0)
    assert "2 annotated frames of split val have no video: they serve phase 1 only" in caplog.text
    rows = cityscapes_manifest("city", example / "root", example / "labels")
    assert [(row.frame_pattern == "", row.frame_step) for row in rows] == [(False, 1), (False, 1), (True, 0), (True, 0)]
    assert rows[2].image.endswith("root/leftImg8bit/val/frankfurt/frankfurt_000000_000294_leftImg8bit.png")
    assert "2 of 2 frames of split val have no video around them" in caplog.text


def test_missing_image_and_label_are_named(example):
    (example / "root" / FIRST_STILL).unlink()
    label = example / "labels/val/frankfurt/frankfurt_000000_000294_gtFine_labelTrainIds.png"
    label.unlink()
    with pytest.raises(DataError, match=rf"{label.name}: no such label map.* arseg cityscapes labels"):
        cityscapes_manifest("city", example / "root", example / "labels")
    (example / "root" / FIRST_FRAME).unlink()
    with pytest.raises(DataError, match=rf"{FIRST_FRAME}: the annotated frame is missing, and .*{FIRST_STILL} as well"):
        cityscapes_manifest("city", example / "root", example / "labels")


@pytest.mark.parametrize(
    ("spoil", "given", "message"),
    [
        (None, "root/gtFine", r"root/gtFine: this is gtFine itself\. Give the folder that it lies in: .*/root$"),
        (None, ".", r"gtFine: no such folder, but there is .*/root/gtFine\. Give .*/root as the root"),
        (None, "nowhere", r"nowhere/gtFine: no such folder.* unpack gtFine_trainvaltest\.zip"),
        (("gtFine", "gtfine"), "root", r"root/gtfine: expected the name gtFine"),
        (("gtFine/val/frankfurt", "gtFine/val/bonn"), "root", r"bonn/frankfurt_.*: expected a name of the form bonn_"),
        (("gtFine/val", "leftImg8bit/gtFine"), "root/leftImg8bit", r"gtFine: no labels of the form .* train and val"),
    ],
)
def test_wrong_tree_is_explained(example, spoil, given, message):
    if spoil:
        (example / "root" / spoil[0]).rename(example / "root" / spoil[1])
    with pytest.raises(DataError, match=message):
        annotated_frames(example / given)


@pytest.mark.parametrize(("there", "missing"), [("train", "val"), ("val", "train")])
def test_one_split_at_hand_is_enough_for_what_needs_no_other(example, there, missing, caplog):
    shutil.rmtree(example / "root/gtFine" / missing)
    shutil.rmtree(example / "labels")
    write_train_ids(example / "root", example / "labels")
    assert verify(example)[there].videos == 2
    rows = cityscapes_manifest("city", example / "root", example / "labels")
    assert {row.split for row in rows} == {there}
    assert f"gtFine/{missing}: not there, so split {missing} is left out. For what needs it, unpack" in caplog.text
    write_manifest(example / "city.csv", rows, cityscapes_classes())
    message = rf"data set city: its manifest has no split '{missing}'; its splits are: {there}\. Unpack .* gtFine"
    with pytest.raises(DataError, match=message):
        read_manifest(example / "city.csv").split(missing)


def test_a_split_with_labels_but_no_images_is_left_out(example, caplog):
    for package in ("leftImg8bit_sequence", "leftImg8bit"):
        shutil.rmtree(example / "root" / package / "train")
    assert verify(example)["train"].annotated == 0
    assert {row.split for row in cityscapes_manifest("city", example / "root", example / "labels")} == {"val"}
    assert "leftImg8bit_sequence/train: not there, so split train is left out" in caplog.text


def manifest_command(folder):
    words = f"--dataset city --root {folder}/root --labels {folder}/labels --output {folder}/m.csv"
    main(["manifest", "cityscapes", *words.split()])


def test_train_ids_under_the_name_of_label_ids_are_refused(example):
    for path in sorted((example / "labels/val").rglob("*.png")):
        name = path.name.replace("labelTrainIds", "labelIds")
        shutil.copy(path, example / "root/gtFine/val/frankfurt" / name)
    shutil.rmtree(example / "labels")
    with pytest.raises(DataError, match=r"none of the 2 label maps of its split has a value above 18, so these are"):
        write_train_ids(example / "root", example / "labels")
    assert not (example / "labels").exists()


def test_train_ids_made_of_train_ids_are_refused(example, capsys):
    manifest_command(example)
    (example / "m.csv").unlink()
    for path in (example / "labels/val").rglob("*.png"):
        convert_label_map(path, path)
    with pytest.raises(SystemExit):
        manifest_command(example)
    error = capsys.readouterr().err
    assert "split val: " in error
    assert "of its 2 label maps are 255 (ignored). Train ids are 0 to 18, label ids go up to 33" in error
    assert "arseg cityscapes labels --root" in error
    assert not (example / "m.csv").exists()


def test_label_ids_under_the_name_of_train_ids_are_refused(example, capsys):
    for path in (example / "root/gtFine").rglob("*_labelIds.png"):
        name = str(path.relative_to(example / "root/gtFine")).replace("labelIds", "labelTrainIds")
        shutil.copy(path, example / "labels" / name)
    with pytest.raises(SystemExit):
        manifest_command(example)
    error = capsys.readouterr().err
    assert "and 1 more: label values that are no class: 21, 23, 26, 29; allowed are 0 to 18" in error
    assert "Train ids are 0 to 18, label ids go up to 33: one was taken for the other." in error


def test_verified_miniature_is_reported(example, caplog):
    (example / "root/leftImg8bit_sequence/val/frankfurt/frankfurt_000000_000304_leftImg8bit.png").unlink()
    assert verify(example)["val"].videos == 2
    found = {"annotated": 2, "videos": 2, "stills_only": 0, "incomplete_snippets": [], "compared_stills": 2}
    assert json.loads((example / "report.json").read_text()) == {
        "train": found | {"expected": 2975},
        "val": found | {"expected": 500, "incomplete_snippets": ["frankfurt_000000_000294"]},
    }
    assert "split train has 2 annotated frames, the full data set has 2975" in caplog.text
    assert "1 snippets of split val have fewer than 30 frames" in caplog.text


def test_gap_before_the_annotated_frame_matters_where_a_clip_needs_it(example):
    (example / "root" / FIRST_FRAME.replace("000019", "000008")).unlink()
    assert verify(example, gop=11)["train"].incomplete_snippets == ["aachen_000000_000019"]
    (example / "report.json").unlink()
    with pytest.raises(DataError, match=r"000019_left\w+\.png: 1 of the 11 frames before it .* first is aachen_0\w+8_"):
        verify(example, gop=12)
    assert not (example / "report.json").exists()


def test_label_maps_and_stills_that_do_not_fit_are_problems(example):
    (example / "labels" / FIRST_TRAIN_IDS).unlink()
    save(example / "labels" / FIRST_TRAIN_IDS.replace("000000", "000001"), np.zeros((32, 60), np.uint8))
    shutil.copy(example / "root" / FIRST_FRAME.replace("000019", "000018"), example / "root" / FIRST_STILL)
    for path in (example / "root").glob("left*/val/frankfurt/frankfurt_000000_000294_left*"):
        path.unlink()
    message = r"root: 4 problems:\n  .*no such label map(?s:.*)the label map has 60x32 pixels"
    with pytest.raises(DataError, match=message) as error:
        verify(example)
    assert re.search(rf"{FIRST_FRAME}: another image than .*{FIRST_STILL}, of which the labels", str(error.value))
    assert re.search(r"frankfurt_000000_000294_leftImg8bit\.png: the annotated frame is missing", str(error.value))
    with pytest.raises(ConfigError, match="gop 21: Cityscapes has 19 frames before each annotated one"):
        verify(example, gop=21)
