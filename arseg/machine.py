"""What a machine is: its processor, and how much of it this process may use. No PyTorch."""

import os
import platform
from pathlib import Path


def processor_name() -> str:
    """Give the processor's own name, such as ``AMD EPYC 7763``; the architecture where it cannot be told."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("model name", "Model", "Hardware"):
                return value.strip()
    except OSError:  # not Linux
        pass
    return platform.processor() or platform.machine()


def usable_cores() -> int:
    """Count the cores that this process may use, which a scheduler or container may have made fewer."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1
