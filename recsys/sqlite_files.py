"""SQLite files that several threads and processes open and write at once."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

# SQLite's own busy handler sleeps up to 100 ms between tries, longer than a commit takes by far;
# that would be seen in the freshness of blocks as soon as two server processes append.
_RETRY_S = 0.0005


def connect(path: Path, timeout_s: float) -> sqlite3.Connection:
    """A connection for any thread, one at a time; makes the folder. Raises sqlite3.Error and OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return sqlite3.connect(path, timeout=timeout_s, isolation_level=None, check_same_thread=False)


def patiently(step: Callable[[], object], timeout_s: float) -> None:
    """Run `step` until no other writer is in the way."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            step()
        except sqlite3.OperationalError as error:  # noqa: PERF203 (a retry is such a loop)
            if "locked" not in str(error) or time.monotonic() >= deadline:
                raise
            time.sleep(_RETRY_S)
        else:
            return
