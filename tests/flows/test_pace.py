"""Steps are held to a time: what is dear to fold is read fewer records at a time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from flows import pace, source
from flows.pace import FIRST, LEAST, Pace
from flows.source import LogPartition, Until
from recsys.ports import Position, Record


def records_of_steps(cost_ms: float, steps: int, start: Pace) -> list[int]:
    """Records of each step on a backlog, when each record costs so much."""
    taken, now_s = [], 1000.0
    for _ in range(steps):
        records = start.limit
        start.stepped(records, now_s, now_s + records * cost_ms / 1000)
        now_s += records * cost_ms / 1000
        taken.append(records)
    return taken


def test_a_cheap_backlog_is_read_in_ever_larger_steps() -> None:
    assert records_of_steps(0.01, 5, Pace(8000, 500)) == [1000, 2000, 4000, 8000, 8000]


def test_a_dear_backlog_is_read_in_steps_that_keep_the_time() -> None:
    taken = records_of_steps(0.8, 5, Pace(8000, 500))
    assert taken[0] == FIRST
    assert taken[1:] == [625] * 4  # 500 ms


def test_a_flood_behind_a_quiet_time_begins_with_a_small_step() -> None:
    one = Pace(8000, 500)
    records_of_steps(0.01, 5, one)
    one.stepped(30, 2000.0, 2000.001)  # the end was reached: live
    assert one.limit == FIRST


def test_a_step_takes_a_few_records_however_dear_and_never_more_than_asked() -> None:
    assert records_of_steps(500.0, 3, Pace(8000, 500))[-1] == LEAST
    assert records_of_steps(0.01, 4, Pace(300, 500)) == [300] * 4
    assert records_of_steps(500.0, 3, Pace(100, 500)) == [100] * 3


def test_the_longest_step_is_told_for_a_while() -> None:
    one = Pace(8000, 500)
    assert one.longest_ms() == 0
    one.stepped(10, 1000.0, 1001.5)
    one.stepped(10, 1001.5, 1001.6)
    assert one.longest_ms() == 1500
    one.stepped(10, 1070.0, 1070.1)
    assert one.longest_ms() == 1500
    one.stepped(10, 1140.0, 1140.1)
    assert one.longest_ms() == 100


class Backlog:
    """A log that never ends, and a clock that each record moves on."""

    partitions = 1

    def __init__(self, cost_s: float) -> None:
        self.now_s, self._cost_s, self._next = 50.0, cost_s, 0

    def monotonic(self) -> float:
        return self.now_s

    def reader(self, after: object) -> Backlog:
        return self

    def read(self, limit: int) -> list[Record]:
        found = [Record(Position(0, self._next + n), "v", b"{}", 1) for n in range(limit)]
        self._next += limit
        return found

    def steps(self, part: LogPartition) -> Iterator[float]:
        while True:
            began_s = self.now_s
            ((records, _, _),) = part.next_batch()
            self.now_s += len(records) * self._cost_s
            yield self.now_s - began_s


def test_the_source_reads_as_much_as_the_steps_before_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    backlog, kept = Backlog(cost_s=0.002), Pace(8000, 500)
    monkeypatch.setattr(source.time, "monotonic", backlog.monotonic)
    part = LogPartition(backlog, None, Until(), kept, timedelta(0))
    steps = backlog.steps(part)
    first_s, *later_s = [next(steps) for _ in range(6)]
    assert first_s == pytest.approx(pace.FIRST * 0.002)
    assert later_s == pytest.approx([0.5] * 5)
    assert kept.longest_ms() == 2000


def test_the_collector_passes_over_what_a_backlog_leaves_and_over_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backlog, frozen = Backlog(cost_s=0.0001), []
    monkeypatch.setattr(source.time, "monotonic", backlog.monotonic)
    monkeypatch.setattr(source.gc, "freeze", lambda: frozen.append(backlog.now_s))
    part = LogPartition(backlog, None, Until(), Pace(8000, 500), timedelta(0))
    steps = backlog.steps(part)
    for _ in range(4):
        next(steps)
    assert len(frozen) == 3  # the fourth step is still at work
    live = Pace(8000, 500)
    assert live.stepped(FIRST, 1000.0, 1000.1)
    assert not live.stepped(30, 1000.1, 1000.2)
