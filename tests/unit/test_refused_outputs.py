"""Outputs that cannot be written are refused before a command begins: no input of these commands is there."""

import pytest
from command_line import exit_status

TRAINING = "--manifest no.csv"
PHASE_1 = f"train phase1 {TRAINING} --train-split train --val-split val --backbone tiny --output"
PHASE_2 = f"train phase2 {TRAINING} --hr no.pt --train-stores no.h5 --val-stores no.h5 --scale-percent 50 --output"
EVALUATE = "evaluate --mode hr --manifest no.csv --stores no.h5 --hr no.pt --output"
PANEL = "plot panel --manifest no.csv --stores no.h5 --hr no.pt --lr no.pt --ar no.pt --output"
TABULATE = "tabulate no.npz --csv a.csv --summary a.md --published"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A working folder with a file, and a folder with something in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "filled").mkdir()
    (tmp_path / "filled/mine").write_text("mine")
    return tmp_path


def refusal(capsys, words):
    assert exit_status(*words.split()) == 2
    # Boxes of the command line break lines.
    return " ".join("".join(capsys.readouterr()).replace("│", " ").split())


@pytest.mark.parametrize(
    "words",
    [
        "export no.pt -o file/onnx",
        "motion no.mp4 -o file/motion.h5",
        "motion show no.mp4 -o file/motion.mp4",
        f"{PHASE_1} file/weights.pt",
        f"{PHASE_1} weights.pt --history file/history.csv",
        f"{PHASE_2} file/weights.pt",
        f"{EVALUATE} file/hr.npz",
        f"{TABULATE} file/published",
        "compare no.csv --csv file/comparison.csv",
        "plot curves no.csv --by-distance file/a.png --by-cost b.png",
        f"{PANEL} file/panel.png",
        "checkpoint export no.pt --output file/weights.pth",
        "clips --manifest no.csv --split test --output file/clips",
        "synthesize --output file/data",
        "bench attention --output file/bench.json",
    ],
)
def test_no_file_can_be_made_there(here, capsys, words):
    assert "cannot be written (Not a directory)" in refusal(capsys, words)
    assert sorted(path.name for path in here.iterdir()) == ["file", "filled"]


@pytest.mark.parametrize(
    "words",
    [
        "export no.pt -o filled",
        f"{PHASE_1} filled",
        f"{PHASE_2} filled",
        f"{TABULATE} filled",
        "segment no.mp4 --checkpoint no.pt -o filled",
    ],
)
def test_folders_with_something_in_them(capsys, words):
    assert "filled: this folder is not empty" in refusal(capsys, words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (f"{EVALUATE} hr.csv", "hr.csv: an evaluation is a file whose name ends in .npz"),
        (f"{PANEL} panel.gif", "panel.gif: expected a figure (.png, .pdf, .svg)"),
        ("plot curves no.csv --by-distance a.png --by-cost b", "b: expected a figure (.png, .pdf, .svg)"),
        ("motion show no.mp4 -o motion.gif", "cannot draw to .gif"),
        ("export no.pt -o file", "--output is a folder, and this is a file"),
    ],
)
def test_names_that_do_not_say_a_format_there_is(capsys, words, message):
    assert message in refusal(capsys, words)


@pytest.mark.parametrize(
    "words", ["motion file -o file", "compare file --csv file", "checkpoint export file --output file"]
)
def test_an_input_is_not_overwritten(here, capsys, words):
    assert "output file is the file to read, which would be lost" in refusal(capsys, words)
    assert (here / "file").read_text() == "mine"
