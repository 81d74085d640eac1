"""Records beside results: what is in them, when there is none, and what `arseg provenance` makes of them."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from command_line import commands, exit_status

import arseg
from arseg.cli.main import app
from arseg.provenance import fingerprint as fingerprints
from arseg.provenance import surroundings
from arseg.provenance.fingerprint import fingerprint, read_record, record_path
from arseg.provenance.recording import command_line, records
from arseg.provenance.trace import trace

WITHOUT_RESULT = {"adapt", "doctor", "plan", "provenance", "checkpoint show", "native path"}


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
    """A working directory with two files."""
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text("four")
    Path("b.txt").write_text("sixsix")
    return tmp_path


def rewrite(path: str, text: str) -> None:
    """Change a file, but not its time."""
    times = Path(path).stat()
    Path(path).write_text(text)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def states(result: str, *, thorough: bool = False) -> dict[str, str]:
    return {str(origin.path): origin.state for origin in trace(Path(result), thorough=thorough)}


def test_a_record_has_the_command_its_options_and_the_digests_of_what_it_read_and_wrote(here):
    with command_line(["count", "a.txt", "b.txt", "--output", "total of both"]):
        assert count([Path("a.txt"), Path("b.txt")], output=Path("total of both")) == 10
    record = json.loads((here / "total of both.provenance.json").read_text())
    assert record["command"] == "count"
    assert record["command_line"] == "arseg count a.txt b.txt --output 'total of both'"
    options = {"source": ["a.txt", "b.txt"], "output": "total of both", "seed": 7, "epochs": 3, "scales": [0.5, 1.0]}
    assert record["options"] == options
    assert record["folder"] == str(here)
    assert [entry["bytes"] for entry in record["inputs"]["source"]] == [4, 6]
    # echo -n four | sha256sum; echo -n 10 | sha256sum
    digest = "04efaf080f5a3e74e1c29d1ca6a48569382cbbcd324e8d59d2b83ef21c039f00"
    assert record["inputs"]["source"][0]["sha256"] == digest
    assert record["result"]["sha256"] == "4a44dc15364204a80fe80e9039455cc1608281820fe2b24f1e5233ade6af1dd5"
    assert record["code"]["arseg"] == arseg.__version__
    assert record["machine"]["cores"] >= 1
    assert record["time"]["started"] <= record["time"]["finished"]


def test_the_commit_and_whether_it_was_changed(tmp_path, monkeypatch):
    def git(*words: str) -> str:
        command = ["git", "-c", "user.name=nobody", "-c", "user.email=nobody@localhost", *words]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    package = tmp_path / "arseg/__init__.py"
    package.parent.mkdir()
    package.touch()
    monkeypatch.setattr(arseg, "__file__", str(package))
    checkout = surroundings._checkout.__wrapped__
    assert checkout() == {}
    git("init", "--quiet")
    assert checkout() == {}  # no commit yet
    git("add", ".")
    git("commit", "--quiet", "--message", "first")
    git("tag", "v1")
    commit = git("rev-parse", "HEAD").strip()
    assert checkout() == {"commit": commit, "modified": False}
    package.write_text("changed")
    assert checkout() == {"commit": commit, "modified": True}


def test_a_command_that_fails_writes_no_record_and_a_rerun_replaces_it(here):
    with pytest.raises(FileNotFoundError):
        count([Path("nowhere.txt")], output=Path("total"))
    assert not record_path(Path("total")).exists()
    for name in ("a.txt", "b.txt"):
        count([Path(name)], output=Path("total"))
        assert states("total") == {"total": "as recorded", name: "as recorded"}


def test_a_record_that_cannot_be_written_is_only_a_warning(here, caplog):
    record_path(Path("total")).mkdir()
    (record_path(Path("total")) / "something").touch()
    assert count([Path("a.txt")], output=Path("total")) == 4
    assert "no record of where the results come from could be written" in caplog.text


def test_further_processes_of_a_training_record_nothing(here, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    count([Path("a.txt")], output=Path("total"))
    assert not record_path(Path("total")).exists()


def test_an_input_that_changes_while_the_command_runs_is_not_taken_for_what_was_read(here):
    @records("touchy", inputs=["source"], outputs=["output"])
    def touchy(source: Path, output: Path) -> None:
        shutil.copy(source, output)
        source.write_text("FOUR")

    touchy(Path("a.txt"), Path("out"))
    assert states("out") == {"out": "as recorded", "a.txt": "changed"}


def test_the_login_of_a_url_is_not_recorded(here):
    @records("fetch", inputs=["url"], outputs=["output"])
    def fetch(url: str, output: Path) -> None:
        output.touch()

    with command_line(["fetch", "https://me:secret@example.org/video", "out"]):
        fetch("https://me:secret@example.org/video", Path("out"))
    text = record_path(Path("out")).read_text()
    assert "secret" not in text
    assert text.count("https://***@example.org/video") == 2
    assert json.loads(text)["inputs"] == {}


def test_the_digest_of_an_input_is_taken_from_its_own_record_while_that_is_of_this_file(here, monkeypatch):
    copy(Path("a.txt"), Path("c.txt"))
    known = fingerprint(Path("c.txt"))
    with monkeypatch.context() as patched:
        patched.setattr(fingerprints, "file_digest", lambda path: pytest.fail(f"{path} is read"))
        assert fingerprint(Path("c.txt")) == known
    Path("c.txt").write_text("five!")
    assert fingerprint(Path("c.txt"))["sha256"] != known["sha256"]


def test_a_folder_is_known_by_its_files_and_not_by_the_records_in_it(here):
    file = here / "folder/deep/a.txt"
    file.parent.mkdir(parents=True)
    copy(Path("a.txt"), file)
    before = fingerprint(here / "folder", folder_contents=True)
    assert (before["files"], before["bytes"]) == (1, 4)
    record_path(file).unlink()
    (here / "folder/.snakemake_timestamp").touch()
    assert fingerprint(here / "folder", folder_contents=True) == before
    file.write_text("FOUR")
    after = fingerprint(here / "folder", folder_contents=True)
    assert (after["listing_sha256"], after["sha256"] != before["sha256"]) == (before["listing_sha256"], True)
    file.rename(file.with_name("b.txt"))
    assert fingerprint(here / "folder")["listing_sha256"] != before["listing_sha256"]


def test_the_chain_leads_to_the_first_inputs_from_any_folder_and_after_a_move(here, monkeypatch):
    copy(Path("a.txt"), Path("c.txt"))
    count([Path("c.txt"), Path("b.txt")], output=Path("total"))
    chain = trace(Path("total"))
    assert [(str(origin.path), origin.depth) for origin in chain] == [
        ("total", 0),
        ("c.txt", 1),
        ("a.txt", 2),
        ("b.txt", 1),
    ]
    assert [origin.record and origin.record["command"] for origin in chain] == ["count", "copy", None, None]
    (here / "elsewhere").mkdir()
    monkeypatch.chdir(here / "elsewhere")
    assert trace(Path("../total"))[1].path == here / "c.txt"
    for path in [path for path in here.iterdir() if path.is_file()]:
        path.rename(path.name)
    assert states("total") == dict.fromkeys(["total", "c.txt", "a.txt", "b.txt"], "as recorded")


def test_results_of_several_commands_in_one_folder_are_followed(here):
    @records("list", inputs=["folder"], outputs=["output"])
    def list_names(folder: Path, output: Path) -> None:
        output.write_text(" ".join(path.name for path in folder.iterdir()))

    Path("folder").mkdir()
    copy(Path("a.txt"), Path("folder/c.txt"))
    list_names(Path("folder"), Path("names"))
    assert states("names") == dict.fromkeys(["names", "folder", "folder/c.txt", "a.txt"], "as recorded")


@pytest.mark.parametrize(
    ("spoil", "status", "words"),
    [
        (lambda: None, 0, "total: as recorded"),
        (lambda: rewrite("total", "5"), 1, "total: changed"),
        (lambda: Path("c.txt").write_text("FOUR"), 1, "c.txt: changed"),
        (lambda: Path("a.txt").write_text("longer"), 1, "a.txt: changed"),
        (lambda: Path("a.txt").unlink(), 0, "a.txt: missing"),
        (lambda: record_path(Path("c.txt")).unlink(), 0, "c.txt: as recorded\n"),
        (lambda: record_path(Path("c.txt")).write_text("{"), 0, "c.txt: as recorded\n"),
        (lambda: record_path(Path("total")).unlink(), 2, "total: no record beside it"),
        (lambda: Path("total").unlink(), 2, "total: no such file or folder. Name a result"),
    ],
)
def test_the_command_says_what_changed_and_exits_with_1(spoil, status, words, here, capsys):
    copy(Path("a.txt"), Path("c.txt"))
    count([Path("c.txt")], output=Path("total"))
    spoil()
    assert exit_status("provenance", "total") == status
    said = capsys.readouterr()
    assert words in said.out + said.err


def test_inputs_that_were_edited_between_two_commands_have_changed(here):
    copy(Path("a.txt"), Path("c.txt"))
    count([Path("c.txt")], output=Path("total"))
    rewrite("a.txt", "FOUR")
    assert states("total")["a.txt"] == "as recorded"  # by size and time
    assert states("total", thorough=True)["a.txt"] == "changed"
    count([Path("a.txt"), Path("c.txt")], output=Path("total"))  # in two versions
    said = [(str(origin.path), origin.state) for origin in trace(Path("total"), thorough=True)]
    assert said[1:] == [("a.txt", "as recorded"), ("c.txt", "as recorded"), ("a.txt", "changed")]
    Path("c.txt").write_text("by hand")
    count([Path("c.txt")], output=Path("total"))
    assert states("total") == {"total": "as recorded", "c.txt": "changed"}


def test_files_that_one_command_made_are_one_line(here, capsys):
    @records("split", inputs=["source"], outputs=["outputs"])
    def split(source: Path, outputs: list[Path]) -> None:
        for path in outputs:
            shutil.copy(source, path)

    parts = [Path(f"{index}.txt") for index in range(9)]
    split(Path("a.txt"), parts)
    count(parts, output=Path("total"))
    Path("5.txt").write_text("another")
    assert exit_status("provenance", "total") == 1
    lines = capsys.readouterr().out.partition("made from:\n")[2].splitlines()
    shown = ["0.txt: as recorded", "a.txt: as recorded", "1.txt: as recorded", "5.txt: changed", "6.txt: as recorded"]
    assert [line.partition(",")[0].strip() for line in lines] == shown
    assert lines[2].endswith(", and 3 more of the same command")


def test_json_holds_everything(here, capsys):
    count([Path("a.txt")], output=Path("total"))
    assert exit_status("provenance", "total.provenance.json", "--json") == 0
    result, source = json.loads(capsys.readouterr().out)
    assert result == {"path": "total", "depth": 0, "state": "as recorded", "record": read_record(Path("total"))}
    assert source == {"path": "a.txt", "depth": 1, "state": "as recorded", "record": None}


def test_a_clip_store_has_a_record_with_ffmpeg_and_encoder(tiny_dataset, here):
    manifest = ["--manifest", tiny_dataset.manifest, "--split", "test"]
    assert exit_status("clips", *manifest, "--codec", "h264", "--rate", "200k", "--gop", 3, "--output", "clips") == 0
    record = read_record(Path("clips/d02.h5"))
    assert record is not None
    assert set(record["inputs"]) == {"manifest", "classes"}
    assert record["facts"]["encoder"].startswith("x264")
    assert Path(record["facts"]["ffmpeg"].partition("(")[2][:-1]).is_file()
    assert record["command_line"].endswith("--output clips")


def test_every_command_with_a_result_writes_records():
    found = {" ".join(words): function for words, function in commands(app).items()}
    assert {"clips", "motion", "motion show", "train phase1", "evaluate"} <= set(found)
    assert {name for name, function in found.items() if not hasattr(function, "__wrapped__")} == WITHOUT_RESULT


def test_recording_loads_no_heavy_library():
    code = "import sys, arseg.provenance.recording; assert not {'torch', 'numpy', 'h5py'} & set(sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
