"""Packages of Cityscapes: from a site on this machine, with a login and a secret password, and unpacked."""

import hashlib
import json
import logging
import shutil
import traceback
import zipfile

import numpy as np
import pytest
from cityscapes_examples import write_cityscapes
from file_server import Answer, FileServer

from arseg.cli.main import main
from arseg.data import download as downloads
from arseg.datasets.cityscapes import packages
from arseg.datasets.cityscapes.manifest import cityscapes_manifest
from arseg.datasets.cityscapes.packages import PASSWORD_VARIABLE, USERNAME_VARIABLE, download_package, unpack_cityscapes
from arseg.errors import ConfigError, DataError, DiskFullError

FIRST_FRAME = "leftImg8bit_sequence/train/aachen/aachen_000000_000019_leftImg8bit.png"
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


def test_archive_that_is_there_is_kept_and_one_with_a_wrong_sum_is_not(site, output):
    site.serve(FILE, Answer(CONTENT[::-1]))
    with pytest.raises(DataError, match=r"MD5 \w{32}, expected \w{32}"):
        download_package(PACKAGE, output)
    assert [path.name for path in output.parent.iterdir()] == [f"{PACKAGE}.part.lock"]
    output.write_bytes(b"mine")
    asked = len(site.requests)
    download_package(PACKAGE, output)
    assert output.read_bytes() == b"mine"
    assert len(site.requests) == asked


def test_broken_connection_is_continued(site, output):
    cut = downloads.CHUNK_BYTES
    site.serve(FILE, Answer(CONTENT, etag="", cut_after=cut), Answer(CONTENT, etag=""))
    download_package(PACKAGE, output)
    assert output.read_bytes() == CONTENT
    assert [request.headers.get("Range") for request in site.asked(FILE)] == [None, f"bytes={cut}-"]


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


def package(folder, path, members):
    """Zip members as Cityscapes does, with what is not needed, and traps."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("gtFine/test/berlin/berlin_000000_000019_gtFine_labelIds.png", "a dummy")
        archive.writestr("gtFine/train/aachen/aachen_000000_000019_gtFine_color.png", "not needed")
        archive.writestr("gtFine/train/../../../escaped_000000_000019_gtFine_labelIds.png", "a trap")
        archive.writestr("/gtFine/train/aachen/escaped_000000_000020_gtFine_labelIds.png", "a trap")
        for member in members:
            archive.write(member, member.relative_to(folder / "root"))
    return path


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The miniature, not to be changed."""
    folder = tmp_path_factory.mktemp("cityscapes")
    write_cityscapes(folder / "root")
    return folder


@pytest.fixture
def archives(written, tmp_path):
    """The packages of the miniature."""
    folders = {name: written / "root" / name for name in ("gtFine", "leftImg8bit", "leftImg8bit_sequence")}
    return [package(written, tmp_path / f"{name}.zip", sorted(path.rglob("*.png"))) for name, path in folders.items()]


def test_packages_are_unpacked_as_far_as_they_are_needed_and_not_there(written, archives, tmp_path, caplog):
    caplog.set_level("INFO")
    root = tmp_path / "below" / "unpacked"
    unpack_cityscapes(archives[:1], root)
    unpack_cityscapes(archives, root)
    assert "unpacked/gtFine: is there already; delete it to unpack it again" in caplog.text
    expected = {path.relative_to(written / "root") for path in (written / "root").rglob("*.png")}
    assert {path.relative_to(root) for path in root.rglob("*") if path.is_file()} == expected
    assert (root / FIRST_FRAME).read_bytes() == (written / "root" / FIRST_FRAME).read_bytes()
    assert not list(tmp_path.rglob("escaped*"))


def test_damaged_member_leaves_nothing_of_its_folder(archives, tmp_path):
    content = bytearray(archives[0].read_bytes())
    with zipfile.ZipFile(archives[0]) as archive:
        info = archive.getinfo("gtFine/val/frankfurt/frankfurt_000000_000576_gtFine_labelIds.png")
    content[info.header_offset + 30 + len(info.filename) + 60] ^= 0xFF
    archives[0].write_bytes(content)
    with pytest.raises(DataError, match=r"gtFine\.zip: truncated, damaged or not a zip archive"):
        unpack_cityscapes(archives[:1], tmp_path / "root")
    assert list((tmp_path / "root").iterdir()) == []


def test_wrong_missing_and_truncated_archives_are_named(written, archives, tmp_path):
    wrong = package(written, tmp_path / "wrong.zip", [])
    cut = tmp_path / "leftImg8bit.zip"
    cut.write_bytes(archives[1].read_bytes()[:-40])
    for archive, message in (
        (wrong, r"wrong\.zip: holds no label ids or frames .*_trainvaltest\.zip"),
        (tmp_path / "none.zip", r"none\.zip: no such file or folder\. .* arseg cityscapes download none"),
        (cut, r"Img8bit\.zip: truncated, damaged or not a zip archive .*arseg cityscapes download leftImg8"),
    ):
        with pytest.raises(DataError, match=message):
            unpack_cityscapes([archives[0], archive], tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_disk_without_room_is_an_error(archives, tmp_path, monkeypatch):
    full = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    with pytest.raises(DiskFullError, match=r"root/gtFine: 0\.00 GB are to be written, 0\.00 GB are free"):
        unpack_cityscapes(archives, tmp_path / "root")


def test_commands_from_packages_to_manifest(archives, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    main(["cityscapes", "unpack", *map(str, archives), "--output", "root"])
    main(["cityscapes", "labels", "--root", "root", "--output", "labels", "--workers", "1"])
    main(["cityscapes", "verify", "--root", "root", "--labels", "labels", "--gop", "12", "--output", "report.json"])
    assert "train: 2 annotated frames, 2 with their video\n" in capsys.readouterr().out
    rows = cityscapes_manifest("city", "root", "labels")
    assert rows[0].image == FIRST_FRAME.replace("left", "root/left", 1)
