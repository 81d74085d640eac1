"""`arseg segment`: labels equal to the evaluation's, and every option, on videos made here."""

import json
import os
import re
import shutil
import signal
import time
from itertools import combinations, product

import av
import h5py
import numpy as np
import pytest
import torch
from command_line import refusal, run
from infer_examples import (
    CLASSES,
    P_ONLY,
    b_picture_video,
    frames_of,
    p_only_video,
    rgb_frames,
    taking_turns,
    write_checkpoints,
    write_video,
)
from motion_examples import compose_clip, compose_evidence, compose_motion
from video_examples import encode_with, heard, sound, times

from arseg.ar import ClipPredictor
from arseg.codec.decode import read_clip
from arseg.codec.encode import encode_clip
from arseg.errors import CodecError, ConfigError
from arseg.infer import Following, segment
from arseg.infer import run as infer_run
from arseg.infer.prefetch import prefetch
from arseg.models.branch import load_branch
from arseg.spec import Encoding

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    return write_checkpoints(tmp_path_factory.mktemp("checkpoints"))


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return p_only_video(tmp_path_factory.mktemp("video") / "own.mp4", frames_of(9), gop=4)


def labels_of(video, checkpoints, **options):
    return [labels for _, labels, _ in segment(video, checkpoints, scale_percent=50, device="cpu", **options)]


@pytest.fixture(scope="module")
def labels(video, checkpoints):
    found = labels_of(video, checkpoints)
    assert all(len(np.unique(one)) > 1 for one in found)  # so that comparisons mean something
    return found


def command(video, checkpoints, *words):
    run("segment", video, "--checkpoint", checkpoints, "--scale-percent", 50, *words)


def assert_labels(path, expected):
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["part0/labels"], expected)


def evaluated(clip, predictor, **rules):
    """Labels of the evaluation's own path, on a clip that begins at a keyframe."""
    frames = [torch.from_numpy(frame.to_rgb())[None] for frame in clip.frames]
    motion = compose_clip(clip, **rules)
    blocks = clip.block_vectors_qpel, clip.block_ref_back, clip.height, clip.width
    evidence = compose_evidence(*blocks, **{name: value for name, value in rules.items() if name != "subpixel"})
    found = []
    for distance, frame in enumerate(frames):
        ahead = [None, None]
        if distance:
            ahead = [frames[0], *(torch.from_numpy(each[distance])[None] for each in (motion, evidence))]
        with torch.inference_mode():
            found.append(predictor(frame, *ahead)[0].argmax(dim=0).to(torch.uint8).numpy())
    return found


def branches(checkpoints):
    """HR branch and LR branch at 50 %, as the evaluation loads them."""
    classes = {"class_names": CLASSES, "device": CPU}
    hr = load_branch(checkpoints / "phase1/scale100/weights.pt", role="hr", scale_percent=100, **classes)
    lr_path = checkpoints / "phase2/scale50/weights.pt"
    return hr, load_branch(lr_path, role="ar", scale_percent=50, beside=hr, **classes)


@pytest.mark.parametrize("fusion", ["creff", "gated-codec"])
def test_labels_are_those_of_the_evaluation(tmp_path, fusion):
    """Of H.264; HEVC is below."""
    checkpoints = write_checkpoints(tmp_path, fusion)
    bitstream = encode_clip(frames_of(6), Encoding(codec="h264", rate="200k", gop=6)).bitstream
    path = tmp_path / "own.h264"
    path.write_bytes(bitstream)
    segmented = labels_of(path, checkpoints)
    predictor = ClipPredictor(*branches(checkpoints))
    np.testing.assert_array_equal(segmented, evaluated(read_clip(bitstream, "h264"), predictor))
    assert not np.array_equal(segmented[5], segmented[0])


def test_tags_may_be_of_any_encoding(tmp_path):
    path = write_video(tmp_path / "own.avi", frames_of(3), "-metadata", "title=Copyright 1999")
    data = path.read_bytes()
    assert data.count(b"Copyright 1999") == 1
    path.write_bytes(data.replace(b"Copyright 1999", b"\xa9 Latin-1,1999"))
    command(path, write_checkpoints(tmp_path), "-o", tmp_path / "overlay.mp4")
    assert len(times(tmp_path / "overlay.mp4")) == 3


# What the LR branch was trained on


def encoding(**changes):
    return {"encoding": Encoding(**changes)}


@pytest.fixture(scope="module")
def long_references(hevc_reader, tmp_path_factory):
    """A stream of one GOP whose frames refer up to five back, by vectors that are no whole pixels."""
    path = tmp_path_factory.mktemp("references") / "own.hevc"
    config = Encoding(codec="hevc", rate="qp30", gop=16, references=5)
    path.write_bytes(encode_clip(taking_turns(16), config).bitstream)
    clip = read_clip(path.read_bytes(), "hevc")
    blocks = clip.block_vectors_qpel, clip.block_ref_back, clip.height, clip.width
    rules = product((False, True), (3, 5))
    motions = [compose_motion(*blocks, subpixel=subpixel, max_ref_back=back)[-1] for subpixel, back in rules]
    assert all((first != second).mean() > 0.05 for first, second in combinations(motions, 2)), "each rule matters"
    return path


@pytest.mark.parametrize(
    ("trained", "rules"),
    [
        ({}, {}),
        (encoding(gop=16), {"max_ref_back": 3}),
        (encoding(gop=16, references=1), {"max_ref_back": 3}),
        (encoding(gop=16, references=5), {"max_ref_back": 5}),
        (encoding(gop=16, references=5, subpixel=True), {"max_ref_back": 5, "subpixel": True}),
        (encoding(gop=7, subpixel=True), {"subpixel": True}),
    ],
    ids=str,
)
def test_motion_is_made_as_for_the_training(long_references, tmp_path, trained, rules):
    """Composition, references and distance are the checkpoint's, and the paper's where it does not say."""
    checkpoints = write_checkpoints(tmp_path, **trained)
    num_frames = min(16, trained["encoding"].gop if trained else 12)
    clip = read_clip(long_references.read_bytes(), "hevc")
    expected = evaluated(clip, ClipPredictor(*branches(checkpoints)), **rules)[:num_frames]
    found = list(segment(long_references, checkpoints, scale_percent=50, device="cpu"))
    np.testing.assert_array_equal([labels for _, labels, _ in found[:num_frames]], expected)
    assert [info.distance for *_, info in found] == [index % num_frames for index in range(16)]


def test_an_option_overrides_the_training_and_says_so(long_references, tmp_path, capsys, caplog):
    checkpoints = write_checkpoints(tmp_path / "checkpoints", **encoding(gop=16, references=5))
    words = ["--subpixel", "--keyframes", "coded,distance=7,cut", "--max-ref-back", 5]
    command(long_references, checkpoints, "-o", tmp_path / "labels.h5", "--summary", tmp_path / "run.json", *words)
    overridden = "subpixel True instead of False, gop 8 instead of 16"
    assert [message for message in caplog.messages if "training" in message] == [
        f"motion is made otherwise than in the LR branch's training: {overridden}"
    ]
    told = json.loads((tmp_path / "run.json").read_text())
    assert told["motion"] == {"subpixel": True, "gop": 8, "max_ref_back": 5}
    assert told["motion_of_training"] == {"subpixel": False, "gop": 16, "max_ref_back": 5}
    shown = capsys.readouterr().out
    assert "in quarter pixels, up to 7 frames from the keyframe, along references up to 5 frames back" in shown
    assert overridden in shown
    clip = read_clip(long_references.read_bytes(), "hevc")
    expected = evaluated(clip, ClipPredictor(*branches(checkpoints)), subpixel=True, max_ref_back=5)
    with h5py.File(tmp_path / "labels.h5") as file:
        np.testing.assert_array_equal(file["part0/labels"][:8], expected[:8])
        np.testing.assert_array_equal(file["part0/distance"], [*range(8), *range(8)])


@pytest.mark.parametrize(
    ("frame_size", "told"),
    [
        ([960, 640], "things in them are 0.1 times as large as it has learnt"),
        ([40, 30], "trained on frames of 40x30 pixels, these have 96x64: things in them are 2.3 times as large"),
        ([192, 128], None),
        ([48, 32], None),
    ],
)
def test_frames_unlike_those_of_the_training_are_said_once(video, tmp_path, caplog, frame_size, told):
    labels_of(video, write_checkpoints(tmp_path, frame_size=frame_size), max_frames=3)
    found = [message for message in caplog.messages if "training" in message or "trained" in message]
    assert [told in message for message in found] == ([True] if told else [])


def test_options_as_in_the_training_say_nothing(video, checkpoints, caplog):
    following = Following(subpixel=False, keyframes="coded,distance=11,cut", max_ref_back=3)
    labels_of(video, checkpoints, following=following, max_frames=2)
    assert not [message for message in caplog.messages if "training" in message]


def test_a_single_network_sees_every_frame(checkpoints, tmp_path):
    path = b_picture_video(tmp_path / "own.mkv", frames_of(5))
    lone = checkpoints / "phase1/scale50/weights.pt"
    branch = load_branch(lone, role="lr", scale_percent=50, class_names=CLASSES, device=CPU)
    found = list(segment(path, lone, device="cpu"))
    assert {info.distance for *_, info in found} == {0}
    with torch.inference_mode():
        scores = [ClipPredictor(branch)(torch.from_numpy(frame)[None], None, None) for frame, *_ in found]
    np.testing.assert_array_equal([labels for _, labels, _ in found], [one[0].argmax(dim=0) for one in scores])


def test_frames_and_what_is_known_of_them(video, checkpoints):
    found = list(segment(video, checkpoints, scale_percent=50, device="cpu"))
    assert [info.index for *_, info in found] == list(range(9))
    assert [info.distance for *_, info in found] == [0, 1, 2, 3, 0, 1, 2, 3, 0]
    np.testing.assert_allclose([info.seconds for *_, info in found], np.arange(9) / 30, atol=1e-4)
    with av.open(str(video)) as container:
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    for (frame, labels, _), expected in zip(found, shown, strict=True):
        assert frame.dtype == labels.dtype == np.uint8
        assert np.abs(frame.astype(int) - expected).mean() < 8  # FFmpeg enlarges colour planes another way


def test_every_third_frame_is_what_it_is_among_all(video, checkpoints, labels):
    segmentation = segment(video, checkpoints, scale_percent=50, device="cpu", every=3)
    found = list(segmentation)
    assert [info.index for *_, info in found] == [0, 3, 6]
    np.testing.assert_array_equal([one for _, one, _ in found], labels[::3])
    assert segmentation.watch.runs["lr"] == 2  # frames 3 and 6
    assert segmentation.watch.runs["hr"] == 3  # keyframes 0 and 4, and the classes of 0; nobody asks for 8


def test_keyframes_are_encoded_once_and_frames_can_be_bounded(video, checkpoints, labels):
    segmentation = segment(video, checkpoints, scale_percent=50, device="cpu", max_frames=6)
    np.testing.assert_array_equal([found for _, found, _ in segmentation], labels[:6])
    assert segmentation.watch.runs["hr"] == 2 * 2  # encoded and classified
    assert dict(segmentation.keyframes) == {"coded": 2}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "--every 0"),
        ({"max_frames": 0}, "--max-frames 0: must be at least 1"),
        ({"compare_hr": True, "scale_percent": 100}, "--compare HR: needs an LR branch"),
        ({"metrics": ["miou"]}, "--metrics miou: are scores of a comparison. Add --compare HR"),
        ({"device": "tpu"}, "--device tpu"),
    ],
)
def test_options_that_cannot_be(video, checkpoints, options, message):
    path = checkpoints / "phase1/scale100/weights.pt" if "compare_hr" in options else checkpoints
    with pytest.raises(ConfigError, match=message):
        segment(video, path, **{"scale_percent": 50, "device": "cpu"} | options)


def test_an_error_names_the_video(checkpoints, tmp_path):
    with pytest.raises(CodecError, match=r"missing\.mp4: cannot be read as a video"):
        labels_of(tmp_path / "missing.mp4", checkpoints)


# The thread that works ahead


def test_the_thread_keeps_order_stays_a_few_ahead_and_ends_with_its_reader():
    made, closed = [], []

    def items(last=1000):
        try:
            for number in range(last):
                made.append(number)
                yield number
            raise CodecError("broken")
        finally:
            closed.append(True)

    ahead = prefetch(items(last=5), 2)
    assert [next(ahead) for _ in range(5)] == made == list(range(5))
    with pytest.raises(CodecError, match="broken"):
        next(ahead)

    made.clear()
    ahead = prefetch(items(), 3)
    assert next(ahead) == 0
    deadline = time.monotonic() + 10
    while len(made) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert 4 <= len(made) <= 6
    ahead.close()
    assert closed == [True, True]


# The command


def test_the_command_writes_all_outputs(video, checkpoints, labels, tmp_path, capsys):
    outputs = [tmp_path / name for name in ("over.mp4", "labels.h5", "areas.csv", "maps")]
    command(video, checkpoints, "--compare", "HR", "--summary", tmp_path / "run.json", "-o", *outputs)
    assert_labels(tmp_path / "labels.h5", labels)
    assert len(rgb_frames(tmp_path / "over.mp4")) == 9
    assert len(list((tmp_path / "maps").iterdir())) == 9
    told = json.loads((tmp_path / "run.json").read_text())
    assert (told["frames"], told["keyframes"], told["reencoded_because"]) == (9, {"coded": 3}, "")
    assert {"decode", "motion", "convert", "transfer", "hr", "lr", "fusion", "output"} <= set(told["stage_seconds"])
    shown = capsys.readouterr().out
    assert "motion: the stream's own" in shown
    assert "HR on every frame" in shown
    assert (tmp_path / "labels.h5.provenance.json").exists()


def test_an_overlay_keeps_the_times_and_the_sound_of_its_source(checkpoints, tmp_path):
    uneven = ("-vf", "setpts=PTS+0.03*mod(N\\,3)/TB", "-fps_mode", "passthrough", "-c:a", "aac")
    own, every, second = heard(tmp_path / "own.mp4", *uneven), tmp_path / "every.mp4", tmp_path / "second.mp4"
    command(own, checkpoints, "-o", every)
    assert times(every) == times(own)
    assert sound(every) == sound(own)
    command(own, checkpoints, "--every", 2, "-o", second, "--overlay.no-audio", "--overlay.codec", "hevc")
    assert times(second) == times(own)[::2]
    with av.open(str(second)) as container:
        assert [stream.codec_context.name for stream in container.streams] == ["hevc"]


def test_the_command_says_once_that_it_encodes_again(checkpoints, tmp_path, capsys, caplog):
    path = b_picture_video(tmp_path / "own.mkv", frames_of(5))
    with caplog.at_level("INFO"):
        command(path, checkpoints, "-o", tmp_path / "areas.csv")
    assert sum("encoded again on the fly" in message for message in caplog.messages) == 1
    assert "motion: from encoding again on the fly (frame 1 is a B-frame" in capsys.readouterr().out


def test_the_command_reports_damage(checkpoints, tmp_path, capsys):
    content = encode_with("libx264", frames_of(9), "-x264-params", "bframes=0:ref=1:keyint=4:scenecut=0", form="h264")
    start = content.index(b"\0\0\1", len(content) // 2) + 4
    path = tmp_path / "own.264"
    path.write_bytes(
        content[:start] + bytes(255 - byte for byte in content[start : start + 39]) + content[start + 39 :]
    )
    command(path, checkpoints, "-o", tmp_path / "areas.csv")
    assert re.search(r"damage at 1 places: \d frames lost, \d marked as damaged", capsys.readouterr().out)
    damaged = [line.split(",")[4] for line in (tmp_path / "areas.csv").read_text().splitlines()[1:]]
    assert {"0", "1"} == set(damaged)


def test_ctrl_c_ends_the_video_and_keeps_what_there_is(video, checkpoints, labels, tmp_path, capsys, monkeypatch):
    ordinary = infer_run.track

    def interrupted(frames, *words, **options):
        for number, frame in enumerate(ordinary(frames, *words, **options)):
            if number == 2:
                os.kill(os.getpid(), signal.SIGINT)
            yield frame

    monkeypatch.setattr(infer_run, "track", interrupted)
    command(video, checkpoints, "-o", tmp_path / "labels.h5")
    assert "stopped by SIGINT" in capsys.readouterr().out
    assert_labels(tmp_path / "labels.h5", labels[:3])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--output: nothing would come of it"),
        (["-o", "areas.csv", "--motion", "stream"], "B-frame"),
    ],
)
def test_the_command_refuses(checkpoints, tmp_path, capsys, words, message, monkeypatch):
    monkeypatch.chdir(tmp_path)
    b_picture_video(tmp_path / "own.mkv", frames_of(5))
    assert message in refusal(capsys, "segment", "own.mkv", "--checkpoint", checkpoints, "--scale-percent", 50, *words)
    assert [path.name for path in tmp_path.iterdir()] == ["own.mkv"]


def test_a_video_too_small_for_a_network_is_named(checkpoints, tmp_path, capsys):
    path = write_video(tmp_path / "own.mkv", np.zeros((3, 2, 2, 3), np.uint8), "-x264-params", P_ONLY.format(gop=3))
    words = ("segment", path, "--checkpoint", checkpoints, "--scale-percent", 30, "-o", tmp_path / "areas.csv")
    assert f"{path}: scale_percent 30: an image of 2 x 2 pixels would be 0 x 0" in refusal(capsys, *words)
    assert [file.name for file in tmp_path.iterdir()] == ["own.mkv"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-o", "own.webm"], "cannot tell what to write from .webm"),
        (["-o", "areas.csv", "areas.csv"], "areas.csv: is named twice"),
        (["-o", "own"], "a name without suffix is a folder for PNGs, and this is a file"),
        (["-o", "own/over.mp4"], "over.mp4: cannot be written (Not a directory)"),
        (["-o", "areas.csv", "--summary", "own/run.json"], "run.json: cannot be written (Not a directory)"),
        (["-o", "own.mkv"], "output own.mkv is the file to read, which would be lost"),
        (["-o", "over.mp4", "--alpha", "2"], "--alpha 2"),
        (["-o", "over.mp4", "--overlay.crf", "60"], "--overlay.crf 60: must be from 0 (best quality) to 51"),
        (["-o", "run.json", "--summary", "run.json"], "--summary run.json: is an --output as well"),
    ],
)
def test_outputs_are_looked_at_before_networks_and_video(tmp_path, capsys, words, message, monkeypatch):
    """There are no networks, and the video is none: what is said first was seen before either."""
    monkeypatch.chdir(tmp_path)
    for name in ("own.mkv", "own"):
        (tmp_path / name).write_text("mine")
    assert message in refusal(capsys, "segment", "own.mkv", "--checkpoint", "none.pt", *words)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["own", "own.mkv"]
    assert (tmp_path / "own.mkv").read_text() == "mine"


def test_a_video_from_standard_input(video, checkpoints, labels, tmp_path, monkeypatch):
    stream = write_video(
        tmp_path / "own.ts", frames_of(9), "-x264-params", "bframes=0:ref=1:keyint=4:min-keyint=4:scenecut=0"
    )
    before = os.dup(0)
    try:
        with stream.open("rb") as file:
            os.dup2(file.fileno(), 0)
            command("-", checkpoints, "-o", tmp_path / "labels.h5")
    finally:
        os.dup2(before, 0)
        os.close(before)
    assert_labels(tmp_path / "labels.h5", labels)


def test_the_example_of_the_documentation_runs(video, checkpoints, tmp_path, monkeypatch, repository, capsys):
    (example,) = re.findall(r"```python\n(.*?)```", (repository / "docs/segment.md").read_text(), flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    shutil.copy(video, "dashcam.mp4")
    shutil.copytree(checkpoints, "results/demo")
    exec(compile(example, "docs/segment.md", "exec"), {})
    shown = capsys.readouterr().out
    assert shown.count("keyframe (coded)") == 3
    assert shown.count("road") == 9 + 1
    assert "['sky', 'road', 'car', 'void'] {'coded': 3}" in shown
