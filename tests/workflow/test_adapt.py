"""One command from a user's videos and network to a pair of branches, and what they lose and save."""

import os
import re
from pathlib import Path

import pandas as pd
import pytest
import yaml
from command_line import refusal
from infer_examples import described, frames_of, p_only_video, random_network

from arseg.adapt.experiment import Adaptation, configuration, read_format
from arseg.adapt.network import hr_checkpoint
from arseg.adapt.outcome import describe_outcome
from arseg.cli.main import main
from arseg.errors import ConfigError
from arseg.models.checkpoint import save_checkpoint
from arseg.models.finished import create_checkpoint, generated_classes
from arseg.spec import NetworkSpec

OWN = """
import torch
from torch import nn


def build(num_classes):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, {channels}, 3, 2, 1), nn.Conv2d({channels}, num_classes, 1))
"""
OPTIONS = ["--gop", "4", "--samples", "12", "--epochs", "1", "--confidence", "0", "--device", "cpu", "--cores", "2"]


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return p_only_video(tmp_path_factory.mktemp("videos") / "drive.mp4", frames_of(60))


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    path = tmp_path_factory.mktemp("network") / "hr.pt"
    save_checkpoint(path, random_network(False, 1), *described(False, 100))
    return path


@pytest.mark.workflow
def test_a_network_is_adapted_to_a_video(video, network, programs, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", os.pathsep.join([str(programs), os.environ["PATH"]]))
    command = ["adapt", str(video), "--network", str(network), "-o", str(tmp_path / "mine"), *OPTIONS]
    main(command)
    told = capsys.readouterr().out
    for words in ("full resolution on every frame", "constant low resolution at 0.5x", "AR-Seg at 0.5x"):
        assert re.search(rf"{words} +[\d.]+% +\d+% of HR's multiply-accumulates", told), told
    results = tmp_path / "mine/results/adapted"
    table = pd.read_csv(results / "agreement.csv")
    assert set(table["split"]) == {"videos-test"}
    hr = table.loc[table["mode"] == "HR", "agreement"]
    assert hr.between(0.3, 0.9999).all(), "encoding alone makes HR differ from its own labels"
    names = {path.name for path in (*results.glob("*.*"), *results.glob("figures/*.png"), *results.glob("published"))}
    assert names >= {"agreement.csv", "agreement.md", "agreement_by_distance.png", "agreement_by_cost.png"}
    assert not {name for name in names if "miou" in name or name == "published"}
    logs = (tmp_path / "mine/logs/adapted").rglob("evaluate/**/*.log")
    for path in (results / "agreement.csv", results / "agreement.md", *logs):
        assert "miou" not in path.read_text().lower(), path
    assert {path.name for path in results.glob("phase1/*/*/*")} == {"scale50"}, "the HR branch is not trained"

    made = {path: path.stat().st_mtime_ns for path in results.rglob("*.pt")}
    main(command)  # nothing is made again
    assert {path: path.stat().st_mtime_ns for path in results.rglob("*.pt")} == made

    main(["segment", str(video), "--checkpoint", str(results), str(network), "-o", str(tmp_path / "areas.csv")])
    assert len(pd.read_csv(tmp_path / "areas.csv")) == 60

    with pytest.raises(SystemExit):
        main([*command[: -len(OPTIONS)], *OPTIONS[:2], "--samples", "13", *OPTIONS[4:]])
    assert "config.yaml: is of another run, with other options" in capsys.readouterr().err


@pytest.mark.workflow
def test_a_failed_job_is_told(video, network, programs, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", os.pathsep.join([str(programs), os.environ["PATH"]]))
    options = ["0.99999" if word == "0" else word for word in OPTIONS]
    with pytest.raises(SystemExit):
        main(["adapt", str(video), "--network", str(network), "-o", str(tmp_path / "mine"), *options])
    told = capsys.readouterr().err
    assert f"{tmp_path}/mine: a job of the workflow failed" in told
    assert "as sure as 0.99999; its most is 0." in told


@pytest.mark.parametrize(("names", "words"), [([], "videos"), (["none.mp4"], "no file is called none.mp4")])
def test_wrong_words_leave_nothing(names, words, network, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["adapt", *names, "--network", str(network), "-o", "mine"])
    told = capsys.readouterr()
    assert words in (told.out + told.err).lower()
    assert not Path("mine/config.yaml").exists()


@pytest.mark.parametrize(
    ("videos", "more", "told"),
    [
        (
            ["tall.mp4"],
            [],
            "tall.mp4: has 96x128 pixels, which at 96x64, the size that all videos get, would be stretched",
        ),
        (
            [],
            ["--gop", "90"],
            "the videos have 60 frames in all ({video} with 60). Of them, 60% are for train, a gop (90) apart from the "
            "other splits, and no clip of as many frames fits in. Give a video of at least 900 frames, or a gop of 6",
        ),
        ([], ["--size", "wide"], "--size wide: expected WIDTHxHEIGHT in pixels"),
        ([], ["--scales", "50"], "--scales 50: expected whole percentages below 1"),
        ([], ["--scales", "0.333"], "--scales 0.333: expected whole percentages below 1"),
        ([], ["--confidence", "1"], "--confidence 1: expected a probability"),
        ([], ["--gop", "1"], "--gop 1: expected 2 to 99 frames"),
        (["."], [], "videos '.': . is a folder. Name the videos in it by a pattern: *.mp4"),
        (["text.mp4"], [], "text.mp4: cannot be read as a video"),
        ([], ["--network", "nameless.pt"], "nameless.pt: does not say what its classes are called"),
        ([], ["--network", "low.pt"], "low.pt: scale_percent is 50, expected 100 in the role 'hr'"),
        ([], ["--classes", "sheet.csv"], "--classes: is of a network by name, and {network} has its own"),
        ([], ["--network", "nets.py"], "names no function. Name one that takes a number of classes: nets.py:build"),
    ],
)
def test_what_cannot_be_adapted_is_refused_before_a_job(
    videos, more, told, video, network, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    p_only_video(Path("tall.mp4"), frames_of(3, 128, 96))
    Path("text.mp4").write_text("no video")
    Path("nets.py").write_text(OWN.format(channels=4))
    save_checkpoint(Path("low.pt"), random_network(False, 1), *described(False, 50))
    save_checkpoint(Path("nameless.pt"), random_network(False, 1), NetworkSpec("tiny", 4))
    options = [] if "--network" in more else ["--network", network]
    said = refusal(capsys, "adapt", video, *videos, *options, "-o", "mine", *more)
    assert told.format(video=video, network=network) in said
    assert not Path("mine/config.yaml").exists()


def test_videos_get_the_size_that_most_of_them_have(video, tmp_path):
    p_only_video(tmp_path / "half.mp4", frames_of(40, 32, 48))
    spec, sheet = described(False, 100)[0], tmp_path / "videos.csv"

    def made(*videos, **options):
        config = configuration(
            [*map(str, videos)], tmp_path / "hr.pt", spec, Adaptation(gop=4, **options), "cpu", sheet
        )
        dataset = config["datasets"]["adapted"]
        return dataset["source"].get("size"), dataset["training"]["crop"], int(dataset["rates"][0].rstrip("k"))

    size, crop, rate = made(video)
    assert (size, crop) == (None, "96x64")
    assert made(video, tmp_path / "half.mp4") == ("48x32", "48x32", pytest.approx(rate / 4, abs=1))
    assert made(video, tmp_path / "half.mp4", size="96x64") == ("96x64", "96x64", rate)
    assert made(video, size="48x32")[:2] == ("48x32", "48x32")


def test_the_checkpoint_of_another_network_is_not_taken_for_this_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, channels in (("one", 4), ("two", 8)):
        (tmp_path / f"{name}.py").write_text(OWN.format(channels=channels))
    rows = ["index,name,red,green,blue,void", "0,road,128,64,128,false", "1,sky,70,130,180,false"]
    (tmp_path / "classes.csv").write_text("\n".join(rows))
    words = {"classes": tmp_path / "classes.csv", "weights": None, "normalization": None}
    made = hr_checkpoint("one.py:build", tmp_path / "mine", **words)
    stamp = made.stat().st_mtime_ns
    assert hr_checkpoint("one.py:build", tmp_path / "mine", **words) == made
    assert made.stat().st_mtime_ns == stamp
    for network, changed in (("two.py:build", {}), ("one.py:build", {"normalization": "camvid"})):
        with pytest.raises(ConfigError, match=r"hr.pt: is of an earlier run with another network"):
            hr_checkpoint(network, tmp_path / "mine", **words | changed)
    (tmp_path / "one.py").write_text(OWN.format(channels=4) + "# other weights, perhaps\n")
    with pytest.raises(ConfigError, match=r"hr.pt: is of an earlier run with another network"):
        hr_checkpoint("one.py:build", tmp_path / "mine", **words)
    with pytest.raises(ConfigError, match=r"--network none.pt: no such file"):
        hr_checkpoint("none.pt", tmp_path / "mine", **words)


def test_jobs_find_the_file_that_a_checkpoint_names_by_a_relative_path(tmp_path, monkeypatch):
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets/mine.py").write_text(OWN.format(channels=4))
    monkeypatch.chdir(tmp_path)
    create_checkpoint(
        "nets/mine.py:build", generated_classes(["road"]), Path("hr.pt"), weights=None, normalization=None
    )
    words = {"classes": None, "weights": None, "normalization": None}
    assert hr_checkpoint("hr.pt", tmp_path / "mine", **words) == Path("hr.pt")
    assert (tmp_path / "mine/nets/mine.py").resolve() == tmp_path / "nets/mine.py"


def table(**agreement):
    """Rows of methods whose agreement is the same at four distances, or given for each."""
    costs = {"HR": 10.0, "LR": 2.5, "AR": 4.0, "WARP": 2.8}
    return pd.DataFrame(
        [
            {"mode": mode, "scale": scale, "distance": distance, "agreement": value, "gmacs_per_frame": costs[mode]}
            for mode, values in agreement.items()
            for scale in [0.5 if mode in ("LR", "AR") else 1.0]
            for distance, value in enumerate(values if isinstance(values, list) else [values] * 4)
        ]
    )


@pytest.mark.parametrize(
    ("agreement", "told"),
    [
        ({"LR": 0.9, "AR": [1, 0.96, 0.94, 0.9]}, None),
        (
            {"LR": 0.947, "AR": 0.95},
            "Constant low resolution at 0.5x is as good as AR-Seg at 0.5x here, .* 94.7% for 25%",
        ),
        ({"LR": 0.9, "WARP": 0.97, "AR": 0.95}, r"Propagation alone is better than AR-Seg at 0.5x by 2.0 points here"),
        (
            {"WARP": [1, 0.94, 0.9, 0.6], "AR": [1, 0.95, 0.93, 0.92]},
            r"Propagation alone with a keyframe every 3 frames \(--gop 3\), estimated, is as good .* 94.7% for 36%",
        ),
        ({"LR": 0.9, "AR": 0.95}, r"AR-Seg at 0.5x is as good at the largest distance .* --gop 8 would cost 30%"),
    ],
)
def test_the_outcome_says_when_something_simpler_is_as_good(agreement, told):
    found = describe_outcome(table(HR=1.0, **agreement))
    assert re.search(r"AR-Seg at 0.5x +\d\d.\d% +40% of HR's", found)
    assert re.search(told, found) if told else "Try" not in found


def test_the_configuration_is_of_the_videos(video):
    found = read_format(video)
    assert (found.codec, found.fps) == ("h264", "30")
    assert re.fullmatch(r"\d+k", found.rate(96, 64))
    assert yaml.safe_load(yaml.safe_dump({"fps": found.fps})) == {"fps": "30"}
