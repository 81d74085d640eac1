"""Packages of Cityscapes from a site on this machine: login, access, broken connections, and a secret password."""

import hashlib
import json
import logging
import traceback

import numpy as np
import pytest
from file_server import Answer, FileServer

from arseg.cli.main import main
from arseg.data import download as downloads
from arseg.datasets.cityscapes import packages
from arseg.datasets.cityscapes.packages import PASSWORD_VARIABLE, USERNAME_VARIABLE, download_package
from arseg.errors import ConfigError, DataError

PACKAGE = "gtFine_trainvaltest.zip"
CONTENT = np.random.default_rng(0).bytes(50_000)
PASSWORD = "s3cret-pässword"
FILE, MD5, LIST = "/file-handling/?packageID=7", "/md5-sum/?packageID=7", "/downloads/?list"


def text(words):
    return Answer(words.encode(), content_type="text/plain")


LOGIN_PAGE = Answer(b"<form>", content_type="text/html")
TO_LOGIN = Answer(status=302, headers={"Location": "/login"})


@pytest.fixture
def site(monkeypatch):
    """A site that lets one account download one package."""
    monkeypatch.setattr("arseg.data.download.time.sleep", lambda _: None)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv(USERNAME_VARIABLE, "me@example.org")
    monkeypatch.setenv(PASSWORD_VARIABLE, PASSWORD)
    with FileServer() as server:
        monkeypatch.setattr(packages, "SITE", server.address)
        server.serve("/login", LOGIN_PAGE, Answer(status=302, headers={"Location": "/", "Set-Cookie": "account=7"}))
        server.serve(LIST, text(json.dumps([{"name": PACKAGE, "packageID": "7", "size": "49KB"}])))
        server.serve(MD5, text(f"{hashlib.md5(CONTENT).hexdigest()}  {PACKAGE}"))
        server.serve(FILE, Answer(CONTENT))
        yield server


@pytest.fixture
def output(tmp_path):
    return tmp_path / "folder" / PACKAGE


def test_package_is_downloaded_with_the_account(site, output, capsys, caplog):
    caplog.set_level(logging.DEBUG)
    main(["cityscapes", "download", PACKAGE, "--output", str(output)])
    assert output.read_bytes() == CONTENT
    assert {path.name for path in output.parent.iterdir()} == {PACKAGE, f"{PACKAGE}.provenance.json"}
    assert [request.method for request in site.asked("/login")] == ["GET", "POST"]
    assert site.asked("/login")[1].body == "username=me%40example.org&password=s3cret-p%C3%A4ssword&submit=Login"
    assert all(site.asked(path)[0].headers["Cookie"] == "account=7" for path in (LIST, MD5, FILE))
    printed = capsys.readouterr()
    assert printed.out == f"wrote {output}\n"
    assert "s3cret" not in printed.err + caplog.text


def test_archive_that_is_there_is_kept(site, output):
    output.parent.mkdir()
    output.write_bytes(b"mine")
    download_package(PACKAGE, output)
    assert output.read_bytes() == b"mine"
    assert not site.requests


def test_broken_connection_is_continued(site, output):
    cut = downloads.CHUNK_BYTES
    site.serve(FILE, Answer(CONTENT, etag="", cut_after=cut), Answer(CONTENT, etag=""))
    download_package(PACKAGE, output)
    assert output.read_bytes() == CONTENT
    assert [request.headers.get("Range") for request in site.asked(FILE)] == [None, f"bytes={cut}-"]


def test_wrong_sum_leaves_nothing(site, output):
    site.serve(FILE, Answer(CONTENT[::-1]))
    with pytest.raises(DataError, match=r"MD5 \w{32}, expected \w{32}"):
        download_package(PACKAGE, output)
    assert [path.name for path in output.parent.iterdir()] == [f"{PACKAGE}.part.lock"]


@pytest.mark.parametrize("missing", [USERNAME_VARIABLE, PASSWORD_VARIABLE])
def test_missing_account_is_explained(site, output, monkeypatch, missing):
    monkeypatch.delenv(missing)
    message = r"CITYSCAPES_USERNAME and CITYSCAPES_PASSWORD are not both set\. Register at"
    with pytest.raises(ConfigError, match=message):
        download_package(PACKAGE, output)
    assert not site.requests


@pytest.mark.parametrize(
    ("answers", "error", "reason"),
    [
        ([LOGIN_PAGE], ConfigError, "does not accept the account in CITYSCAPES_USERNAME"),
        ([Answer(status=503)], DataError, "/login failed: 503 Server Error"),
        ([LOGIN_PAGE, Answer(status=500)], DataError, "/login failed: 500 Server Error"),
        ([LOGIN_PAGE, Answer(b"", cut_after=0, length=9)], DataError, "/login failed: .*IncompleteRead"),
    ],
    ids=["refused", "page", "post", "broken"],
)
def test_failing_login_is_explained_without_the_account(site, output, answers, error, reason):
    site.serve("/login", *answers)
    with pytest.raises(error, match=reason) as failure:
        download_package(PACKAGE, output)
    shown = "".join(traceback.format_exception(failure.value))  # as --debug shows it
    assert "s3cret" not in shown + repr(failure.value)
    assert "me@example" not in shown


@pytest.mark.parametrize(
    ("path", "answer", "message"),
    [
        (LIST, text("[]"), r"gtFine_\w+\.zip: this account may not .* It may download none\. Ask for access"),
        (LIST, text('[{"name": "a.zip", "packageID": "1"}]'), r"there is no such package\. It may download a\.zip\."),
        (LIST, text('[{"name": "a.zip"}]'), r"do not tell where gtFine.* \(KeyError\('packageID'\)\)\. Download"),
        (LIST, TO_LOGIN, r"do not tell where gtFine_trainvaltest\.zip .*JSONDecodeError"),
        (LIST, Answer(status=500), r"/downloads/\?list failed: 500"),
        (MD5, text(""), r"do not tell where .* what MD5 sum"),
        (FILE, TO_LOGIN, r"answers with a web page \(text/html\), not with the file"),
        (FILE, Answer(status=404), r"file-handling/\?packageID=7: HTTP 404"),
    ],
    ids=["none", "others", "fields", "logged out", "error", "no sum", "logged out later", "gone"],
)
def test_package_that_cannot_be_had_is_explained(site, output, path, answer, message):
    site.serve("/login", *site.answers["/login"], LOGIN_PAGE)
    site.serve(path, answer)
    with pytest.raises(DataError, match=message):
        download_package(PACKAGE, output)
    assert not output.exists()
