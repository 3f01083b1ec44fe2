"""Verify: fold the whole log again with the pure functions and compare with the live state.

What the flow keeps went through an engine, snapshots, crashes and sinks; what is folded here went
through a loop. Both must be the same for every person.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from flows.recovery import ANEW, loss
from flows.run import decoder_of, is_running, rules_of
from recsys import archive
from recsys.events import Action, Arrival
from recsys.keys import PERSON_PREFIX, VISITOR_PREFIX
from recsys.open import open_kept_log, open_store
from recsys.person import PersonState
from recsys.ports import EventLog, LogReader, LogUnavailable, ProfileStore
from recsys.profile import PersonRecord, Standing, VisitorLink, decode_link, decode_person
from recsys.progress import FOLD_RULES, FlowProgress, progress_in
from recsys.settings import Settings
from recsys.tally import TallyState, count_of
from recsys.visitor import VisitorState

PATIENCE_S = 30.0
"""How long a log may be silent before its end."""
NOTHING = "nothing"
MAX_DIFFERENCES = 1000
"""Listed at the most; all are counted."""


@dataclass(frozen=True)
class Difference:
    """`path` is a field of the person's profile, `live` what the state has, `folded` what the log says."""

    person: str
    path: str
    live: object
    folded: object


@dataclass
class VerifyReport:
    records: int = 0
    people: int = 0
    behind: int = 0
    """Records of the log that the flow has not taken yet; they are not compared."""
    moved_on: int = 0
    """People to whom more happened while this ran; they are not compared."""
    renamed: list[Difference] = field(default_factory=list)
    """Devices that the state takes for somebody else than the log does as far as it was folded. Their
    records do not say how far they are; what the log holds further on does."""
    has_older_rules: bool = False
    """Whether an earlier version began this state, and folded some of the log by other rules."""
    lost: str = ""
    """What the state has lost, and what to do about it."""
    missing: int = 0
    """People of whom the log has something and the state nothing."""
    difference_count: int = 0
    differences: list[Difference] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return self.difference_count == 0 and not self.lost

    @property
    def advice(self) -> str:
        """What to do about the differences, where that is known; else ""."""
        if self.ok or self.lost:
            return self.lost
        if self.missing:
            return f"This state has lost {self.missing:,} people. {ANEW}"
        if self.has_older_rules:
            return f"This state was begun by an earlier version, whose rules differed. {ANEW}"
        return ""

    def add(self, difference: Difference) -> None:
        self.difference_count += 1
        self.missing += difference.live == NOTHING
        if len(self.differences) < MAX_DIFFERENCES:
            self.differences.append(difference)


Progress = Callable[[str, int, int], None]


@dataclass
class _Folded:
    visitors: dict[str, VisitorState] = field(default_factory=dict)
    people: dict[str, PersonState] = field(default_factory=dict)
    tally: TallyState = field(default_factory=TallyState)


def _quiet(stage: str, done: int, total: int) -> None:
    """Shows no progress."""


def verify(settings: Settings, progress: Progress = _quiet) -> VerifyReport:
    """Fold the log as far as the flow has taken it, and compare every person, the tally and the
    archive. Memory: one state a visitor and a person. With a flow running, those it moves on
    meanwhile are left out, and tally and archive are not compared.
    LogUnavailable where there is no log yet."""
    with closing(open_kept_log(settings.log)) as log, closing(open_store(settings.state)) as store:
        return _verified(settings, log, store, progress)


def _verified(settings: Settings, log: EventLog, store: ProfileStore, progress: Progress) -> VerifyReport:
    running = is_running(Path(settings.recovery))
    kept = progress_in(store)
    taken = kept or FlowProgress()
    report = VerifyReport(
        behind=taken.behind(log.end()),
        has_older_rules=kept is not None and kept.rules < FOLD_RULES,
        lost=loss(kept, Path(settings.recovery)),
    )
    total = sum(offset + 1 for _, offset in taken.partitions)
    folded = _fold(
        settings, log.reader(), dict(taken.partitions), report, lambda n: progress("fold", n, total)
    )
    _compare_people(store, folded, report, progress)
    _settle_renamed(settings, log, taken, report)
    if not running:
        _compare_tally(taken, folded.tally.progress(taken.written_ms), report)
        _compare_archive(Path(settings.archive), taken, report)
    return report


def _fold(
    settings: Settings,
    reader: LogReader,
    until: dict[int, int],
    report: VerifyReport,
    progress: Callable[[int], None],
) -> _Folded:
    decoder, rules, folded = decoder_of(settings), rules_of(settings), _Folded()
    watermark_ms = 0
    missing = dict(until)
    heard_s = time.monotonic()
    while missing:
        records = reader.read(1000)
        for record in records:
            partition, offset = record.position
            if offset > until.get(partition, -1):
                continue
            watermark_ms = max(watermark_ms, record.received_ms)
            report.records += 1
            for decoded in decoder.decode(record, watermark_ms):
                _take(folded, decoded, rules)
        progress(report.records)
        _reached(missing, (record.position for record in records))
        if records:
            heard_s = time.monotonic()
            continue
        # What lies behind the reader though no record of it came is not waited for.
        _reached(missing, reader.passed().items())
        if missing and time.monotonic() - heard_s > PATIENCE_S:
            raise LogUnavailable(f"Expected records up to {missing}, got none for {PATIENCE_S:.0f} s")
        time.sleep(0.01)  # a broker takes a moment for its first answer
    return folded


def _reached(missing: dict[int, int], places: Iterable[tuple[int, int]]) -> None:
    """Take out of `missing`, the offset that is waited for in each partition, those that are there."""
    for partition, offset in places:
        if offset >= missing.get(partition, offset + 1):
            del missing[partition]


def _take(folded: _Folded, decoded: Any, rules: Any) -> None:
    if not isinstance(decoded, Arrival) or decoded.event.action is Action.SERVED:
        folded.tally.take(count_of([decoded]))
        return
    visitor = decoded.event.visitor
    state = folded.visitors.get(visitor)
    if state is None:
        state = folded.visitors[visitor] = VisitorState(visitor, rules)
    fate, facts = state.take(decoded)
    effects: list[object] = []
    for fact in facts:
        person = folded.people.get(fact.user_id)
        if person is None:
            person = folded.people[fact.user_id] = PersonState(fact.user_id, rules)
        effects.extend(person.take(fact))
    folded.tally.take(count_of([fate, *effects]))
    # This loop takes the log in its order, so every fact up to here has arrived.
    for user_id in {fact.user_id for fact in facts}:
        folded.people[user_id].settle()


def _compare_people(store: ProfileStore, folded: _Folded, report: VerifyReport, progress: Progress) -> None:
    total = len(folded.visitors) + len(folded.people)
    done = 0
    for names in _chunks(folded.visitors):
        for name, data in zip(names, store.get_many([VISITOR_PREFIX + name for name in names]), strict=True):
            live = decode_link(data) if data is not None else None
            _compare_visitor(name, live, folded.visitors[name].record(), report)
        done += len(names)
        progress("compare", done, total)
    for names in _chunks(folded.people):
        for name, data in zip(names, store.get_many([PERSON_PREFIX + name for name in names]), strict=True):
            person = decode_person(data) if data is not None else None
            _compare_record(f"u:{name}", person, folded.people[name].record(), report)
        done += len(names)
        progress("compare", done, total)
    for prefix, known in ((VISITOR_PREFIX, folded.visitors), (PERSON_PREFIX, folded.people)):
        for key, _ in store.scan(prefix):
            if key[len(prefix) :] not in known and not report.behind:
                report.add(Difference(key, "$", "a record", "nothing in the log"))


def _compare_visitor(name: str, live: VisitorLink | None, folded: VisitorLink, report: VerifyReport) -> None:
    if live is None:
        report.people += 1
        report.add(Difference(f"a:{name}", "$", NOTHING, "a record"))
    elif live.user_id != folded.user_id:
        report.people += 1
        report.renamed.append(Difference(f"a:{name}", "user_id", live.user_id, folded.user_id))
    elif folded.record is not None:
        _compare_record(f"a:{name}", live.record, folded.record, report)


def _settle_renamed(settings: Settings, log: EventLog, taken: FlowProgress, report: VerifyReport) -> None:
    """A device of which more was logged behind what was folded has moved on; another one differs."""
    further = _named_behind(settings, log, taken) if report.renamed else set()
    for difference in report.renamed:
        if difference.person in further:
            report.moved_on += 1
        else:
            report.add(difference)


def _named_behind(settings: Settings, log: EventLog, taken: FlowProgress) -> set[str]:
    """The devices of all records that the log had beyond `taken` when this began."""
    reader, decoder, at = log.reader(dict(taken.partitions)), decoder_of(settings), dict(taken.partitions)
    left = {partition: offset for partition, offset in log.end().items() if offset > at.get(partition, -1)}
    named: set[str] = set()
    while left:
        records = reader.read(1000)
        for record in records:
            arrivals = (one for one in decoder.decode(record, record.received_ms) if isinstance(one, Arrival))
            named.update(f"a:{arrival.event.visitor}" for arrival in arrivals)
        _reached(left, (record.position for record in records))
        if not records:
            _reached(left, reader.passed().items())
            time.sleep(0.01)
    return named


def _compare_record(name: str, live: PersonRecord | None, folded: PersonRecord, report: VerifyReport) -> None:
    report.people += 1
    if live is None:
        report.add(Difference(name, "$", NOTHING, "a record"))
        return
    if _further(live.standing, folded.standing):
        report.moved_on += 1
        return
    for path in live.profile.__struct_fields__:
        was, should = getattr(live.profile, path), getattr(folded.profile, path)
        if was != should:
            report.add(Difference(name, path, msgspec.to_builtins(was), msgspec.to_builtins(should)))


def _further(live: Standing, folded: Standing) -> bool:
    return any(not folded.covers(partition, offset) for partition, offset in live.partitions)


def _compare_tally(live: FlowProgress, folded: FlowProgress, report: VerifyReport) -> None:
    for path in (
        "accepted",
        "duplicates",
        "dead",
        "late",
        "blocked_ids",
        "served",
        "catalog",
        "dead_kinds",
        "crowded_events",
        "flaw_count",
    ):
        was, should = getattr(live, path), getattr(folded, path)
        if was != should:
            report.add(Difference("tally", path, was, should))


def _compare_archive(directory: Path, taken: FlowProgress, report: VerifyReport) -> None:
    """Every accepted event once. Catalogue changes are not archived."""
    places = [
        pa.Table.from_batches([batch]) for batch in archive.read(directory, ["partition", "offset", "index"])
    ]
    rows = sum(table.num_rows for table in places)
    once = pa.concat_tables(places).group_by(["partition", "offset", "index"]).aggregate([]) if places else ()
    expected = taken.accepted - taken.catalog
    if rows != expected or len(once) != expected:
        report.add(Difference("archive", "rows (different ones)", f"{rows} ({len(once)})", expected))


def _chunks(names: Any, size: int = 1000) -> Iterator[list[str]]:
    iterator = iter(names)
    while chunk := list(islice(iterator, size)):
        yield chunk
