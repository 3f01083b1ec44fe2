"""The log as a Bytewax source: one reader of all partitions, in the log's own order.

One reader, not one a partition: which events are late is decided by the highest receive time the
log has shown, and devices of one person live in different partitions. Reading and decoding reach
well over 100k events/s on one core; the keyed stages behind it spread over all workers.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition

from flows.pace import Pace
from recsys.ports import EventLog, LogReader, Record

ReadTo = tuple[dict[int, int], int]
"""Offsets behind which to go on, by partition, and the watermark up to there."""


Read = tuple[list[Record], int, dict[int, int]]
"""Records as one read found them, the watermark up to them, and offsets that were passed without a record."""


class LogPartition(StatefulSourcePartition[Read, ReadTo]):
    """Reads the whole log from where a snapshot stood. Raises LogUnavailable where that is kept no more."""

    def __init__(
        self, log: EventLog, resume: ReadTo | None, until: Until, pace: Pace, poll: timedelta
    ) -> None:
        offsets, self._watermark_ms = resume if resume is not None else ({}, 0)
        self._offsets = dict(offsets)
        self._log = log
        self._reader: LogReader = log.reader(self._offsets)
        self._until = until
        self._pace = pace
        self._poll = poll
        self._wake: datetime | None = None
        self._step: tuple[int, float] | None = None
        """Records of the step at work, and when it began."""

    def next_batch(self) -> list[Read]:
        # One item a read, not one a record: each step of the engine is paid by the item.
        if self._until.stopped():
            raise StopIteration
        if self._step is not None:  # the engine asks again once all that came of it is done
            if self._pace.stepped(*self._step, time.monotonic()):
                # More is waiting, and the states that the step made are kept: trees without cycles, which
                # the collector would look at one by one.
                gc.freeze()
            self._step = None
        records = self._reader.read(self._pace.limit)
        if not records:
            passed = {
                partition: offset
                for partition, offset in self._reader.passed().items()
                if offset > self._offsets.get(partition, -1)
            }
            if passed:
                self._offsets.update(passed)
                return [([], self._watermark_ms, passed)]
            if self._until.reached(self._offsets):
                raise StopIteration
            self._wake = datetime.now(timezone.utc) + self._poll
            return []
        self._wake = None
        self._step = len(records), time.monotonic()
        before_ms = self._watermark_ms
        offsets = self._offsets
        for (partition, offset), _, _, _ in records:
            offsets[partition] = offset
        self._watermark_ms = max(before_ms, *[record[3] for record in records])
        return [(records, before_ms, {})]

    def next_awake(self) -> datetime | None:
        return self._wake

    def snapshot(self) -> ReadTo:
        return dict(self._offsets), self._watermark_ms

    def close(self) -> None:
        self._reader.close()
        self._log.close()


class Until:
    """When the source ends: never, when told to stop, or at the log's end as it was at the start."""

    def __init__(
        self, end: dict[int, int] | None = None, stopped: Callable[[], bool] = lambda: False
    ) -> None:
        self._end = end
        self.stopped = stopped

    def reached(self, offsets: dict[int, int]) -> bool:
        if self._end is None:
            return False
        return all(offsets.get(partition, -1) >= offset for partition, offset in self._end.items())


class LogSource(FixedPartitionedSource[Read, ReadTo]):
    """Opens the log on the worker that reads."""

    def __init__(
        self, open_log: Callable[[], EventLog], until: Until, pace: Pace, poll_ms: float = 2.0
    ) -> None:
        self._open_log = open_log
        self._until = until
        self._pace = pace
        self._poll = timedelta(milliseconds=poll_ms)

    def list_parts(self) -> list[str]:
        return ["log"]

    def build_part(self, step_id: str, for_part: str, resume_state: ReadTo | None) -> LogPartition:
        return LogPartition(self._open_log(), resume_state, self._until, self._pace, self._poll)
