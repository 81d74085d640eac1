"""What a command runs with: the code and its state in git, packages, the machine. Nothing is imported to find out."""

import hashlib
import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import arseg
from arseg.machine import processor_name, usable_cores

PACKAGES = {
    "av": "av",
    "deflate": "deflate",
    "h5py": "h5py",
    "imageio-ffmpeg": "imageio_ffmpeg",
    "matplotlib": "matplotlib",
    "numpy": "numpy",
    "pandas": "pandas",
    "pillow": "PIL",
    "torch": "torch",
    "torchvision": "torchvision",
}
"""Packages that results depend on, and the modules that tell whether a command has loaded them."""

SOURCES = ("arseg", "pyproject.toml", "Snakefile", "workflow", "config")
"""What counts as a change of the checkout."""

GIT_SECONDS = 20


def describe_code() -> dict[str, Any]:
    """Describe the code that runs.

    Returns
    -------
    code : dict
        ``arseg``, the version; ``sources_sha256``, over the package's Python files, so that code without a commit can
        be told apart; in a checkout with git also ``commit`` and ``modified``, whether tracked or new files differ
        from it; ``python``; ``packages``, those that are loaded.
    """
    return {
        "arseg": arseg.__version__,
        **_checkout(),
        "sources_sha256": _sources_digest(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name, module in PACKAGES.items() if module in sys.modules},
    }


def describe_machine() -> dict[str, Any]:
    """Describe the machine.

    Returns
    -------
    machine : dict
        ``host``, ``system``, ``processor``, ``cores`` that may be used and, where PyTorch is loaded, its ``threads``
        and the ``gpus`` that were used.
    """
    machine: dict[str, Any] = {
        "host": platform.node(),
        "system": platform.platform(),
        "processor": processor_name(),
        "cores": usable_cores(),
    }
    torch = sys.modules.get("torch")
    if torch is None:
        return machine
    machine["threads"] = torch.get_num_threads()
    if torch.cuda.is_initialized():
        used = [index for index in range(torch.cuda.device_count()) if torch.cuda.max_memory_allocated(index)]
        machine["gpus"] = [torch.cuda.get_device_name(index) for index in used]
    return machine


@cache
def _checkout() -> dict[str, Any]:
    """Commit of the checkout that the package runs from; nothing where it is no checkout or git is not there."""
    root = Path(arseg.__file__).resolve().parents[1]
    if not (root / ".git").exists():  # an installed package may lie inside someone else's repository
        return {}
    # Optional locks would disturb the user's own git commands.
    command = ["git", "--no-optional-locks", "-C", str(root), "status", "--porcelain=v2", "--branch", "--", *SOURCES]
    try:
        run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=GIT_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    lines = run.stdout.splitlines()
    commits = [line.split()[-1] for line in lines if line.startswith("# branch.oid ")]
    if run.returncode or not commits or commits[0] == "(initial)":  # no repository, or nothing committed yet
        return {}
    return {"commit": commits[0], "modified": any(not line.startswith("#") for line in lines)}


@cache
def _sources_digest() -> str:
    folder = Path(arseg.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # some distributions rename packages
        return "unknown"
