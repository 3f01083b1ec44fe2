"""When an answer must be there, and that nobody waits for it any more."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple


class CallerGone(Exception):
    """Nobody waits for the answer any more: nothing was shown, and nothing is kept as shown."""


class Deadline(NamedTuple):
    """When an answer must be there, on the monotonic clock, and whether it is still wanted."""

    at_s: float
    is_wanted: Callable[[], bool]
    is_callers: bool
    """Whether the caller has set it, and gives up then; else it is the configured one."""

    @property
    def left_s(self) -> float:
        return self.at_s - time.monotonic()

    @property
    def is_over(self) -> bool:
        """Whether the caller has given up."""
        return self.is_callers and self.left_s <= 0
