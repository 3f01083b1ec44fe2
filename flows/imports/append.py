"""Records and items into the log, in batches, as fast as it takes them or paced in event time."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from flows.imports.source import BAD_JSON, RowProblem
from recsys.catalog import Item, encode_change, type_of
from recsys.decode import CATALOG_KEY
from recsys.ports import EventLog, NewRecord

MAX_NAMES = 200
"""Event names counted one by one; further ones are counted together as `(other)`."""
CATALOGUE = "(catalogue)"
"""The name under which an import counts changes of items."""
MAX_PROBLEMS = 20
"""Problems kept word for word; all are counted."""
MAX_BATCH_BYTES = 4 * 1024 * 1024
"""A batch is appended when its values reach this, however few they are."""


class ImportReport(msgspec.Struct):
    """How far an import is, and in the end what became of it: `read = appended + skipped`."""

    read: int = 0
    """Records the reader gave, and rows it could not take."""
    appended: int = 0
    skipped: int = 0
    seconds: float = 0.0
    first_ms: int | None = None
    """Earliest and latest `received_ms` appended (epoch)."""
    last_ms: int | None = None
    names: dict[str, int] = msgspec.field(default_factory=dict)
    """Appended records by event name (or call type)."""
    problems: list[RowProblem] = msgspec.field(default_factory=list)
    """The first ones."""

    @property
    def per_s(self) -> float:
        return self.appended / self.seconds if self.seconds > 0 else 0.0

    def skip(self, problem: RowProblem) -> None:
        self.read += 1
        self.skipped += 1
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem)

    def count(self, records: list[NewRecord]) -> None:
        self.appended += len(records)
        for record in records:
            name = _name_of(record)
            if name not in self.names and len(self.names) >= MAX_NAMES:
                name = "(other)"
            self.names[name] = self.names.get(name, 0) + 1
        if records:
            times = [record.received_ms for record in records]
            self.first_ms = min(times) if self.first_ms is None else min(self.first_ms, *times)
            self.last_ms = max(times) if self.last_ms is None else max(self.last_ms, *times)


class CatalogReport(ImportReport):
    """An ImportReport of items, with what a full feed took out: `read + removed = appended + skipped`."""

    kinds: dict[str, int] = msgspec.field(default_factory=dict)
    """Items fed, by type: `product`, `article`."""
    removed: int = 0
    nameless: int = 0
    """Skipped rows that did not even say which item they were about."""
    kept_missing: int = 0
    """Known items that the feed did not name and that stayed all the same: a row that could not
    be read may have been any of them."""


Progress = Callable[[ImportReport], None]


class _Call(msgspec.Struct, gc=False):
    type: str | None = None
    event: str | None = None


_call = msgspec.json.Decoder(_Call)


def _name_of(record: NewRecord) -> str:
    if record.key.startswith(CATALOG_KEY):
        return CATALOGUE
    try:
        call = _call.decode(record.value)
    except BAD_JSON:
        return "(unreadable)"
    return call.event or call.type or "(unnamed)"


def import_events(
    log: EventLog,
    records: Iterable[NewRecord | RowProblem],
    *,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
    speed: float | None = None,
    batch: int = 2000,
    progress: Progress | None = None,
) -> ImportReport:
    """Append all records; the report says what became of them.

    `speed`: how many seconds of event time pass in a second; None: as fast as the log takes them.
    `clock` (epoch seconds) and `sleep` (seconds) keep the pace; records from the future are taken
    for received now. `progress` is called after each batch. Readers name messages by content, so
    an import that was interrupted is simply started again: what is there already becomes
    duplicates. Raises LogUnavailable; what was appended before it stays.
    """
    if speed is not None and not speed > 0:
        raise ValueError(f"Expected a speed above 0, got {speed}")
    report = ImportReport()
    started_s = clock()
    pace = _Pace(speed, started_s)
    waiting: list[NewRecord] = []
    waiting_bytes = 0

    def flush() -> None:
        nonlocal waiting_bytes
        _append(log, waiting, report, started_s, clock, progress)
        waiting_bytes = 0

    for entry in records:
        if isinstance(entry, RowProblem):
            report.skip(entry)
            continue
        report.read += 1
        now_ms = int(clock() * 1000)
        record = entry if entry.received_ms <= now_ms else entry._replace(received_ms=now_ms)
        wait_s = pace.wait_s(record.received_ms, now_ms / 1000)
        if wait_s > 0:
            flush()
            sleep(wait_s)
        waiting.append(record)
        waiting_bytes += len(record.value)
        if len(waiting) >= batch or waiting_bytes >= MAX_BATCH_BYTES:
            flush()
    flush()
    return report


class _Pace:
    """When a record is due: as long after the first, in event time, as `speed` makes of it."""

    def __init__(self, speed: float | None, started_s: float) -> None:
        self._speed = speed
        self._started_s = started_s
        self._first_ms: int | None = None

    def wait_s(self, received_ms: int, now_s: float) -> float:
        if self._speed is None:
            return 0.0
        if self._first_ms is None:
            self._first_ms = received_ms
        due_s = self._started_s + (received_ms - self._first_ms) / 1000 / self._speed
        return due_s - now_s


def _append(
    log: EventLog,
    waiting: list[NewRecord],
    report: ImportReport,
    started_s: float,
    clock: Callable[[], float],
    progress: Progress | None,
) -> None:
    if waiting:
        log.append(waiting)
        report.count(waiting)
        waiting.clear()
    report.seconds = max(clock() - started_s, 0.0)
    if progress is not None:
        progress(report)


def import_catalog(
    log: EventLog,
    items: Iterable[Item | RowProblem],
    *,
    clock: Callable[[], float],
    known_ids: Iterable[str] | None = None,
    batch: int = 1000,
    progress: Progress | None = None,
) -> CatalogReport:
    """Append a change for every item, received now (`clock`, epoch seconds).

    `known_ids` (a full feed, `--replace`): the ids of the fed items there are; those the feed does
    not name are removed, products by a feed of products and articles by one of articles, so a feed
    without a readable item removes nothing. A row that could not be read keeps its item; where it
    did not even say which it was, nothing is removed. Holds the ids of the feed in memory then.
    Raises LogUnavailable.
    """
    report = CatalogReport()
    started_s = clock()
    named: set[str] = set()
    waiting: list[NewRecord] = []
    for item in items:
        if isinstance(item, RowProblem):
            report.skip(item)
            named.add(item.item_id)
            report.nameless += not item.item_id
            continue
        report.read += 1
        report.kinds[item.type] = report.kinds.get(item.type, 0) + 1
        if known_ids is not None:
            named.add(item.id)
        value = encode_change("upsert", item.id, item)
        waiting.append(NewRecord(CATALOG_KEY + item.id, value, int(clock() * 1000)))
        if len(waiting) >= batch:
            _append(log, waiting, report, started_s, clock, progress)
    for item_id in known_ids or ():
        if item_id in named or type_of(item_id) not in report.kinds:
            continue
        if report.nameless:
            report.kept_missing += 1
            continue
        report.removed += 1
        value = encode_change("remove", item_id)
        waiting.append(NewRecord(CATALOG_KEY + item_id, value, int(clock() * 1000)))
        if len(waiting) >= batch:
            _append(log, waiting, report, started_s, clock, progress)
    _append(log, waiting, report, started_s, clock, progress)
    return report
