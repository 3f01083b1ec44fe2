"""Blocks on their way to the log: those of pages off the request's path, those of mailings before it ends."""

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
"""From the first block that waits to its being written, unless somebody waits for that: blocks of that time
share one commit to the disk, which events that are tracked meanwhile would have to wait behind."""
RETRY_S = 0.05
"""Between two tries of a server that stops."""
LONGEST_PAUSE_S = 2.0


class Logging:
    """A pack on its way to the log; whoever waits for it asks `wait`."""

    def __init__(self, records: Sequence[NewRecord], marks: Sequence[str]) -> None:
        self.records = records
        self.marks = marks
        self._over = Event()
        self._is_lost = False

    @property
    def is_over(self) -> bool:
        return self._over.is_set()

    def end(self, *, is_lost: bool = False) -> None:
        self._is_lost = is_lost
        self._over.set()

    def wait(self, timeout_s: float) -> bool:
        """Whether it is durable by then. Raises LogUnavailable once it never will be."""
        is_over = self._over.wait(timeout_s)
        if self._is_lost:
            raise LogUnavailable("the server has stopped before it was logged")
        return is_over


class ServedQueue:
    """Blocks on their way to the log. Of pages at most `bound`; beyond, the oldest are dropped and counted.
    Packs of mailings are never dropped: their streams look for room first, and wait for them.

    `put` writes them as events, there and then: a thread that did so in the background would take the
    interpreter from the requests for milliseconds at a time. It never waits for the log. A log that is
    down is tried again, in order, until it answers. `logged` is told the marks of packs once they are
    durable.
    """

    def __init__(
        self,
        event_log: EventLog,
        bound: int,
        metrics: Metrics,
        now_ms: Callable[[], int],
        logged: Callable[[Sequence[str]], None] = lambda _: None,
    ) -> None:
        self._event_log = event_log
        self._bound = bound
        self._metrics = metrics
        self._now_ms = now_ms
        self._logged = logged
        self._lock = Lock()
        self._waiting: deque[tuple[int, NewRecord]] = deque()
        self._last = 0
        self._packs: deque[Logging] = deque()
        self._in_packs = 0
        """Records."""
        self._filled = Event()
        """Set while something waits."""
        self._hurried = Event()
        """Set when a pack has come, for which somebody waits."""
        self._stopping = Event()
        self._is_over = False
        self._thread = Thread(target=self._run, name="served-queue", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, drain_s: float) -> None:
        """Write what waits, for at most `drain_s`, and end the thread."""
        self._drain_until_s = time.monotonic() + drain_s
        self._stopping.set()
        self._filled.set()
        self._hurried.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def depth(self) -> int:
        return len(self._waiting) + self._in_packs

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

    def put_pack(self, served: Sequence[Served], marks: Sequence[str]) -> Logging:
        """As `put`, for who waits until it is durable: written at once, beside what the caller does
        meanwhile, and with all that has come while the one before was written. A log that is down is not
        asked the sooner."""
        now_ms = self._now_ms()
        pack = Logging([record_of(one, now_ms) for one in served], marks)
        if not pack.records:
            pack.end()
            return pack
        with self._lock:
            if self._is_over:
                pack.end(is_lost=True)
                return pack
            self._packs.append(pack)
            self._in_packs += len(pack.records)
            self._filled.set()
        self._hurried.set()
        return pack

    def _run(self) -> None:
        down_s = 0.0
        while not self._stopping.is_set():
            self._filled.wait()
            if down_s:
                self._stopping.wait(down_s)
            else:
                self._hurried.wait(GATHER_S)
            self._hurried.clear()
            down_s = 0.0 if self._write_all() else min(2 * (down_s or GATHER_S), LONGEST_PAUSE_S)
        while self.depth and time.monotonic() <= self._drain_until_s:
            if not self._write_all():
                time.sleep(RETRY_S)
        with self._lock:
            self._is_over = True
            lost = list(self._packs)
        if self.depth:
            log.error("served_lost", blocks=self.depth)
            self._metrics.served_dropped.inc(self.depth)
        for pack in lost:
            pack.end(is_lost=True)

    def _write_all(self) -> bool:
        """Write what waits; False: the log is down."""
        written: int | None = BATCH
        while written is not None and written >= BATCH:
            written = self._write_batch()
            self._metrics.served_waiting.set(self.depth)
        return written is not None

    def _write_batch(self) -> int | None:
        """How many were written; None: the log is down, and all of them still wait."""
        batch, packs = self._next()
        records = [record for _, record in batch]
        for pack in packs:
            records += pack.records
        if not records:
            return 0
        try:
            self._event_log.append(records)
        except LogUnavailable as error:
            log.warning("log_down", error=str(error), waiting=self.depth)
            return None
        except ValueError as error:
            # Can only be a fault of ours; it must not hold up everything behind it.
            log.error("served_refused", error=str(error), blocks=len(records))
            self._metrics.served_dropped.inc(len(records))
        else:
            self._metrics.served_logged.inc(len(records))
        last = batch[-1][0] if batch else 0
        with self._lock:  # those that were dropped meanwhile are not there any more
            while self._waiting and self._waiting[0][0] <= last:
                self._waiting.popleft()
            for pack in packs:
                self._packs.popleft()
                self._in_packs -= len(pack.records)
            if not self._waiting and not self._packs:
                self._filled.clear()
        for pack in packs:
            pack.end()
        if packs:
            self._logged([mark for pack in packs for mark in pack.marks])
        return len(records)

    def _next(self) -> tuple[list[tuple[int, NewRecord]], list[Logging]]:
        """What the next commit has: about BATCH records, packs whole."""
        with self._lock:
            batch = list(islice(self._waiting, BATCH))
            packs, size = [], len(batch)
            for pack in self._packs:
                if size >= BATCH:
                    break
                packs.append(pack)
                size += len(pack.records)
        return batch, packs
