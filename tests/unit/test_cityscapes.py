"""Cityscapes from packages to manifest: unpacking, train ids, manifest rows, and checks of what is there."""

import json
import shutil
import zipfile
from collections import Counter

import numpy as np
import pytest
from cityscapes_examples import SNIPPETS, save, write_cityscapes
from PIL import Image

from arseg.cli.main import main
from arseg.data.clips import make_clip_stores
from arseg.data.manifest import read_manifest, write_manifest
from arseg.datasets.cityscapes.labels import convert_label_map, write_train_ids
from arseg.datasets.cityscapes.manifest import (
    annotated_frames,
    cityscapes_classes,
    cityscapes_manifest,
)
from arseg.datasets.cityscapes.packages import unpack_cityscapes
from arseg.datasets.cityscapes.verify import verify_cityscapes
from arseg.errors import ConfigError, DataError, DiskFullError
from arseg.spec import Encoding
from arseg.store import ClipStore

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


def test_classes_are_the_official_ones():
    classes = cityscapes_classes()
    assert [cls.index for cls in classes] == list(range(19))
    assert (classes[0].name, classes[0].color) == ("road", (128, 64, 128))
    assert (classes[13].name, classes[13].color) == ("car", (0, 0, 142))  # not licence plate, of the same colour
    assert (classes[18].name, classes[18].color) == ("bicycle", (119, 11, 32))
    assert not any(cls.void for cls in classes)


def test_label_ids_become_train_ids(tmp_path):
    ids = np.array([list(range(34)), [255] * 34], dtype=np.uint8)
    for split, city in (("train", "aachen"), ("val", "frankfurt")):
        save(tmp_path / f"gtFine/{split}/{city}/{city}_000000_000019_gtFine_labelIds.png", ids)
    write_train_ids(tmp_path, tmp_path / "labels")
    train_ids = np.asarray(Image.open(tmp_path / "labels" / FIRST_TRAIN_IDS))
    ignored = 255
    expected = [
        *[ignored] * 7,  # unlabeled ... ground
        *[0, 1, ignored, ignored, 2, 3, 4, ignored, ignored, ignored, 5, ignored, 6, 7],  # road ... traffic sign
        *[8, 9, 10, 11, 12, 13, 14, 15, ignored, ignored, 16, 17, 18],  # vegetation ... bicycle
    ]
    assert train_ids.tolist() == [expected, [ignored] * 34]
    assert train_ids.dtype == np.uint8


def test_two_processes_write_what_one_does(written, tmp_path):
    write_train_ids(written / "root", tmp_path, num_workers=2)
    paths = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.png"))
    assert len(paths) == 4
    assert all((tmp_path / path).read_bytes() == (written / "labels" / path).read_bytes() for path in paths)


def test_finished_label_maps_are_kept(example):
    labels = example / "labels"
    kept, removed = sorted((labels / "train/aachen").iterdir())
    kept.write_bytes(b"finished before the kill")
    removed.unlink()
    write_train_ids(example / "root", labels)
    assert kept.read_bytes() == b"finished before the kill"
    assert removed.is_file()


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


def test_dummies_of_the_test_split_are_left_out(example):
    save(example / "root/gtFine/test/berlin/berlin_000000_000019_gtFine_labelIds.png", np.zeros((2, 2), np.uint8))
    assert {frame.split for frame in annotated_frames(example / "root")} == {"train", "val"}


def test_manifest_rows_name_the_video(written):
    root, labels = written / "root", written / "labels"
    rows = cityscapes_manifest("city", root, labels)
    assert Counter(row.split for row in rows) == {"train": 2, "val": 2}
    first = rows[0]
    assert (first.dataset, first.sequence, first.frame_index) == ("city", "aachen_000000", 19)
    assert first.image == str(root / FIRST_FRAME)
    assert first.label == str(labels / FIRST_TRAIN_IDS)
    assert (first.frame_step, first.max_distance) == (1, None)
    assert first.frame_path(-11) == root / FIRST_FRAME.replace("000019", "000008")
    # Two snippets of one recording: the same sequence, told apart by frame.
    assert [(row.sequence, row.frame_index) for row in rows[2:]] == [
        ("frankfurt_000000", 294),
        ("frankfurt_000000", 576),
    ]


def test_manifest_survives_its_file_also_with_braces_in_the_path(written, tmp_path):
    root = tmp_path / "{city}"
    shutil.copytree(written / "root", root)
    rows = cityscapes_manifest("city", root, written / "labels")
    write_manifest(tmp_path / "city.csv", rows, cityscapes_classes())
    manifest = read_manifest(tmp_path / "city.csv")
    assert list(manifest.rows) == rows
    assert manifest.num_classes == 19
    assert rows[0].frame_path(-1).is_file()


def test_manifest_falls_back_to_stills(example, caplog):
    shutil.rmtree(example / "root/leftImg8bit_sequence/val")
    rows = cityscapes_manifest("city", example / "root", example / "labels")
    assert [(row.frame_pattern == "", row.frame_step) for row in rows] == [(False, 1), (False, 1), (True, 0), (True, 0)]
    assert rows[2].image.endswith("root/leftImg8bit/val/frankfurt/frankfurt_000000_000294_leftImg8bit.png")
    assert "2 of 2 frames of split val have no video around them" in caplog.text


def test_missing_image_and_label_are_named(example):
    (example / "root" / FIRST_STILL).unlink()
    (example / "labels/val/frankfurt/frankfurt_000000_000294_gtFine_labelTrainIds.png").unlink()
    with pytest.raises(
        DataError, match=r"000294_gtFine_labelTrainIds\.png: no such label map.* arseg cityscapes labels"
    ):
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
    ],
)
def test_wrong_tree_is_explained(example, spoil, given, message):
    if spoil:
        (example / "root" / spoil[0]).rename(example / "root" / spoil[1])
    with pytest.raises(DataError, match=message):
        annotated_frames(example / given)


@pytest.mark.parametrize("there", ["train", "val"])
def test_one_split_at_hand_is_enough_for_what_needs_no_other(example, there, caplog):
    missing = {"train": "val", "val": "train"}[there]
    shutil.rmtree(example / "root/gtFine" / missing)
    shutil.rmtree(example / "labels")
    write_train_ids(example / "root", example / "labels")
    assert verify(example)[there].videos == 2
    rows = cityscapes_manifest("city", example / "root", example / "labels")
    assert {row.split for row in rows} == {there}
    assert (
        f"gtFine/{missing}: not there, so split {missing} is left out. For what needs it, unpack gtFine" in caplog.text
    )
    write_manifest(example / "city.csv", rows, cityscapes_classes())
    message = (
        rf"data set city: its manifest has no split '{missing}'; its splits are: {there}\. Unpack what that split "
        r"needs \(of Cityscapes, gtFine and leftImg8bit_sequence\) and make the manifest again, choose another "
    )
    with pytest.raises(DataError, match=message):
        read_manifest(example / "city.csv").split(missing)


def test_a_split_with_labels_but_no_images_is_left_out(example, caplog):
    for package in ("leftImg8bit_sequence", "leftImg8bit"):
        shutil.rmtree(example / "root" / package / "train")
    assert verify(example)["train"].annotated == 0
    rows = cityscapes_manifest("city", example / "root", example / "labels")
    assert {row.split for row in rows} == {"val"}
    assert "leftImg8bit_sequence/train: not there, so split train is left out" in caplog.text
    for package in ("leftImg8bit_sequence", "leftImg8bit"):
        shutil.rmtree(example / "root" / package)
    with pytest.raises(DataError, match="the annotated frame is missing, and"):
        cityscapes_manifest("city", example / "root", example / "labels")


def test_no_split_at_all_is_refused(example):
    for split in ("train", "val"):
        (example / "root/gtFine" / split).rename(example / f"root/gtFine/my-{split}")
    with pytest.raises(DataError, match=r"gtFine: no labels of the form .* of the splits train and val\. Unpack"):
        annotated_frames(example / "root")


def manifest_command(folder):
    words = [
        "--dataset",
        "city",
        "--root",
        folder / "root",
        "--labels",
        folder / "labels",
        "--output",
        folder / "m.csv",
    ]
    main(["manifest", "cityscapes", *map(str, words)])


def test_train_ids_under_the_name_of_label_ids_are_refused(example):
    for path in sorted((example / "labels/val").rglob("*.png")):
        name = path.name.replace("labelTrainIds", "labelIds")
        shutil.copy(path, example / "root/gtFine/val/frankfurt" / name)
    shutil.rmtree(example / "labels")
    message = (
        r"none of the 2 label maps of its split has a value above 18, so these are train ids under the name of label"
    )
    with pytest.raises(DataError, match=message):
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
    assert (
        "% of the pixels of its 2 label maps are 255 (ignored). Train ids are 0 to 18, label ids go up to 33" in error
    )
    assert "arseg cityscapes labels --root" in error
    assert not (example / "m.csv").exists()


def test_label_ids_under_the_name_of_train_ids_are_refused(example, capsys):
    for path in (example / "root/gtFine").rglob("*_labelIds.png"):
        name = path.name.replace("labelIds", "labelTrainIds")
        shutil.copy(path, example / "labels" / path.relative_to(example / "root/gtFine").with_name(name))
    with pytest.raises(SystemExit):
        manifest_command(example)
    error = capsys.readouterr().err
    assert "and 1 more: label values that are no class: 21, 23, 26, 29; allowed are 0 to 18" in error
    assert "Train ids are 0 to 18, label ids go up to 33: one was taken for the other." in error


def test_clips_are_made_of_the_miniature(written, tmp_path):
    write_manifest(
        tmp_path / "city.csv", cityscapes_manifest("city", written / "root", written / "labels"), cityscapes_classes()
    )
    manifest, encode = (
        read_manifest(tmp_path / "city.csv"),
        Encoding(codec="h264", rate="qp20", fps=17, tail="annotated"),
    )
    (path,) = make_clip_stores(manifest, "val", encode, [11], tmp_path / "clips")
    with ClipStore(path) as store:
        motion = store.read_motion(0)
    # The texture of this snippet moves by (1, 0) pixels a frame, so its source in the keyframe lies 11 pixels off.
    inside = motion[8:-8, 16:-16].reshape(-1, 2)
    assert np.median(inside, axis=0).tolist() == [44, 0]


def test_verified_miniature_is_reported(example, caplog):
    (example / "root/leftImg8bit_sequence/val/frankfurt/frankfurt_000000_000304_leftImg8bit.png").unlink()
    report = verify(example)
    assert json.loads((example / "report.json").read_text()) == {
        "train": {
            "annotated": 2,
            "expected": 2975,
            "videos": 2,
            "stills_only": 0,
            "incomplete_snippets": [],
            "compared_stills": 2,
        },
        "val": {
            "annotated": 2,
            "expected": 500,
            "videos": 2,
            "stills_only": 0,
            "incomplete_snippets": ["frankfurt_000000_000294"],
            "compared_stills": 2,
        },
    }
    assert report["val"].videos == 2
    assert "split train has 2 annotated frames, the full data set has 2975" in caplog.text
    assert "1 snippets of split val have fewer than 30 frames" in caplog.text


def test_stills_without_videos_are_a_warning(example, caplog):
    shutil.rmtree(example / "root/leftImg8bit_sequence")
    report = verify(example)
    assert (report["train"].stills_only, report["train"].videos, report["train"].compared_stills) == (2, 0, 0)
    assert "2 annotated frames of split train have no video: they serve phase 1 only" in caplog.text


def test_gap_before_the_annotated_frame_matters_where_a_clip_needs_it(example):
    (example / "root" / FIRST_FRAME.replace("000019", "000008")).unlink()
    assert verify(example, gop=11)["train"].incomplete_snippets == ["aachen_000000_000019"]
    (example / "report.json").unlink()
    message = (
        r"000019_leftImg8bit\.png: 1 of the 11 frames before it are missing, the first is aachen_000000_000008_left"
    )
    with pytest.raises(DataError, match=message):
        verify(example, gop=12)
    assert not (example / "report.json").exists()


def test_problems_are_counted_and_the_first_shown(example):
    for _, city, sequence, frame in SNIPPETS:
        for path in (example / "root").rglob(f"{city}_{sequence}_{frame:06d}_leftImg8bit.png"):
            path.unlink()
    (example / "labels" / FIRST_TRAIN_IDS).unlink()
    with pytest.raises(DataError, match=r"root: 4 problems:\n  .*aachen_000000_000019_leftImg8bit\.png: the annotated"):
        verify(example)


def test_missing_and_misfitting_label_maps_are_problems(example):
    (example / "labels" / FIRST_TRAIN_IDS).unlink()
    save(example / "labels" / FIRST_TRAIN_IDS.replace("000000", "000001"), np.zeros((32, 60), np.uint8))
    with pytest.raises(DataError, match=r"2 problems:\n  .*no such label map(?s:.*)the label map has 60x32 pixels"):
        verify(example)


def test_still_that_is_another_picture_than_the_frame_is_a_problem(example):
    shutil.copy(example / "root" / FIRST_FRAME.replace("000019", "000018"), example / "root" / FIRST_STILL)
    with pytest.raises(DataError, match=rf"{FIRST_FRAME}: another image than .*{FIRST_STILL}, of which the labels"):
        verify(example)


def test_gop_without_room_in_a_snippet_is_an_error(written):
    with pytest.raises(ConfigError, match="gop 21: Cityscapes has 19 frames before each annotated one"):
        verify(written, gop=21)


def package(folder, path, members=None):
    """Zip a package as Cityscapes does, with what is not needed; or other members."""
    members = members or [member for member in sorted((folder / "root").rglob("*.png")) if path.stem in str(member)]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("README", "Cityscapes")
        archive.writestr("gtFine/test/berlin/berlin_000000_000019_gtFine_labelIds.png", "a dummy")
        archive.writestr("gtFine/train/aachen/aachen_000000_000019_gtFine_color.png", "not needed")
        archive.writestr("gtFine/train/../../../escaped_000000_000019_gtFine_labelIds.png", "a trap")
        archive.writestr("/gtFine/train/aachen/escaped_000000_000020_gtFine_labelIds.png", "a trap")
        for member in members:
            archive.write(member, member.relative_to(folder / "root"))
    return path


@pytest.fixture
def archives(written, tmp_path):
    """The packages of the miniature."""
    folders = ("gtFine", "leftImg8bit", "leftImg8bit_sequence")
    return [
        package(written, tmp_path / f"{folder}.zip", sorted((written / "root" / folder).rglob("*.png")))
        for folder in folders
    ]


def test_packages_are_unpacked_as_far_as_they_are_needed(written, archives, tmp_path):
    root = tmp_path / "below" / "unpacked"
    unpack_cityscapes(archives, root)
    expected = {path.relative_to(written / "root") for path in (written / "root").rglob("*.png")}
    assert {path.relative_to(root) for path in root.rglob("*") if path.is_file()} == expected
    assert (root / FIRST_FRAME).read_bytes() == (written / "root" / FIRST_FRAME).read_bytes()
    assert not list(tmp_path.rglob("escaped*"))


def test_folder_that_is_there_is_kept(archives, tmp_path, caplog):
    caplog.set_level("INFO")
    unpack_cityscapes(archives[:1], tmp_path / "root")
    marker = tmp_path / "root/gtFine/marker"
    marker.touch()
    unpack_cityscapes(archives, tmp_path / "root")
    assert marker.exists()
    assert (tmp_path / "root" / FIRST_STILL).exists()
    assert "root/gtFine: is there already; delete it to unpack it again" in caplog.text


def test_truncated_archive_is_named(archives, tmp_path):
    archives[1].write_bytes(archives[1].read_bytes()[:-40])
    with pytest.raises(
        DataError,
        match=r"leftImg8bit\.zip: truncated, damaged or not a zip archive .*arseg cityscapes download leftImg8",
    ):
        unpack_cityscapes(archives, tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_damaged_member_leaves_nothing_of_its_folder(archives, tmp_path):
    content = bytearray(archives[0].read_bytes())
    with zipfile.ZipFile(archives[0]) as archive:
        info = archive.getinfo("gtFine/val/frankfurt/frankfurt_000000_000576_gtFine_labelIds.png")
    content[info.header_offset + 30 + len(info.filename) + 60] ^= 0xFF
    archives[0].write_bytes(content)
    with pytest.raises(DataError, match=r"gtFine\.zip: truncated, damaged or not a zip archive"):
        unpack_cityscapes(archives[:1], tmp_path / "root")
    assert list((tmp_path / "root").iterdir()) == []


def test_wrong_and_missing_archives_are_named(written, tmp_path):
    wrong = package(written, tmp_path / "wrong.zip", [written / "root" / "gtFine"])
    with pytest.raises(DataError, match=r"wrong\.zip: holds no label ids or frames .*_trainvaltest\.zip"):
        unpack_cityscapes([wrong], tmp_path / "root")
    with pytest.raises(DataError, match=r"none\.zip: no such file or folder\. .* arseg cityscapes download none"):
        unpack_cityscapes([tmp_path / "none.zip"], tmp_path / "root")


def test_disk_without_room_is_an_error(archives, tmp_path, monkeypatch):
    full = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    with pytest.raises(DiskFullError, match=r"root/gtFine: 0\.00 GB are to be written, 0\.00 GB are free"):
        unpack_cityscapes(archives, tmp_path / "root")


def test_commands_from_packages_to_manifest(archives, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    main(["cityscapes", "unpack", *map(str, archives), "--output", "root"])
    main(["cityscapes", "labels", "--root", "root", "--output", "labels", "--workers", "1"])
    main(["cityscapes", "verify", "--root", "root", "--labels", "labels", "--gop", "12", "--output", "report.json"])
    assert "train: 2 annotated frames, 2 with their video\n" in capsys.readouterr().out
    rows = cityscapes_manifest("city", "root", "labels")
    assert rows[0].image == FIRST_FRAME.replace("left", "root/left", 1)
