from __future__ import annotations

import pytest

from flows.imports.append import MAX_NAMES, MAX_PROBLEMS, import_catalog, import_events
from flows.imports.source import RowProblem
from recsys.catalog import Item, decode_change
from recsys.decode import CATALOG_KEY
from recsys.ports import NewRecord, Position

NOW_S = 2_000_000_000.0
PROBLEM = RowProblem(3, "price", "a price", "`x`")


class Clock:
    def __init__(self) -> None:
        self.now_s = NOW_S
        self.naps_s: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.naps_s.append(seconds)
        self.now_s += seconds


class Log:
    """Remembers what was appended, and when."""

    partitions = 1

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.batches: list[tuple[float, list[NewRecord]]] = []

    def append(self, records):
        self.batches.append((self._clock.now_s - NOW_S, list(records)))
        return [Position(0, index) for index, _ in enumerate(records)]

    @property
    def records(self) -> list[NewRecord]:
        return [record for _, batch in self.batches for record in batch]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(clock) -> Log:
    return Log(clock)


def event(at_ms, name="Product Viewed", size=0):
    return NewRecord("a", b'{"type":"track","event":"%s","x":"%s"}' % (name.encode(), b"x" * size), at_ms)


def test_everything_is_appended_in_batches_and_counted(log, clock):
    entries = [event(5000), event(1000, "Signed In"), PROBLEM, event(3000), NewRecord("", b"{", 4000)]
    seen = []
    report = import_events(
        log,
        iter(entries),
        clock=clock,
        sleep=clock.sleep,
        batch=2,
        progress=lambda now: seen.append(now.appended),
    )
    assert [len(batch) for _, batch in log.batches] == [2, 2]
    assert log.records == [entry for entry in entries if isinstance(entry, NewRecord)]
    assert (report.read, report.appended, report.skipped) == (5, 4, 1)
    assert (report.first_ms, report.last_ms, report.problems) == (1000, 5000, [PROBLEM])
    assert report.names == {"Product Viewed": 2, "Signed In": 1, "(unreadable)": 1}
    assert seen == [2, 4, 4]
    assert clock.naps_s == []


def test_a_paced_import_keeps_event_time(log, clock):
    entries = [event(10_000), event(10_000), event(20_000), event(15_000), event(110_000)]
    import_events(log, entries, clock=clock, sleep=clock.sleep, speed=10.0)
    assert [(round(at_s, 6), len(batch)) for at_s, batch in log.batches] == [(0.0, 2), (1.0, 2), (10.0, 1)]


def test_a_log_that_is_slower_than_the_pace_is_not_waited_for_twice(log, clock):
    def slow():
        yield event(0)
        clock.now_s += 5.0
        yield event(3000)
        yield event(8000)

    import_events(log, slow(), clock=clock, sleep=clock.sleep, speed=1.0)
    assert clock.naps_s == [pytest.approx(3.0)]


def test_the_future_is_taken_for_now(log, clock):
    import_events(log, [event(int(NOW_S * 1000) + 99_000)], clock=clock, sleep=clock.sleep, speed=1.0)
    assert [record.received_ms for record in log.records] == [int(NOW_S * 1000)]


def test_a_batch_is_bounded_in_bytes(log, clock):
    import_events(log, [event(0, size=1 << 20) for _ in range(8)], clock=clock, sleep=clock.sleep)
    assert [len(batch) for _, batch in log.batches] == [4, 4]


def test_names_and_problems_kept_are_bounded(log, clock):
    entries = [event(0, f"name {number}") for number in range(MAX_NAMES + 5)] + [PROBLEM] * (MAX_PROBLEMS + 5)
    report = import_events(log, entries, clock=clock, sleep=clock.sleep)
    assert report.names["(other)"] == 5
    assert (len(report.names), len(report.problems), report.skipped) == (
        MAX_NAMES + 1,
        MAX_PROBLEMS,
        MAX_PROBLEMS + 5,
    )


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan")])
def test_a_speed_is_above_zero(log, clock, speed):
    with pytest.raises(ValueError, match="Expected a speed above 0, got"):
        import_events(log, [], clock=clock, sleep=clock.sleep, speed=speed)


def changes(log):
    return [decode_change(record.value, Position(0, 0), record.received_ms) for record in log.records]


def test_a_feed_is_appended_as_changes_received_now(log, clock):
    report = import_catalog(log, [Item("a", title="A"), PROBLEM, Item("b", title="B")], clock=clock, batch=1)
    assert [(change.op, change.item_id) for change in changes(log)] == [("upsert", "a"), ("upsert", "b")]
    assert log.records[0].key == CATALOG_KEY + "a"
    assert {record.received_ms for record in log.records} == {int(NOW_S * 1000)}
    assert (report.appended, report.skipped, report.removed) == (2, 1, 0)


def test_a_full_feed_removes_what_it_does_not_name(log, clock):
    wrong = RowProblem(2, "price", "a price", "`x`", item_id="c")
    report = import_catalog(log, [Item("a"), wrong], clock=clock, known_ids=["a", "b", "c"])
    assert [(change.op, change.item_id) for change in changes(log)] == [("upsert", "a"), ("remove", "b")]
    assert (report.removed, report.kept_missing) == (1, 0)


@pytest.mark.parametrize(
    ("fed", "removed"),
    [(Item("a"), ["b"]), (Item("article:a", "article"), ["article:b"])],
)
def test_a_full_feed_of_one_kind_leaves_the_other_alone(log, clock, fed, removed):
    known = ["a", "b", "article:a", "article:b"]
    report = import_catalog(log, [fed], clock=clock, known_ids=known)
    assert [change.item_id for change in changes(log) if change.op == "remove"] == removed
    assert (report.removed, report.kinds) == (1, {fed.type: 1})


def test_a_full_feed_without_a_readable_item_removes_nothing(log, clock):
    wrong = RowProblem(2, "price", "a price", "`x`", item_id="a")
    report = import_catalog(log, [wrong], clock=clock, known_ids=["a", "b", "article:a"])
    assert (changes(log), report.removed) == ([], 0)


def test_a_full_feed_with_a_row_nobody_can_tell_removes_nothing(log, clock):
    report = import_catalog(log, [Item("a"), PROBLEM], clock=clock, known_ids=["a", "b", "c"])
    assert [change.op for change in changes(log)] == ["upsert"]
    assert (report.removed, report.nameless, report.kept_missing) == (0, 1, 2)
