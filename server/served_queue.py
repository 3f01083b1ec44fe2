"""Blocks on their way to the log, off the request's path."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from threading import Event, Lock, Thread

import structlog

from recsys.ports import EventLog, LogUnavailable, NewRecord
from server.metrics import Metrics
from server.served import Served, record_of

log = structlog.get_logger("server.served_queue")

BATCH = 200
GATHER_S = 0.2
"""From the first block that waits to its being written: blocks of that time share one commit to the disk,
which events that are tracked meanwhile would have to wait behind."""
RETRY_S = 0.05
"""Between two tries of a server that stops."""
LONGEST_PAUSE_S = 2.0


class ServedQueue:
    """Blocks on their way to the log: at most `bound`; beyond, the oldest are dropped and counted.

    `put` writes them as events, there and then: a thread that did so in the background would take the
    interpreter from the requests for milliseconds at a time. It never waits for the log. A log that is
    down is tried again, in order, until it answers.
    """

    def __init__(self, event_log: EventLog, bound: int, metrics: Metrics, now_ms: Callable[[], int]) -> None:
        self._event_log = event_log
        self._bound = bound
        self._metrics = metrics
        self._now_ms = now_ms
        self._lock = Lock()
        self._waiting: deque[tuple[int, NewRecord]] = deque()
        self._last = 0
        self._filled = Event()
        """Set while something waits."""
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="served-queue", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, drain_s: float) -> None:
        """Write what waits, for at most `drain_s`, and end the thread."""
        self._drain_until_s = time.monotonic() + drain_s
        self._stopping.set()
        self._filled.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def depth(self) -> int:
        return len(self._waiting)

    @property
    def has_room(self) -> bool:
        """Whether a caller that can wait (bulk) should put more now."""
        return self.depth < max(self._bound // 2, 1)

    def put(self, served: Sequence[Served]) -> None:
        dropped, now_ms = 0, self._now_ms()
        records = [record_of(one, now_ms) for one in served]
        with self._lock:
            for one in records:
                self._last += 1
                self._waiting.append((self._last, one))
            while len(self._waiting) > self._bound:
                self._waiting.popleft()
                dropped += 1
            if self._waiting and not self._filled.is_set():
                self._filled.set()
        if dropped:
            self._metrics.served_dropped.inc(dropped)

    def _run(self) -> None:
        pause_s = GATHER_S
        while not self._stopping.is_set():
            self._filled.wait()
            self._stopping.wait(pause_s)
            pause_s = GATHER_S if self._write_all() else min(2 * pause_s, LONGEST_PAUSE_S)
        while self.depth and time.monotonic() <= self._drain_until_s:
            if not self._write_all():
                time.sleep(RETRY_S)
        if self.depth:
            log.error("served_lost", blocks=self.depth)
            self._metrics.served_dropped.inc(self.depth)

    def _write_all(self) -> bool:
        """Write what waits; False: the log is down."""
        written: int | None = BATCH
        while written == BATCH:
            written = self._write_batch()
            self._metrics.served_waiting.set(self.depth)
        return written is not None

    def _write_batch(self) -> int | None:
        """How many were written; None: the log is down, and all of them still wait."""
        with self._lock:
            batch = list(islice(self._waiting, BATCH))
        if not batch:
            return 0
        try:
            self._event_log.append([record for _, record in batch])
        except LogUnavailable as error:
            log.warning("log_down", error=str(error), waiting=self.depth)
            return None
        except ValueError as error:
            # Can only be a fault of ours; it must not hold up everything behind it.
            log.error("served_refused", error=str(error), blocks=len(batch))
            self._metrics.served_dropped.inc(len(batch))
        else:
            self._metrics.served_logged.inc(len(batch))
        last = batch[-1][0]
        with self._lock:  # those that were dropped meanwhile are not there any more
            while self._waiting and self._waiting[0][0] <= last:
                self._waiting.popleft()
            if not self._waiting:
                self._filled.clear()
        return len(batch)
