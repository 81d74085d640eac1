import os

import pytest

from arseg.workflow.sources import digest_folders


@pytest.fixture
def folder(tmp_path):
    for name in ("a/frame_1.png", "a/frame_2.PNG", "b/frame_1.png"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "data"


def edit_in_place(folder):
    path = folder / "b/frame_1.png"
    times = path.stat()
    path.write_bytes(b"other".ljust(times.st_size))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns + 1000))


@pytest.mark.parametrize(
    "change",
    [
        edit_in_place,
        lambda folder: (folder / "a/frame_1.png").write_bytes(b"longer than before"),
        lambda folder: (folder / "a/frame_3.png").touch(),
        lambda folder: (folder / "a/frame_1.png").unlink(),
        lambda folder: (folder / "a/frame_1.png").rename(folder / "a/frame_0.png"),
        lambda folder: (folder / "a").rename(folder / "c"),
    ],
    ids=["edited", "longer", "added", "removed", "renamed", "folder-renamed"],
)
def test_what_changes_in_a_folder_changes_its_digest(change, folder):
    before = digest_folders([folder])
    assert before
    change(folder)
    assert digest_folders([folder]) != before


def test_what_is_not_read_does_not_count(folder, tmp_path):
    before = digest_folders([folder, tmp_path / "archive.zip"])
    assert before == digest_folders([str(folder), folder])
    for name in (".hidden.png", "Thumbs.db", "a/notes.txt"):
        (folder / name).touch()
    assert digest_folders([folder]) == before
    assert digest_folders([folder], recursive=False) != before
    assert digest_folders([folder / "a"], suffixes=("_1.png",)) != digest_folders([folder / "a"])
    folder.rename(tmp_path / "moved")
    assert digest_folders([tmp_path / "moved"]) == before
    assert digest_folders([]) == digest_folders([tmp_path / "missing"]) == ""


def test_a_folder_that_cannot_be_listed_is_named(folder, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", os.fspath(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(Exception, match=r"data: Permission denied\. Make the folder's files readable"):
        digest_folders([folder])
