"""Every kind of file that is read or written, and ways in which the operating system refuses it."""

import builtins
import errno
import io
import os
import resource
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from evaluation_examples import make_evaluation
from PIL import Image
from test_native_build import archive_of, library_files
from test_store import ATTRIBUTES, IDENTITIES, arrays
from video_examples import encode_with_x264, moving_texture

from arseg import hdf5
from arseg.codec.native_source import _unpack
from arseg.codec.stream import open_video
from arseg.codec.video import extract_frames
from arseg.codec.video_writer import Origin, create_video
from arseg.compat import clips as published_clips
from arseg.compat.results import read_published
from arseg.data.archives import ImageSource, extract_only
from arseg.data.images import read_header, read_image, read_label, read_size
from arseg.data.manifest import ManifestRow, read_manifest, write_manifest
from arseg.data.sheets import SheetRow
from arseg.datasets.cityscapes.packages import _open
from arseg.datasets.frames.manifest import _read_list
from arseg.datasets.videos.footage import count_frames
from arseg.evaluate.compare import read_published_values
from arseg.evaluate.result import load_evaluation
from arseg.evaluate.tables import collect_evaluations, read_table, tabulate, write_table
from arseg.files import file_digest
from arseg.infer.many import SUMMARY, read_summary
from arseg.models.checkpoint import read_checkpoint, save_checkpoint
from arseg.models.registry import build_network
from arseg.motion.extract import extract_motion
from arseg.motion.file import MotionFile
from arseg.plan import estimate
from arseg.provenance.fingerprint import read_record, record_path
from arseg.spec import NetworkSpec, SegmentationClass
from arseg.store import ClipStore
from arseg.store_writer import create_stores

REPOSITORY = Path(__file__).resolve().parents[2]
NOBODY = 65534
FULL_DISK = "/dev/full"
NO_MEMORY_THERE = "/proc/self/mem"
"""Its first byte cannot be read: Input/output error."""


def make_store(path: Path) -> None:
    with create_stores({path: (ATTRIBUTES, IDENTITIES)}) as writers:
        writers[path].record_encoder("x264 - core 0", "ref=1")
        for index in range(len(IDENTITIES)):
            writers[path].write(index, **arrays(index, height=6, width=8))


def read_store(path: Path) -> Any:
    with ClipStore(path) as store:
        return store.attributes, store.identities(), [store.read(index) for index in range(len(store))]


def make_motion(path: Path) -> None:
    video = path.with_suffix(".264")
    if not video.exists():
        video.write_bytes(encode_with_x264(moving_texture(5, 48, 64, (3, 2)), "keyint=3:min-keyint=1:bframes=0:ref=1"))
    extract_motion(str(video), path, composed=True)


def read_motion(path: Path) -> Any:
    with MotionFile(path) as file:
        return file.attributes, [file.read(index) for index in range(len(file))]


def make_checkpoint(path: Path) -> None:
    save_checkpoint(path, build_network("tiny", 3, fusion=False), NetworkSpec("tiny", 3))


def make_frame(path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 3, (36, 48, 3)).cumsum(axis=0)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def make_label(path: Path, palette: list[int] | None = None) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 5, (36, 48)).astype(np.uint8))
    if palette:
        image.putpalette(palette)
    image.save(path)


def make_video(path: Path) -> None:
    with create_video(path, Origin()) as video:
        for level in range(20):
            video.write(np.full((32, 32, 3), 10 * level, np.uint8))


def make_manifest(path: Path) -> None:
    rows = [ManifestRow("d", "val", "s", 0, str(path), "", "", 0)]
    write_manifest(path, rows, [SegmentationClass(0, "road", (1, 2, 3), void=False)])


def make_archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("gtFine/val/a/a_gtFine_labelIds.png", bytes(range(256)) * 40)


def make_table(path: Path) -> None:
    make_evaluation().save(path.with_name("shard.npz"))
    write_table(tabulate(collect_evaluations([path.with_name("shard.npz")])), path)


def text(words: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(words)


def decode_video(path: Path) -> None:
    with open_video(path) as stream:
        list(stream.frames())


def read_list(path: Path) -> object:
    return _read_list(SheetRow("splits.csv:2", {}), path, {"a_001", "a_002"}, path.parent)


@dataclass(frozen=True)
class Kind:
    """A kind of file that is read."""

    name: str
    """Of the file."""
    make: Callable[[Path], object]
    """Write a healthy one."""
    read: Callable[[Path], object]
    """Read it as arseg does."""
    by_library: bool = False
    """Whether a library opens it, where no Python function can be replaced."""
    cut: float = 0.5
    """Part of the file that is left when its end is lost; 1 for kinds that do not tell."""


PUBLISHED_NAME = "camvid-psp18-1.0x-resolution-exp-GOP2-3M-evaluation.txt"
PUBLISHED_VALUES = (REPOSITORY / "config/published-miou.csv").read_text()
RECORD_NAME = record_path(Path("miou.csv")).name
TAR = archive_of(library_files())

KINDS = {
    "store": Kind("d03.h5", make_store, read_store, by_library=True),
    "motion": Kind("motion.h5", make_motion, read_motion, by_library=True),
    "checkpoint": Kind("weights.pt", make_checkpoint, read_checkpoint),
    "evaluation": Kind("shard.npz", lambda path: make_evaluation().save(path), load_evaluation),
    "frame": Kind("frame.png", make_frame, read_image),
    "label map": Kind("label.png", make_label, lambda path: read_label(path, 256)),
    "size": Kind("frame.png", make_frame, read_size, cut=0.01),
    "header": Kind("frame.png", make_frame, read_header, cut=0.01),
    "manifest": Kind("m.csv", make_manifest, read_manifest, cut=0.9),
    "list of frames": Kind("val.txt", text("a_001\na_002\n"), read_list, cut=0.9),
    "table": Kind("miou.csv", make_table, read_table, cut=0.1),
    "published values": Kind("published.csv", text(PUBLISHED_VALUES), read_published_values, cut=0.001),
    "published result": Kind(PUBLISHED_NAME, text("0.5\n0.3\n0.4\n"), read_published, by_library=True),
    "record": Kind(RECORD_NAME, text("{}"), lambda path: read_record(path.with_name("miou.csv")), cut=1),
    "digest": Kind("a.bin", text("whole"), file_digest, cut=1),
    "video": Kind("v.mp4", make_video, decode_video, by_library=True, cut=0.01),
    "sampled video": Kind("v.mp4", make_video, count_frames, by_library=True, cut=0.01),
    "source video": Kind(
        "v.mp4", make_video, lambda path: extract_frames(path, path.with_name("frames"), "%06d.png"), by_library=True
    ),
    "archive": Kind("a.zip", make_archive, ImageSource),
    "video archive": Kind("a.zip", make_archive, lambda path: extract_only([path], [".png"], path.with_name("b.png"))),
    "picture in a folder": Kind(
        "a.png", make_frame, lambda path: list((source := ImageSource(path.parent)).read(source.members)), cut=1
    ),
    "package": Kind("p.zip", make_archive, lambda path: _open(path).__enter__()),
    "video summary": Kind(SUMMARY, text('{"frames": 3}\n'), lambda path: read_summary(path.parent)),
    "benchmark": Kind("b.tsv", text("s\th:m:s\n1.5\t0:00:01\n"), estimate.read_seconds, cut=0.4),
    "published motion": Kind(
        "m.bin", lambda path: path.write_bytes(bytes(96)), lambda path: published_clips._read_motion(path, 4, 6)
    ),
    "library source": Kind(
        "s.tar.gz", lambda path: path.write_bytes(TAR), lambda path: _unpack(path, str(path), path.parent / "source")
    ),
}

WRITERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    **{kind: (KINDS[kind].name, KINDS[kind].make) for kind in ("store", "checkpoint", "evaluation", "video")},
    "table": ("miou.csv", lambda path: write_table(pd.DataFrame({"gmacs_per_frame": [1.0]}), path)),
}
"""One of each kind of library that writes; all go through `atomic_path`."""


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
