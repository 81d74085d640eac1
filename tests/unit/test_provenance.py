"""Records beside results: what is in them, when there is none, and what `arseg provenance` makes of them."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from cyclopts import App

import arseg
from arseg.cli.main import app, main
from arseg.errors import DataError
from arseg.models.checkpoint import save_checkpoint
from arseg.models.registry import build_network
from arseg.provenance import fingerprint as fingerprints
from arseg.provenance import surroundings
from arseg.provenance.fingerprint import fingerprint, read_record, record_path
from arseg.provenance.recording import command_line, records
from arseg.provenance.trace import State, trace
from arseg.spec import NetworkSpec, TrainedOn

WITHOUT_RESULT = {"doctor", "plan", "provenance", "checkpoint show", "native path"}


@dataclass(frozen=True)
class Constants:
    epochs: int = 3
    scales: tuple[float, ...] = (0.5, 1.0)


@records("count", inputs=["source"], outputs=["output"])
def count(source: list[Path], *, output: Path, seed: int = 7, constants: Constants = Constants()) -> int:
    """Write how long the inputs are together."""
    total = sum(len(path.read_bytes()) for path in source)
    output.write_text(str(total))
    return total


@records("copy", inputs=["source"], outputs=["output"])
def copy(source: Path, output: Path) -> None:
    """Copy a file."""
    shutil.copy(source, output)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working folder with two files."""
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text("four")
    Path("b.txt").write_text("sixsix")
    return tmp_path


def exit_status(*words: object) -> int:
    try:
        main([str(word) for word in words])
    except SystemExit as stopped:
        return int(stopped.code or 0)
    return 0


def test_a_record_has_the_command_its_options_and_the_digests_of_what_it_read_and_wrote(here):
    with command_line(["count", "a.txt", "b.txt", "--output", "total of both"]):
        assert count([Path("a.txt"), Path("b.txt")], output=Path("total of both")) == 10
    record = json.loads((here / "total of both.provenance.json").read_text())
    assert record["command"] == "count"
    assert record["command_line"] == "arseg count a.txt b.txt --output 'total of both'"
    assert record["options"] == {
        "source": ["a.txt", "b.txt"],
        "output": "total of both",
        "seed": 7,
        "epochs": 3,
        "scales": [0.5, 1.0],
    }
    assert record["folder"] == str(here)
    assert [entry["bytes"] for entry in record["inputs"]["source"]] == [4, 6]
    # echo -n four | sha256sum; echo -n 10 | sha256sum
    assert record["inputs"]["source"][0]["sha256"].startswith(
        "04efaf080f5a3e74e1c29d1ca6a48569382cbbcd324e8d59d2b83ef21c039f00"
    )
    assert record["result"]["sha256"] == "4a44dc15364204a80fe80e9039455cc1608281820fe2b24f1e5233ade6af1dd5"


def test_a_record_has_code_machine_and_time(here):
    count([Path("a.txt")], output=Path("total"))
    record = read_record(Path("total"))
    assert record is not None
    assert record["code"]["arseg"] == arseg.__version__
    assert record["code"]["packages"]["numpy"]
    assert len(record["code"]["sources_sha256"]) == 64
    assert record["machine"]["host"]
    assert record["machine"]["processor"]
    assert record["machine"]["cores"] >= 1
    assert record["machine"]["threads"] >= 1  # PyTorch is loaded by this file
    assert record["time"]["started"] <= record["time"]["finished"]
    assert record["time"]["started"].endswith("+00:00")
    assert record["time"]["seconds"] >= 0


def test_the_commit_and_whether_it_was_changed(tmp_path, monkeypatch):
    def git(*words: str) -> str:
        identity = ["-c", "user.name=nobody", "-c", "user.email=nobody@localhost"]
        return subprocess.run(
            ["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout

    def checkout() -> dict:
        surroundings._checkout.cache_clear()
        return surroundings._checkout()

    package = tmp_path / "arseg/__init__.py"
    package.parent.mkdir()
    package.touch()
    monkeypatch.setattr(arseg, "__file__", str(package))
    assert checkout() == {}
    git("init", "--quiet")
    assert checkout() == {}  # no commit yet
    git("add", ".")
    git("commit", "--quiet", "--message", "first")
    commit = git("rev-parse", "HEAD").strip()
    assert checkout() == {"commit": commit, "modified": False}
    (tmp_path / "notes.txt").touch()
    assert checkout() == {"commit": commit, "modified": False}
    (tmp_path / "arseg/new.py").touch()
    assert checkout() == {"commit": commit, "modified": True}
    surroundings._checkout.cache_clear()


def test_a_command_that_fails_leaves_the_record_of_what_is_still_there(here):
    count([Path("a.txt")], output=Path("total"))
    before = record_path(Path("total")).read_bytes()
    with pytest.raises(FileNotFoundError):
        count([Path("nowhere.txt")], output=Path("total"))
    assert record_path(Path("total")).read_bytes() == before


def test_a_command_that_fails_leaves_no_record_of_a_result_that_is_gone(here):
    count([Path("a.txt")], output=Path("total"))
    Path("total").unlink()  # as Snakemake does before it runs a job again
    with pytest.raises(FileNotFoundError):
        count([Path("nowhere.txt")], output=Path("total"))
    assert not record_path(Path("total")).exists()


def test_a_rerun_replaces_the_record(here):
    count([Path("a.txt")], output=Path("total"))
    count([Path("b.txt")], output=Path("total"))
    record = read_record(Path("total"))
    assert record is not None
    assert record["options"]["source"] == ["b.txt"]
    assert trace(Path("total")).state == State.AS_RECORDED


def test_a_record_that_cannot_be_written_is_only_a_warning(here, caplog):
    record_path(Path("total")).mkdir()
    (record_path(Path("total")) / "something").touch()
    assert count([Path("a.txt")], output=Path("total")) == 4
    assert "no record of where the results come from could be written" in caplog.text


def test_further_processes_of_a_training_record_nothing(here, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    count([Path("a.txt")], output=Path("total"))
    assert not record_path(Path("total")).exists()


def test_an_input_that_changed_while_the_command_ran_is_marked(here):
    @records("touchy", inputs=["source"], outputs=["output"])
    def touchy(source: Path, output: Path) -> None:
        copy(source, output)
        source.write_text("another")

    touchy(Path("a.txt"), Path("out"))
    record = read_record(Path("out"))
    assert record is not None
    assert record["inputs"]["source"][0]["changed_meanwhile"] is True
    assert trace(Path("out")).inputs["source"][0].state == State.CHANGED


def test_the_login_of_an_address_is_not_recorded(here):
    @records("fetch", inputs=["address"], outputs=["output"])
    def fetch(address: str, output: Path) -> None:
        output.touch()

    with command_line(["fetch", "https://me:secret@example.org/video", "out"]):
        fetch("https://me:secret@example.org/video", Path("out"))
    text = record_path(Path("out")).read_text()
    assert "secret" not in text
    assert "https://***@example.org/video" in text
    assert json.loads(text)["inputs"] == {}


def test_the_digest_of_an_input_is_taken_from_its_own_record(here, monkeypatch):
    copy(Path("a.txt"), Path("c.txt"))
    known = fingerprint(Path("c.txt"))
    monkeypatch.setattr(fingerprints, "file_digest", lambda path: pytest.fail(f"{path} is read"))
    assert fingerprint(Path("c.txt")) == known


def test_the_record_of_an_earlier_file_tells_no_digest(here):
    copy(Path("a.txt"), Path("c.txt"))
    earlier = fingerprint(Path("c.txt"))
    os.utime("c.txt", ns=(0, 0))
    assert fingerprint(Path("c.txt"))["sha256"] == earlier["sha256"]
    Path("c.txt").write_text("five!")
    assert fingerprint(Path("c.txt"))["sha256"] != earlier["sha256"]


def test_a_folder_is_known_by_its_files_and_not_by_the_records_in_it(here):
    folder = here / "folder/deep"
    folder.mkdir(parents=True)
    copy(Path("a.txt"), folder / "a.txt")
    before = fingerprint(here / "folder", folder_contents=True)
    assert (before["files"], before["bytes"]) == (1, 4)
    record_path(folder / "a.txt").unlink()
    (here / "folder/.snakemake_timestamp").touch()
    assert fingerprint(here / "folder", folder_contents=True) == before
    (folder / "a.txt").write_text("FOUR")
    after = fingerprint(here / "folder", folder_contents=True)
    assert after["listing_sha256"] == before["listing_sha256"]
    assert after["sha256"] != before["sha256"]
    (folder / "a.txt").rename(folder / "b.txt")
    assert fingerprint(here / "folder")["listing_sha256"] != before["listing_sha256"]


def test_the_tree_leads_to_the_first_inputs(here):
    copy(Path("a.txt"), Path("c.txt"))
    count([Path("c.txt"), Path("b.txt")], output=Path("total"))
    origin = trace(Path("total"))
    assert origin.holds
    made, given = origin.inputs["source"]
    assert (made.path, made.state, made.record and made.record["command"]) == (Path("c.txt"), "as recorded", "copy")
    assert [part.path for part in made.inputs["source"]] == [Path("a.txt")]
    assert (given.path, given.record) == (Path("b.txt"), None)


def test_the_tree_holds_from_another_folder_and_after_a_move(here, monkeypatch):
    copy(Path("a.txt"), Path("c.txt"))
    count([Path("c.txt")], output=Path("total"))
    (here / "elsewhere").mkdir()
    monkeypatch.chdir(here / "elsewhere")
    assert trace(Path("../total")).inputs["source"][0].path == here / "c.txt"
    for name in ("a.txt", "c.txt", "c.txt.provenance.json", "total", "total.provenance.json"):
        (here / name).rename(name)
    origin = trace(Path("total"))
    assert origin.holds
    assert [part.path for part in origin.all()] == [Path("total"), Path("c.txt"), Path("a.txt")]


def test_results_of_several_commands_in_one_folder_are_followed(here):
    (here / "folder").mkdir()
    copy(Path("a.txt"), Path("folder/a.txt"))

    @records("list", inputs=["folder"], outputs=["output"])
    def list_names(folder: Path, output: Path) -> None:
        output.write_text(" ".join(path.name for path in folder.iterdir()))

    list_names(Path("folder"), Path("names"))
    (folder,) = trace(Path("names")).inputs["folder"]
    (copied,) = folder.inputs["in it"]
    assert copied.record is not None
    assert copied.record["command"] == "copy"


@pytest.mark.parametrize(
    ("spoil", "status", "words"),
    [
        (lambda: None, 0, "total: as recorded"),
        (lambda: Path("total").write_text("5"), 1, "total: changed since this record was written"),
        (lambda: Path("c.txt").write_text("FOUR"), 1, "c.txt: changed"),
        (lambda: Path("a.txt").write_text("longer"), 1, "a.txt: changed"),
        (lambda: Path("a.txt").unlink(), 0, "a.txt: missing"),
        (lambda: record_path(Path("c.txt")).unlink(), 0, "c.txt: as recorded\n"),
        (lambda: record_path(Path("c.txt")).write_text("{"), 0, "c.txt: as recorded\n"),
        (lambda: record_path(Path("total")).unlink(), 1, "total: no record beside it"),
    ],
)
def test_the_command_says_what_changed_and_exits_with_1(spoil, status, words, here, capsys):
    copy(Path("a.txt"), Path("c.txt"))
    count([Path("c.txt")], output=Path("total"))
    spoil()
    assert exit_status("provenance", "total") == status
    assert words in capsys.readouterr().out


def test_an_input_that_was_edited_after_it_was_made(here, capsys):
    copy(Path("a.txt"), Path("c.txt"))
    Path("c.txt").write_text("by hand")
    count([Path("c.txt")], output=Path("total"))
    assert exit_status("provenance", "total") == 1
    assert "c.txt: as recorded, but changed since it was made and before it was read" in capsys.readouterr().out


def test_the_result_itself_is_read_whatever_its_size_and_time(here):
    count([Path("a.txt")], output=Path("total"))
    times = Path("total").stat()
    Path("total").write_text("5")
    os.utime("total", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert trace(Path("total")).state == State.CHANGED


def test_thorough_reads_inputs_whose_size_and_time_are_as_recorded(here):
    count([Path("a.txt")], output=Path("total"))
    times = Path("a.txt").stat()
    Path("a.txt").write_text("FOUR")
    os.utime("a.txt", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert trace(Path("total")).holds
    assert not trace(Path("total"), thorough=True).holds


def test_many_inputs_are_summed_up_but_for_those_that_changed(here, capsys):
    paths = [Path(f"{index}.txt") for index in range(9)]
    for path in paths:
        path.write_text(path.name)
    count(paths, output=Path("total"))
    Path("7.txt").write_text("another")
    assert exit_status("provenance", "total") == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.strip() for line in lines[-6:]] == [
        "source:",
        *(f"{index}.txt: as recorded" for index in range(3)),
        "7.txt: changed",
        "and 5 more, as recorded",
    ]


def test_json_holds_everything(here, capsys):
    count([Path("a.txt")], output=Path("total"))
    assert exit_status("provenance", "total.provenance.json", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["record"] == read_record(Path("total"))
    assert shown["inputs"]["source"][0]["state"] == "as recorded"


def test_a_result_that_is_not_there(here, capsys):
    assert exit_status("provenance", "nothing") == 2
    assert "nothing: no such file or folder. Name a result" in capsys.readouterr().err


def test_a_real_chain_of_commands(tiny_dataset, here, capsys):
    """A manifest, clips of it, and what the store's record says of FFmpeg and encoder."""
    manifest = ["--manifest", tiny_dataset.manifest, "--split", "test"]
    assert exit_status("clips", *manifest, "--codec", "h264", "--rate", "200k", "--gop", 3, "--output", "clips") == 0
    record = read_record(Path("clips/d02.h5"))
    assert record is not None
    assert set(record["inputs"]) == {"manifest", "classes"}
    assert record["facts"]["encoder"].startswith("x264")
    assert Path(record["facts"]["ffmpeg"].partition("(")[2][:-1]).is_file()
    assert record["options"]["rate"] == "200k"
    assert record["command_line"].endswith("--output clips")
    record_path(Path("clips/d02.h5")).unlink()
    capsys.readouterr()
    assert exit_status("provenance", "clips/d02.h5") == 1
    shown = capsys.readouterr().out
    assert "encoding            h264-200k-gop3-medium" in shown
    assert "Make it again" in shown


def test_a_checkpoint_without_record_says_what_it_is(here, capsys):
    save_checkpoint(
        Path("weights.pt"), build_network("tiny", 3, fusion=False), NetworkSpec("tiny", 3), TrainedOn(seed=5)
    )
    assert exit_status("provenance", "weights.pt") == 1
    assert "hr (HR branch)" in capsys.readouterr().out
    Path("weights.pt").write_bytes(b"damaged")
    assert exit_status("provenance", "weights.pt") == 1
    assert "no record beside it" in capsys.readouterr().out


def test_trace_refuses_what_is_not_there(here):
    with pytest.raises(DataError, match="no such file"):
        trace(Path("nothing"))


def commands(group: App, words: tuple[str, ...] = ()) -> dict[str, object]:
    """Functions of all commands, by their words."""
    found = {} if group.default_command is None else {" ".join(words): group.default_command}
    for name in (name for name in group if not name.startswith("-")):
        found |= commands(group[name], (*words, name))
    return found


def test_every_command_with_a_result_writes_records():
    found = commands(app)
    assert {"clips", "motion", "motion show", "train phase1", "evaluate"} <= set(found)
    unrecorded = {name for name, function in found.items() if not hasattr(function, "__wrapped__")}
    assert unrecorded == WITHOUT_RESULT


def test_recording_loads_no_heavy_library():
    code = "import sys, arseg.provenance.recording; assert not {'torch', 'numpy', 'h5py'} & set(sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
