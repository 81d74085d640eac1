import io
import logging

from arseg.progress import track


def test_progress_is_logged_where_there_is_no_terminal(caplog, monkeypatch):
    monkeypatch.setattr("sys.stderr", io.StringIO())
    with caplog.at_level(logging.INFO, "arseg.progress"):
        assert list(track(range(3), "clips")) == [0, 1, 2]
    assert [record.getMessage() for record in caplog.records] == ["clips: 3 done in 0.0 s"]
    caplog.clear()
    monkeypatch.setattr("arseg.progress.LOG_INTERVAL_SECONDS", 0)
    with caplog.at_level(logging.INFO, "arseg.progress"):
        assert list(track(iter("ab"), "letters", total=5)) == ["a", "b"]
    assert caplog.records[0].getMessage() == "letters: 1/5 in 0 s"
