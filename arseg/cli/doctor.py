"""``arseg doctor``: what this machine offers, and what is missing."""

import os
import platform
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

import torch

from arseg import __version__
from arseg.codec.decode import READERS
from arseg.codec.encode import ENCODERS
from arseg.codec.ffmpeg import ffmpeg_version, find_ffmpeg
from arseg.codec.native_build import find_compiler, find_native_reader, reader_version
from arseg.errors import CodecError


def doctor(*, ffmpeg: str | None = None) -> None:
    """Print versions, codecs, devices and disk space; fail if something needed is missing.

    Parameters
    ----------
    ffmpeg : str
        FFmpeg to look at; the one of the Python environment by default.
    """
    program = find_ffmpeg(ffmpeg)
    listed = subprocess.run([program, "-hide_banner", "-encoders"], capture_output=True, text=True, check=False).stdout
    missing = [encoder for encoder in ENCODERS.values() if encoder not in listed]
    if missing:
        raise CodecError(
            f"{program}: this FFmpeg lacks {', '.join(missing)}. Name another with --ffmpeg or ARSEG_FFMPEG, or "
            "none to use the one of the Python environment."
        )
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    lines = {
        "arseg": f"{__version__}, Python {platform.python_version()}, {platform.platform()}",
        "libraries": ", ".join(
            f"{name} {version(name)}"
            for name in ("torch", "torchvision", "lightning", "snakemake", "av", "h5py", "numpy")
        ),
        "ffmpeg": f"{ffmpeg_version(program)} ({program})",
        "codecs": ", ".join(
            f"{codec} ({encoder}; {'motion can be read' if codec in READERS else 'no motion reader'})"
            for codec, encoder in ENCODERS.items()
        ),
        "HEVC reader": hevc_reader_state(),
        "processor": f"{os.cpu_count()} cores; PyTorch uses {torch.get_num_threads()} threads",
        "GPU": ", ".join(gpus) or "none; networks run on the processor",
        "disk": f"{shutil.disk_usage(Path.cwd()).free / 2**30:.0f} GiB free in {Path.cwd()}",
    }
    for name, text in lines.items():
        print(f"{name:>11}  {text}")


def hevc_reader_state() -> str:
    """Tell in one line whether the HEVC reader is built or can be; its absence is no failure."""
    try:
        if program := find_native_reader():
            return f"{reader_version(program)} ({program})"
        return f"not built yet; arseg native build does it with {find_compiler()}, or the first use"
    except CodecError as error:
        return str(error)
