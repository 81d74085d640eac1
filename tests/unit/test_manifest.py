"""The manifest's files: layout, checks, and the paths of neighbouring frames."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from arseg.data.manifest import ManifestRow, read_classes, read_manifest, write_manifest
from arseg.errors import DataError
from arseg.spec import SegmentationClass

CLASSES = (
    SegmentationClass(0, "road", (128, 64, 128), void=False),
    SegmentationClass(1, "void", (0, 0, 0), void=True),
)
PATTERN = "root/val/0016E5_{index:05d}.png"


def video_row(index, split="val"):
    image = PATTERN.format(index=index)
    return ManifestRow("camvid", split, "0016E5", index, image, image.replace("val", "valannot"), PATTERN, 2)


FIRST = replace(video_row(7959), max_distance=0)
STILL = ManifestRow("camvid", "stills", "0001TP", 6690, "root/0001TP_006690.png", "", "", 0)


@pytest.fixture
def manifest_path(tmp_path):
    path = tmp_path / "camvid.csv"
    write_manifest(path, [video_row(7961), STILL, FIRST], CLASSES)
    return path


def test_read_gives_what_was_written_sorted(manifest_path):
    manifest = read_manifest(manifest_path)
    assert manifest.rows == (STILL, FIRST, video_row(7961))
    assert (manifest.classes, manifest.num_classes, manifest.class_names) == (CLASSES, 2, ("road", "void"))
    np.testing.assert_array_equal(manifest.palette, np.uint8([[128, 64, 128], [0, 0, 0]]), strict=True)
    assert manifest.split("val") == (FIRST, video_row(7961))
    with pytest.raises(DataError, match=r"no split 'test'; its splits are: stills, val"):
        manifest.split("test")


def test_files_are_plain_csv(manifest_path):
    assert manifest_path.read_text().splitlines()[:2] == [
        "dataset,split,sequence,frame_index,image,label,frame_pattern,frame_step,max_distance",
        "camvid,stills,0001TP,6690,root/0001TP_006690.png,,,0,",
    ]
    classes_path = manifest_path.with_name("camvid.classes.csv")
    assert classes_path.read_bytes() == (
        b"index,name,red,green,blue,void\n0,road,128,64,128,false\n1,void,0,0,0,true\n"
    )


def test_digest_follows_rows_and_classes_and_not_their_order(tmp_path, manifest_path):
    rows = [STILL, FIRST, video_row(7961), video_row(7961, "early")]  # one frame may be in two splits
    renamed = (replace(CLASSES[0], name="street"), CLASSES[1])
    written = {"same": (rows[:3], CLASSES), "rows": (rows, CLASSES), "classes": (rows[:3], renamed)}
    for name, content in written.items():
        write_manifest(tmp_path / f"{name}.csv", *content)
    assert (tmp_path / "same.csv").read_bytes() == manifest_path.read_bytes()
    same, *others = (read_manifest(tmp_path / f"{name}.csv").digest for name in written)
    assert same == read_manifest(manifest_path).digest
    assert len({same, *others}) == 3


def test_labels_of_a_network_are_told_from_true_ones(manifest_path):
    assert read_manifest(manifest_path).labelled_by("val") == ""
    write_manifest(manifest_path, [STILL, replace(FIRST, labelled_by="HR")], CLASSES)
    header, still, frame = manifest_path.read_text().splitlines()
    assert header.endswith(",frame_step,max_distance,labelled_by")
    assert still.endswith(",0,,")
    assert frame.endswith(",2,0,HR")
    manifest = read_manifest(manifest_path)
    assert [manifest.labelled_by(split) for split in ("stills", "val")] == ["", "HR"]
    manifest_path.write_text(manifest_path.read_text().replace(",HR\n", ",SAM\n"))
    with pytest.raises(DataError, match=r"camvid\.csv:3: labelled_by is 'SAM', expected HR, or nothing where"):
        read_manifest(manifest_path)


@pytest.mark.parametrize(("offset", "name"), [(0, "07959"), (1, "07961"), (-11, "07937"), (21, "08001")])
def test_frame_path_counts_in_frames(offset, name):
    assert video_row(7959).frame_path(offset) == Path(f"root/val/0016E5_{name}.png")
    with pytest.raises(DataError, match=r"0001TP_006690\.png: a still has no video .* frame -1.*frame_step"):
        STILL.frame_path(-1)
    with pytest.raises(DataError, match=r"2 frames before it the frame number would be -1"):
        video_row(3).frame_path(-2)


BAD_LINES = {
    "camvid.csv": [
        ("frame_index", "number", r"camvid\.csv:1: missing column frame_index; expected dataset,.*arseg manifest"),
        (",7961,", ",796x,", r"camvid\.csv:4: frame_index is '796x', expected a whole number of 0 or more"),
        (",7961,", ",-1,", r"camvid\.csv:4: frame_index is '-1'"),
        (",2,\n", ",0,\n", r"camvid\.csv:4: frame_pattern .* with frame_step 0"),
        (",2,0\n", ",2,-1\n", r"camvid\.csv:3: max_distance is '-1', expected a whole number of 0 or more"),
        ("{index:05d}", "{number:05d}", r"camvid\.csv:3: frame_pattern .* does not give the image"),
        ("{index:05d}", "{index:06d}", r"camvid\.csv:3: frame_pattern .* for the index 7959"),
        ("camvid,stills", ",stills", r"camvid\.csv:2: dataset is empty"),
        (",,,0,\n", ",,,0,,9\n", r"camvid\.csv:2: 10 cells, expected 9"),
    ],
    "camvid.classes.csv": [
        ("1,void", "2,void", r"classes\.csv: class indices are \[0, 2\], expected 0, 1, 2"),
        ("1,void", "255,void", r"classes\.csv:3: index 255 is no class: pixels of that value count nowhere\. Remove"),
        ("1,void", "256,void", r"classes\.csv:3: index is '256', expected a whole number from 0 to 254"),
        ("1,void", "1,road", r"classes\.csv:3: expected a name that no other class has, found 'road'"),
        ("1,void", "1, ", r"classes\.csv:3: expected a name that no other class has, found ''"),
        ("name,red", "name,name,red", r"classes\.csv:1: the column name occurs 2 times\. Keep one"),
        (
            "1,void,0,0,0,true",
            "1;void;0;0;0;true",
            r"classes\.csv:3: its cells are separated by semicolons, expected c",
        ),
        ("128,64,", "128,256,", r"classes\.csv:2: green is '256', expected a whole number from 0 to 255"),
        ("false", "maybe", r"classes\.csv:2: void is 'maybe', expected true or false"),
    ],
}


@pytest.mark.parametrize(
    ("name", "old", "new", "message"), [(name, *line) for name, lines in BAD_LINES.items() for line in lines]
)
def test_bad_line_is_named(manifest_path, name, old, new, message):
    path = manifest_path.with_name(name)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(DataError, match=message):
        read_manifest(manifest_path)


def test_duplicate_is_named_when_read_and_when_written(tmp_path, manifest_path):
    line = manifest_path.read_text().splitlines()[-1]
    manifest_path.write_text(f"{manifest_path.read_text()}{line}\n")
    with pytest.raises(DataError, match=r"camvid\.csv:5: frame 7961 of sequence '0016E5' occurs twice in split 'val'"):
        read_manifest(manifest_path)
    with pytest.raises(DataError, match=r"occurs twice"):
        write_manifest(tmp_path / "new.csv", [STILL, replace(STILL, image="b.png")], CLASSES)
    assert not (tmp_path / "new.csv").exists()


def test_classes_not_numbered_from_zero_are_not_written(tmp_path):
    with pytest.raises(DataError, match=r"class indices are \[1\]"):
        write_manifest(tmp_path / "a.csv", [STILL], CLASSES[1:])
    assert not list(tmp_path.iterdir())


def test_missing_files_are_named(tmp_path, manifest_path):
    with pytest.raises(DataError, match=r"none\.classes\.csv: no such sheet"):
        read_manifest(tmp_path / "none.csv")
    manifest_path.unlink()
    with pytest.raises(DataError, match=r"camvid\.csv: no such sheet\. Make the manifest again"):
        read_manifest(manifest_path)


def test_spreadsheet_exports_are_read_and_what_is_no_text_is_not(tmp_path):
    path = tmp_path / "classes.csv"
    path.write_bytes(b"\xef\xbb\xbfindex, name,red,green,blue,void,note\r\n0, road ,1,2,3,FALSE,grey\r\n,,,,,,\r\n")
    assert read_classes(path) == (SegmentationClass(0, "road", (1, 2, 3), void=False),)
    path.write_bytes(b"\xff\xfe\x00index")
    with pytest.raises(DataError, match=r"classes\.csv: cannot be read as a CSV sheet in UTF-8"):
        read_classes(path)


@pytest.mark.parametrize(("separator", "name"), [(";", "semicolons"), ("\t", "tabs")])
@pytest.mark.parametrize("first_line", ["", "sep={}\n"])
def test_sheets_without_commas_name_what_separates_their_cells(manifest_path, separator, name, first_line):
    for path in (manifest_path.with_name("camvid.classes.csv"), manifest_path):
        whole = path.read_text()
        path.write_text(first_line.format(separator) + whole.replace(",", separator))
        with pytest.raises(
            DataError, match=rf"csv:1: its cells are separated by {name}, expected commas.*replace the {name}"
        ):
            read_manifest(manifest_path)
        path.write_text(whole)
    read_manifest(manifest_path)
