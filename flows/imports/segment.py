"""Segment JSON lines, one call or one batch call a line, as they are: nothing is translated."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import msgspec

from flows.imports.source import BAD_JSON, RowProblem, read_lines
from recsys.decode import visitor_of
from recsys.ports import NewRecord
from recsys.segment import split_batch

MAX_WAITING = 1000
"""Unreadable lines at the beginning that are held until a line tells a time."""
MAX_AHEAD_MS = 86_400_000


class _Times(msgspec.Struct, gc=False, rename="camel"):
    received_at: datetime | int | float | None = None
    sent_at: datetime | int | float | None = None
    timestamp: datetime | int | float | None = None
    original_timestamp: datetime | int | float | None = None


_times = msgspec.json.Decoder(_Times)


def read_segment(path: Path, now_ms: int) -> Iterator[NewRecord | RowProblem]:
    """The calls of a file (`.gz` by content), in its order; the calls of a batch one by one.

    `received_ms` is receivedAt, else sentAt, else timestamp. A call without any goes on under the time
    of the line before, and so does a line that cannot be read: the flow makes a dead letter of that,
    raw bytes and all. Where no line before has a time, that of the first one behind is taken, and
    where none has, or it is too far away, the line is a problem. A time more than a day after `now_ms` is
    none: one device's wrong clock would make the whole history behind it late. Raises OSError.
    """
    received_ms: int | None = None
    waiting: list[tuple[int, bytes]] = []
    for number, line in read_lines(path):
        if isinstance(line, RowProblem):
            yield line
            continue
        outer = _received_ms(line, now_ms)
        for raw in [line] if isinstance(outer, _Unreadable) else split_batch(line):
            at_ms = _received_ms(raw, now_ms)
            at_ms = outer if at_ms is None else at_ms
            if isinstance(at_ms, int):
                received_ms = at_ms
                yield from (NewRecord(visitor_of(each), each, received_ms) for _, each in waiting)
                waiting.clear()
                yield NewRecord(visitor_of(raw), raw, received_ms)
            elif received_ms is not None:
                yield NewRecord(visitor_of(raw), raw, received_ms)
            elif len(waiting) < MAX_WAITING:
                waiting.append((number, raw))
            else:
                yield _timeless(number)
    yield from (_timeless(number) for number, _ in waiting)


def _timeless(line: int) -> RowProblem:
    return RowProblem(line, "timestamp", "receivedAt, sentAt or timestamp", "nothing")


class _Unreadable:
    """Stands for the time of a line that is not JSON, or whose times are none."""


_UNREADABLE = _Unreadable()


def _received_ms(raw: bytes, now_ms: int) -> int | _Unreadable | None:
    try:
        times = _times.decode(raw)
    except BAD_JSON:
        return _UNREADABLE
    for value in (times.received_at, times.sent_at, times.timestamp, times.original_timestamp):
        if value is not None and _ms(value) <= now_ms + MAX_AHEAD_MS:
            return _ms(value)
    return None


def _ms(value: datetime | float) -> int:
    if isinstance(value, datetime):
        aware = value if value.tzinfo is not None else value.replace(tzinfo=timezone.utc)
        return max(int(aware.timestamp() * 1000), 0)
    return max(int(value * 1000) if value < 1e11 else int(value), 0)
