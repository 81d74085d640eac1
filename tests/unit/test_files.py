import pytest

from arseg.errors import DataError
from arseg.files import atomic_path


def test_a_finished_file_has_its_name_and_no_sibling(tmp_path):
    target = tmp_path / "new" / "a.csv"
    with atomic_path(target) as temporary:
        temporary.write_text("whole")
        assert temporary.suffix == ".csv"
        assert not target.exists()
    assert target.read_text() == "whole"
    assert list(target.parent.iterdir()) == [target]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "a.csv"
    target.write_text("old")

    def write_half():
        with atomic_path(target) as temporary:
            temporary.write_text("ha")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_an_empty_directory_may_be_filled(tmp_path):
    target = tmp_path / "out"
    target.mkdir()
    with atomic_path(target) as temporary:
        temporary.mkdir()
        (temporary / "fresh").touch()
    assert [path.name for path in target.iterdir()] == ["fresh"]


def test_a_directory_with_something_in_it_is_left_alone(tmp_path):
    target = tmp_path / "out"
    target.mkdir()
    (target / "thesis.tex").touch()
    with (
        pytest.raises(DataError, match=r"out: this folder is not empty\. Delete it, or name another"),
        atomic_path(target),
    ):
        pass
    assert (target / "thesis.tex").exists()
