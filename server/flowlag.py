"""How far the flow is behind the log, as a server sees it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from recsys.progress import FlowProgress

UNKNOWN_MS = -1
SILENT_MS = 30_000
"""A flow beats every second. One that has not for so long is taken as one that does not run."""
_MAX_MARKS = 1024


class FlowLag:
    """Remembers when the log had grown to where; the lag is the age of the oldest growth that the
    flow has not taken yet. True to how often it is told, and to how often the flow says how far it
    is. One thread tells it; any may read `lag_ms`."""

    def __init__(self) -> None:
        self.lag_ms = UNKNOWN_MS
        self._marks: deque[tuple[int, dict[int, int]]] = deque()
        self._started = False

    def see(self, progress: FlowProgress | None, end: Mapping[int, int], now_ms: int) -> int:
        """The lag at `now_ms`, when the flow is at `progress` (None: no flow ever ran) and the log
        ends at `end`; UNKNOWN_MS where none runs."""
        if progress is None:
            self._started = False
            self._marks.clear()
            self.lag_ms = UNKNOWN_MS
            return self.lag_ms
        here = dict(end)
        marks = self._marks
        if not marks or marks[-1][1] != here:
            # What waited before this server looked has waited since the newest record taken.
            since_ms = now_ms if self._started else min(progress.watermark_ms or now_ms, now_ms)
            marks.append((since_ms, here))
        self._started = True
        while marks and progress.covers(marks[0][1]):
            marks.popleft()
        if len(marks) > _MAX_MARKS:  # a flow that stands still: the oldest mark is the one that counts
            self._marks = deque(list(marks)[::2])
        if now_ms - progress.written_ms > SILENT_MS:
            self.lag_ms = UNKNOWN_MS
        else:
            self.lag_ms = now_ms - marks[0][0] if marks else 0
        return self.lag_ms
