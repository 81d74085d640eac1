"""CamVid from archives and videos to a manifest, on a miniature with the published names."""

import json
import logging
import shutil
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from camvid_examples import SEQUENCES, STILLS, UNKNOWN, VIDEOS, write_camvid, write_zip
from PIL import Image

from arseg.cli.main import main
from arseg.data.images import read_label
from arseg.data.manifest import read_classes, read_manifest
from arseg.datasets.camvid.manifest import SEQUENCES as PUBLISHED_SEQUENCES
from arseg.datasets.camvid.manifest import (
    camvid_classes,
    camvid_manifest,
    decoded_frame,
    official_split,
    read_sequences,
    write_camvid_labels,
)
from arseg.datasets.camvid.verify import verify_camvid
from arseg.errors import DataError


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder with downloads (web), decoded frames and index labels, made by the commands."""
    folder = tmp_path_factory.mktemp("camvid")
    write_camvid(folder / "web")
    web = folder / "web"
    for sequence, (video, *_) in VIDEOS.items():
        parts = sorted(web.glob("0016E5.zip.*"))
        source = parts if sequence == "0016E5" else [web / video]
        run("camvid", "frames", *source, "--sequence", sequence, "--output", folder / "frames" / sequence)
    run("camvid", "labels", web / "camvid-kaggle.zip", "--output", folder / "labels")
    return folder


@pytest.fixture
def copied(prepared, tmp_path):
    """A copy of it to damage."""
    shutil.copytree(prepared, tmp_path / "camvid")
    return tmp_path / "camvid"


def run(*words):
    main([str(word) for word in words])


def manifest(folder, split="kaggle", stills="web/camvid-kaggle.zip"):
    places = {"frames": folder / "frames", "labels": folder / "labels", "stills": folder / stills}
    return camvid_manifest("camvid", **places, split=split, sequences=folder / "web/sequences.csv")


def verify(folder, stills="web/camvid-kaggle.zip"):
    return verify_camvid(folder / "frames", folder / stills, folder / "labels", folder / "web/sequences.csv")


def change_sheet(folder, old, new):
    assert old in SEQUENCES
    (folder / "web/sequences.csv").write_text(SEQUENCES.replace(old, new))


def test_published_numbering(repository):
    assert read_classes(repository / "config/camvid-classes.csv") == camvid_classes()
    assert read_sequences(repository / "config/camvid-sequences.csv") == PUBLISHED_SEQUENCES
    last = {name: sequence.decoded(sequence.last_annotated) for name, sequence in PUBLISHED_SEQUENCES.items()}
    assert last == {"0001TP": 3721, "0006R0": 3932, "0016E5": 8642, "Seq05VD": 5102}
    assert decoded_frame("0006R0_f00930") == ("0006R0", 932)
    assert decoded_frame("Seq05VD_f00000") == ("Seq05VD", 2)
    for name in ("0001TP_010381", "0007XX_000001", "0001TP", "Seq05VD_f00030_L"):
        with pytest.raises(DataError, match=name):
            decoded_frame(name)


def test_videos_become_frames_numbered_from_1_and_labels_twelve_classes(prepared):
    assert {path.name for path in (prepared / "frames").iterdir() if path.is_dir()} == set(VIDEOS)
    for sequence, (_, num_frames, _) in VIDEOS.items():
        names = sorted(path.name for path in (prepared / "frames" / sequence).iterdir())
        assert names == [f"{sequence}_{index:06d}.png" for index in range(1, num_frames + 1)]
    assert {path.stem for path in (prepared / "labels").iterdir()} == set(STILLS)
    label = read_label(prepared / "labels/0006R0_f00930.png", 12)
    assert set(np.unique(label)) == {*range(12), 255}
    assert (label[:8, :8] == 255).all()  # of other colours


@pytest.mark.parametrize("packaging", ["kaggle", "official"])
def test_unpacked_folders_serve_as_archives_do(prepared, tmp_path, packaging):
    sequences = write_camvid(tmp_path / "web", packaging)
    kaggle = packaging == "kaggle"
    labels, stills = ("camvid-kaggle",) * 2 if kaggle else ("LabeledApproved_full", "701_StillsRaw_full")
    for name in {labels, stills}:
        with zipfile.ZipFile(tmp_path / f"web/{name}.zip") as archive:
            archive.extractall(tmp_path / name)
    assert write_camvid_labels(tmp_path / labels, tmp_path / "labels") == len(STILLS)
    report = verify_camvid(prepared / "frames", tmp_path / stills, tmp_path / "labels", sequences)
    assert {name: facts["stills"] for name, facts in report.items()} == Counter(s for s, *_ in STILLS.values())
    places = {"frames": prepared / "frames", "labels": tmp_path / "labels", "stills": tmp_path / stills}
    assert len(camvid_manifest("camvid", **places, split="official", sequences=sequences)) == len(STILLS)
    if not kaggle:
        message = r"lies in none of the folders train, val, test.*choose split: official"
        with pytest.raises(DataError, match=message):
            camvid_manifest("camvid", **places, split="kaggle", sequences=sequences)


def test_kaggle_split_is_the_package_s_folders(copied):
    prepared = copied.rename(copied.with_name("{camvid}"))  # braces are no pattern
    rows = {Path(row.label).stem: row for row in manifest(prepared)}
    assert {name: (row.sequence, row.frame_index, row.split) for name, row in rows.items()} == {
        name: (sequence, index, f"kaggle-{split}") for name, (sequence, index, split) in STILLS.items()
    }
    assert rows["Seq05VD_f00000"].max_distance == 0
    assert {row.max_distance for name, row in rows.items() if name != "Seq05VD_f00000"} == {None}
    assert rows["0006R0_f00930"].frame_path(-12) == prepared / "frames/0006R0/0006R0_000001.png"


def test_official_split_is_a_rule(prepared):
    splits = {Path(row.label).stem: row.split for row in manifest(prepared, "official")}
    assert splits == {
        **dict.fromkeys(("0001TP_008514", "0001TP_008520", "0006R0_f00930", "0006R0_f00936"), "official-train"),
        **dict.fromkeys(("0016E5_07950", "0016E5_07956"), "official-train"),
        **dict.fromkeys(("0016E5_07959", "0016E5_07961"), "official-val"),
        **dict.fromkeys(("0001TP_008526", "0001TP_008532"), "official-test"),
        **dict.fromkeys(("Seq05VD_f00000", "Seq05VD_f00012", "Seq05VD_f00018"), "official-test"),
    }


@pytest.mark.needs_camvid
def test_official_split_is_the_one_of_the_real_folders(camvid_root):
    for split, count in (("train", 367), ("val", 101)):
        names = [path.stem for path in (camvid_root / split).glob("*.png")]
        assert len(names) == count
        for name in names:
            sequence, number = name.split("_")
            assert official_split(sequence, int(number.removeprefix("f"))) == split, name
    # The test split holds what lies in none of the two: the second half of 0001TP, and Seq05VD.
    stills = [("0001TP", number) for number in range(8550, 10381, 30)]
    stills += [("Seq05VD", number) for number in range(0, 5101, 30)]
    assert len(stills) == 233
    assert {official_split(*still) for still in stills} == {"test"}


def words(folder):
    paths = {"frames": "frames", "labels": "labels", "stills": "web/camvid-kaggle.zip"}
    paths["sequences"] = "web/sequences.csv"
    return [word for name, path in paths.items() for word in (f"--{name}", folder / path)]


def test_the_command_writes_a_manifest_with_the_twelve_classes(prepared, tmp_path, capsys):
    output = tmp_path / "camvid.csv"
    run("manifest", "camvid", "--dataset", "camvid", *words(prepared), "--split", "official", "--output", output)
    assert "official-test 5, official-train 6, official-val 2 frames" in capsys.readouterr().out
    written = read_manifest(output)
    assert written.rows == tuple(sorted(manifest(prepared, "official")))
    assert written.classes == camvid_classes()


def test_verification_reports_what_is_there(prepared, tmp_path):
    run("camvid", "verify", *words(prepared), "--output", tmp_path / "report.json")
    report = json.loads((tmp_path / "report.json").read_text())
    assert set(report) == set(VIDEOS)
    facts = report["0001TP"]
    assert (facts["frames"], facts["stills"], facts["width"], facts["height"]) == (44, 4, 96, 64)
    assert facts["frames_after_last_still"] == 44 - 31
    assert facts["mean_difference"] == 0
    assert facts["mean_difference_of_next_best"] > 1


@pytest.mark.parametrize(("wrong", "where"), [(12, "1 later"), (14, "1 earlier"), (11, "2 later"), (10, "3 later")])
def test_shifted_numbers_are_caught_with_the_right_one(copied, wrong, where):
    change_sheet(copied, "930,936,13", f"930,936,{wrong}")
    end = ", and verify again, as they may lie farther still" if wrong == 10 else ""
    message = rf"0006R0: stills match .* {where} than .*first_decoded of 0006R0 to 13 in a copy .*\.sequences{end}\.$"
    with pytest.raises(DataError, match=message):
        verify(copied)


def test_another_color_matrix_passes(copied):
    # What BT.601 made of a frame, read as BT.709: the luma is kept, red and blue move apart.
    to_ycc = np.array([[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]])
    to_rgb = np.array([[1, 0, 1.5748], [1, -0.1873, -0.4681], [1, 1.8556, 0]])
    for path in (copied / "frames/0006R0").iterdir():
        changed = np.asarray(Image.open(path)) @ (to_rgb @ to_ycc).T
        Image.fromarray(changed.clip(0, 255).round().astype(np.uint8)).save(path)
    assert verify(copied)["0006R0"]["mean_difference"] > 1


def test_another_video_is_caught(copied):
    shutil.rmtree(copied / "frames/0006R0")
    shutil.copytree(copied / "frames/Seq05VD", copied / "frames/0006R0")
    for path in (copied / "frames/0006R0").iterdir():
        path.rename(path.with_name(path.name.replace("Seq05VD", "0006R0")))
    with pytest.raises(DataError, match=r"0006R0: decoded frames and stills are different images"):
        verify(copied)


def test_a_missing_end_and_a_gap_in_the_frames(copied):
    for index in range(31, 45):
        (copied / f"frames/0001TP/0001TP_{index:06d}.png").unlink()
    with pytest.raises(DataError, match=r"0001TP_000031\.png: no such frame; 30 are there, and the last still is fra"):
        verify(copied)
    with pytest.raises(DataError, match=r"0001TP_000031\.png: no such decoded frame.*0001TP_008532"):
        manifest(copied)
    (copied / "frames/0001TP/0001TP_000005.png").unlink()
    with pytest.raises(DataError, match=r"0001TP_000005\.png: no such frame; 29 are there"):
        verify(copied)


def test_missing_labels_and_other_sizes(copied):
    (copied / "labels/0006R0_f00930.png").unlink()
    for check in (verify, manifest):
        with pytest.raises(DataError, match=r"labels/0006R0_f00930\.png: no such label map"):
            check(copied)
    Image.fromarray(np.zeros((64, 95), np.uint8)).save(copied / "labels/0006R0_f00930.png")
    message = r"labels/0006R0_f00930\.png: 95x64 pixels, the decoded frames of 0006R0 have 96x64"
    with pytest.raises(DataError, match=message):
        verify(copied)


def test_unpacked_stills_and_labels_are_told_apart_and_what_is_wrong_with_them(copied):
    with zipfile.ZipFile(copied / "web/camvid-kaggle.zip") as archive:
        archive.extractall(copied / "package")
    unpacked = copied / "package/CamVid"
    for path in unpacked.rglob("*_L.png"):
        path.rename(path.with_name(path.name.replace("_L", "")))  # their folders tell
    assert write_camvid_labels(copied / "package", copied / "labels-again") == len(STILLS)
    assert verify(copied, "package") == verify(copied)
    assert manifest(copied, stills="package") == manifest(copied)
    Image.fromarray(np.zeros((32, 48, 3), np.uint8)).save(unpacked / "train/0006R0_f00930.png")
    message = r"package/CamVid/train/0006R0_f00930\.png: 48x32 pixels, the decoded frames of 0006R0 have 96x64"
    with pytest.raises(DataError, match=message):
        verify(copied, "package")
    shutil.copy(unpacked / "train/0006R0_f00930.png", unpacked / "test")
    message = r"CamVid/test/0006R0_f00930\.png and CamVid/train/0006R0_f00930\.png are one still"
    for check in (lambda: verify(copied, "package"), lambda: manifest(copied, stills="package")):
        with pytest.raises(DataError, match=message):
            check()


def test_too_few_frames_for_whole_clips_after_the_last_still_are_told(copied, caplog):
    (copied / "frames/0016E5/0016E5_000036.png").unlink()
    with caplog.at_level(logging.WARNING):
        assert verify(copied)["0016E5"]["frames_after_last_still"] == 11
        assert not caplog.messages
        (copied / "frames/0016E5/0016E5_000035.png").unlink()
        assert verify(copied)["0016E5"]["frames_after_last_still"] == 10
    assert len(caplog.messages) == 1
    assert "frames/0016E5: 10 frames follow the last still, 11 are needed for whole clips of 12" in caplog.text


def test_a_sequence_without_stills(copied):
    change_sheet(copied, "Seq05VD,0005VD.MXF", "Seq05VD,0005VD.MXF,12,18,14\n0099ZZ,0005VD.MXF")
    with pytest.raises(DataError, match=r"holds no still of 0099ZZ"):
        verify(copied)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0001TP,v.avi,30,20,1", r"last_annotated is '20', expected a whole number of 30 or more"),
        ("0001TP,v.avi,30,40,0", r"first_decoded is '0'"),
        ("0001TP,,30,40,1", r"s\.csv:2: expected a new sequence and its video, found '0001TP', ''"),
        ("", r"s\.csv: no line below the header"),
    ],
)
def test_bad_sheets_of_sequences(tmp_path, line, message):
    (tmp_path / "s.csv").write_text(f"{SEQUENCES.splitlines()[0]}\n{line}\n")
    with pytest.raises(DataError, match=message):
        read_sequences(tmp_path / "s.csv")


def test_labels_of_other_kinds_are_refused(tmp_path):
    folder = tmp_path / "labels"
    folder.mkdir()
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(folder / "0001TP_006690_L.png")
    with pytest.raises(DataError, match=r"_L\.png: the colour label has the pixel format L, .* Give CamVid's own col"):
        write_camvid_labels(folder, tmp_path / "out")
    (folder / "0001TP_006690_L.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"0001TP_006690_L\.png: the colour label cannot be read"):
        write_camvid_labels(folder, tmp_path / "out")
    shutil.copy(folder / "0001TP_006690_L.png", folder / "0001TP_006690.png")
    with pytest.raises(DataError, match=r"are labels of one still"):
        write_camvid_labels(folder, tmp_path / "out")
    write_zip(tmp_path / "stills.zip", {"0001TP_006690.png": b""})
    with pytest.raises(DataError, match=r"stills\.zip: holds no colour labels"):
        write_camvid_labels(tmp_path / "stills.zip", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_label_of_unknown_colors_only_is_ignored_whole(tmp_path, caplog):
    (tmp_path / "in").mkdir()
    Image.fromarray(np.full((4, 6, 3), UNKNOWN, np.uint8)).save(tmp_path / "in/0001TP_006690_L.png")
    write_camvid_labels(tmp_path / "in", tmp_path / "out")
    assert (read_label(tmp_path / "out/0001TP_006690.png", 12) == 255).all()
    assert "are these CamVid's own colours?" in caplog.text
