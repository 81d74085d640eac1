"""Places and limits: disk, caches, the results folder and its file system, shared memory, open files."""

import os
import re
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from filelock import FileLock, Timeout

from arseg.compilation import CACHE_VARIABLE, cache_folder
from arseg.doctor.check import Check, Outcome

NETWORK_FILE_SYSTEMS = re.compile(r"nfs\d?|cifs|smb\d?|lustre|beegfs|gpfs|afs|ceph|glusterfs|9p|fuse\.(sshfs|.*fs)")

DEMO_BYTES = 2e9
"""What the demo writes is 1.4 GB (`arseg plan config/demo.yaml`)."""

CACHE_BYTES = 5e8
"""The HEVC reader while it is compiled, and the ImageNet weights."""

SHARED_MEMORY_BYTES = 4e9
"""Phase 2 at 960x720: 8 loader processes x 2 batches x 8 samples of 28 MB."""

OPEN_FILES = 1024
"""Tensors of a loader are open files, and so are shards."""


def checks(folder: Path) -> Iterator[Check]:
    """Check where things are written, from the folder where Snakemake is run."""
    yield _disk(folder)
    yield _cache()
    yield _results(folder)
    yield _shared_memory()
    yield _open_files()


def _disk(folder: Path) -> Check:
    free = shutil.disk_usage(folder).free
    found = f"{free / 2**30:.0f} GiB free in {folder}"
    if free < DEMO_BYTES:
        return Check("disk", Outcome.MISSING, found, "Even the demo writes 1.4 GB: make room, or run elsewhere")
    return Check("disk", Outcome.OK, f"{found}; arseg plan says what a configuration needs")


def _cache() -> Check:
    places = {
        CACHE_VARIABLE: cache_folder(),
        "TORCH_HOME": Path(torch.hub.get_dir()),
    }
    found, advice = [], []
    for variable, place in places.items():
        existing = next(path for path in (place, *place.absolute().parents) if path.exists())
        free = shutil.disk_usage(existing).free
        found.append(f"{free / 2**30:.0f} GiB free in {place}")
        if not os.access(existing, os.W_OK):
            advice.append(f"{existing} may not be written to: name another folder with {variable}")
        elif free < CACHE_BYTES:
            advice.append(f"{place} is nearly full: name another folder with {variable}")
    if advice:
        return Check("caches", Outcome.MISSING, "; ".join(found), "; ".join(advice))
    return Check("caches", Outcome.OK, "; ".join(found))


def _results(folder: Path) -> Check:
    results = folder / "results"
    place = results if results.is_dir() else folder
    kind = file_system(place)
    on = f" on {kind}" if kind else ""
    try:
        with TemporaryDirectory(dir=place, prefix=".arseg-doctor-") as name:
            lock = FileLock(Path(name, "lock"))
            lock.acquire(timeout=5)
            lock.release()
    except (Timeout, NotImplementedError) as error:
        advice = "Trainings lock their state, builds their cache: use a file system with locks"
        return Check("results", Outcome.MISSING, f"{place}{on}: files cannot be locked ({error})", advice)
    except OSError as error:
        advice = "Everything is written there: run elsewhere, or mend its permissions"
        return Check("results", Outcome.MISSING, f"{place}{on}: {error.strerror}", advice, required=True)
    if kind and NETWORK_FILE_SYSTEMS.fullmatch(kind):
        advice = "A network file system: give Snakemake --latency-wait 60, and let TMPDIR be a local disk"
        return Check("results", Outcome.NOTE, f"{place}{on}: files can be written and locked", advice)
    return Check("results", Outcome.OK, f"{place}{on}: files can be written and locked")


def file_system(path: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """Give the type of the file system that a path is on, such as ``ext4`` or ``nfs4``; empty if it cannot be told."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        return ""
    table = [line.split()[1:3] for line in lines if len(line.split()) > 2]
    real = path.resolve()
    holding = [(len(point), kind) for point, kind in table if real.is_relative_to(point.replace("\\040", " "))]
    # Of two mounts at one place, the later one is seen.
    return max(enumerate(holding), key=lambda entry: (entry[1][0], entry[0]))[1][1] if holding else ""


def _shared_memory(place: Path = Path("/dev/shm")) -> Check:
    if not place.is_dir():
        return Check("shared memory", Outcome.OK, "no /dev/shm on this system")
    size = shutil.disk_usage(place).total
    found = f"{size / 1e9:.1f} GB in {place}"
    if size < SHARED_MEMORY_BYTES:
        advice = (
            "Loader processes hand over samples there, 3.5 GB in phase 2 at 960x720: docker run --shm-size=4g, or "
            "--workers 2"
        )
        return Check("shared memory", Outcome.NOTE, found, advice)
    return Check("shared memory", Outcome.OK, found)


def _open_files() -> Check:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = "any number" if hard == resource.RLIM_INFINITY else str(hard)
    found = f"{soft} at once (may be raised to {most})" if soft != resource.RLIM_INFINITY else "any number"
    if soft != resource.RLIM_INFINITY and soft < OPEN_FILES:
        return Check("open files", Outcome.NOTE, found, f"Loaders may need more: ulimit -n {OPEN_FILES}")
    return Check("open files", Outcome.OK, found)
