"""What a machine is: its processor, and how much of it this process may use. No PyTorch."""

import os
import platform
from pathlib import Path


def processor_name() -> str:
    """Return the processor's own name, such as ``AMD EPYC 7763``; the architecture where it is unknown."""
    return _first_entry("model name", "Model", "Hardware") or platform.processor() or platform.machine()


def processor_features() -> str:
    """Return what distinguishes processors that run different code: architecture, and instructions where known."""
    return f"{platform.machine()} {_first_entry('flags', 'Features') or processor_name()}"


def usable_cores() -> int:
    """Count the cores that this process may use, which a scheduler or container may have made fewer."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1


def _first_entry(*names: str) -> str:
    """Return what Linux says of the first processor."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() in names:
                return value.strip()
    except OSError:  # not Linux
        pass
    return ""
