"""The official downloader against a site on this machine: login, access, broken connections, and a secret password."""

import hashlib
import json
import logging
import shutil
import traceback

import numpy as np
import pytest
from file_server import Answer, FileServer

from arseg.cli.main import main
from arseg.data import cityscapes_download
from arseg.data.cityscapes_download import PASSWORD_VARIABLE, SITE, USERNAME_VARIABLE, download_package
from arseg.errors import ConfigError, DataError

PACKAGE = "gtFine_trainvaltest.zip"
CONTENT = np.random.default_rng(0).bytes(50_000)
CUT = 20_000
PASSWORD = "s3cret-pässword"
FILE, MD5, LIST = "/file-handling/?packageID=7", "/md5-sum/?packageID=7", "/downloads/?list"


@pytest.fixture
def site(monkeypatch):
    """A site that lets one account download one package; requests for Cityscapes go there."""
    with FileServer() as server:

        class Loopback(cityscapes_download._Adapter):
            def send(self, request, *args, **options):
                request.url = request.url.replace(SITE, server.address)
                return super().send(request, *args, **options)

        monkeypatch.setattr(cityscapes_download, "_Adapter", Loopback)
        monkeypatch.setenv("no_proxy", "*")
        monkeypatch.setenv(USERNAME_VARIABLE, "me@example.org")
        monkeypatch.setenv(PASSWORD_VARIABLE, PASSWORD)
        let_in(server)
        offer(server, {"name": PACKAGE, "packageID": "7", "size": "49KB"})
        server.serve(MD5, text(f"{hashlib.md5(CONTENT).hexdigest()}  {PACKAGE}"))
        server.serve(FILE, Answer(CONTENT))
        yield server


def text(words):
    return Answer(words.encode(), content_type="text/plain")


def let_in(site):
    site.serve("/login", Answer(b"<form>", content_type="text/html"), Answer(status=302, headers={"Location": "/"}))


def offer(site, *packages):
    site.serve(LIST, text(json.dumps(packages)))


@pytest.fixture
def output(tmp_path):
    return tmp_path / "folder" / PACKAGE


def part_of(output):
    return output.with_name(f"{PACKAGE}.part") / PACKAGE


def leave_part(output, content):
    part_of(output).parent.mkdir(parents=True)
    part_of(output).write_bytes(content)


def ranges(site):
    return [request.headers["Range"] for request in site.asked(FILE)]


def test_package_is_downloaded_with_the_account(site, output, capsys, caplog):
    caplog.set_level(logging.DEBUG)
    main(["cityscapes", "download", PACKAGE, "--output", str(output)])
    assert output.read_bytes() == CONTENT
    assert {path.name for path in output.parent.iterdir()} == {PACKAGE, f"{PACKAGE}.provenance.json"}
    assert [request.method for request in site.asked("/login")] == ["GET", "POST"]
    assert site.asked("/login")[1].body == "username=me%40example.org&password=s3cret-p%C3%A4ssword&submit=Login"
    printed = capsys.readouterr()
    assert printed.out == f"wrote {output}\n"
    assert "s3cret" not in printed.err + caplog.text


def test_archive_that_is_there_is_kept(site, output, caplog):
    caplog.set_level(logging.INFO)
    output.parent.mkdir()
    output.write_bytes(b"mine")
    download_package(PACKAGE, output)
    assert output.read_bytes() == b"mine"
    assert not site.requests
    assert "is there already; delete it to download it again" in caplog.text


def test_broken_connection_is_continued_by_the_next_run(site, output):
    site.serve(FILE, Answer(CONTENT, cut_after=CUT), Answer(CONTENT))
    with pytest.raises(DataError, match=rf"download of {PACKAGE} failed: .* run the command again, it continues"):
        download_package(PACKAGE, output)
    assert not output.exists()
    received = part_of(output).stat().st_size
    assert 0 < received <= CUT
    let_in(site)
    download_package(PACKAGE, output)
    assert output.read_bytes() == CONTENT
    assert ranges(site) == ["bytes=0-", f"bytes={received}-"]


def test_whole_part_needs_its_last_byte_only(site, output):
    leave_part(output, CONTENT)
    download_package(PACKAGE, output)
    assert output.read_bytes() == CONTENT
    assert ranges(site) == ["bytes=50000-", "bytes=49999-"]


def test_part_that_is_too_long_is_begun_again(site, output, caplog):
    leave_part(output, CONTENT + b"more")
    download_package(PACKAGE, output)
    assert output.read_bytes() == CONTENT
    assert ranges(site) == ["bytes=50004-", "bytes=50003-", "bytes=0-"]
    assert caplog.text.count("all of it, or more, is there already") == 2


def test_part_of_something_else_is_begun_again(site, output):
    leave_part(output, b"x" * CUT)
    download_package(PACKAGE, output)
    assert output.read_bytes() == CONTENT
    assert ranges(site) == [f"bytes={CUT}-", "bytes=0-"]


def test_site_that_ignores_the_range_is_noticed_by_the_sum(site, output):
    leave_part(output, CONTENT[:CUT])
    site.serve(FILE, Answer(CONTENT, ranges=False))
    download_package(PACKAGE, output)
    assert output.read_bytes() == CONTENT


def test_wrong_sum_leaves_nothing(site, output):
    site.serve(FILE, Answer(CONTENT[::-1]))
    with pytest.raises(DataError, match=r"its MD5 sum is not the package's\. What was received is deleted"):
        download_package(PACKAGE, output)
    assert len(site.asked(FILE)) == 1
    assert not output.exists()
    assert not part_of(output).exists()


@pytest.mark.parametrize("missing", [USERNAME_VARIABLE, PASSWORD_VARIABLE])
def test_missing_account_is_explained(site, output, monkeypatch, missing):
    monkeypatch.delenv(missing)
    with pytest.raises(
        ConfigError, match=r"CITYSCAPES_USERNAME and CITYSCAPES_PASSWORD are not both set\. Register at"
    ):
        download_package(PACKAGE, output)
    assert not site.requests


def shown(error):
    """Write an error as a debugging user sees it."""
    return "".join(traceback.format_exception(error))


def test_wrong_account_is_explained_without_the_password(site, output):
    site.serve("/login", Answer(b"<form>Wrong password", content_type="text/html"))
    with pytest.raises(ConfigError, match="does not accept the account in CITYSCAPES_USERNAME") as failure:
        download_package(PACKAGE, output)
    assert "s3cret" not in shown(failure.value)
    assert "me@example" not in shown(failure.value)


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ([Answer(status=503)], "login failed: 503 Server Error"),
        ([Answer(b"<form>"), Answer(status=500)], "login failed: 500 Server Error"),
        ([Answer(b"<form>"), Answer(b"", cut_after=0, length=9)], "login failed: .*IncompleteRead"),
    ],
    ids=["page", "post", "broken"],
)
def test_failing_login_is_explained_without_the_password(site, output, answers, reason):
    site.serve("/login", *answers)
    with pytest.raises(DataError, match=rf"{SITE}: {reason}") as failure:
        download_package(PACKAGE, output)
    assert "s3cret" not in shown(failure.value)
    assert "s3cret" not in repr(failure.value)


def test_site_that_is_not_there_is_explained_without_the_password(site, output):
    site.close()
    with pytest.raises(
        DataError, match=r"login failed: .*Connection refused.* Look whether the site answers"
    ) as failure:
        download_package(PACKAGE, output)
    assert "s3cret" not in shown(failure.value)


def test_stalled_site_is_given_up(site, output, monkeypatch):
    monkeypatch.setattr(cityscapes_download, "STALL_SECONDS", 0.3)
    site.serve(FILE, Answer(CONTENT, stall_after=CUT))
    with pytest.raises(DataError, match=r"download of .* failed: .*timed out"):
        download_package(PACKAGE, output)
    assert part_of(output).exists()


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        (
            text("[]"),
            r"gtFine_trainvaltest\.zip: this account may not download it.* It may download none\. Ask for access",
        ),
        (
            text('[{"name": "a.zip", "packageID": "1", "size": "1GB"}]'),
            r"there is no such package\. It may download a\.zip\.",
        ),
        (text(f'[{{"name": "{PACKAGE}", "size": "much"}}]'), r"its list of packages is not as the official downloader"),
        (text('[{"name": "a.zip"}]'), r"its list of packages is not as .* \(KeyError\('size'\)\)"),
        (Answer(status=302, headers={"Location": "/login"}), r"list of packages failed"),
        (Answer(status=500), r"list of packages failed: 500"),
    ],
    ids=["none", "others", "size", "fields", "logged out", "error"],
)
def test_package_that_cannot_be_had_is_explained(site, output, listed, message):
    site.serve(LIST, listed)
    with pytest.raises(DataError, match=message):
        download_package(PACKAGE, output)
    assert not site.asked(FILE)


@pytest.mark.parametrize(
    ("path", "answer", "message"),
    [
        (FILE, Answer(status=302, headers={"Location": "/login"}), r"the official downloader stopped: AssertionError"),
        (MD5, text(""), r"the official downloader stopped: IndexError"),
        (FILE, Answer(status=404), r"download of gtFine_trainvaltest\.zip failed: 404"),
    ],
    ids=["logged out", "no sum", "gone"],
)
def test_what_the_official_downloader_raises_is_explained(site, output, path, answer, message):
    site.serve(path, answer)
    with pytest.raises(DataError, match=message):
        download_package(PACKAGE, output)
    assert not output.exists()


def test_disk_without_room_is_noticed_before_the_download(site, output, monkeypatch):
    offer(site, {"name": PACKAGE, "packageID": "7", "size": "324GB"})
    full = shutil.disk_usage(output.parents[1])._replace(free=10**9)
    monkeypatch.setattr(cityscapes_download.shutil, "disk_usage", lambda _: full)
    with pytest.raises(DataError, match=r"347\.9 GB are to be written, 1\.0 GB are free"):
        download_package(PACKAGE, output)
    assert not site.asked(FILE)


def test_bar_becomes_log_lines(site, output, monkeypatch, caplog, capsys):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(cityscapes_download, "LOG_INTERVAL_SECONDS", 0)
    download_package(PACKAGE, output)
    assert "Download progress: " in caplog.text
    printed = capsys.readouterr()
    assert printed.out == printed.err == ""
