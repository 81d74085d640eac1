"""What a machine offers and what it lacks: programs, codecs, compiled parts, GPU, disk.

Each check says what it found; one that finds something missing says what that is needed for, and how to get it. Few
things are needed by every use; the others are needed by some, and their absence is no failure.
"""

import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from filelock import FileLock

from arseg import __version__
from arseg.codec.ffmpeg import FFMPEG_VARIABLE, ffmpeg_version, find_ffmpeg
from arseg.codec.native_build import find_native_reader, find_reader_compiler, reader_version
from arseg.codec.pyav import TESTED
from arseg.codecs import codecs
from arseg.errors import CodecError
from arseg.machine import processor_name, usable_cores
from arseg.models.attention import implementations

LIBRARIES = ("torch", "torchvision", "snakemake", "av", "h5py", "numpy")

LEAST_BYTES = 1e9
"""Results of the demo take less; those of real videos do not."""

LOCK_SECONDS = 5
"""How long to wait for a lock that nobody else can have."""

BF16_CAPABILITY = (8, 0)
"""Compute capability of the first GPUs that calculate in bfloat16 by themselves."""


class Outcome(StrEnum):
    """What a check found."""

    OK = "ok"
    NOTE = "note"
    """It works, but there is something to know."""
    MISSING = "missing"


@dataclass(frozen=True)
class Check:
    """One thing that was looked for, what was found or is wrong, and what it is needed for and how to get it."""

    name: str
    outcome: Outcome
    found: str
    advice: str = ""
    required: bool = False
    """Whether every use needs it."""

    @property
    def fails(self) -> bool:
        """Whether nothing works without it."""
        return self.required and self.outcome == Outcome.MISSING


def check_machine(folder: Path, ffmpeg: str | None = None) -> Iterator[Check]:
    """Yield a check of everything that some use of arseg needs, in the order to print them in.

    `folder` is where Snakemake is, or will be, run; `ffmpeg` the FFmpeg to look at, by default the one that is used.
    """
    yield Check("arseg", Outcome.OK, f"{__version__}, Python {platform.python_version()}, {platform.platform()}")
    yield check_libraries()
    yield from check_ffmpeg(ffmpeg)
    yield check_hevc_reader()
    yield check_compiler()
    found = f"{usable_cores()} cores of {processor_name()}; PyTorch uses {torch.get_num_threads()} threads"
    yield Check("processor", Outcome.OK, found)
    yield from check_gpus()
    yield check_attention()
    place = folder / "results" if (folder / "results").is_dir() else folder
    yield check_disk(place)
    yield check_results(place)


def check_libraries() -> Check:
    """Look for the libraries whose versions matter most."""
    try:
        found = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
        if version("av").rpartition(".")[0] in TESTED:
            return Check("libraries", Outcome.OK, found)
        return Check("libraries", Outcome.NOTE, found, f"Videos are tested with av {', '.join(TESTED)}: pip install av")
    except PackageNotFoundError as error:
        hint = "Complete the environment: envs/install.sh .venv, or pip install --editable ."
        return Check("libraries", Outcome.MISSING, f"without {error.name}", hint, required=True)


def check_ffmpeg(named: str | None) -> Iterator[Check]:
    """Look for FFmpeg, and for the encoders in it."""
    encoders = {name: codecs.get(name).encoder for name in codecs.names()}
    hint = f"Install FFmpeg with {' and '.join(encoders.values())}, and name it with --ffmpeg or {FFMPEG_VARIABLE}"
    try:
        program = find_ffmpeg(named)
        yield Check("ffmpeg", Outcome.OK, f"{ffmpeg_version(program)} ({program})", required=True)
    except CodecError as error:
        yield Check("ffmpeg", Outcome.MISSING, str(error), f"It encodes clips. {hint}", required=True)
        return
    run = subprocess.run([program, "-hide_banner", "-encoders"], capture_output=True, text=True, check=False)
    there = {codec: encoder for codec, encoder in encoders.items() if re.search(rf"\b{encoder}\b", run.stdout)}
    lacking = [encoder for codec, encoder in encoders.items() if codec not in there]
    found = ", ".join(f"{codec} ({encoder})" for codec, encoder in there.items())
    if not lacking:
        yield Check("codecs", Outcome.OK, found, required=True)
        return
    advice = f"Only codecs: [{', '.join(there)}] can be encoded with it. {hint}" if there else hint
    lacks = f"{found or 'none'}; this FFmpeg lacks {', '.join(lacking)}"
    yield Check("codecs", Outcome.MISSING, lacks, advice, required=not there)


def check_hevc_reader() -> Check:
    """Look for the program that reads motion from HEVC, or for what it is compiled with."""
    try:
        if program := find_native_reader():
            return Check("HEVC reader", Outcome.OK, f"{reader_version(program)} ({program})")
        found = f"not built yet; arseg native build does it with {find_reader_compiler().path}, or the first use"
        return Check("HEVC reader", Outcome.NOTE, found, "Clips of HEVC need it: arseg native build")
    except CodecError as error:
        return Check("HEVC reader", Outcome.MISSING, str(error), "Clips of HEVC need it: docs/native-reader.md")


def check_compiler() -> Check:
    """Look for a C++ compiler."""
    try:
        return Check("compiler", Outcome.OK, find_reader_compiler().path)
    except CodecError as error:
        advice = "It compiles the HEVC reader, and the local attention, which is ten times as slow without it"
        return Check("compiler", Outcome.MISSING, str(error).partition(". ")[0], advice)


def check_gpus() -> Iterator[Check]:
    """Look for GPUs that PyTorch can use."""
    for index in range(torch.cuda.device_count()):
        gpu = torch.cuda.get_device_properties(index)
        capable = (gpu.major, gpu.minor) >= BF16_CAPABILITY
        precision = "bf16-mixed works" if capable else "no bfloat16: use 32-true or 16-mixed"
        found = f"cuda:{index} {gpu.name}, {gpu.total_memory / 2**30:.0f} GiB, {precision}"
        yield Check("GPU", Outcome.OK, found)
    if not torch.cuda.device_count():
        build = f"for CUDA {torch.version.cuda}" if torch.version.cuda else "without CUDA"
        advice = (
            "Training the paper's networks needs one; make demo does not. If nvidia-smi shows one, install the PyTorch "
            "that is built for a CUDA version which the driver knows, or a newer driver"
        )
        yield Check("GPU", Outcome.NOTE, f"none that PyTorch, which is built {build}, can use", advice)


def check_attention() -> Check:
    """Look which implementation of the local attention runs; compile the CPU's if it is not there."""
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    chosen = {device: implementations(torch.zeros(1, 1, 1, 1, device=device))[0] for device in devices}
    found = ", ".join(f"{name} on {device}" for device, name in chosen.items())
    if "eager" not in chosen.values():
        return Check("attention", Outcome.OK, found)
    advice = "Plain PyTorch (eager) is about ten times as slow: the CPU's kernel needs a C++ compiler, the GPU's Triton"
    return Check("attention", Outcome.NOTE, found, advice)


def check_disk(place: Path) -> Check:
    """Look for free space."""
    free = shutil.disk_usage(place).free
    found = f"{free / 1e9:.1f} GB free in {place}"
    if free < LEAST_BYTES:
        return Check("disk", Outcome.MISSING, found, "Only the demo may fit: make room, or run elsewhere")
    return Check("disk", Outcome.OK, f"{found}; docs/plan.md says what frames and clips take")


def check_results(place: Path) -> Check:
    """Write and lock a file where results appear."""
    try:
        with TemporaryDirectory(dir=place, prefix=".arseg-doctor-") as name:
            try:
                with FileLock(Path(name, "lock"), timeout=LOCK_SECONDS):
                    return Check("results", Outcome.OK, f"{place}: files can be written and locked")
            except (OSError, NotImplementedError) as error:  # a timeout is an OSError, too
                advice = "Trainings lock their state, builds their cache, HDF5 its files: use a file system with locks"
                return Check("results", Outcome.MISSING, f"{place}: files cannot be locked ({error})", advice)
    except OSError as error:
        advice = "Everything is written there: run elsewhere, or correct its permissions"
        return Check("results", Outcome.MISSING, f"{place}: {error.strerror}", advice, required=True)
