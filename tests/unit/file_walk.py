"""Every place that opens a file: what is read and written there, and ways in which the operating system refuses it."""

import ast
import builtins
import errno
import io
import os
import resource
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from damage_survey import read_motion, read_store
from evaluation_examples import make_evaluation
from test_damage import make_frame, make_label, make_motion, make_store
from test_native_build import archive_of, library_files

from arseg import files, hdf5
from arseg.codec.native_source import _unpack
from arseg.codec.stream import open_video
from arseg.codec.video import create_video, extract_frames
from arseg.compat import clips as published_clips
from arseg.compat.results import read_published
from arseg.data.archives import ImageSource, extract_only
from arseg.data.images import read_header, read_image, read_label, read_size
from arseg.data.manifest import ManifestRow, read_manifest, write_manifest
from arseg.data.sheets import SheetRow
from arseg.datasets.cityscapes.packages import _open
from arseg.datasets.frames.manifest import _read_list
from arseg.datasets.videos.sampling import count_frames
from arseg.evaluate.compare import read_published_values
from arseg.evaluate.result import load_evaluation
from arseg.evaluate.tables import collect_evaluations, read_table, tabulate, write_table
from arseg.models.checkpoint import read_checkpoint, save_checkpoint
from arseg.models.registry import build_network
from arseg.plan import estimate
from arseg.provenance.fingerprint import read_record, record_path
from arseg.spec import NetworkSpec, SegmentationClass

REPOSITORY = Path(__file__).resolve().parents[2]
NOBODY = 65534
FULL_DISK = "/dev/full"
NO_MEMORY_THERE = "/proc/self/mem"
"""Its first byte cannot be read: Input/output error."""


@dataclass(frozen=True)
class Reader:
    """A kind of file that is read."""

    name: str
    """Of the file."""
    make: Callable[[Path], object]
    """Write a healthy one."""
    read: Callable[[Path], object]
    """Read it as arseg does."""
    places: tuple[str, ...]
    """Functions in which it is opened."""
    by_library: bool = False
    """Whether a library opens it, where no Python function can be replaced."""
    cut: float = 0.5
    """Part of the file that is left when its end is lost; 1 for kinds that do not tell."""


def write_checkpoint(path: Path) -> None:
    save_checkpoint(path, build_network("tiny", 3, fusion=False), NetworkSpec("tiny", 3))


def write_video(path: Path, program: str | None = None) -> None:
    with create_video(path, 32, 32, Fraction(25), program) as video:
        for level in range(20):
            video.write(np.full((32, 32, 3), 10 * level, np.uint8))


def write_rows(path: Path) -> None:
    write_manifest(path, [picture_row(path)], [SegmentationClass(0, "road", (1, 2, 3), void=False)])


def write_archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("gtFine/val/a/a_gtFine_labelIds.png", bytes(range(256)) * 40)


def write_tar(path: Path) -> None:
    path.write_bytes(archive_of(library_files()))


def write_scores(path: Path) -> None:
    evaluation = path.with_name("shard.npz")
    make_evaluation().save(evaluation)
    write_table(tabulate(collect_evaluations([evaluation])), path)


def decode_video(path: Path) -> None:
    with open_video(path) as stream:
        list(stream.frames())


def write_text(text: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(text)


def unpacked(path: Path) -> None:
    _unpack(path, str(path), path.parent / "source")


def picture_row(path: Path) -> ManifestRow:
    return ManifestRow("d", "val", "s", 0, str(path), "", "", 0)


ARCHIVES = ("data/archives.py:open_zip", "data/archives.py:_JoinedFile.__init__")
PUBLISHED = "camvid-psp18-1.0x-resolution-exp-GOP2-3M-evaluation.txt"

READERS = {
    "store": Reader("d03.h5", make_store, read_store, ("hdf5.py:open_finished",), by_library=True),
    "motion": Reader("motion.h5", make_motion, read_motion, ("hdf5.py:open_finished",), by_library=True),
    "checkpoint": Reader(
        "weights.pt", write_checkpoint, read_checkpoint, ("models/checkpoint.py:read_tensors", "access.py:zip_damage")
    ),
    "evaluation": Reader(
        "shard.npz",
        lambda path: make_evaluation().save(path),
        load_evaluation,
        ("evaluate/result.py:load_evaluation", "access.py:zip_damage"),
    ),
    "frame": Reader("frame.png", make_frame, read_image, ("data/images.py:_read_bytes", "data/images.py:_decode")),
    "label map": Reader(
        "label.png",
        make_label,
        lambda path: read_label(path, 256),
        ("data/images.py:_read_bytes", "data/images.py:_decode"),
    ),
    "size": Reader("frame.png", make_frame, read_size, ("data/images.py:read_size",), cut=0.01),
    "header": Reader("frame.png", make_frame, read_header, ("data/images.py:read_header",), cut=0.01),
    "manifest": Reader(
        "m.csv", write_rows, read_manifest, ("data/sheets.py:read_sheet", "data/manifest.py:read_manifest"), cut=0.9
    ),
    "list of frames": Reader(
        "val.txt",
        write_text("a_001\na_002\n"),
        lambda path: _read_list(SheetRow("splits.csv:2", {}), path, {"a_001", "a_002"}, path.parent),
        ("datasets/frames/manifest.py:_read_list",),
        cut=0.9,
    ),
    "table": Reader("miou.csv", write_scores, read_table, ("evaluate/tables.py:read_table",), cut=0.1),
    "published values": Reader(
        "published.csv",
        write_text((REPOSITORY / "config/published-miou.csv").read_text()),
        read_published_values,
        ("evaluate/compare.py:read_published_values",),
        cut=0.001,
    ),
    "published result": Reader(
        PUBLISHED,
        write_text("0.5\n0.3\n0.4\n"),
        read_published,
        ("compat/results.py:read_published",),
        by_library=True,
    ),
    "record": Reader(
        record_path(Path("miou.csv")).name,
        write_text("{}"),
        lambda path: read_record(path.with_name("miou.csv")),
        ("provenance/fingerprint.py:read_record",),
        cut=1,
    ),
    "digest": Reader("a.bin", write_text("whole"), files.file_digest, ("files.py:file_digest",), cut=1),
    "video": Reader(
        "v.mp4",
        write_video,
        decode_video,
        ("codec/stream.py:open_video", "codec/stream.py:PacketStream._check_access"),
        cut=0.01,
        by_library=True,
    ),
    "sampled video": Reader(
        "v.mp4", write_video, count_frames, ("datasets/videos/sampling.py:open_container",), cut=0.01, by_library=True
    ),
    "source video": Reader(
        "v.mp4",
        write_video,
        lambda path: extract_frames(path, path.with_name("frames"), "%06d.png"),
        ("codec/video.py:_promised_frames",),
        by_library=True,
    ),
    "archive": Reader("a.zip", write_archive, ImageSource, ARCHIVES),
    "video archive": Reader(
        "a.zip",
        write_archive,
        lambda path: extract_only([path], [".png"], path.with_name("b.png")),
        ARCHIVES,
    ),
    "picture in a folder": Reader(
        "a.png",
        make_frame,
        lambda path: list((source := ImageSource(path.parent)).read(source.members)),
        ("data/archives.py:ImageSource.read",),
        cut=1,
    ),
    "package": Reader(
        "p.zip",
        write_archive,
        lambda path: _open(path).__enter__(),
        ARCHIVES,
    ),
    "benchmark": Reader(
        "b.tsv", write_text("s\th:m:s\n1.5\t0:00:01\n"), estimate._seconds, ("plan/estimate.py:_seconds",), cut=0.4
    ),
    "published motion": Reader(
        "m.bin",
        lambda path: path.write_bytes(bytes(4 * 6 * 4)),
        lambda path: published_clips._read_motion(path, 4, 6),
        ("compat/clips.py:_read_motion",),
    ),
    "library source": Reader("s.tar.gz", write_tar, unpacked, ("codec/native_source.py:_unpack",)),
}

WRITERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "store": ("d03.h5", make_store),
    "checkpoint": ("weights.pt", write_checkpoint),
    "evaluation": ("shard.npz", lambda path: make_evaluation().save(path)),
    "table": ("miou.csv", lambda path: write_table(pd.DataFrame({"gmacs_per_frame": [1.0]}), path)),
    "video": ("v.mp4", write_video),
}
"""One of each kind of library that writes; all go through `atomic_path`."""

WRITTEN_FOR_A_CALLER = {
    "codec/native_source.py:_download",
    "codec/native_source.py:_download_package",
    "data/archives.py:extract",
    "data/sheets.py:write_sheet",
    "datasets/synthetic/dataset.py:_write_sequence",
    "export/onnx_file.py:write_graph",
    "hdf5.py:create_file",
}
"""The caller holds `atomic_path`, or a temporary folder."""

CONTINUED = {
    "data/download.py:_PartialFile.origin",
    "data/download.py:_PartialFile.restart",
    "data/download.py:_append",
    "data/download.py:_copy",
}
"""Parts of downloads, under their own name on purpose; `download` says what the system refuses."""

OF_BYTES = {"data/images.py:_decode", "codec/encode.py:_feed"}
"""What is opened is in memory, or a pipe."""

OWN = {
    "bench/": "files of a measurement, in a temporary folder",
    "cli/evaluate.py:evaluate": "`Evaluation.save`, which is atomic",
    "cli/main.py:main": "the null device",
    "cli/recorded.py:encoder_of": "a store that was written just now",
    "codec/native_build.py": "the cache of the HEVC reader",
    "adapt/experiment.py:write_folder": "the folder that this command works in",
    "adapt/experiment.py:run_workflow": "the log in the same",
    "compilation.py:cached_path": "sources of a native part, which belong to the package",
    "codec/native_source.py:_read_version": "what was unpacked just now",
    "codec/native_source.py:_digest_folder": "the same",
    "compat/evaluation.py:evaluate_published": "`Evaluation.save`",
    "export/onnx_file.py:Session.__init__": "a graph that was written just now",
    "files.py:_machine": "the system's, and may be missing",
    "files.py:_remove_leftovers": "part of every write",
    "files.py:_synchronise": "the same",
    "machine.py": "the kernel's",
    "models/attention/": "source and cache of a kernel",
    "models/imagenet.py:write_imagenet": "a copy of what was read just now",
    "workflow/sources.py:_digest_folder": "names and times in a folder, which Snakemake is about to read",
    "workflow/schema.py:main": "files of a checkout, for its developers",
    "plan/dry_run.py:main": "a pipe between two processes",
    "plan/estimate.py:jobs_to_do": "its other end",
    "provenance/fingerprint.py:_files_in": "names in a folder",
}
"""What is no user's file, with the reason."""

OPENING = {"read_text", "read_bytes", "loadtxt", "fromfile", "read_csv", "ZipFile", "File", "FileIO", "_Disk", "CDLL"}
OPENING |= {"InferenceSession", "scandir", "open", "genfromtxt", "memmap", "copyfile"}
WRITING = {"write_text", "write_bytes", "to_csv", "savefig", "save", "savez", "savez_compressed", "tofile", "copy2"}


class _Places(ast.NodeVisitor):
    def __init__(self, module: str) -> None:
        self.module, self.scope, self.found = module, [], set()
        self.atomic = [False]

    def _visit_scope(self, node: Any) -> None:
        self.scope.append(node.name)
        self.atomic.append(self.atomic[-1] or "atomic_path(" in ast.unparse(node))
        self.generic_visit(node)
        self.scope.pop()
        self.atomic.pop()

    visit_FunctionDef = visit_ClassDef = _visit_scope

    def visit_Call(self, node: ast.Call) -> None:
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        receiver = ast.unparse(getattr(node.func, "value", node.func))
        loads = name == "load" and receiver in ("np", "torch")
        is_safe = self.atomic[-1] and (name in WRITING or receiver == "temporary")
        if (loads or name in OPENING | WRITING) and not is_safe:
            self.found.add(f"{self.module}:{'.'.join(self.scope)}")
        self.generic_visit(node)


def places_that_open_files() -> set[str]:
    """Functions of the package that open a file, but for what they write under `atomic_path`."""
    found = set()
    for path in (REPOSITORY / "arseg").rglob("*.py"):
        places = _Places(path.relative_to(REPOSITORY / "arseg").as_posix())
        places.visit(ast.parse(path.read_text()))
        found |= places.found
    return found


class _Refusing(io.RawIOBase):
    """A file that can be opened, and neither read nor written."""

    def __init__(self, number: int) -> None:
        self._number = number

    def readable(self) -> bool:
        return True

    writable = seekable = readable

    def seek(self, offset: int, whence: int = 0) -> int:
        return 1000 if whence else offset

    def tell(self) -> int:
        return 0

    def readinto(self, _: object) -> int:
        raise OSError(self._number, os.strerror(self._number))

    write = readinto


@contextmanager
def no_more_files() -> Iterator[None]:
    """Allow this process no more open files."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    next_one = os.dup(0)
    os.close(next_one)
    resource.setrlimit(resource.RLIMIT_NOFILE, (next_one, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@contextmanager
def no_rights(path: Path, mode: int) -> Iterator[None]:
    """Take the rights of a file or folder, and root's of going without."""
    before = path.stat().st_mode
    path.chmod(mode)
    is_root = os.geteuid() == 0
    if is_root:
        os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        if is_root:
            os.setresuid(0, 0, 0)
        path.chmod(before)


@contextmanager
def failing(monkeypatch: pytest.MonkeyPatch, number: int, chosen: Callable[[str], bool]) -> Iterator[None]:
    """Make Python open something that fails in the place of some files."""
    original = io.open

    def opened(file: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
        if not isinstance(file, str | os.PathLike) or not chosen(os.fspath(file)):
            return original(file, mode, *args, **options)
        if number == errno.ENOSPC and "w" in mode:
            return original(FULL_DISK, mode, *args, **options)
        raw = _Refusing(number)
        buffered = io.BufferedWriter(raw) if "w" in mode else io.BufferedReader(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, "utf-8")

    class FullDisk(hdf5._Disk):
        def __init__(self, path: Path, mode: str) -> None:
            super().__init__(FULL_DISK if chosen(str(path)) else path, mode)

    with monkeypatch.context() as patch:
        patch.setattr(io, "open", opened)
        patch.setattr(builtins, "open", opened)
        patch.setattr(hdf5, "_Disk", FullDisk)
        yield
