"""Programs and libraries: versions, codecs, compiler, processor and GPU, schedulers, deployment."""

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path

import torch

from arseg import __version__
from arseg.codec.decode import READERS
from arseg.codec.encode import ENCODERS
from arseg.codec.ffmpeg import FFMPEG_VARIABLE, ffmpeg_version, find_ffmpeg
from arseg.codec.native_build import (
    READER_VARIABLE,
    find_compiler,
    find_native_reader,
    reader_version,
)
from arseg.compilation import CACHE_VARIABLE
from arseg.doctor.check import Check, Outcome
from arseg.errors import CodecError
from arseg.machine import processor_name, usable_cores
from arseg.models.attention.choice import ATTENTION_VARIABLE

LIBRARIES = ("torch", "torchvision", "snakemake", "av", "h5py", "numpy")

SCHEDULERS = {"sbatch": "slurm", "bsub": "lsf", "kubectl": "kubernetes", "condor_submit": "htcondor"}
"""Programs by which schedulers are known, and Snakemake's executor plugin for each."""

VARIABLES = (
    FFMPEG_VARIABLE,
    READER_VARIABLE,
    CACHE_VARIABLE,
    "ARSEG_CAMVID",
    "TORCH_HOME",
    "XDG_CACHE_HOME",
    "CXX",
    ATTENTION_VARIABLE,
    "CUDA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
    "CITYSCAPES_USERNAME",
    "CITYSCAPES_PASSWORD",
)

BF16_CAPABILITY = (8, 0)
"""Compute capability of the first GPUs that calculate in bfloat16 by themselves."""


def checks(ffmpeg: str | None) -> Iterator[Check]:
    """Check what runs here."""
    yield _software()
    yield _libraries()
    yield from _ffmpeg(ffmpeg)
    yield _hevc_reader()
    yield _compiler()
    yield _processor()
    yield from _gpus()


def hevc_reader_state() -> str:
    """Tell in one line whether the HEVC reader is built or can be; its absence is no failure."""
    try:
        if program := find_native_reader():
            return f"{reader_version(program)} ({program})"
        return f"not built yet; arseg native build does it with {find_compiler()}, or the first use"
    except CodecError as error:
        return str(error)


def _software() -> Check:
    return Check("arseg", Outcome.OK, f"{__version__}, Python {platform.python_version()}, {platform.platform()}")


def _libraries() -> Check:
    found, missing = [], []
    for name in LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        advice = "Complete the environment: envs/install.sh .venv, or pip install --editable ."
        return Check("libraries", Outcome.MISSING, f"without {', '.join(missing)}", advice, required=True)
    return Check("libraries", Outcome.OK, ", ".join(found))


def _ffmpeg(named: str | None) -> Iterator[Check]:
    mend = f"Install FFmpeg with libx264 and libx265, and name it with --ffmpeg or {FFMPEG_VARIABLE}"
    try:
        program = find_ffmpeg(named)
        yield Check("ffmpeg", Outcome.OK, f"{ffmpeg_version(program)} ({program})", required=True)
    except CodecError as error:
        yield Check("ffmpeg", Outcome.MISSING, str(error), f"It encodes clips. {mend}", required=True)
        return
    run = subprocess.run([program, "-hide_banner", "-encoders"], capture_output=True, text=True, check=False)
    there = {codec: encoder for codec, encoder in ENCODERS.items() if re.search(rf"\b{encoder}\b", run.stdout)}
    lacking = [encoder for codec, encoder in ENCODERS.items() if codec not in there]
    found = ", ".join(
        f"{codec} ({encoder}; {'motion can be read' if codec in READERS else 'no motion reader'})"
        for codec, encoder in there.items()
    )
    if not lacking:
        yield Check("codecs", Outcome.OK, found, required=True)
        return
    lacks = f"{found or 'none'}; this FFmpeg lacks {', '.join(lacking)}"
    advice = (
        f"Only codecs: [{', '.join(there)}] can be encoded with it. Name another with --ffmpeg or {FFMPEG_VARIABLE}, "
        "or none to use the one of the Python environment"
    )
    yield Check("codecs", Outcome.MISSING, lacks, advice if there else mend, required=not there)


def _hevc_reader() -> Check:
    state = hevc_reader_state()
    try:
        if find_native_reader():
            return Check("HEVC reader", Outcome.OK, state)
        find_compiler()
        return Check("HEVC reader", Outcome.NOTE, state, "Clips of HEVC need it: arseg native build")
    except CodecError:
        return Check("HEVC reader", Outcome.MISSING, state, "Clips of HEVC need it: docs/native-reader.md")


def _compiler() -> Check:
    try:
        return Check("compiler", Outcome.OK, find_compiler())
    except CodecError as error:
        advice = "It compiles the HEVC reader, and the local attention, which is ten times as slow without it"
        return Check("compiler", Outcome.MISSING, str(error).partition(". ")[0], advice)


def _processor() -> Check:
    threads = torch.get_num_threads()
    return Check(
        "processor", Outcome.OK, f"{usable_cores()} cores of {processor_name()}; PyTorch uses {threads} threads"
    )


def _gpus() -> Iterator[Check]:
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            capable = (properties.major, properties.minor) >= BF16_CAPABILITY
            yield Check(
                "GPU",
                Outcome.OK,
                f"cuda:{index} {properties.name}, {properties.total_memory / 2**30:.0f} GiB, "
                f"{'bf16-mixed works' if capable else 'no bfloat16: use 32-true or 16-mixed'}",
            )
        return
    build = f"PyTorch is built for CUDA {torch.version.cuda}" if torch.version.cuda else "PyTorch is built without CUDA"
    driver = _driver()
    if driver is None:
        advice = "Training the paper's networks needs one; make demo does not"
        yield Check("GPU", Outcome.NOTE, f"none; networks run on the processor ({build})", advice)
        return
    advice = "Install the PyTorch that is built for a CUDA version which the driver knows, or a newer driver"
    yield Check("GPU", Outcome.MISSING, f"there is one ({driver}), but PyTorch cannot use it; {build}", advice)


def _driver() -> str | None:
    """Give the NVIDIA driver and the newest CUDA version that it knows."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    try:
        said = subprocess.run([program], capture_output=True, text=True, check=False, timeout=30).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"Driver Version:\s*(\S+).*?CUDA Version:\s*([\d.]+)", said)
    return f"driver {match[1]}, up to CUDA {match[2]}" if match else None


def scheduler() -> Check:
    """Check which schedulers are here, and whether Snakemake can submit jobs to them."""
    prefix = "snakemake-executor-plugin-"
    names = {(found.metadata["Name"] or "").lower() for found in distributions()}
    plugins = sorted(name.removeprefix(prefix) for name in names if name.startswith(prefix))
    programs = {name: kind for name, kind in SCHEDULERS.items() if shutil.which(name)}
    lacking = sorted({kind for kind in programs.values() if kind not in plugins})
    found = f"plugins {', '.join(plugins) or 'none'}; schedulers {', '.join(programs) or 'none'}"
    if lacking:
        wanted = " ".join(prefix + kind for kind in lacking)
        return Check("scheduler", Outcome.NOTE, found, f"To submit jobs there: pip install {wanted}")
    return Check("scheduler", Outcome.OK, found)


def deployment() -> Iterator[Check]:
    """Check what Snakemake can deploy software with."""
    for purpose, names in (("conda", ("conda", "mamba")), ("apptainer", ("apptainer", "singularity"))):
        there = [path for name in names if (path := shutil.which(name))]
        if there:
            yield Check(purpose, Outcome.OK, there[0])
        else:
            yield Check(purpose, Outcome.NOTE, "not here", f"Only snakemake --sdm {purpose} needs it")


def variables() -> Check:
    """Check the environment variables that change what arseg does."""
    told = [
        f"{name}={'(set)' if 'CITYSCAPES' in name else os.environ[name]}" for name in VARIABLES if os.environ.get(name)
    ]
    checks: dict[str, Callable[[str], bool]] = {
        FFMPEG_VARIABLE: lambda value: bool(shutil.which(value)),
        READER_VARIABLE: lambda value: bool(shutil.which(value)),
        "ARSEG_CAMVID": lambda value: Path(value).is_dir(),
    }
    wrong = [name for name, exists in checks.items() if (value := os.environ.get(name)) and not exists(value)]
    text = ", ".join(told) or "none of those that matter is set"
    if wrong:
        return Check("variables", Outcome.MISSING, text, f"{', '.join(wrong)}: nothing is there. Correct or unset it")
    return Check("variables", Outcome.OK, text)
