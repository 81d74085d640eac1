import errno
import os
import subprocess
import sys

import pytest

from arseg import files
from arseg.errors import ConfigError, DiskFullError, FileAccessError
from arseg.files import atomic_path

FULL = OSError(errno.ENOSPC, "No space left on device")


def write(target):
    with atomic_path(target) as temporary:
        temporary.write_text("whole")


def write_failing(target, error, cause=None):
    with atomic_path(target) as temporary:
        temporary.write_text("ha")
        raise error from cause


def test_a_finished_file_has_its_name_and_no_sibling(tmp_path):
    target = tmp_path / "new" / "a.csv"
    with atomic_path(target) as temporary:
        temporary.write_text("whole")
        assert temporary.suffix == ".csv"
        assert not target.exists()
    assert target.read_text() == "whole"
    assert list(target.parent.iterdir()) == [target]


def test_an_empty_directory_may_be_filled_and_one_with_something_in_it_is_left_alone(tmp_path):
    target = tmp_path / "out"
    target.mkdir()
    with atomic_path(target) as temporary:
        temporary.mkdir()
        (temporary / "fresh").touch()
    assert [path.name for path in target.iterdir()] == ["fresh"]
    with pytest.raises(FileAccessError, match=r"out: this folder is not empty\. Name another output, or"):
        write_failing(target, AssertionError("the work began"))
    assert (target / "fresh").exists()


def make_out(target, theirs):
    """Fill a folder while another process, as it were, makes it too."""
    with atomic_path(target) as temporary:
        for folder, text in ((temporary, "ours"), (target, theirs)):
            (folder / "inside").mkdir(parents=True)
            (folder / "inside/a").write_text(text)


def test_a_directory_that_another_process_made_meanwhile(tmp_path):
    make_out(tmp_path / "equal", "ours")  # as by a job that outlived its workflow: well
    with pytest.raises(
        FileAccessError, match=r"other: cannot be written \(another process has put something else there"
    ):
        make_out(tmp_path / "other", "theirs")
    assert (tmp_path / "equal/inside/a").read_text() == "ours"
    assert (tmp_path / "other/inside/a").read_text() == "theirs"
    assert {path.name for path in tmp_path.iterdir()} == {"equal", "other"}


def leave_behind(folder, process, machine=None, suffix=".csv"):
    """What a process leaves that was killed."""
    path = folder / f".a.{machine or files._machine()}-{process}.partial{suffix}"
    path.mkdir()
    (path / "half").touch()
    return path


def finished_process():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_what_dead_processes_left_is_removed_and_nothing_else(tmp_path):
    dead = finished_process()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as living:
        of_the_dead = leave_behind(tmp_path, dead)
        of_our_number = leave_behind(tmp_path, os.getpid())
        kept = {
            leave_behind(tmp_path, living.pid),
            leave_behind(tmp_path, 1),  # another user's, perhaps
            leave_behind(tmp_path, dead, machine="0123abcd"),
            leave_behind(tmp_path, dead, suffix=".png"),
        }
        write(tmp_path / "a.csv")
        assert not of_the_dead.exists()
        assert not of_our_number.exists()
        assert set(tmp_path.iterdir()) == {*kept, tmp_path / "a.csv"}
        living.communicate(b"\n")


def test_the_disk_has_everything_before_it_has_the_name(tmp_path, monkeypatch):
    synchronised = []

    def note(descriptor):
        name = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115
        synchronised.append((name.rpartition("/")[2], (tmp_path / "out").exists()))

    monkeypatch.setattr(os, "fsync", note)
    if not os.path.exists("/proc/self/fd"):  # noqa: PTH110
        pytest.skip("needs /proc")
    with atomic_path(tmp_path / "out") as temporary:
        temporary.mkdir()
        (temporary / "a").touch()
        (temporary / "b").touch()
    assert set(synchronised[:2]) == {("a", False), ("b", False)}
    assert synchronised[2:] == [(temporary.name, False), (tmp_path.name, True)]


ELSEWHERE = OSError(errno.ENOSPC, "No space left on device", "/elsewhere/scratch/x.yuv")


@pytest.mark.parametrize(
    ("error", "cause", "place"),
    [
        (FULL, None, ""),
        (RuntimeError("basic_ios::clear"), FULL, ""),
        (AttributeError("fileno"), ValueError(), ""),  # in whose context it is
        (ELSEWHERE, None, "/elsewhere/scratch"),
    ],
    ids=["itself", "cause", "context", "elsewhere"],
)
def test_a_full_disk_is_named_with_what_to_do(error, cause, place, tmp_path):
    if isinstance(cause, ValueError):
        cause.__context__ = FULL
    said = rf"a\.csv: cannot be written \(No space.*\)\. Make room in {place or tmp_path} \(df -h .* run again"
    with pytest.raises(DiskFullError, match=said):
        write_failing(tmp_path / "a.csv", error, cause)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_only_when_it_must_write(tmp_path, monkeypatch):
    def refuse(_):
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(os, "fsync", refuse)
    (tmp_path / "a.csv").write_text("old")
    with pytest.raises(DiskFullError, match=r"a\.csv: cannot be written \(Disk quota exceeded\)\. Make room"):
        write(tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("no convergence"),
        FileNotFoundError(errno.ENOENT, "No such file or directory", "input.png"),
        PermissionError(errno.EACCES, "Permission denied", "/etc/shadow"),
        ConfigError("gop"),
        KeyboardInterrupt(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_other_errors_stay_what_they_are_and_leave_the_old_file_alone(error, tmp_path):
    (tmp_path / "a.csv").write_text("old")
    with pytest.raises(type(error)) as raised:
        write_failing(tmp_path / "a.csv", error)
    assert raised.value is error
    assert (tmp_path / "a.csv").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_a_folder_that_may_not_be_written_is_named_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)  # nothing is forbidden to root, who may run this
    said = rf"cannot be written \(Permission denied\)\. Make the folder {tmp_path} writable for this"
    with pytest.raises(FileAccessError, match=said):
        write_failing(tmp_path / "a.csv", AssertionError("the work began"))


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path):
    (tmp_path / "results").touch()
    with pytest.raises(FileAccessError, match=r"a\.csv: cannot be written .*See what is wrong in"):
        write(tmp_path / "results/a.csv")
