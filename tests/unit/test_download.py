"""Downloads from a server that breaks off, lies, stalls and moves, and from mirrors of it."""

import hashlib
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from command_line import refusal
from file_server import Answer, FileServer
from filelock import FileLock

from arseg.cli.main import main
from arseg.data import download as downloads
from arseg.data.download import RemoteFile, download, read_files_sheet
from arseg.errors import DataError, DiskFullError, FileAccessError

CONTENT = np.random.default_rng(0).bytes(200_000)
OTHER = np.random.default_rng(1).bytes(200_000)
SHA256, OTHER_SHA256 = (hashlib.sha256(content).hexdigest() for content in (CONTENT, OTHER))
CUT = 4 * downloads.CHUNK_BYTES  # what a connection breaks within is not kept
HEADER = "file,url,sha256,bytes"


@pytest.fixture(autouse=True)
def pauses(monkeypatch):
    """The pauses between attempts in seconds, which nobody waits for."""
    waited = []
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr("arseg.data.download.time.sleep", waited.append)
    return waited


@pytest.fixture
def server():
    with FileServer() as running:
        yield running


@pytest.fixture
def output(tmp_path):
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder" / "data.zip"


def remote(*urls, checksum=SHA256, num_bytes=None):
    return RemoteFile("data.zip", urls, checksum, num_bytes)


def fetch(file, output, content=CONTENT):
    download(file, output)
    assert output.read_bytes() == content


def dead_url():
    """Give a URL at which nobody listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{unused.getsockname()[1]}/data.zip"


def leave_part(output, server, answer=None, checksum=SHA256):
    """Let a download break off so that what arrived stays; give its URL."""
    url = server.serve("/data.zip", answer or Answer(CONTENT, cut_after=CUT), Answer(status=404))
    with pytest.raises(DataError, match=r"no URL of data\.zip gave it(?s:.*)data\.zip\.part is kept"):
        download(remote(url, checksum=checksum), output)
    assert output.with_name("data.zip.part").read_bytes() == CONTENT[:CUT]
    assert not output.exists()
    server.requests.clear()
    return url


def asked_ranges(server, path="/data.zip"):
    return [request.headers.get("Range") for request in server.asked(path)]


def test_complete_file_is_all_that_is_left(server, output, monkeypatch, caplog, capsys):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(downloads, "LOG_INTERVAL_SECONDS", 0)
    fetch(remote(server.serve("/data.zip", Answer(CONTENT)), checksum="", num_bytes=200_000), output)
    assert [path.name for path in output.parent.iterdir()] == ["data.zip"]
    assert asked_ranges(server) == [None]
    assert f"data.zip: 200000 bytes, sha256 {SHA256}; note them in the sheet" in caplog.text
    assert "data.zip: 0.2 of 0.2 MB" in caplog.text
    assert capsys.readouterr().err == ""  # where there is no terminal, there is no bar


@pytest.mark.parametrize("checksum", [SHA256, hashlib.md5(CONTENT).hexdigest(), ""])
def test_broken_connection_is_continued(server, output, pauses, checksum):
    url = server.serve("/data.zip", Answer(CONTENT, cut_after=CUT), Answer(CONTENT))
    fetch(remote(url, checksum=checksum), output)
    first, second = server.requests
    assert (second.headers["Range"], second.headers["If-Range"]) == (f"bytes={CUT}-", '"1"')
    assert (first.sent, second.sent) == (CUT, len(CONTENT) - CUT)
    assert pauses == [0, downloads.WAIT_SECONDS]


def test_connections_that_stall_or_break_without_a_sign_are_continued(server, output, monkeypatch, caplog):
    monkeypatch.setattr(downloads, "TIMEOUT_SECONDS", (30, 0.3))
    unsaid = Answer(CONTENT, cut_after=2 * CUT, announced=False)  # only the size tells
    url = server.serve("/data.zip", Answer(CONTENT, stall_after=CUT), unsaid, Answer(CONTENT))
    fetch(remote(url, checksum="", num_bytes=200_000), output)
    assert "broke off after 196608 of 200000 bytes" in caplog.text
    assert asked_ranges(server) == [None, f"bytes={CUT}-", f"bytes={3 * CUT}-"]


@pytest.mark.parametrize("checksum", [SHA256, ""])
def test_later_run_continues(server, output, checksum):
    url = leave_part(output, server, checksum=checksum)
    server.serve("/data.zip", Answer(CONTENT))
    fetch(remote(url, checksum=checksum), output)
    assert [request.sent for request in server.requests] == [len(CONTENT) - CUT]


def test_killed_command_is_continued(server, output, tmp_path):
    url = server.serve("/data.zip", Answer(CONTENT, stall_after=CUT), Answer(CONTENT))
    sheet = tmp_path / "files.csv"
    sheet.write_text(f"{HEADER}\ndata.zip,{url},,\n")
    words = ["data.zip", "--sheet", str(sheet), "--output", str(output)]
    part = output.with_name("data.zip.part")
    process = subprocess.Popen([sys.executable, "-c", "from arseg.cli.main import main; main()", "download", *words])
    deadline = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size):
        assert process.poll() is None, "the download ended before it could be killed"
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    arrived = part.stat().st_size
    main(["download", *words])
    assert output.read_bytes() == CONTENT
    assert asked_ranges(server) == [None, f"bytes={arrived}-"]
    assert {path.name for path in output.parent.iterdir()} == {"data.zip", "data.zip.provenance.json"}


def test_two_processes_do_not_write_one_file(server, output):
    with FileLock(f"{output}.part.lock"), pytest.raises(DataError, match=r"data\.zip: another process is downloading"):
        download(remote(server.serve("/data.zip", Answer(CONTENT))), output)


@pytest.mark.parametrize("checksum", [SHA256, ""])
def test_what_had_arrived_completely_is_not_sent_again(server, output, checksum):
    url = leave_part(output, server, checksum=checksum)
    output.with_name("data.zip.part").write_bytes(CONTENT)  # killed between its last byte and its name
    server.serve("/data.zip", Answer(CONTENT))
    fetch(remote(url, checksum=checksum), output)
    assert [request.sent for request in server.requests] == [0]


@pytest.mark.parametrize("beginning", [CONTENT + b"more", OTHER[:CUT]], ids=["too long", "of another file"])
def test_bytes_that_do_not_fit_cost_one_more_try_not_the_mirror(server, output, beginning):
    output.with_name("data.zip.part").write_bytes(beginning)
    fetch(remote(server.serve("/data.zip", Answer(CONTENT))), output)
    assert asked_ranges(server) == [f"bytes={len(beginning)}-", None]


@pytest.mark.parametrize("conditional", [True, False], ids=["the server tells", "the server ignores If-Range"])
def test_file_that_changed_on_the_server_is_begun_again(server, output, conditional):
    url = leave_part(output, server, checksum="")
    server.serve("/data.zip", Answer(OTHER, etag='"2"', conditional=conditional))
    fetch(remote(url, checksum=""), output, OTHER)
    assert asked_ranges(server) == [f"bytes={CUT}-"] + [None] * (not conditional)
    assert server.requests[0].headers["If-Range"] == '"1"'


@pytest.mark.parametrize("etag", ["", 'W/"1"'])
@pytest.mark.parametrize("checksum", [SHA256, ""])
def test_without_a_validator_only_a_checksum_allows_to_continue(server, output, etag, checksum):
    url = leave_part(output, server, Answer(CONTENT, etag=etag, cut_after=CUT), checksum)
    server.serve("/data.zip", Answer(CONTENT, etag=etag))
    fetch(remote(url, checksum=checksum), output)
    assert asked_ranges(server) == [f"bytes={CUT}-" if checksum else None]


def test_server_without_ranges_sends_all_again(server, output):
    url = leave_part(output, server)
    server.serve("/data.zip", Answer(CONTENT, ranges=False))
    fetch(remote(url), output)
    assert [(request.headers["Range"], request.sent) for request in server.requests] == [(f"bytes={CUT}-", 200_000)]


@pytest.mark.parametrize("checksum", [SHA256, ""])
def test_next_mirror_continues_only_where_a_checksum_will_tell(server, output, checksum):
    first = server.serve("/first.zip", Answer(CONTENT, cut_after=CUT), Answer(status=404))
    second = server.serve("/second.zip", Answer(CONTENT, etag='"mirror"'))
    fetch(remote(first, second, checksum=checksum), output)
    assert asked_ranges(server, "/second.zip") == [f"bytes={CUT}-" if checksum else None]
    assert "If-Range" not in server.requests[-1].headers  # the validator is another server's


def test_mirror_that_a_download_began_with_is_asked_first(server, output):
    url = leave_part(output, server, checksum="")
    server.serve("/data.zip", Answer(CONTENT))
    download(remote(server.serve("/first.zip", Answer(CONTENT)), url, checksum=""), output)
    assert [(request.path, request.sent) for request in server.requests] == [("/data.zip", len(CONTENT) - CUT)]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (Answer(b"gone", 404, "text/plain"), "HTTP 404"),
        (Answer(b"<html>please log in", 200, "text/html; charset=utf-8"), "answers with a web page"),
        (Answer(OTHER), f"SHA-256 {OTHER_SHA256}, expected {SHA256}"),
        (Answer(CONTENT[:-1]), "offers 199999 bytes, expected 200000"),
        (Answer(CONTENT + b"more", announced=False), "200004 bytes, expected 200000"),
        (Answer(status=503, headers={"Retry-After": "3600"}), "HTTP 503"),
        (Answer(b"", 302, headers={"Location": "file:///etc/hostname"}), "No connection adapters were found"),
    ],
    ids=["404", "web page", "checksum", "size", "more", "busy for an hour", "redirect to a local file"],
)
def test_bad_mirror_is_left_for_the_next(server, output, caplog, bad, reason):
    bad_url, good_url = server.serve("/bad.zip", bad), server.serve("/good.zip", Answer(CONTENT))
    fetch(remote(bad_url, good_url, num_bytes=200_000), output)
    (warning,) = (record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)
    assert warning.startswith(f"{bad_url}: {reason}")


def test_busy_server_is_asked_again_when_it_says(server, output, pauses):
    busy = [Answer(status=503, headers={"Retry-After": "7"}), Answer(status=429)]
    fetch(remote(server.serve("/data.zip", *busy, Answer(CONTENT))), output)
    assert pauses == [0, 7, downloads.WAIT_SECONDS]


def test_all_urls_and_reasons_are_named(server, output):
    urls = (dead_url(), server.serve("/none.zip", Answer(status=404)), server.serve("/bad.zip", Answer(OTHER)))
    with pytest.raises(DataError) as error:
        download(remote(*urls), output)
    message = str(error.value)
    assert message.startswith(f"{output}: no URL of data.zip gave it:\n  {urls[0]}: ")
    assert "Connection refused\n" in message
    assert f"\n  {urls[1]}: HTTP 404\n  {urls[2]}: SHA-256 {OTHER_SHA256}, expected {SHA256}\n" in message
    assert "with another mirror" in message
    assert [path.name for path in output.parent.iterdir()] == ["data.zip.part.lock"]


def test_redirect_is_followed_also_when_continuing(server, output):
    server.serve("/there.zip", Answer(CONTENT, cut_after=CUT), Answer(CONTENT))
    moved = Answer(b"moved", 302, "text/html", etag='"page"', headers={"Location": "/there.zip"})
    fetch(remote(server.serve("/data.zip", moved), checksum=""), output)
    assert [request.sent for request in server.asked("/there.zip")] == [CUT, len(CONTENT) - CUT]


def test_local_file_is_copied(output, tmp_path):
    (tmp_path / "my copy.zip").write_bytes(CONTENT)
    output.with_name("data.zip.part").write_bytes(OTHER)
    fetch(remote((tmp_path / "none.zip").as_uri(), (tmp_path / "my copy.zip").as_uri()), output)
    with pytest.raises(DataError, match=r"none\.zip: no such file"):
        download(remote((tmp_path / "none.zip").as_uri()), tmp_path / "other.zip")


def test_right_output_is_kept_and_a_wrong_one_replaced(server, output, caplog):
    output.write_bytes(CONTENT)
    download(remote(dead_url()), output)
    url = server.serve("/data.zip", Answer(CONTENT))
    for wrong, known in ((OTHER, {}), (OTHER[:9], {"checksum": "", "num_bytes": 200_000})):
        output.write_bytes(wrong)
        fetch(remote(url, **known), output)
    assert f"not the file to download (SHA-256 {OTHER_SHA256}" in caplog.text


def test_full_disk_is_noticed_before_the_first_byte(server, output, monkeypatch):
    free = shutil.disk_usage(output.parent)._replace(free=199_999)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    with pytest.raises(DiskFullError, match=r"data\.zip\.part: 0\.00 GB are to be written, .* Make room"):
        download(remote(server.serve("/data.zip", Answer(CONTENT)), server.address), output)
    assert not output.with_name("data.zip.part").exists()
    assert len(server.requests) == 1


def test_output_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FileAccessError, match=r"file/data\.zip: cannot be written \(.* name another file"):
        download(remote(dead_url()), tmp_path / "file" / "data.zip")


def read_lines(tmp_path, *lines):
    sheet = tmp_path / "files.csv"
    sheet.write_text("\n".join([HEADER, *lines]) + "\n")
    return read_files_sheet(sheet)


def test_sheet_lists_mirrors_in_order(tmp_path):
    files = read_lines(
        tmp_path,
        "a.zip,http://one/a,,",
        f"b.zip,file:///b,{'AB' * 32},",
        "a.zip,http://two/a,,12",
        "a.zip,https://c/,,",
    )
    assert files == {
        "a.zip": RemoteFile("a.zip", ("http://one/a", "http://two/a", "https://c/"), "", 12),
        "b.zip": RemoteFile("b.zip", ("file:///b",), "ab" * 32, None),
    }


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], r"files\.csv: no line below the header"),
        ([",http://a,,"], r"files\.csv:2: file is '', expected the name of a file"),
        (["../a,http://a,,"], r"files\.csv:2: file is '\.\./a', expected the name of a file, without a folder"),
        (["a,www.example.org/a,,"], r"files\.csv:2: url is 'www\.example\.org/a', expected .* http:, https:, file:"),
        (["a,http://a,123,"], r"files\.csv:2: sha256 is '123', expected 64 hexadecimal digits"),
        (["a,http://a,,0"], r"files\.csv:2: bytes is '0', expected a whole number of 1 or more"),
        (["a,http://a,,5", "a,http://b,,6"], r"contradict each other in bytes: 5 \(.*csv:2\), 6 \(.*csv:3\)"),
        ([f"a,http://a,{'a' * 64},", f"a,http://b,{'b' * 64},"], r"mirrors of a contradict each other in sha256"),
    ],
)
def test_bad_line_of_the_sheet_is_named(tmp_path, lines, message):
    with pytest.raises(DataError, match=message):
        read_lines(tmp_path, *lines)


def test_camvid_sheet_is_sound(repository):
    files = read_files_sheet(repository / "config" / "camvid-files.csv")
    assert len(files["701_StillsRaw_full.zip"].urls) == 3
    assert files["LabeledApproved_full.zip"].num_bytes == 16_567_585
    assert {"0016E5.zip.001", "0016E5.zip.002", "01TP_extract.avi", "camvid-kaggle.zip"} <= set(files)


def test_unknown_name_is_an_error_that_lists_the_known_ones(tmp_path, capsys):
    sheet = tmp_path / "files.csv"
    sheet.write_text(f"{HEADER}\na.zip,http://a,,\nb.zip,http://b,,\n")
    error = refusal(capsys, "download", "c.zip", "--sheet", sheet, "--output", tmp_path / "c.zip")
    assert "no file 'c.zip'; it lists a.zip, b.zip" in error
