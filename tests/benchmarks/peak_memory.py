"""The peak of this process's memory, from where it was last reset."""

from __future__ import annotations

import contextlib
import resource
import sys
from pathlib import Path

MIB = 2**20


def reset_peak() -> float:
    """Start a new peak where the kernel can (Linux); MiB in use now.

    A process inherits the peak of the one that started it, and a peak never goes down by itself.
    """
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return peak_mib()


def peak_mib() -> float:
    """MiB of the largest resident set since the last reset, or since the start where it cannot be reset."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / MIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / MIB
