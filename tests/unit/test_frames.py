"""Folders of frames and labels become manifest rows by the rules of a sheet."""

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from arseg.data.manifest import ManifestRow, read_manifest, write_manifest
from arseg.datasets.frames.manifest import frames_manifest, list_frames
from arseg.errors import DataError

HEADER = "split,images,labels,list,sequence,first,last,frame_step"


def picture(path, shape=(4, 6)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros(shape, dtype=np.uint8)).save(path)


@pytest.fixture
def dataset(tmp_path):
    """Folders with two sequences of five frames each, and a function that applies rules to them."""
    for name in ("0016E5_0795", "0006R0_f0108"):
        for digit in range(5):
            picture(tmp_path / "data" / "val" / f"{name}{digit}.png")
            picture(tmp_path / "data" / "valannot" / f"{name}{digit}.png")
    (tmp_path / "classes.csv").write_text("index,name,red,green,blue,void\n0,road,1,2,3,false\n")

    def apply(*rules):
        splits = tmp_path / "splits.csv"
        splits.write_text("\n".join([HEADER, *rules]) + "\n")
        rows, _ = frames_manifest("mine", tmp_path / "data", tmp_path / "classes.csv", splits)
        return rows

    apply.folder = tmp_path
    return apply


@pytest.mark.parametrize(
    ("name", "sequence", "number", "pattern"),
    [
        ("0016E5_07959.png", "0016E5", 7959, "0016E5_{index:05d}.png"),
        ("0006R0_f01080.png", "0006R0", 1080, "0006R0_f{index:05d}.png"),
        ("0001TP_006690.png", "0001TP", 6690, "0001TP_{index:06d}.png"),
        ("Seq05VD_f00030.png", "Seq05VD", 30, "Seq05VD_f{index:05d}.png"),
        ("drive-7.jpg", "drive", 7, "drive-{index:01d}.jpg"),
        ("cam_12_000019_left.JPEG", "cam_12", 19, "cam_12_{index:06d}_left.JPEG"),
        ("00042.png", "folder", 42, "{index:05d}.png"),
        ("a{b}_03.png", "a{b}", 3, "a{{b}}_{index:02d}.png"),
        ("crossing.png", "crossing", 0, ""),
    ],
)
def test_names_are_read_as_sequence_and_number(tmp_path, name, sequence, number, pattern):
    picture(tmp_path / "folder" / name)
    (tmp_path / "folder" / f"._{name}").write_bytes(b"Mac OS X")
    (frame,) = list_frames(tmp_path / "folder")
    assert (frame.sequence, frame.frame_index) == (sequence, number)
    assert frame.pattern == (f"{tmp_path}/folder/{pattern}" if pattern else "")
    assert not pattern or frame.pattern.format(index=number) == str(frame.path)


def test_relative_root_gives_relative_paths(tmp_path, monkeypatch):
    picture(tmp_path / "a_01.png")
    monkeypatch.chdir(tmp_path)
    (frame,) = list_frames(Path())
    assert frame.pattern.format(index=1) == str(frame.path) == "a_01.png"


def test_rule_with_all_columns(dataset):
    row, following = dataset("test,val,valannot,,0016E5,7951,7952,2")
    data = dataset.folder / "data"
    expected = ManifestRow(
        *("mine", "test", "0016E5", 7951, f"{data}/val/0016E5_07951.png", f"{data}/valannot/0016E5_07951.png"),
        *(f"{data}/val/0016E5_{{index:05d}}.png", 2),
    )
    assert (row, following.frame_index) == (expected, 7952)


def test_rules_add_up_splits_may_overlap_and_columns_be_empty(dataset):
    rows = dataset("a,val,,,0016E5,,7951,", "a,val,,,0006R0,1083,,", "b,val,,,0016E5,7951,7951,1", "all,val,,,,,,")
    assert Counter(row.split for row in rows) == {"a": 4, "b": 1, "all": 10}
    assert {(row.label, row.frame_pattern, row.frame_step) for row in rows if row.split == "all"} == {("", "", 0)}


def test_list_of_stems_lies_beside_the_sheet(dataset):
    (dataset.folder / "chosen.txt").write_text("\ufeff0016E5_07954\n\n 0006R0_f01080 \n")  # as Windows writes it
    rows = dataset("a,val,valannot,chosen.txt,,,,")
    assert [row.frame_index for row in rows] == [1080, 7954]


def test_jpeg_frames_have_png_labels(dataset):
    picture(dataset.folder / "data/photos/x_1.jpg")
    picture(dataset.folder / "data/masks/x_1.png")
    (row,) = dataset("a,photos,masks,,,,,")
    assert row.label.endswith("masks/x_1.png")


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (["a,vall,,,,,,"], r"splits\.csv:2: images names the folder .*vall, which does not exist"),
        (["a,val,,,,,,", "a,val,labels,,,,,"], r"splits\.csv:3: labels names the folder .*labels, which does not"),
        ([",val,,,,,,"], r"splits\.csv:2: split is empty"),
        (["a,val,,,0016E5,8000,,1"], r"\(sequence 0016E5, first 8000\) chooses none of the 10 frames.*1080 to 7954"),
        (["a,val,,,16E5,,,1"], r"chooses none .* sequences: 0006R0, 0016E5"),
        (["a,val,,,,,,0"], r"splits\.csv:2: frame_step is '0', expected a whole number of 1 or more"),
        (["a,val,,,,x,,1"], r"splits\.csv:2: first is 'x'"),
        (["a,val,,none.txt,,,,"], r"splits\.csv:2: list names .*none\.txt, which cannot be read"),
        (["a,val,,,0016E5,,,", "a,val,,,,7954,,"], r"splits\.csv:3: frame 7954 of sequence '0016E5' occurs twice"),
        ([], r"splits\.csv: no rule below the header"),
        (["a,val,labelled,,,,,"], r"splits\.csv:2: .*val/0016E5_07952\.png has no label map .*narrow"),
        (["a,val,,chosen.txt,,,,"], r"chosen\.txt:2: '0016E5_07955\.png' is no frame in .*without .*suffix"),
        (["a,labelled/empty,,,,,,"], r"empty holds no frames"),
        (["a,photos,,,,,,1"], r"crossing\.png has no number in its name, but frame_step is 1"),
    ],
)
def test_bad_rule_is_named(dataset, rules, message):
    (dataset.folder / "data/labelled/empty").mkdir(parents=True)
    for path in (dataset.folder / "data/valannot").iterdir():
        if path.stem != "0016E5_07952":
            shutil.copy(path, dataset.folder / "data/labelled")
    picture(dataset.folder / "data/photos/crossing.png")
    (dataset.folder / "chosen.txt").write_text("0016E5_07954\n0016E5_07955.png\n")
    with pytest.raises(DataError, match=message):
        dataset(*rules)


def test_missing_root_is_named():
    with pytest.raises(DataError, match=r"nowhere: no such folder"):
        frames_manifest("mine", "nowhere", "classes.csv", "splits.csv")


@pytest.mark.needs_camvid
def test_camvid_sheets_choose_the_documented_frames(tmp_path, camvid_root, repository):
    classes, splits = (repository / "config" / name for name in ("camvid-classes.csv", "camvid-sequence-splits.csv"))
    write_manifest(tmp_path / "camvid.csv", *frames_manifest("camvid", camvid_root, classes, splits))
    manifest = read_manifest(tmp_path / "camvid.csv")
    assert Counter(row.split for row in manifest.rows) == {
        "stills-and-sequence": 367 + 39,
        "sequence-train": 28,
        "sequence-val": 7,
        "sequence-test": 32,
    }
    assert manifest.num_classes == 12
    assert [cls.name for cls in manifest.classes if cls.void] == ["void"]
    test = manifest.split("sequence-test")
    assert test[0].frame_path(-11).name == "0016E5_08053.png"
    assert all(row.frame_path(offset).is_file() for row in test for offset in (-11, 11))
    # The clips of training and of test share no frame.
    last_seen = max(row.frame_index for row in manifest.split("sequence-val"))
    assert min(row.frame_index - 11 * row.frame_step for row in test) > last_seen
