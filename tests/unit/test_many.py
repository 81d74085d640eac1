"""Many videos: parts of one are what one run gives, broken ones are told, and a table has a line for each."""

import csv
import json
from functools import partial
from itertools import chain
from pathlib import Path
from types import SimpleNamespace

import av
import h5py
import numpy as np
import pytest
from command_line import refusal, run
from infer_examples import CLASSES, rgb_frames, slow_video, two_scenes, write_checkpoints
from video_examples import times

from arseg.codec.sections import Part, Sections
from arseg.data.videos import name_videos
from arseg.errors import CheckpointError, ConfigError, DataError
from arseg.infer import Following, segment
from arseg.infer.many import SUMMARY, Request, join_parts, read_summary, segment_video

OUTPUTS = ("labels.h5", "areas.csv", "coco.json", "cvat.zip", "pngs", "overlay.mp4", "overlay.mkv")
P_ONLY = "bframes=0:ref=1:scenecut=0:keyint=7:min-keyint=7"
B_FRAMES = "bframes=2:b-adapt=0:scenecut=0:keyint=7:min-keyint=7"
HEVC = "log-level=none:keyint=7:min-keyint=7:"


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    return write_checkpoints(tmp_path_factory.mktemp("checkpoints"))


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Make a video of 45 frames, one a second, with a cut in it."""
    folder = tmp_path_factory.mktemp("videos")
    return lambda name, parameters: slow_video(folder / name, two_scenes(45), parameters)


@pytest.fixture(scope="module")
def video(make):
    return make("own.mp4", P_ONLY)


@pytest.fixture
def request_(checkpoints):
    return partial(Request, [checkpoints], scale_percent=50, device="cpu")


def frames_of_parts(path, checkpoint, total, **options):
    parts = [Part(number, total) for number in range(1, total + 1)]
    return [[*segment(path, checkpoint, device="cpu", part=part, **options)] for part in parts]


@pytest.mark.parametrize(
    ("name", "parameters", "lengths"),
    [
        ("own.mkv", P_ONLY, [28, 14, 3]),
        ("own.ts", P_ONLY, [28, 14, 3]),  # parameter sets in the stream
        ("b.mp4", B_FRAMES, [28, 14, 3]),  # encoded again
        ("own.hevc.mp4", f"{HEVC}bframes=0", [28, 14, 3]),
        ("b.hevc.mp4", f"{HEVC}bframes=2:b-adapt=0:open-gop=0", [28, 14, 3]),
        ("open.hevc.mp4", f"{HEVC}bframes=3:b-adapt=0:open-gop=1", [45, 0, 0]),  # frames are shown before keyframes
        ("own.h264", P_ONLY, [45, 0, 0]),  # no times
    ],
    ids=str,
)
def test_parts_are_what_one_run_gives(make, checkpoints, hevc_reader, name, parameters, lengths):
    path = make(name, parameters)
    options = {"scale_percent": 50}
    whole = [*segment(path, checkpoints, device="cpu", **options)]
    parts = frames_of_parts(path, checkpoints, 3, **options)
    assert [len(part) for part in parts] == lengths
    for (_, labels, info), (_, expected, told) in zip(chain(*parts), whole, strict=True):
        np.testing.assert_array_equal(labels, expected)
        assert info == told


SPS, PPS, IDR, SLICE = b"\x67", b"\x68", b"\x65", b"\x41"
VPS, HEVC_SPS, HEVC_PPS, CRA, RASL, TRAIL = (bytes([kind << 1, 1]) for kind in (32, 33, 34, 21, 9, 1))


@pytest.mark.parametrize(
    ("codec", "packets", "numbers"),
    [
        ("h264", [(0, [SPS, PPS, IDR]), (5, [IDR]), (10, [IDR]), (15, [IDR]), (20, [IDR])], [0, 0, 1, 1, 2]),
        ("h264", [(0, [IDR]), (10, [SLICE])], [0, 0]),  # a recovery point
        ("h264", [(0, [IDR]), (10, [SPS, PPS, IDR]), (20, [IDR]), (21, [SPS, PPS, IDR])], [0, 1, 1, 2]),
        ("hevc", [(0, [CRA]), (10, [CRA]), (11, [TRAIL])], [0, 1, 1]),
        ("hevc", [(0, [CRA]), (10, [CRA]), (9, [RASL]), (20, [CRA])], [0, 0, 0, 1]),
        ("hevc", [(0, [CRA]), (5, [VPS, HEVC_SPS]), (10, [CRA]), (20, [VPS, HEVC_SPS, HEVC_PPS, CRA])], [0, 0, 0, 1]),
        ("mpeg2video", [(0, []), (10, []), (9, []), (20, [])], [0, 0, 0, 1]),  # an open GOP
        ("vp9", [(0, []), (None, []), (30, [])], [0, 0, 1]),
        ("msmpeg4v3", [(0, []), (30, [])], [0, 0]),
    ],
    ids=str,
)
def test_a_section_begins_where_decoding_does_not_look_back(codec, packets, numbers):
    given = [
        (SimpleNamespace(pts=None if pts is None else 1000 * pts, is_keyframe=True, is_discard=False), units)
        for pts, units in packets
    ]
    assert [number for _, _, number, _ in Sections(codec, 1000).split(iter(given))] == numbers


def test_a_part_needs_policies_without_a_memory(video, checkpoints):
    for keyframes in ("distance,coded", "distance=3", "cut"):
        with pytest.raises(ConfigError, match=r"--part 1/3: parts begin at .* Name coded first"):
            frames_of_parts(video, checkpoints, 3, scale_percent=50, following=Following(keyframes))
    single = checkpoints / "phase1/scale50/weights.pt"
    assert [len(part) for part in frames_of_parts(video, single, 3)] == [28, 14, 3]


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize(("name", "parameters"), [("own.mp4", P_ONLY), ("b.mp4", B_FRAMES)])
def test_joined_parts_are_the_files_of_one_run(make, request_, tmp_path, name, parameters, every, caplog):
    path = str(make(name, parameters))
    request = request_(OUTPUTS, every=every)
    segment_video(path, tmp_path / "whole", request)
    parts = [tmp_path / f"{number}of6" for number in range(1, 7)]
    for number, part in enumerate(parts, 1):
        segment_video(path, part, request, Part(number, 6))
    lengths = [read_summary(part)["of_part"]["shown"] for part in parts]
    assert lengths == [14, 14, 0, 14, 0, 3], "sections are too long for six parts"
    join_parts(path, parts, tmp_path / "joined", request)
    assert "in one run" not in caplog.text
    whole, joined = tmp_path / "whole", tmp_path / "joined"
    files = sorted(file.relative_to(whole) for file in whole.rglob("*") if file.is_file())
    assert files == sorted(file.relative_to(joined) for file in joined.rglob("*") if file.is_file())
    assert len(files) > 45 / every
    for file in files:
        if file.suffix in (".mp4", ".mkv"):
            assert times(joined / file) == times(whole / file)
            for one, other in zip(rgb_frames(joined / file), rgb_frames(whole / file), strict=True):
                assert np.abs(one - other).mean() < 3
        elif file.name != SUMMARY:
            assert (joined / file).read_bytes() == (whole / file).read_bytes(), file
    told, expected = read_summary(joined), read_summary(whole)
    for key in ("frames", "keyframes", "frames_lost", "macs", "hr_macs", "reencoded_because", "video"):
        assert told[key] == expected[key], key
    assert told["parts"] == 6


@pytest.mark.parametrize("codec", ["hevc", "av1"])
def test_joined_overlays_play_in_other_codecs(video, request_, tmp_path, codec):
    from arseg.codec.video_writer import VideoOptions  # noqa: PLC0415

    request = request_(("overlay.mp4",), overlay=VideoOptions(codec))
    parts = [tmp_path / f"{number}" for number in range(2)]
    for number, part in enumerate(parts, 1):
        segment_video(str(video), part, request, Part(number, 2))
    join_parts(str(video), parts, tmp_path / "joined", request)
    assert times(tmp_path / "joined/overlay.mp4") == [float(second) for second in range(45)]
    with av.open(str(tmp_path / "joined/overlay.mp4")) as container:
        assert codec != "hevc" or container.streams.video[0].codec_context.codec_tag == "hvc1"


@pytest.mark.parametrize(
    ("change", "every"),
    [
        ({"corrects_times": True}, 1),
        ({"span": [0.0, 1.0]}, 1),
        ({"span": [100.0, 101.0]}, 1),
        ({"reencodes_all": True}, 1),
        ({"begins_damaged": True}, 1),
        ({"skipped": 5}, 3),
        ({"error": "damaged"}, 1),
    ],
    ids=str,
)
def test_parts_that_are_not_one_run_are_segmented_again(video, request_, tmp_path, change, every, caplog):
    request = request_(("areas.csv",), every=every)
    parts = [tmp_path / f"{number}" for number in range(2)]
    for number, part in enumerate(parts, 1):
        segment_video(str(video), part, request, Part(number, 2))
    told = read_summary(parts[1])
    (told if "error" in change else told["of_part"]).update(change)
    (parts[1] / SUMMARY).write_text(json.dumps(told))
    joined = join_parts(str(video), parts, tmp_path / "joined", request)
    assert "it is segmented in one run" in caplog.text
    assert (joined["frames"], joined.get("parts")) == (45 / every, None)
    assert len((tmp_path / "joined/areas.csv").read_text().splitlines()) == 45 / every + 1
    with pytest.raises(ConfigError, match=r"--join: expected the parts 1/1 in this order, found \['2/2'\]"):
        join_parts(str(video), parts[1:], tmp_path / "other", request)


def test_a_frame_too_small_for_a_network_is_the_fault_of_its_video_alone(request_, tmp_path):
    path = str(slow_video(tmp_path / "small.mp4", np.zeros((3, 2, 2, 3), np.uint8), "keyint=3"))
    told = segment_video(path, tmp_path / "out", request_(("areas.csv",), scale_percent=30))
    assert f"{path}: scale_percent 30: an image of 2 x 2 pixels would be 0 x 0" in told["error"]
    assert [file.name for file in (tmp_path / "out").iterdir()] == [SUMMARY]
    with pytest.raises(CheckpointError):
        segment_video(path, tmp_path / "other", request_(("areas.csv",), scale_percent=40))
    assert not (tmp_path / "other").exists()


def test_the_commands(video, checkpoints, tmp_path, capsys):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(video.read_bytes()[:300])
    sheet = tmp_path / "sheet.csv"
    sheet.write_text(f"video,name\n{video},good\nbroken.mp4,\n")
    words = ["--checkpoint", checkpoints, "--scale-percent", 50, "-o", "labels.h5", "--device", "cpu"]
    for path, name in ((video, "good"), (broken, "broken")):
        run("videos", "segment", path, "--folder", tmp_path / "out" / name, *words)
    assert [path.name for path in (tmp_path / "out/broken").iterdir()] == [SUMMARY]
    table, page = tmp_path / "table.csv", tmp_path / "table.md"
    run("videos", "tabulate", sheet, "--folder", tmp_path / "out", "--csv", table, "--summary", page)
    with table.open() as file:
        good, bad = csv.DictReader(file)
    assert (good["video"], good["frames"], good["motion"], good["keyframes"]) == ("good", "45", "stream", "8")
    assert (good["duration_s"], good["lost"], good["parts"], good["error"]) == ("45.0", "0", "1", "")
    assert 0 < float(good["percent_of_hr"]) < 100
    assert bad["video"] == "broken"
    assert "broken.mp4: cannot be read as a video" in bad["error"]
    assert page.read_text().startswith("2 videos, 0.01 hours, 45 frames; 1 not segmented\n")
    told = refusal(capsys, "videos", "check", table, "--output", tmp_path / "all")
    assert "table.csv: 1 of 2 videos could not be segmented" in told
    assert "broken.mp4: cannot be read as a video" in told
    assert not (tmp_path / "all").exists()
    with h5py.File(tmp_path / "out/good/labels.h5") as file:
        assert file.attrs["classes"].decode().splitlines() == CLASSES
    for wrong, message in (
        ("sub/labels.h5", "plain name"),
        (SUMMARY, "another one than"),
        ("labels.abc", "cannot tell"),
    ):
        told = refusal(capsys, "videos", "segment", video, "--folder", tmp_path / "x", *words[:4], "-o", wrong)
        assert message in told
    assert "--part 3/2: expected NUMBER/TOTAL" in refusal(
        capsys, "videos", "segment", video, "--folder", tmp_path / "x", *words, "--part", "3/2"
    )


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        (["a/x.mp4"], ["x"]),
        (["a/*.mp4"], ["x"]),
        (["**/*.m*"], ["a-x", "b-c-x"]),
        (["sheet.csv"], ["first", "x"]),
        (["b/*/*"], ["c-x"]),
    ],
    ids=str,
)
def test_videos_are_named(tmp_path, monkeypatch, lines, names):
    monkeypatch.chdir(tmp_path)
    for name in ("a/x.mp4", "b/c/x.mkv"):
        Path(name).parent.mkdir(parents=True)
        Path(name).touch()
    Path("sheet.csv").write_text("video,name\na/*.mp4,first\nb/c/x.mkv,\n")
    assert [*name_videos(lines, "segment.videos")] == names
    with pytest.raises(DataError, match=r"segment.videos\[1\]: no file is called none.mp4"):
        name_videos(["a/x.mp4", "none.mp4"], "segment.videos")
    with pytest.raises(DataError, match=r"segment.videos\[1\]: b/c/x.mkv and a/x.mp4 would both be called x"):
        name_videos(["a/x.mp4", "b/c/x.mkv"], "segment.videos")
