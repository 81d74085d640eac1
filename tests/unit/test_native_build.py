"""The HEVC reader around its C++: where its source comes from, how it is built once, and what is said if it is not."""

import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from arseg.cli.main import main
from arseg.codec import native_build
from arseg.codec.native_build import build_native_reader, ensure_native_reader, find_native_reader, reader_version
from arseg.codec.native_source import PACKAGE_SHA256, fetch_source
from arseg.doctor import check_hevc_reader
from arseg.errors import CodecError, FileAccessError

FAKE_CMAKE = """#!/bin/sh
echo "$@" >> "{calls}"
if [ "$1" = --build ]; then
    {before}
    printf '#!/bin/sh\\necho hevc-motion 1 libde265 1.0.16\\n' > "$2/hevc-motion"
    chmod +x "$2/hevc-motion"
else
    mkdir "$4"
fi
"""


def executable(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def library_files(version: str = "1.0.16") -> dict[str, str]:
    return {
        "CMakeLists.txt": f"project (libde265\n    LANGUAGES C CXX\n    VERSION {version}\n)\n",
        "libde265/de265.h": "// a library\n",
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
    """A server on this machine; `served` maps paths to bodies, `promised` adds to their announced length."""

    class Handler(BaseHTTPRequestHandler):
        served: ClassVar[dict[str, bytes]] = {}
        promised = 0

        def do_GET(self) -> None:
            body = self.served.get(self.path)
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"") + self.promised))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, args=(0.02,), daemon=True).start()
    Handler.address = f"http://127.0.0.1:{httpd.server_port}"
    yield Handler
    httpd.shutdown()
    httpd.server_close()


@pytest.fixture
def build(tmp_path, monkeypatch):
    """A machine of its own: empty cache, a compiler by name only, and a CMake that counts; gives CMake's calls."""
    for name in ("ARSEG_HEVC_READER", "CXX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ARSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "tmp").mkdir()
    compiler = executable(tmp_path / "bin/c++", "#!/bin/sh\necho a compiler 1.0\n")
    monkeypatch.setenv("PATH", f"{compiler.parent}:/usr/bin:/bin")
    calls = tmp_path / "calls"
    fake_cmake(tmp_path, monkeypatch)
    return lambda: calls.read_text().count("--build") if calls.exists() else 0


def fake_cmake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str = ":") -> None:
    text = FAKE_CMAKE.format(calls=tmp_path / "calls", before=before)
    monkeypatch.setattr(native_build, "CMAKE", executable(tmp_path / "cmake", text))


def cached(tmp_path: Path) -> list[str]:
    """Names of what is in the cache, lock files apart."""
    folder = tmp_path / "cache"
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock") if folder.exists() else []


class TestSource:
    @pytest.mark.parametrize("prefix", ["", "libde265-1.0.16/", "pylibde265-0.1.0/libde265/"])
    @pytest.mark.parametrize("scheme", ["", "file://", "http://"])
    def test_archives(self, tmp_path, server, prefix, scheme):
        content = archive_of(library_files(), prefix)
        path = tmp_path / "source of libde265.tar.gz"
        path.write_bytes(content)
        server.served["/a.tar.gz"] = content
        origin = {"": str(path), "file://": path.as_uri(), "http://": f"{server.address}/a.tar.gz"}[scheme]
        (tmp_path / "work").mkdir()
        library = fetch_source(origin, tmp_path / "work")
        assert library.version == "1.0.16"
        assert library.sha256 == hashlib.sha256(content).hexdigest()
        assert library.origin == origin
        assert (library.folder / "libde265/de265.h").read_text() == "// a library\n"

    @pytest.mark.parametrize("above", [0, 1])
    def test_folder(self, library, tmp_path, above):
        found = fetch_source(str([library, library.parent][above]), tmp_path / "work")
        assert found.folder == library.resolve()
        assert not (tmp_path / "work").exists()

    def test_digest_of_a_folder_is_that_of_what_is_compiled(self, library, tmp_path):
        digests = [fetch_source(str(library), tmp_path).sha256]
        (library / "README.md").write_text("read me")
        digests.append(fetch_source(str(library), tmp_path).sha256)
        (library / "libde265/de265.h").write_text("// another\n")
        digests.append(fetch_source(str(library), tmp_path).sha256)
        assert digests[0] == digests[1] != digests[2]
        assert fetch_source(f"{library}#sha256={digests[2]}", tmp_path).origin == str(library)
        with pytest.raises(CodecError, match=f"another source than expected: SHA-256 {digests[2]}"):
            fetch_source(f"{library}#sha256={digests[0]}", tmp_path)

    def test_digest_in_an_address(self, server, tmp_path):
        server.served["/a.tar.gz"] = content = archive_of(library_files())
        address = f"{server.address}/a.tar.gz#sha256="
        digest = hashlib.sha256(content).hexdigest()
        assert fetch_source(address + digest, tmp_path).sha256 == digest
        with pytest.raises(CodecError, match=f"another source than expected: SHA-256 {digest}, expected {'0' * 64}"):
            fetch_source(address + "0" * 64, tmp_path)

    @pytest.mark.parametrize("old", ["1.0.15", "1.0.9", "0.9"])
    def test_old_versions(self, tmp_path, old):
        folder = folder_of(library_files(old), tmp_path / "old")
        with pytest.raises(CodecError, match=rf"libde265 {old} is too old.*1\.0\.16"):
            fetch_source(str(folder), tmp_path)

    @pytest.mark.parametrize(
        ("cmakelists", "said"),
        [
            ('project (libde265)\nset (PACKAGE_VERSION "1.0.8")\n', r"libde265 1\.0\.8 is too old"),
            ("project (libde265)\n", "does not tell the version"),
        ],
    )
    def test_versions_written_otherwise(self, library, tmp_path, cmakelists, said):
        (library / "CMakeLists.txt").write_text(cmakelists)
        with pytest.raises(CodecError, match=said):
            fetch_source(str(library), tmp_path)

    @pytest.mark.parametrize("newer", ["1.0.17", "1.1", "2.0.0"])
    def test_newer_versions(self, tmp_path, newer):
        folder = folder_of(library_files(newer), tmp_path / "new")
        assert fetch_source(str(folder), tmp_path).version == newer

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (archive_of(library_files())[:-40], "no tar archive, or not a whole one"),
            (b"<html>Sign in first</html>", "no tar archive, or not a whole one"),
            (archive_of({"../../evil": "x"} | library_files()), "no tar archive, or not a whole one.*outside"),
            (archive_of({"README": "x"}), "no source of libde265"),
        ],
    )
    def test_bad_archives(self, tmp_path, content, said):
        (tmp_path / "a.tar.gz").write_bytes(content)
        with pytest.raises(CodecError, match=said):
            fetch_source(str(tmp_path / "a.tar.gz"), tmp_path / "in/work")
        assert not (tmp_path / "evil").exists()

    def test_nothing_there(self, tmp_path):
        with pytest.raises(CodecError, match=r"absent: no such file or folder.*arseg native build --source"):
            fetch_source(str(tmp_path / "absent"), tmp_path)

    def test_broken_downloads(self, tmp_path, server):
        server.served["/a.tar.gz"] = archive_of(library_files())
        with pytest.raises(CodecError, match=r"could not be downloaded: HTTP Error 404.*native_source"):
            fetch_source(f"{server.address}/b.tar.gz", tmp_path)
        server.promised = 100
        with pytest.raises(CodecError, match=r"broke off after \d+ of \d+ bytes"):
            fetch_source(f"{server.address}/a.tar.gz", tmp_path)
        with pytest.raises(CodecError, match=r"could not be downloaded.*refused"):
            fetch_source("http://127.0.0.1:9/a.tar.gz", tmp_path)

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

    def test_package_with_another_digest_is_not_even_asked_for_its_name(self, index, tmp_path):
        ran = tmp_path / "ran"
        setup = {"setup.py": f"open({str(ran)!r}, 'w')\n", "PKG-INFO": "Name: pylibde265\nVersion: 0.1.0\n"}
        (index / "pylibde265-0.1.0.tar.gz").write_bytes(archive_of(setup, "pylibde265-0.1.0/"))
        with pytest.raises(CodecError, match=f"(?s)could not be downloaded.*Expected sha256 {PACKAGE_SHA256}"):
            fetch_source(None, tmp_path / "work")
        assert not ran.exists()

    def test_package_that_the_index_lacks(self, index, tmp_path):
        with pytest.raises(CodecError, match=r"(?s)No matching distribution.*arseg native build --source"):
            fetch_source(None, tmp_path / "work")


class TestBuild:
    def test_once(self, build, library, tmp_path):
        assert find_native_reader() is None
        record = build_native_reader(str(library))
        assert record.version == "hevc-motion 1 libde265 1.0.16"
        assert record.compiler == "a compiler 1.0"
        assert record.library == str(library)
        assert ensure_native_reader() == find_native_reader() == Path(record.program)
        assert build_native_reader() == build_native_reader(str(library)) == record
        assert build() == 1
        assert cached(tmp_path) == [Path(record.program).name, Path(record.program).name + ".json"]
        assert list((tmp_path / "tmp").iterdir()) == []

    def test_again_on_request_and_for_another_source(self, build, library):
        build_native_reader(str(library))
        build_native_reader(str(library), force=True)
        assert build() == 2
        (library / "libde265/de265.h").write_text("// patched\n")
        build_native_reader(str(library))
        assert build() == 3

    def test_a_changed_program_of_ours_has_another_name(self, build, library, tmp_path, monkeypatch):
        build_native_reader(str(library))
        ours = folder_of({"main.cpp": "int main() {}\n"}, tmp_path / "native")
        monkeypatch.setattr(native_build, "NATIVE_FOLDER", ours)
        assert find_native_reader() is None
        build_native_reader(str(library))
        assert build() == 2
        assert len(cached(tmp_path)) == 4

    @pytest.mark.parametrize("damage", ["#!/bin/sh\necho hello\n", "#!/bin/sh\nexit 1\n", "\x7fELF"])
    def test_a_program_that_does_not_run_is_built_again(self, build, library, monkeypatch, damage):
        program = Path(build_native_reader(str(library)).program)
        program.write_text(damage)
        monkeypatch.setattr(native_build, "fetch_source", lambda _, workspace: fetch_source(str(library), workspace))
        assert ensure_native_reader() == program
        assert reader_version(program) == "hevc-motion 1 libde265 1.0.16"
        assert build() == 2

    def test_two_processes_build_once(self, build, library, tmp_path, monkeypatch):
        fake_cmake(tmp_path, monkeypatch, before="sleep 1")
        builders = [start_builder(library) for _ in range(2)]
        assert [builder.communicate()[0] for builder in builders] == ["hevc-motion 1 libde265 1.0.16\n"] * 2
        assert build() == 1

    @pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGKILL])
    def test_an_interrupted_build_leaves_nothing(self, build, library, tmp_path, monkeypatch, blow):
        fake_cmake(tmp_path, monkeypatch, before=f"touch '{tmp_path}/started'; sleep 2")
        builder = start_builder(library)
        while not (tmp_path / "started").exists():
            assert builder.poll() is None
            time.sleep(0.02)
        builder.send_signal(blow)
        builder.communicate()
        assert builder.returncode != 0
        assert cached(tmp_path) == []
        fake_cmake(tmp_path, monkeypatch)
        assert build_native_reader(str(library)).version == "hevc-motion 1 libde265 1.0.16"

    def test_no_compiler(self, build, library, tmp_path, monkeypatch):
        monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
        said = "no C\\+\\+ compiler.*apt-get install g\\+\\+.*codecs: \\[h264\\]"
        with pytest.raises(CodecError, match=said):
            ensure_native_reader()
        assert re.search(said, check_hevc_reader().found)
        monkeypatch.setenv("CXX", "/opt/absent/g++ -m32")
        with pytest.raises(CodecError, match=r"CXX=/opt/absent/g\+\+ is no program"):
            build_native_reader(str(library))
        assert build() == 0

    def test_compile_error(self, build, library, tmp_path, monkeypatch):
        noise = "\n".join(f"[{step}/64] warning: unused" for step in range(60))
        (tmp_path / "output").write_text(f"{noise}\nmain.cpp:3:1: error: expected a semicolon\nninja: build stopped\n")
        fake_cmake(tmp_path, monkeypatch, before=f"cat '{tmp_path}/output'; exit 1")
        with pytest.raises(CodecError) as failed:
            build_native_reader(str(library))
        message = str(failed.value)
        assert "main.cpp:3:1: error: expected a semicolon\n  ninja: build stopped" in message
        assert "unused" not in message
        assert f"cannot be compiled with {tmp_path}/bin/c++" in message
        assert "codecs: [h264]" in message
        assert cached(tmp_path) == []

    def test_a_compiler_that_cannot_compile(self, build, library, tmp_path, monkeypatch):
        executable(tmp_path / "bin/c++", "#!/bin/sh\necho broken compiler >&2\nexit 1\n")
        monkeypatch.setattr(native_build, "CMAKE", Path(native_build.cmake.CMAKE_BIN_DIR, "cmake"))
        with pytest.raises(CodecError, match=r"(?s)cannot be compiled with .*bin/c\+\+.*CMake Error"):
            build_native_reader(str(library))

    def test_a_program_that_fails_its_check_is_not_kept(self, build, library, tmp_path, monkeypatch):
        fake_cmake(
            tmp_path, monkeypatch, before="printf '#!/bin/sh\\nkill -9 $$\\n' > $2/hevc-motion; chmod +x $2/*; exit 0"
        )
        with pytest.raises(CodecError, match=r"does not answer --version.*exit status -9"):
            build_native_reader(str(library))
        assert cached(tmp_path) == []

    def test_no_place_for_it(self, build, library, tmp_path, monkeypatch):
        (tmp_path / "file").touch()
        monkeypatch.setenv("ARSEG_CACHE", str(tmp_path / "file/cache"))
        with pytest.raises(
            FileAccessError, match=r"file/cache/hevc-motion-.* be written \(Not a directory\).* ARSEG_CACHE"
        ):
            build_native_reader(str(library))

    def test_default_places(self, build, monkeypatch):
        monkeypatch.delenv("ARSEG_CACHE")
        monkeypatch.setenv("HOME", "/home/someone")
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        assert native_build._built_program().parent == Path("/home/someone/.cache/arseg")
        monkeypatch.setenv("XDG_CACHE_HOME", "/scratch/cache")
        assert native_build._built_program().parent == Path("/scratch/cache/arseg")


class TestNamedReader:
    def test_is_used_as_it_is(self, build, library, tmp_path, monkeypatch):
        named = executable(tmp_path / "mine", "#!/bin/sh\necho hevc-motion 1 libde265 1.0.17\n")
        monkeypatch.setenv("ARSEG_HEVC_READER", str(named))
        assert ensure_native_reader() == named
        record = build_native_reader(str(library), force=True)
        assert (record.program, record.version, record.library) == (str(named), "hevc-motion 1 libde265 1.0.17", None)
        assert build() == 0

    @pytest.mark.parametrize(("text", "said"), [(None, "does not exist"), ("#!/bin/sh\necho no\n", "'no'")])
    def test_must_be_one(self, build, tmp_path, monkeypatch, text, said):
        if text:
            executable(tmp_path / "mine", text)
        monkeypatch.setenv("ARSEG_HEVC_READER", str(tmp_path / "mine"))
        with pytest.raises(CodecError, match=said):
            ensure_native_reader()
        assert said in check_hevc_reader().found


def start_builder(library: Path) -> subprocess.Popen[str]:
    """Start another process that builds as this one would."""
    code = (
        "import sys; from pathlib import Path; from arseg.codec import native_build as n; "
        "n.CMAKE = Path(sys.argv[1]); print(n.build_native_reader(sys.argv[2]).version)"
    )
    command = [sys.executable, "-c", code, str(native_build.CMAKE), str(library)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_commands(build, library, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["native", "path"])
    assert stopped.value.code == 2
    assert "Build it: arseg native build" in capsys.readouterr().err
    assert check_hevc_reader().found.startswith("not built yet; arseg native build does it with")

    main(["native", "build", "--source", str(library), "--record", str(tmp_path / "out/record.json")])
    record = json.loads((tmp_path / "out/record.json").read_text())
    assert capsys.readouterr().out == f"{record['program']}: hevc-motion 1 libde265 1.0.16\n"
    assert record["sha256"] == hashlib.sha256(Path(record["program"]).read_bytes()).hexdigest()
    main(["native", "path"])
    assert capsys.readouterr().out == f"{record['program']}\n"
    assert check_hevc_reader().found == f"hevc-motion 1 libde265 1.0.16 ({record['program']})"


def test_the_real_one(hevc_reader):
    assert re.fullmatch(r"hevc-motion \d+ libde265 [\d.]+", reader_version(hevc_reader))
