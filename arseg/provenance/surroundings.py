"""What a command runs with: the code and its commit, packages, the machine. Nothing is imported to find out."""

import platform
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import arseg
from arseg.machine import processor_name, usable_cores

PACKAGES = ("av", "deflate", "h5py", "imageio_ffmpeg", "matplotlib", "numpy", "pandas", "PIL", "torch", "torchvision")
"""Modules that results depend on."""

GIT_SECONDS = 20


def describe_code() -> dict[str, Any]:
    """Return the versions of arseg, Python and the loaded packages; in a checkout with git also the commit.

    ``modified`` says whether tracked files differ from the commit.
    """
    loaded = {name: sys.modules[name] for name in PACKAGES if name in sys.modules}
    return {
        "arseg": arseg.__version__,
        **_checkout(),
        "python": platform.python_version(),
        "packages": {name: getattr(module, "__version__", "unknown") for name, module in loaded.items()},
    }


def describe_machine() -> dict[str, Any]:
    """Return host, system, processor and usable cores; with PyTorch loaded, its threads and the GPUs that were used."""
    machine: dict[str, Any] = {
        "host": platform.node(),
        "system": platform.platform(),
        "processor": processor_name(),
        "cores": usable_cores(),
    }
    if torch := sys.modules.get("torch"):
        machine["threads"] = torch.get_num_threads()
        if torch.cuda.is_initialized():
            used = [index for index in range(torch.cuda.device_count()) if torch.cuda.max_memory_allocated(index)]
            machine["gpus"] = [torch.cuda.get_device_name(index) for index in used]
    return machine


@cache
def _checkout() -> dict[str, Any]:
    """Return the commit that the package runs from; nothing where it is in no checkout or git is not there."""
    root = Path(arseg.__file__).resolve().parents[1]
    if not (root / ".git").exists():  # an installed package may lie inside someone else's repository
        return {}
    # Optional locks would disturb the user's own git commands.
    command = ["git", "--no-optional-locks", "-C", str(root)]
    command += ["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=GIT_SECONDS)
    except (OSError, subprocess.SubprocessError):  # no git, or nothing committed yet
        return {}
    commit, _, dirty = run.stdout.strip().partition("-")
    return {"commit": commit, "modified": bool(dirty)}
