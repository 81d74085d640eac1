"""Videos without labels: sampling by time, labels of the HR branch, and the manifest of both."""

import csv
from collections import defaultdict

import numpy as np
import pytest
from infer_examples import CLASSES, described, frames_of, p_only_video, random_network, rgb_frames
from PIL import Image
from test_display import coded_for, tag_display

from arseg.cli.main import main
from arseg.data.manifest import read_manifest
from arseg.datasets.videos.footage import count_frames, find_videos
from arseg.datasets.videos.sampling import choose_samples, write_samples
from arseg.errors import ArsegError, CodecError, DataError
from arseg.infer.teacher import label_samples
from arseg.models.checkpoint import save_checkpoint

GOP = 3


@pytest.fixture(scope="module")
def drives(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drives")
    for name, num_frames, seed in (("first", 40, 0), ("second", 20, 1)):
        p_only_video(folder / f"{name}.mp4", frames_of(num_frames, seed=seed))
    return folder


@pytest.fixture(scope="module")
def hr(tmp_path_factory):
    path = tmp_path_factory.mktemp("hr") / "hr.pt"
    save_checkpoint(path, random_network(False, 1), *described(False, 100))
    return path


@pytest.mark.parametrize("tail", ["gop", "annotated"])
@pytest.mark.parametrize("lengths", [{"a": 200}, {"a": 60, "b": 161, "c": 40}, {f"v{i}": 30 for i in range(20)}])
def test_no_clip_of_one_split_touches_another_splits(lengths, tail):
    gop = 12 if len(lengths) < 20 else 5
    samples = choose_samples(lengths, 80, gop, tail)
    used = defaultdict(set)
    for sample in samples:
        after = gop if tail == "gop" else 1
        frames = range(sample.frame_index - gop + 1, sample.frame_index + after)
        assert frames[0] >= 0
        assert frames[-1] < lengths[sample.sequence]
        used[sample.split] |= {(sample.sequence, frame) for frame in frames}
    assert set(used) == {"train", "val", "test"}
    for split, frames in used.items():
        others = set().union(*(used[other] for other in used if other != split))
        assert not frames & others
        assert not {(sequence, frame + 1) for sequence, frame in frames} & others


def test_samples_are_spread_over_time_and_as_many_as_asked_for():
    samples = choose_samples({"a": 10_000}, 100, 12, "annotated")
    assert len(samples) == len({*samples}) == 100
    train = [sample.frame_index for sample in samples if sample.split == "train"]
    assert len(train) == 60
    assert np.ptp(np.diff(train)) <= 1


def test_too_short_videos_say_what_is_missing():
    with pytest.raises(
        DataError,
        match=r"have 40 frames in all \(a with 40\)\. Of them, 20% are for val, .* 120 frames, or a gop of 4 or less",
    ):
        choose_samples({"a": 40}, 10, 12, "annotated")


def test_sampled_frames_are_those_of_the_videos(drives, tmp_path):
    samples = write_samples(f"{drives}/*.mp4", tmp_path / "frames", num_samples=10, gop=GOP)
    assert len(samples) == 10
    decoded = {name: rgb_frames(drives / f"{name}.mp4") for name in ("first", "second")}
    needed = {
        f"{sample.sequence}/{index:06d}.png": decoded[sample.sequence][index]
        for sample in samples
        for index in range(sample.frame_index - GOP + 1, sample.frame_index + 1)
    }
    files = {str(path.relative_to(tmp_path / "frames")): path for path in tmp_path.glob("frames/*/*.png")}
    assert files.keys() == needed.keys()
    for name, frame in needed.items():
        np.testing.assert_array_equal(np.asarray(Image.open(files[name])), frame)


def test_sampled_frames_are_upright(tmp_path):
    frames = frames_of(40)
    coded = p_only_video(tmp_path / "coded.mp4", coded_for(frames, 90, is_mirrored=False))
    tag_display(coded, tmp_path / "own.mp4", 90, is_mirrored=False)
    write_samples(str(tmp_path / "own.mp4"), tmp_path / "frames", num_samples=4, gop=GOP)
    for path in tmp_path.glob("frames/*/*.png"):
        sampled = np.asarray(Image.open(path), float)
        assert sampled.shape == frames.shape[1:]
        assert np.abs((sampled - frames[int(path.stem)]).mean(axis=-1)).mean() < 10  # colours are halved


def test_one_sheet_names_files_and_patterns(drives, tmp_path):
    (tmp_path / "videos.csv").write_text(f"video\n{drives}/second.mp4\n{drives}/*.mp4\n")
    assert [*find_videos(str(tmp_path / "videos.csv"))] == ["second", "first"]
    assert count_frames(drives / "second.mp4") == 20


def test_videos_with_one_name_are_two_sequences(drives, tmp_path):
    (tmp_path / "first.mp4").write_bytes((drives / "second.mp4").read_bytes())
    (tmp_path / "videos.csv").write_text(f"video\n{drives}/first.mp4\nfirst.mp4\n")
    assert find_videos(str(tmp_path / "videos.csv"))["first-2"] == tmp_path / "first.mp4"


def test_videos_of_several_sizes_get_one(tmp_path):
    for name, height, width in (("a", 64, 96), ("b", 64, 96), ("c", 32, 48)):
        p_only_video(tmp_path / f"{name}.mp4", frames_of(40, height, width))
    for size, expected in ((None, (96, 64)), ((48, 32), (48, 32))):
        folder = tmp_path / f"frames{size}"
        write_samples(f"{tmp_path}/?.mp4", folder, num_samples=30, gop=GOP, size=size)
        images = {path.relative_to(folder): Image.open(path) for path in folder.glob("*/*.png")}
        assert {image.size for image in images.values()} == {expected}
        assert {path.parts[0] for path in images} == {"a", "b", "c"}
    enlarged = Image.open(next((tmp_path / "framesNone/c").iterdir())).resize((48, 32))
    path = tmp_path / "frames(48, 32)/c" / next((tmp_path / "framesNone/c").iterdir()).name
    assert np.abs(np.asarray(enlarged, float) - np.asarray(Image.open(path))).mean() < 10


def test_a_video_that_would_be_stretched_is_refused(tmp_path):
    p_only_video(tmp_path / "a.mp4", frames_of(40))
    p_only_video(tmp_path / "b.mp4", frames_of(40, height=32))
    with pytest.raises(DataError, match=r"a.mp4: has 96x64 pixels, which at 96x32, .* would be stretched"):
        write_samples(f"{tmp_path}/*.mp4", tmp_path / "frames", num_samples=10, gop=GOP)
    assert not (tmp_path / "frames").exists()


def test_a_video_shorter_than_a_clip_is_named(drives, tmp_path, caplog):
    p_only_video(tmp_path / "brief.mp4", frames_of(GOP - 1))
    (tmp_path / "videos.csv").write_text(f"video\n{drives}/*.mp4\nbrief.mp4\n")
    write_samples(str(tmp_path / "videos.csv"), tmp_path / "frames", num_samples=10, gop=GOP)
    assert "brief.mp4: has 2 frames, fewer than a clip (3), and is left out" in caplog.text


@pytest.mark.parametrize(
    ("videos", "words"),
    [("none/*.mp4", "no file is called none"), ("text.mp4", "text.mp4: cannot be read as a video")],
)
def test_what_is_not_a_video_is_named(videos, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises((DataError, CodecError), match=words):
        write_samples(videos, tmp_path / "frames", num_samples=10, gop=GOP)
    assert not (tmp_path / "frames").exists()


def test_from_videos_to_a_manifest(drives, hr, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main(["videos", "sample", f"{drives}/*.mp4", "--samples", "10", "--gop", str(GOP), "--output", "frames"])
    main(["videos", "label", "frames", "--checkpoint", str(hr), "--confidence", "0.3", "--output", "labels"])
    folders = ["--frames", "frames", "--labels", "labels"]
    main(["manifest", "videos", "--dataset", "drives", *folders, "--output", "drives.csv"])
    assert "wrote 10 samples of 2 videos to frames" in capsys.readouterr().out
    manifest = read_manifest("drives.csv")
    assert list(manifest.class_names) == CLASSES
    assert {row.split for row in manifest.rows} == {"videos-train", "videos-val", "videos-test"}
    assert manifest.labelled_by("videos-test") == "HR"
    row = manifest.split("videos-test")[0]
    assert row.frame_path(1 - GOP).exists()
    values = set(np.unique(np.asarray(Image.open(row.label))))
    assert values <= {0, 1, 2, 3, 255}


def test_unsure_pixels_are_ignored(drives, hr, tmp_path):
    write_samples(f"{drives}/first.mp4", tmp_path / "frames", num_samples=4, gop=GOP)
    shares = [label_samples(tmp_path / "frames", hr, tmp_path / f"labels{c}", confidence=c) for c in (0.0, 0.4)]
    assert shares[0] == 0 < shares[1] < 1
    with (tmp_path / "labels0.0/classes.csv").open() as sheet:
        assert [row["name"] for row in csv.DictReader(sheet)] == CLASSES
    with pytest.raises(DataError, match=r"is .*hr.pt as sure as 0.99999"):
        label_samples(tmp_path / "frames", hr, tmp_path / "none", confidence=0.99999)
    assert not (tmp_path / "none").exists()


def test_a_teacher_without_class_names_is_refused(drives, tmp_path):
    spec, trained_on = described(False, 100)
    save_checkpoint(tmp_path / "hr.pt", random_network(False, 1), type(spec)("tiny", 4, False, 100), trained_on)
    write_samples(f"{drives}/first.mp4", tmp_path / "frames", num_samples=4, gop=GOP)
    with pytest.raises(ArsegError, match="does not say what its classes are called"):
        label_samples(tmp_path / "frames", tmp_path / "hr.pt", tmp_path / "labels")
