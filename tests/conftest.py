"""Fixtures shared by all tests: real frames, a CUDA device and the HEVC reader, where there are such."""

import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Before PyTorch is imported, and for all processes that tests start: several run at once, on numbers that are few. Jobs
# of Snakemake have two threads all the same; these shall not spin while they wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest
import torch
from fault_runs import Runs
from filelock import FileLock
from hypothesis import settings

from arseg.codec.native_build import ensure_native_reader, find_native_reader, find_reader_compiler
from arseg.data.clips import make_clip_stores
from arseg.data.manifest import read_manifest, write_manifest
from arseg.datasets.frames.manifest import frames_manifest
from arseg.datasets.synthetic.dataset import synthesize
from arseg.errors import CodecError
from arseg.spec import Encoding

# A busy machine is no failure: examples may take as long as they take, and are the same in each run.
settings.register_profile("arseg", deadline=None, derandomize=True)
settings.load_profile("arseg")

REPOSITORY = Path(__file__).resolve().parents[1]
IS_ONE_OF_SEVERAL = "PYTEST_XDIST_WORKER" in os.environ


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_is_heard() -> Iterator[None]:
    """Processes of pytest-xdist ignore Ctrl-C, and so would the programs that tests start to interrupt them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout that the tests run from."""
    return REPOSITORY


@pytest.fixture(scope="session")
def camvid_root() -> Path:
    """Folder of the real CamVid frames; the test is skipped where ARSEG_CAMVID does not name it."""
    named = os.environ.get("ARSEG_CAMVID")
    if not named:
        pytest.skip("ARSEG_CAMVID is not set: no real CamVid frames to test on")
    root = Path(named)
    assert root.is_dir(), f"ARSEG_CAMVID={named} is no folder"
    return root


@pytest.fixture(scope="session")
def hevc_reader() -> Path:
    """The program that reads HEVC, compiled if need be; without a compiler, the test is skipped.

    Not so where ARSEG_REQUIRE_NATIVE=1 promises one. Anything else that prevents the build is a failure.
    """
    if find_native_reader() is None:
        try:
            find_reader_compiler()
        except CodecError as error:
            if os.environ.get("ARSEG_REQUIRE_NATIVE") == "1":
                raise
            pytest.skip(str(error))
    return ensure_native_reader()


@pytest.fixture(autouse=True)
def _cuda_where_promised(request: pytest.FixtureRequest) -> None:
    """Skip CUDA tests without a GPU, but not where ARSEG_REQUIRE_CUDA=1 promises one."""
    if request.node.get_closest_marker("needs_cuda") and not torch.cuda.is_available():
        assert os.environ.get("ARSEG_REQUIRE_CUDA") != "1", "ARSEG_REQUIRE_CUDA=1, but PyTorch sees no CUDA device"
        pytest.skip("no CUDA device")


@pytest.fixture
def loader_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make loaders start their processes also for the few samples that a test has."""
    monkeypatch.setattr("arseg.workers.FEW_SAMPLES", 0)


@pytest.fixture(scope="session")
def common(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder for what is made once, also where pytest-xdist runs tests in several processes."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if IS_ONE_OF_SEVERAL else folder


@pytest.fixture(scope="session")
def programs(common: Path) -> Path:
    """Folder of an `arseg` and a `snakemake` that start in no time, for tests that start them many times."""
    folder = common / "bin"
    server, address = REPOSITORY / "tests/workflow/warm_start.py", folder / "socket"
    with FileLock(common / "bin.lock"):
        if not address.exists():
            folder.mkdir(exist_ok=True)
            for program in ("arseg", "snakemake"):
                ask = f"{sys.executable} -S -E {shlex.quote(str(server))} ask {address} {program}"
                (folder / program).write_text(f'#!/bin/sh\nexec {ask} "$@"\n')
                (folder / program).chmod(0o755)
            tests = os.getppid() if IS_ONE_OF_SEVERAL else os.getpid()
            words = [sys.executable, str(server), "serve", str(address), str(tests)]
            process = os.spawnv(os.P_NOWAIT, sys.executable, words)  # ends when all tests have ended, not with these
            while not address.exists():
                assert os.waitpid(process, os.WNOHANG) == (0, 0), "the server of warm programs did not start"
                time.sleep(0.05)
    return folder


@pytest.fixture(scope="session")
def tiny_run(common: Path, programs: Path) -> Path:
    """Folder of a finished run of the tiny configuration, which nothing may happen to: copies are for that."""
    folder = common / "tiny-run"
    with FileLock(common / "tiny-run.lock"):
        if not folder.exists():
            runs = Runs(common / "tiny-run-unfinished", programs)
            runs.folder.mkdir(exist_ok=True)
            runs.complete()
            runs.folder.rename(folder)
    return folder


@dataclass(frozen=True)
class TinyDataset:
    """Synthetic videos of 64x48 pixels with a GOP of 4: what training and evaluation take."""

    manifest: Path
    train_stores: list[Path]
    val_stores: list[Path]
    test_stores: list[Path]


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory) -> TinyDataset:
    """A data set that is trained on in seconds, with its clip stores."""
    folder = tmp_path_factory.mktemp("tiny")
    synthesize(
        folder / "frames",
        num_train_sequences=2,
        num_val_sequences=1,
        num_test_sequences=1,
        frames_per_sequence=8,
        annotate_every=1,
        width=64,
        height=48,
        gop=4,
    )
    root, path = folder / "frames", folder / "tiny.csv"
    write_manifest(path, *frames_manifest("tiny", root, root / "classes.csv", root / "splits.csv"))
    manifest, encode = read_manifest(path), Encoding(codec="h264", rate="200k", gop=4)
    return TinyDataset(
        path,
        make_clip_stores(manifest, "train", encode, distances=[3], output=folder / "train"),
        make_clip_stores(manifest, "val", encode, distances=[3], output=folder / "val"),
        make_clip_stores(manifest, "test", encode, distances=range(4), output=folder / "test"),
    )
