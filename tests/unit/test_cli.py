"""The command line as a user meets it: exit codes, one message, no half-written output."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import commands, exit_status, refusal, run
from PIL import Image

from arseg import __version__
from arseg.cli.main import app, main
from arseg.data.manifest import read_manifest
from arseg.datasets.frames.manifest import SPLIT_COLUMNS
from arseg.models.checkpoint import save_checkpoint
from arseg.models.registry import build_network
from arseg.spec import NetworkSpec


def sheets(folder: Path, **rule: object) -> list[object]:
    """Write a classes sheet and a splits sheet with one rule; give the flags of `arseg manifest`."""
    (folder / "classes.csv").write_text(
        "index,name,red,green,blue,void\n0,road,128,64,128,false\n1,car,64,0,128,false\n"
    )
    with (folder / "splits.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, SPLIT_COLUMNS)
        writer.writeheader()
        writer.writerow({"split": "test", "images": "frames", "labels": "labels", "frame_step": 1} | rule)
    return ["manifest", "frames", "--dataset", "own", "--root", folder, "--output", folder / "out/own.csv"]


@pytest.fixture
def frames(tmp_path):
    """Six frames of 32x32 pixels with labels, as a user's folders."""
    for name in ("frames", "labels"):
        (tmp_path / name).mkdir()
    rng = np.random.default_rng(0)
    for index in range(6):
        picture = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(picture).save(tmp_path / f"frames/a_{index:03d}.png")
        Image.fromarray(picture[..., 0] % 2).save(tmp_path / f"labels/a_{index:03d}.png")
    return tmp_path


@pytest.mark.parametrize("command", commands(app), ids=" ".join)
def test_each_command_explains_itself(command, capsys):
    run(*command, "--help")
    shown = capsys.readouterr().out
    assert f"arseg {' '.join(command)}" in shown
    assert len(shown.splitlines()) >= 3


def test_help_of_a_command_shows_its_whole_docstring(capsys):
    main(["imagenet", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "torchvision's ResNet-18" in shown
    assert "Without network, put the file there" in shown


def test_the_process_itself_exits_with_2(tmp_path):
    command = [Path(sys.executable).with_name("arseg"), *sheets(tmp_path)]
    run = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert run.stderr.count("arseg: error:") == 1


def test_version(capsys):
    main(["--version"])
    assert capsys.readouterr().out.strip() == __version__


@pytest.mark.parametrize(
    "words", [["fly"], ["clips"], ["clips", "--no-such-option"], ["train", "phase1", "--epochs", "x"]]
)
def test_words_that_are_no_command_exit_with_2(words, capsys):
    assert exit_status(*words) == 2


def test_debug_shows_the_traceback(tmp_path):
    with pytest.raises(ValueError, match="frames"):
        main([*map(str, sheets(tmp_path)), "--debug"])


@pytest.mark.parametrize(
    ("split", "more", "message"),
    [
        ("val", [], "no split 'val'; its splits are: test"),
        ("test", ["--ffmpeg", "nowhere/ffmpeg"], "nowhere/ffmpeg"),
        ("test", ["--shard", 2, "--num-shards", 2], "shard 2: expected 0 ... 1"),
    ],
)
def test_clips_that_cannot_be_made(frames, capsys, split, more, message):
    run(*sheets(frames, first=2, last=3))
    words = ["clips", "--manifest", frames / "out/own.csv", "--split", split, "--output", frames / "clips"]
    assert message in refusal(capsys, *words, "--codec", "h264", "--rate", "200k", "--gop", 3, *more)
    assert not list(frames.glob("clips/*"))


def test_evaluation_says_what_it_wrote(tiny_dataset, capsys, tmp_path):
    manifest = read_manifest(tiny_dataset.manifest)
    spec = NetworkSpec("tiny", manifest.num_classes, classes=manifest.classes)
    save_checkpoint(tmp_path / "hr.pt", build_network("tiny", manifest.num_classes, fusion=False), spec)
    words = ["evaluate", "--mode", "hr", "--manifest", tiny_dataset.manifest, "--stores", *tiny_dataset.test_stores]
    words += ["--hr", tmp_path / "hr.pt", "--device", "cpu", "--workers", 0, "--output", tmp_path / "out.npz"]
    run(*words)
    assert f"wrote {tmp_path / 'out.npz'} (mean mIoU" in capsys.readouterr().out


def test_output_that_nobody_reads_to_its_end_is_no_error(tmp_path):
    save_checkpoint(tmp_path / "hr.pt", build_network("tiny", 3, fusion=False), NetworkSpec("tiny", 3))
    reading, writing = os.pipe()
    os.close(reading)
    program = "import sys; from arseg.cli.main import main; main(sys.argv[1:])"
    words = [sys.executable, "-c", program, "checkpoint", "show", str(tmp_path / "hr.pt")]
    run = subprocess.run(words, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (run.returncode, "BrokenPipe" in run.stderr) == (0, False), run.stderr
