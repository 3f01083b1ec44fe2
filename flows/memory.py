"""How much memory this process takes."""

from __future__ import annotations

import resource
import sys
from pathlib import Path


def peak_mb() -> float:
    """The most memory this process has held so far."""
    try:
        # Not ru_maxrss where it can be helped: on Linux that begins with the parent's memory.
        line = next(row for row in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in row)
        return round(int(line.split()[1]) * 1024 / 1e6, 1)
    except (OSError, StopIteration):
        unit = 1 if sys.platform == "darwin" else 1024
        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)
