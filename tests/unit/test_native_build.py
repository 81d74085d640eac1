"""The HEVC reader around its C++: where its source comes from, how it is built once, and what is said if it is not.

Builds are those of a toy in place of libde265, with the real compiler, CMake and Ninja.
"""

import hashlib
import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from pathlib import Path

import pytest
from file_server import Answer, FileServer

from arseg.cli.main import main
from arseg.codec import native_build
from arseg.codec.native_build import (
    build_native_reader,
    ensure_native_reader,
    find_native_reader,
    find_reader_compiler,
    reader_version,
)
from arseg.codec.native_source import PACKAGE_SHA256, fetch_source
from arseg.doctor import check_hevc_reader
from arseg.errors import CodecError, FileAccessError

VERSION = "hevc-motion 1 libde265 1.0.16"
HEADER = f'#define SAYS "{VERSION}"\n'

OURS = {
    "CMakeLists.txt": """cmake_minimum_required(VERSION 3.16.3)
project(toy LANGUAGES CXX)
if(DEFINED ENV{STARTED})
    file(TOUCH $ENV{STARTED})
    execute_process(COMMAND sleep 2)
endif()
add_executable(hevc-motion main.cpp)
target_include_directories(hevc-motion PRIVATE "${LIBDE265_SOURCE}")
""",
    "main.cpp": "#include <cstdio>\n#include <libde265/de265.h>\nint main() { std::puts(SAYS); }\n",
}
"""In place of arseg/codec/native/."""


def library_files(version: str = "1.0.16") -> dict[str, str]:
    return {
        "CMakeLists.txt": f"project (libde265\n    LANGUAGES C CXX\n    VERSION {version}\n)\n",
        "libde265/de265.h": HEADER,
    }


def archive_of(files: dict[str, str], prefix: str = "libde265-1.0.16/") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(prefix + name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


def folder_of(files: dict[str, str], folder: Path) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def library(tmp_path):
    """A folder that looks like libde265's source."""
    return folder_of(library_files(), tmp_path / "libde265")


@pytest.fixture
def server():
    with FileServer() as server:
        yield server


class TestSource:
    @pytest.mark.parametrize(
        ("prefix", "scheme"), [("", ""), ("libde265-1.0.16/", "file"), ("pylibde265-0.1.0/libde265/", "http")]
    )
    def test_archives(self, tmp_path, server, prefix, scheme):
        content = archive_of(library_files(), prefix)
        path = tmp_path / "source of libde265.tar.gz"
        path.write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        url = server.serve("/a.tar.gz", Answer(content))
        origin = {"": str(path), "file": path.as_uri(), "http": url}[scheme]
        (tmp_path / "work").mkdir()
        library = fetch_source(f"{origin}#sha256={digest}", tmp_path / "work")
        assert (library.version, library.sha256, library.origin) == ("1.0.16", digest, origin)
        assert (library.folder / "libde265/de265.h").read_text() == HEADER
        with pytest.raises(CodecError, match=f"another source than expected: SHA-256 {digest}, expected {'0' * 64}"):
            fetch_source(f"{origin}#sha256={'0' * 64}", tmp_path / "work")

    def test_digest_of_a_folder_is_that_of_what_is_compiled(self, library, tmp_path):
        first = fetch_source(str(library), tmp_path / "work")
        assert first.folder == library.resolve()
        (library / "README.md").write_text("read me")
        assert fetch_source(f"{library.parent}#sha256={first.sha256}", tmp_path / "work") == replace(
            first, origin=str(library.parent)
        )
        (library / "libde265/de265.h").write_text("// another\n")
        with pytest.raises(CodecError, match=f"another source than expected: SHA-256 .* expected {first.sha256}"):
            fetch_source(f"{library}#sha256={first.sha256}", tmp_path / "work")

    @pytest.mark.parametrize(
        ("project", "problem"),
        [
            ("project (libde265\n  VERSION 1.0.15)", r"libde265 1\.0\.15 is too old.*1\.0\.16"),
            ("project (libde265\n  VERSION 1.0.9)", r"libde265 1\.0\.9 is too old"),
            ('project (libde265)\nset (PACKAGE_VERSION "1.0.8")\n', r"libde265 1\.0\.8 is too old"),
            ("project (libde265)\n", "does not say the version"),
            ("project (libde265\n  VERSION 1.1)", None),
        ],
    )
    def test_versions(self, library, tmp_path, project, problem):
        (library / "CMakeLists.txt").write_text(project)
        if problem is None:
            assert fetch_source(str(library), tmp_path).version == "1.1"
            return
        with pytest.raises(CodecError, match=problem):
            fetch_source(str(library), tmp_path)

    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            (archive_of(library_files())[:-40], "no tar archive, or not a whole one"),
            (b"<html>Sign in first</html>", "no tar archive, or not a whole one"),
            (archive_of({"../../evil": "x"} | library_files()), "no tar archive, or not a whole one.*outside"),
            (archive_of({"README": "x"}), "no source of libde265"),
            (None, r"no such file or folder.*arseg native build --source"),
        ],
    )
    def test_bad_archives(self, tmp_path, content, problem):
        if content is not None:
            (tmp_path / "a.tar.gz").write_bytes(content)
        with pytest.raises(CodecError, match=problem):
            fetch_source(str(tmp_path / "a.tar.gz"), tmp_path / "in/work")
        assert not (tmp_path / "evil").exists()

    def test_broken_downloads(self, tmp_path, server):
        for url, problem in (
            (server.serve("/a.tar.gz", Answer(b"a part", length=106)), "IncompleteRead.* 100 more expected"),
            (f"{server.address}/absent.tar.gz", "HTTP Error 404.*native_source"),
            ("http://127.0.0.1:9/a.tar.gz", "refused"),
        ):
            with pytest.raises(CodecError, match=f"{url}: could not be downloaded: .*{problem}"):
                fetch_source(url, tmp_path)

    @pytest.fixture
    def index(self, tmp_path, monkeypatch):
        """A folder that pip takes for the only package index."""
        for name in [name for name in os.environ if name.startswith("PIP_")]:
            monkeypatch.delenv(name)
        settings = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "index")}
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        (tmp_path / "index").mkdir()
        (tmp_path / "work").mkdir()
        return tmp_path / "index"

    def test_package_that_the_index_lacks_or_has_with_another_digest(self, index, tmp_path):
        with pytest.raises(CodecError, match=r"(?s)No matching distribution.*arseg native build --source"):
            fetch_source(None, tmp_path / "work")
        ran = tmp_path / "ran"  # even to ask for a package's name, pip would run its setup.py
        setup = {"setup.py": f"open({str(ran)!r}, 'w')\n", "PKG-INFO": "Name: pylibde265\nVersion: 0.1.0\n"}
        (index / "pylibde265-0.1.0.tar.gz").write_bytes(archive_of(setup, "pylibde265-0.1.0/"))
        with pytest.raises(CodecError, match=f"(?s)could not be downloaded.*Expected sha256 {PACKAGE_SHA256}"):
            fetch_source(None, tmp_path / "work")
        assert not ran.exists()


@pytest.fixture
def toy(library, tmp_path, monkeypatch, caplog):
    """A machine of its own, with an empty cache, and a source that compiles in a second."""
    for name in ("ARSEG_HEVC_READER", "STARTED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ARSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(native_build, "NATIVE_FOLDER", folder_of(OURS, tmp_path / "native"))
    caplog.set_level(logging.INFO)
    try:
        find_reader_compiler()
    except CodecError as error:
        if os.environ.get("ARSEG_REQUIRE_NATIVE") == "1":
            raise
        pytest.skip(str(error))
    return str(library)


def cached(tmp_path: Path) -> list[str]:
    """Names of what is in the cache, lock files apart."""
    folder = tmp_path / "cache"
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock") if folder.exists() else []


def start_builder(toy: str) -> subprocess.Popen[str]:
    """Start another process that builds as this one would."""
    code = (
        "import logging, sys; from pathlib import Path; from arseg.codec import native_build as n; "
        "logging.basicConfig(level='INFO'); n.NATIVE_FOLDER = Path(sys.argv[1]); "
        "print(n.build_native_reader(sys.argv[2]).version)"
    )
    command = [sys.executable, "-c", code, str(native_build.NATIVE_FOLDER), toy]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


class TestBuild:
    def test_once_until_something_changes(self, toy, tmp_path, caplog):
        def builds():
            return sum("compiling the HEVC reader" in message for message in caplog.messages)

        assert find_native_reader() is None
        record = build_native_reader(toy)
        program = Path(record.program)
        assert (record.version, record.library) == (VERSION, toy)
        assert ensure_native_reader() == find_native_reader() == program
        assert build_native_reader() == build_native_reader(toy) == record
        assert builds() == 1
        assert cached(tmp_path) == [program.name, f"{program.name}.json"]
        assert list((tmp_path / "tmp").iterdir()) == []

        build_native_reader(toy, force=True)
        assert builds() == 2
        Path(toy, "libde265/de265.h").write_text(f"// patched\n{HEADER}")
        assert build_native_reader(toy).library_sha256 != record.library_sha256
        assert builds() == 3
        (native_build.NATIVE_FOLDER / "more.h").touch()
        assert find_native_reader() is None

    @pytest.mark.parametrize("damage", ["#!/bin/sh\nexit 1\n", "\x7fELF"])
    def test_a_program_that_does_not_run_is_built_again(self, toy, monkeypatch, damage):
        program = Path(build_native_reader(toy).program)
        program.write_text(damage)
        monkeypatch.setattr(native_build, "fetch_source", lambda _, workspace: fetch_source(toy, workspace))
        assert ensure_native_reader() == program
        assert reader_version(program) == VERSION

    def test_two_processes_build_once(self, toy):
        outputs = [builder.communicate() for builder in [start_builder(toy) for _ in range(2)]]
        assert [output for output, _ in outputs] == [f"{VERSION}\n"] * 2
        assert sum("compiling the HEVC reader" in log for _, log in outputs) == 1

    @pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGKILL])
    def test_an_interrupted_build_leaves_nothing(self, toy, tmp_path, monkeypatch, blow):
        monkeypatch.setenv("STARTED", str(tmp_path / "started"))
        builder = start_builder(toy)
        while not (tmp_path / "started").exists():
            assert builder.poll() is None
            time.sleep(0.02)
        builder.send_signal(blow)
        builder.communicate()
        assert builder.returncode != 0
        assert cached(tmp_path) == []
        monkeypatch.delenv("STARTED")
        assert build_native_reader(toy).version == VERSION

    @pytest.mark.parametrize(
        ("header", "problem"),
        [
            ("#error broken", r"(?s)cannot be compiled with .*de265\.h:1:2: error.*codecs: \[h264\]"),
            ('#define SAYS "no"', "not a hevc-motion program: --version printed 'no'"),
        ],
    )
    def test_what_fails_is_not_kept(self, toy, tmp_path, header, problem):
        Path(toy, "libde265/de265.h").write_text(header)
        with pytest.raises(CodecError, match=problem):
            build_native_reader(toy)
        assert cached(tmp_path) == []

    def test_no_compiler(self, toy, tmp_path, monkeypatch):
        monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
        monkeypatch.delenv("CXX", raising=False)
        problem = "no C\\+\\+ compiler.*apt-get install g\\+\\+.*codecs: \\[h264\\]"
        with pytest.raises(CodecError, match=problem):
            ensure_native_reader()
        assert re.search(problem, check_hevc_reader().found)
        monkeypatch.setenv("CXX", "/opt/absent/g++ -m32")
        with pytest.raises(CodecError, match=r"CXX=/opt/absent/g\+\+ is no program"):
            build_native_reader(toy)

    def test_no_place_for_it(self, toy, tmp_path, monkeypatch):
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))
        with pytest.raises(FileAccessError, match=r"hevc-motion-.* be written \(No such file or directory\).*/absent"):
            build_native_reader(toy)
        (tmp_path / "file").touch()
        monkeypatch.setenv("ARSEG_CACHE", str(tmp_path / "file/cache"))
        with pytest.raises(
            FileAccessError, match=r"file/cache/hevc-motion-.* be written \(Not a directory\).* ARSEG_CACHE"
        ):
            build_native_reader(toy)

    def test_default_places(self, monkeypatch):
        monkeypatch.delenv("ARSEG_CACHE", raising=False)
        monkeypatch.setenv("HOME", "/home/someone")
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        assert native_build._cached_program().parent == Path("/home/someone/.cache/arseg")
        monkeypatch.setenv("XDG_CACHE_HOME", "/scratch/cache")
        assert native_build._cached_program().parent == Path("/scratch/cache/arseg")


@pytest.mark.parametrize(
    ("text", "problem"),
    [("echo hevc-motion 1 libde265 1.0.17", None), (None, "does not exist"), ("echo no", "printed 'no'")],
)
def test_a_named_reader_is_used_as_it_is(tmp_path, monkeypatch, text, problem):
    named = tmp_path / "mine"
    if text:
        named.write_text(f"#!/bin/sh\n{text}\n")
        named.chmod(0o755)
    monkeypatch.setenv("ARSEG_HEVC_READER", str(named))
    if problem:
        with pytest.raises(CodecError, match=problem):
            ensure_native_reader()
        assert problem in check_hevc_reader().found
        return
    assert ensure_native_reader() == named
    record = build_native_reader("anything", force=True)
    assert (record.program, record.version, record.library) == (str(named), "hevc-motion 1 libde265 1.0.17", None)


def test_commands(toy, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["native", "path"])
    assert stopped.value.code == 2
    assert "Build it: arseg native build" in capsys.readouterr().err
    assert check_hevc_reader().found.startswith("not built yet; arseg native build does it with")

    main(["native", "build", "--source", toy, "--record", str(tmp_path / "out/record.json")])
    record = json.loads((tmp_path / "out/record.json").read_text())
    assert capsys.readouterr().out == f"{record['program']}: {VERSION}\n"
    assert record["sha256"] == hashlib.sha256(Path(record["program"]).read_bytes()).hexdigest()
    main(["native", "path"])
    assert capsys.readouterr().out == f"{record['program']}\n"
    assert check_hevc_reader().found == f"{VERSION} ({record['program']})"


def test_the_real_one(hevc_reader):
    assert re.fullmatch(r"hevc-motion \d+ libde265 [\d.]+", reader_version(hevc_reader))
