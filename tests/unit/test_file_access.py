"""What the operating system refuses is said as that, for every kind of file, and costs nobody a file."""

import errno
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from file_kinds import FULL_DISK, KINDS, NO_MEMORY_THERE, WRITERS, failing, no_more_files, no_rights

from arseg import store
from arseg.cli.main import app, main
from arseg.data import images
from arseg.errors import ArsegError, DiskFullError, FileAccessError
from arseg.hdf5 import h5py
from arseg.models import checkpoint
from arseg.store import ClipStore
from arseg.train.state import StateFolder

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: /dev/full, /proc")


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that others may look into, as into pytest's own they may not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_refused(error: FileAccessError, number: int, path: Path) -> None:
    message = str(error)
    assert error.errno == number, message
    assert isinstance(error, DiskFullError) == (number == errno.ENOSPC)
    assert message.startswith(str(path.parent))  # the file, its folder, or the sheet that belongs to it
    assert os.strerror(number) in message
    assert "delete" not in message.lower()
    assert not [word for word in ("damage", "truncated", "Make it again") if word in message]


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_system_refuses_to_read_is_not_called_damaged(kind, folder, monkeypatch):
    reader, path = KINDS[kind], folder / KINDS[kind].name
    reader.make(path)
    reader.read(path)  # it is healthy, and all modules are loaded
    before = contents(folder)
    refusals = {errno.EMFILE: no_more_files(), errno.EACCES: no_rights(path, 0)}
    if not reader.by_library:
        for number in (errno.EIO, errno.ENOSPC, errno.ESTALE):
            refusals[number] = failing(monkeypatch, number, str(path).__eq__)
    for number, refusal in refusals.items():
        with pytest.raises(FileAccessError) as caught, refusal:
            reader.read(path)
        assert_refused(caught.value, number, path)
    assert contents(folder) == before


def test_a_state_that_cannot_be_read_is_not_passed_over(folder):
    path, states = folder / "last.ckpt", StateFolder(folder, {"seed": 1})
    states.write({"progress": {"epoch": 1, "step": 2}})
    for number, refusal in ((errno.EMFILE, no_more_files()), (errno.EACCES, no_rights(path, 0))):
        with pytest.raises(FileAccessError) as caught, refusal:
            states.read()
        assert_refused(caught.value, number, path)
    for number, refusal in ((errno.EMFILE, no_more_files()), (errno.EACCES, no_rights(folder, 0))):
        with pytest.raises(FileAccessError) as caught, refusal:
            StateFolder(folder, {"seed": 1})
        assert_refused(caught.value, number, folder)


@pytest.mark.parametrize("kind", [kind for kind, reader in KINDS.items() if reader.by_library])
def test_a_library_that_cannot_read_says_so(kind, folder):
    reader, path = KINDS[kind], folder / KINDS[kind].name
    path.symlink_to(NO_MEMORY_THERE)
    with pytest.raises(FileAccessError) as caught:
        reader.read(path)
    assert_refused(caught.value, errno.EIO, path)


@pytest.mark.parametrize("kind", [kind for kind, reader in KINDS.items() if reader.cut < 1])
def test_a_file_without_its_end_is_named(kind, folder):
    reader, path = KINDS[kind], folder / KINDS[kind].name
    reader.make(path)
    os.truncate(path, int(reader.cut * path.stat().st_size))
    before = contents(folder)
    with pytest.raises(ArsegError) as caught:
        reader.read(path)
    assert not isinstance(caught.value, FileAccessError)
    assert path.name in str(caught.value)
    assert contents(folder) == before


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EACCES, errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("kind", WRITERS)
def test_what_the_system_refuses_to_write_leaves_the_old_file(kind, number, folder, monkeypatch):
    name, write = WRITERS[kind]
    path = folder / "results" / name
    path.parent.mkdir()
    write(path)
    before = contents(folder)
    if number == errno.EIO and kind in ("store", "video"):
        pytest.skip("the library is told in the same way as of a full disk")
    if kind == "video" and number == errno.ENOSPC:
        open_file = av.open
        monkeypatch.setattr(av, "open", lambda path, *mode, **more: open_file(FULL_DISK, "w", "mp4", **more))
    refusals = {errno.EMFILE: no_more_files(), errno.EACCES: no_rights(path.parent, 0o555)}
    refusal = refusals.get(number) or failing(monkeypatch, number, lambda file: ".partial" in file)
    with pytest.raises(FileAccessError) as caught, refusal:
        write(path)
    assert_refused(caught.value, number, path)
    assert contents(folder) == before


@pytest.mark.parametrize("mistake", [TypeError, AttributeError, LookupError, KeyError, AssertionError, MemoryError])
def test_our_own_mistakes_are_not_called_damage(mistake, folder, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise mistake("ours")

    kinds = [KINDS[kind] for kind in ("store", "checkpoint", "evaluation", "frame")]
    for kind in kinds:
        kind.make(folder / kind.name)
    monkeypatch.setattr(store, "_read_sample", fail)
    monkeypatch.setattr(checkpoint.torch, "load", fail)
    monkeypatch.setattr(np, "load", fail)
    monkeypatch.setattr(images, "decode_png", fail)
    for kind in kinds:
        with pytest.raises(mistake, match="ours"):
            kind.read(folder / kind.name)


def test_memory_that_pytorch_does_not_get_is_no_damage(folder, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: you tri")

    KINDS["checkpoint"].make(folder / "weights.pt")
    monkeypatch.setattr(checkpoint.torch, "load", fail)
    with pytest.raises(MemoryError, match="can't allocate memory"):
        KINDS["checkpoint"].read(folder / "weights.pt")


def test_an_attribute_that_another_version_lacks_is_no_damage(folder):
    path = folder / "d03.h5"
    KINDS["store"].make(path)
    with h5py.File(path, "r+") as file:
        del file.attrs["split"]
    with pytest.raises(ArsegError, match=r"d03\.h5: has no attribute split, so arseg .* wrote it") as caught:
        _ = ClipStore(path).attributes
    assert "elete" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("checkpoint", "checkpoint show weights.pt"),
        ("evaluation", "tabulate shard.npz --csv a.csv --summary a.md --published a"),
        ("published result", f"compare {KINDS['published result'].name}"),
        ("video", "motion v.mp4 -o motion.h5"),
        ("record", "provenance miou.csv"),
    ],
)
def test_a_command_that_the_system_refuses_exits_with_2(kind, words, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    path = folder / KINDS[kind].name
    KINDS[kind].make(path)
    (folder / "miou.csv").touch()  # which the record is of
    folder.chmod(0o777)  # so that outputs could be written there
    before = contents(folder)
    with pytest.raises(SystemExit) as ended, no_rights(path, 0):
        main(words.split())
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert f"{path.name}: cannot be read (Permission denied)" in error
    assert error.startswith("arseg: error: ")
    assert contents(folder) == before


def test_a_refusal_that_nobody_expected_is_one_line(monkeypatch, capsys, tmp_path):
    def opens_a_file() -> None:
        with no_more_files():
            (tmp_path / "a.csv").open()

    (tmp_path / "a.csv").touch()
    app.command(opens_a_file)
    try:
        with pytest.raises(SystemExit) as ended:
            main(["opens-a-file"])
        with pytest.raises(OSError, match="Too many open files"):
            main(["opens-a-file", "--debug"])
    finally:
        del app["opens-a-file"]
    assert ended.value.code == 2
    message = capsys.readouterr().err
    assert f"arseg: error: {tmp_path}/a.csv: cannot be read (Too many open files)" in message
    assert "ulimit -n" in message
