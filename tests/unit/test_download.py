"""Downloads from a server that breaks off, lies, stalls and moves, and from mirrors of it."""

import hashlib
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from file_server import Answer, FileServer

from arseg.cli.main import main
from arseg.data import transfer
from arseg.data.download import RemoteFile, download, read_files_sheet
from arseg.errors import DataError

CONTENT = np.random.default_rng(0).bytes(200_000)
OTHER = np.random.default_rng(1).bytes(200_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
CUT = 70_000
HEADER = "file,url,sha256,bytes"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def server():
    with FileServer() as running:
        yield running


@pytest.fixture
def output(tmp_path):
    return tmp_path / "folder" / "data.zip"


def remote(*urls, sha256=SHA256, num_bytes=None):
    return RemoteFile("data.zip", urls, sha256, num_bytes)


def dead_address():
    """Give an address at which nobody listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{unused.getsockname()[1]}/data.zip"


def leave_part(output, server, answer, **known):
    """Let a download break off so that its part stays; give its address."""
    url = server.serve("/data.zip", answer, Answer(status=503))
    with pytest.raises(DataError, match=r"no address of data\.zip gave it"):
        download(remote(url, **known), output)
    server.requests.clear()
    return url


def test_whole_file_is_all_that_is_left(server, output):
    download(remote(server.serve("/data.zip", Answer(CONTENT)), num_bytes=200_000), output)
    assert output.read_bytes() == CONTENT
    assert [path.name for path in output.parent.iterdir()] == ["data.zip"]
    assert "Range" not in server.requests[0].headers


@pytest.mark.parametrize("sha256", [SHA256, ""])
def test_broken_connection_is_continued(server, output, sha256):
    url = server.serve("/data.zip", Answer(CONTENT, cut_after=CUT), Answer(CONTENT))
    download(remote(url, sha256=sha256), output)
    assert output.read_bytes() == CONTENT
    first, second = server.requests
    assert second.headers["Range"] == f"bytes={CUT}-"
    assert second.headers["If-Range"] == '"1"'
    assert (first.sent, second.sent) == (CUT, len(CONTENT) - CUT)


@pytest.mark.parametrize("sha256", [SHA256, ""])
def test_later_run_continues(server, output, sha256):
    url = leave_part(output, server, Answer(CONTENT, cut_after=CUT), sha256=sha256)
    server.serve("/data.zip", Answer(CONTENT))
    download(remote(url, sha256=sha256), output)
    assert output.read_bytes() == CONTENT
    (request,) = server.requests
    assert request.sent == len(CONTENT) - CUT


def test_killed_download_is_continued(server, output, tmp_path):
    url = server.serve("/data.zip", Answer(CONTENT, stall_after=CUT), Answer(CONTENT))
    sheet = tmp_path / "files.csv"
    sheet.write_text(f"{HEADER}\ndata.zip,{url},,\n")
    words = ["data.zip", "--sheet", str(sheet), "--output", str(output)]
    command = [sys.executable, "-c", "from arseg.cli.main import main; main()", "download", *words]
    part = output.with_name("data.zip.part")
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size > CUT // 2):
        assert process.poll() is None, "the download ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    there = part.stat().st_size
    main(["download", *words])
    assert output.read_bytes() == CONTENT
    assert server.requests[-1].headers["Range"] == f"bytes={there}-"
    assert {path.name for path in output.parent.iterdir()} == {"data.zip", "data.zip.provenance.json"}


def test_part_that_was_whole_when_killed_needs_no_server(output):
    output.parent.mkdir()
    output.with_name("data.zip.part").write_bytes(CONTENT)
    download(remote(dead_address()), output)
    assert output.read_bytes() == CONTENT


def test_changed_file_is_begun_again_by_a_server_that_knows(server, output):
    url = leave_part(output, server, Answer(CONTENT, cut_after=CUT), sha256="")
    server.serve("/data.zip", Answer(OTHER, etag='"2"'))
    download(remote(url, sha256=""), output)
    assert output.read_bytes() == OTHER
    (request,) = server.requests
    assert request.headers["If-Range"] == '"1"'


@pytest.mark.parametrize(
    "changed",
    [Answer(OTHER, etag='W/"2"'), Answer(OTHER[:-1], etag='W/"1"')],
    ids=["another mark", "another size"],
)
def test_changed_file_is_begun_again_where_only_we_can_know(server, output, changed, caplog):
    # A weak ETag may not stand in If-Range, so the server gives the range without comparing.
    url = leave_part(output, server, Answer(CONTENT, etag='W/"1"', cut_after=CUT), sha256="")
    server.serve("/data.zip", changed)
    download(remote(url, sha256=""), output)
    assert output.read_bytes() == changed.content
    assert [request.headers.get("Range") for request in server.requests] == [f"bytes={CUT}-", None]
    assert "another file than the part that is here" in caplog.text


def test_part_that_is_longer_than_a_local_file_is_begun_again(output, tmp_path):
    (tmp_path / "copy.zip").write_bytes(CONTENT)
    output.parent.mkdir()
    output.with_name("data.zip.part").write_bytes(CONTENT + b"more")
    download(remote((tmp_path / "copy.zip").as_uri()), output)
    assert output.read_bytes() == CONTENT


@pytest.mark.parametrize("sha256", [SHA256, ""])
def test_part_without_marks_is_continued_only_if_a_digest_will_tell(server, output, sha256):
    url = leave_part(output, server, Answer(CONTENT, etag="", cut_after=CUT), sha256=sha256)
    server.serve("/data.zip", Answer(CONTENT, etag=""))
    download(remote(url, sha256=sha256), output)
    assert output.read_bytes() == CONTENT
    assert ("Range" in server.requests[0].headers) == bool(sha256)


def test_server_without_ranges_sends_all_again(server, output):
    url = leave_part(output, server, Answer(CONTENT, cut_after=CUT))
    server.serve("/data.zip", Answer(CONTENT, ranges=False))
    download(remote(url), output)
    assert output.read_bytes() == CONTENT
    (request,) = server.requests
    assert ("Range" in request.headers, request.sent) == (True, len(CONTENT))


def test_part_that_is_longer_than_the_file_is_begun_again(server, output):
    output.parent.mkdir()
    output.with_name("data.zip.part").write_bytes(CONTENT + b"more")
    download(remote(server.serve("/data.zip", Answer(CONTENT))), output)
    assert output.read_bytes() == CONTENT
    assert [request.headers.get("Range") for request in server.requests] == ["bytes=200004-", None]


def test_wrong_earlier_bytes_cost_one_more_try_not_the_mirror(server, output):
    output.parent.mkdir()
    output.with_name("data.zip.part").write_bytes(OTHER[:CUT])
    download(remote(server.serve("/data.zip", Answer(CONTENT))), output)
    assert output.read_bytes() == CONTENT
    assert [request.headers.get("Range") for request in server.requests] == [f"bytes={CUT}-", None]


def test_next_mirror_continues_where_a_digest_will_tell(server, output):
    first = server.serve("/first.zip", Answer(CONTENT, cut_after=CUT), Answer(status=500))
    second = server.serve("/second.zip", Answer(CONTENT, etag='"mirror"'))
    download(remote(first, second), output)
    assert output.read_bytes() == CONTENT
    (request,) = server.asked("/second.zip")
    assert request.headers["Range"] == f"bytes={CUT}-"
    assert "If-Range" not in request.headers  # the mark of another server


def test_next_mirror_begins_again_without_a_digest(server, output):
    first = server.serve("/first.zip", Answer(OTHER, cut_after=CUT), Answer(status=500))
    second = server.serve("/second.zip", Answer(CONTENT))
    download(remote(first, second, sha256=""), output)
    assert output.read_bytes() == CONTENT
    (request,) = server.asked("/second.zip")
    assert "Range" not in request.headers


def test_part_of_the_second_mirror_is_continued_there_first(server, output):
    first = server.serve("/first.zip", Answer(status=503))
    second = server.serve("/second.zip", Answer(CONTENT, cut_after=CUT), Answer(status=503))
    with pytest.raises(DataError):
        download(remote(first, second, sha256=""), output)
    server.requests.clear()
    server.serve("/first.zip", Answer(CONTENT))
    server.serve("/second.zip", Answer(CONTENT))
    download(remote(first, second, sha256=""), output)
    assert [(request.path, request.sent) for request in server.requests] == [("/second.zip", len(CONTENT) - CUT)]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (Answer(b"gone", 404, "text/plain"), "HTTP 404"),
        (Answer(b"", 500), "HTTP 500"),
        (Answer(b"<html>please log in", 200, "text/html; charset=utf-8"), "answers with a web page"),
        (Answer(OTHER), f"SHA-256 {hashlib.sha256(OTHER).hexdigest()}, expected {SHA256}"),
        (Answer(CONTENT[:-1]), "offers 199999 bytes, expected 200000"),
    ],
    ids=["404", "500", "web page", "digest", "size"],
)
def test_bad_mirror_is_left_for_the_next(server, output, caplog, bad, reason):
    urls = (dead_address(), server.serve("/bad.zip", bad), server.serve("/good.zip", Answer(CONTENT)))
    download(remote(*urls, num_bytes=200_000), output)
    assert output.read_bytes() == CONTENT
    assert len(server.asked("/bad.zip")) == 1
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings[0].startswith(f"{urls[0]}: Failed to connect")
    assert warnings[1].startswith(f"{urls[1]}: {reason}")


def test_all_addresses_and_reasons_are_named(server, output):
    urls = (dead_address(), server.serve("/none.zip", Answer(status=404)), server.serve("/bad.zip", Answer(OTHER)))
    with pytest.raises(DataError) as error:
        download(remote(*urls), output)
    message = str(error.value)
    assert message.startswith(f"{output}: no address of data.zip gave it:\n  {urls[0]}: Failed to connect")
    assert f"\n  {urls[1]}: HTTP 404\n" in message
    assert f"\n  {urls[2]}: SHA-256 {hashlib.sha256(OTHER).hexdigest()}, expected {SHA256}\n" in message
    assert "another mirror to the sheet of files" in message
    assert [path.name for path in output.parent.iterdir()] == ["data.zip.part.lock"]


def test_truncated_body_is_tried_twice_and_the_part_kept(server, output):
    url = server.serve("/data.zip", Answer(CONTENT, cut_after=CUT), Answer(CONTENT, cut_after=10_000))
    with pytest.raises(DataError, match=r"120000 bytes (?s:.*)data\.zip\.part is kept"):
        download(remote(url), output)
    assert len(server.requests) == 2
    assert output.with_name("data.zip.part").read_bytes() == CONTENT[: CUT + 10_000]
    assert not output.exists()


def test_short_file_of_a_server_that_announces_no_more_is_noticed_by_its_size(server, output):
    output.parent.mkdir()
    (output.parent / "short.zip").write_bytes(CONTENT[:CUT])
    with pytest.raises(DataError, match="offers 70000 bytes, expected 200000"):
        download(remote((output.parent / "short.zip").as_uri(), num_bytes=200_000), output)


def test_connection_that_breaks_without_a_sign_is_noticed_by_the_size(server, output, caplog):
    url = server.serve("/data.zip", Answer(CONTENT, cut_after=CUT, announced=False), Answer(CONTENT))
    download(remote(url, sha256="", num_bytes=200_000), output)
    assert output.read_bytes() == CONTENT
    assert "broke off after 70000 of 200000 bytes" in caplog.text
    assert server.requests[1].headers["Range"] == f"bytes={CUT}-"


def test_more_than_the_file_is_not_kept(server, output):
    url = server.serve("/data.zip", Answer(CONTENT + b"more", announced=False))
    with pytest.raises(DataError, match=r"data\.zip: gives more than the expected 200000 bytes"):
        download(remote(url, num_bytes=200_000), output)
    assert not output.with_name("data.zip.part").exists()


def test_stalled_connection_times_out(server, output, monkeypatch):
    monkeypatch.setattr(transfer, "STALL_SECONDS", 1)
    monkeypatch.setattr(transfer, "STALL_BYTES_PER_SECOND", 10**9)  # libcurl averages over seconds: be too slow at once
    url = server.serve("/data.zip", Answer(CONTENT, stall_after=CUT), Answer(CONTENT))
    download(remote(url), output)
    assert output.read_bytes() == CONTENT
    assert server.requests[1].headers["Range"] == f"bytes={CUT}-"


def test_interrupt_stops_a_stalled_download(server, output, tmp_path):
    url = server.serve("/data.zip", Answer(CONTENT, stall_after=CUT))
    program = f"""
import signal, pathlib
from arseg.data.download import RemoteFile, download
signal.setitimer(signal.ITIMER_REAL, 0.5)
signal.signal(signal.SIGALRM, signal.default_int_handler)
try:
    download(RemoteFile("data.zip", ({url!r},), "", None), pathlib.Path({str(output)!r}))
except KeyboardInterrupt:
    print("interrupted")
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert run.stdout == "interrupted\n", run.stderr
    assert output.with_name("data.zip.part").stat().st_size == CUT


def test_redirect_is_followed_also_when_continuing(server, output):
    server.serve("/there.zip", Answer(CONTENT, cut_after=CUT), Answer(CONTENT))
    moved = Answer(b"moved", 302, "text/html", etag='"page"', headers={"Location": "/there.zip"})
    download(remote(server.serve("/data.zip", moved), sha256=""), output)
    assert output.read_bytes() == CONTENT
    assert [request.sent for request in server.asked("/there.zip")] == [CUT, len(CONTENT) - CUT]


def test_redirect_to_a_local_file_is_refused(server, output, tmp_path):
    (tmp_path / "secret").write_bytes(CONTENT)
    moved = Answer(b"", 302, headers={"Location": (tmp_path / "secret").as_uri()})
    with pytest.raises(DataError, match=r"(?i)protocol"):
        download(remote(server.serve("/data.zip", moved)), output)


def test_file_address_is_copied_and_continued(output, tmp_path):
    source = tmp_path / "my copy.zip"
    source.write_bytes(CONTENT)
    output.parent.mkdir()
    output.with_name("data.zip.part").write_bytes(CONTENT[:CUT])
    download(remote(source.as_uri()), output)
    assert output.read_bytes() == CONTENT


def test_missing_local_file_is_an_error(output, tmp_path):
    with pytest.raises(DataError, match=r"none\.zip: .*(open|read) file"):
        download(remote((tmp_path / "none.zip").as_uri()), output)


def test_unknown_digest_is_logged_to_be_noted(server, output, caplog):
    caplog.set_level(logging.INFO)
    download(remote(server.serve("/data.zip", Answer(CONTENT)), sha256=""), output)
    assert f"data.zip: 200000 bytes, sha256 {SHA256}; note them in the sheet" in caplog.text


def test_right_output_is_kept_and_a_wrong_one_replaced(server, output, caplog):
    output.parent.mkdir()
    output.write_bytes(CONTENT)
    download(remote(dead_address()), output)
    output.write_bytes(OTHER)
    url = server.serve("/data.zip", Answer(CONTENT))
    download(remote(url), output)
    assert output.read_bytes() == CONTENT
    assert f"another file than the one to download (SHA-256 {hashlib.sha256(OTHER).hexdigest()}" in caplog.text
    output.write_bytes(OTHER[:9])
    download(remote(url, sha256="", num_bytes=200_000), output)
    assert output.read_bytes() == CONTENT


def test_full_disk_is_noticed_before_the_first_byte(server, output, monkeypatch):
    free = shutil.disk_usage(output.parents[1])._replace(free=199_999)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    with pytest.raises(DataError, match=r"data\.zip\.part: 0\.00 GB are to be written, .* Make room"):
        download(remote(server.serve("/data.zip", Answer(CONTENT)), server.address), output)
    assert not output.with_name("data.zip.part").exists()
    assert len(server.requests) == 1


def test_two_processes_do_not_write_one_part(server, output, caplog):
    url = server.serve("/data.zip", Answer(CONTENT, stall_after=CUT))
    program = f"""
from arseg.data.download import RemoteFile, download
download(RemoteFile("data.zip", ({url!r},), "", None), {str(output)!r})
"""
    process = subprocess.Popen([sys.executable, "-c", program])
    try:
        while not output.with_name("data.zip.part").exists():
            assert process.poll() is None
            time.sleep(0.02)
        with pytest.raises(DataError, match=r"data\.zip: another process is downloading it"):
            download(remote(url), output)
    finally:
        process.kill()
        process.wait()


def test_log_tells_how_much_is_there(server, output, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(transfer, "LOG_INTERVAL_SECONDS", 0)
    download(remote(server.serve("/data.zip", Answer(CONTENT))), output)
    assert "data.zip: 0.2 of 0.2 MB" in caplog.text


def read_lines(tmp_path, *lines):
    sheet = tmp_path / "files.csv"
    sheet.write_text("\n".join([HEADER, *lines]) + "\n")
    return read_files_sheet(sheet)


def test_sheet_lists_mirrors_in_order(tmp_path):
    files = read_lines(
        tmp_path, "a.zip,http://one/a,,", f"b.zip,file:///b,{'AB' * 32},", "a.zip,ftp://two/a,,12", "a.zip,https://c/,,"
    )
    assert files == {
        "a.zip": RemoteFile("a.zip", ("http://one/a", "ftp://two/a", "https://c/"), "", 12),
        "b.zip": RemoteFile("b.zip", ("file:///b",), "ab" * 32, None),
    }


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], r"files\.csv: no line below the header"),
        ([",http://a,,"], r"files\.csv:2: file is '', expected the name of a file"),
        (["../a,http://a,,"], r"files\.csv:2: file is '\.\./a', expected the name of a file, without a folder"),
        (["a,www.example.org/a,,"], r"files\.csv:2: url is 'www\.example\.org/a', expected .* http:, https:, ftp: or"),
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
    with pytest.raises(SystemExit) as stopped:
        main(["download", "c.zip", "--sheet", str(sheet), "--output", str(tmp_path / "c.zip")])
    assert stopped.value.code == 2
    assert "no file 'c.zip'; it lists a.zip, b.zip" in capsys.readouterr().err
