"""Reader of the format `ga4`: flattened exports, through the import, decoder and folds of the product.

A question is asked after each run of events about one item; its target is the next item of the same
session that is another one and occurs in the training.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from bench.quality.formats import wrong
from bench.quality.trial import Questions, Trial
from flows.imports.ga4 import read_ga4
from flows.imports.source import RowProblem, UnknownFormat
from flows.run import decoder_of
from recsys.catalog import CatalogChange
from recsys.events import Action, Arrival, DeadLetter, Event
from recsys.fold import SessionRules
from recsys.item import ItemState, mentions_of
from recsys.models.interactions import Interactions
from recsys.pipeline.replay import Ways
from recsys.ports import NewRecord, Position, Record
from recsys.settings import Settings
from recsys.training_data import INTERACTIONS

DAY_MS: Final = 86_400_000
ANSWERS: Final = frozenset((Action.VIEW, Action.CLICK, Action.CART_ADD, Action.ORDER))
"""What is done with an item that is to be foretold: viewed, carted, bought."""


class Told(NamedTuple):
    """A record of the log and what the decoder makes of it."""

    record: NewRecord
    meaning: Event | CatalogChange


class Export(NamedTuple):
    trial: Trial
    records: list[list[NewRecord]]
    """Of the log before the test, then those that tell each of the trial's events."""


def read_exports(train: Path, test: Path | None, test_days: int | None = None) -> Export:
    """Two flattened exports, or one whose last `test_days` days are the test. Raises WrongFile."""
    told = list(told_by(train))
    if test is None:
        last_ms = max((one.record.received_ms for one in told), default=0)
        split_ms = (last_ms // DAY_MS + 1 - (test_days or 0)) * DAY_MS
        learned = [one for one in told if one.record.received_ms < split_ms]
        later = told[len(learned) :]
    else:
        learned, later = told, list(told_by(test))
    later = [one for one in later if isinstance(one.meaning, Event)]
    # What a list of items beside the test says is of its own time: only events tell of new ones.
    before = [one.record for one in learned]
    return Export(trial_of(learned, later), [before, *([one.record] for one in later)])


def told_by(path: Path) -> Iterator[Told]:
    """The records of an export in the order of time, decoded."""
    decoder = decoder_of(Settings())
    try:
        for offset, given in enumerate(read_ga4(path)):
            if isinstance(given, RowProblem):
                wrong(path, given.line, given.expected, given.got)
            record = Record(Position(0, offset), *given)
            for meaning in decoder.decode(record, given.received_ms):
                if isinstance(meaning, DeadLetter):
                    continue  # the flow leaves it out as well
                yield Told(given, meaning.event if isinstance(meaning, Arrival) else meaning)
    except UnknownFormat as error:
        wrong(path, 1, "a flattened GA4 export", str(error))


def trial_of(learned: Sequence[Told], later: Sequence[Told]) -> Trial:
    """What was told before and after the end of the training."""
    before = [one.meaning for one in learned if isinstance(one.meaning, Event)]
    after = [one.meaning for one in later if isinstance(one.meaning, Event)]
    items: dict[str, ItemState] = {}
    ways = Ways(SessionRules())
    for one in learned:
        if isinstance(one.meaning, CatalogChange):
            items.setdefault(one.meaning.item_id, ItemState(one.meaning.item_id)).take(one.meaning)
            continue
        for item_id, mention in mentions_of(one.meaning):
            items.setdefault(item_id, ItemState(item_id)).take(mention)
        if (went_on := ways.take(one.meaning)) is not None:
            items[went_on.item_id].take(went_on)
    clock = SessionClock()
    train = interactions_of(before, clock)
    row_of = {item: row for row, item in enumerate(train.item_ids)}
    visitors = {event.visitor for event in after}
    return Trial(
        kind="ga4",
        train=train,
        catalogue=[state.item for state in items.values() if state.item is not None],
        counters={item_id: state.counters for item_id, state in items.items()},
        earlier=[event for event in before if event.visitor in visitors],
        events=after,
        questions=questions_of(after, row_of, clock),
        bars_current=True,
        live=np.array(
            [row_of.get(event.lines[0].item, -1) if event.lines else -1 for event in after], np.int32
        ),
    )


class SessionClock:
    """When the session of each visitor began, as `recsys.fold` cuts them."""

    def __init__(self, rules: SessionRules | None = None) -> None:
        self._rules = rules if rules is not None else SessionRules()
        self._open: dict[str, tuple[int, int]] = {}

    def began_ms(self, event: Event) -> int:
        """The start of the session that the event belongs to; events come in the order of time."""
        at_ms, rules = event.at_ms, self._rules
        start_ms, last_ms = self._open.get(event.visitor, (at_ms, at_ms))
        if at_ms - last_ms > rules.gap_ms or at_ms - start_ms >= rules.cap_ms:
            start_ms = at_ms
        self._open[event.visitor] = start_ms, at_ms
        return start_ms


def interactions_of(events: Sequence[Event], clock: SessionClock) -> Interactions:
    """The training's interactions as they are read from the archive: a row an item, repeats collapsed."""
    visitors, items, kinds, at_ms, marks = [], [], [], [], []
    for event in events:
        began_ms, kind = clock.began_ms(event), INTERACTIONS.get(event.action)
        if kind is None:
            continue
        for line in event.lines:
            visitors.append(event.visitor)
            items.append(line.item)
            kinds.append(kind)
            at_ms.append(event.at_ms)
            marks.append(began_ms)
    persons = [f"a:{visitor}" for visitor in visitors]
    return Interactions.from_columns(
        persons, visitors, items, kinds, at_ms, session_marks=marks, session_gap_s=DAY_MS / 2000
    )


class _Step(NamedTuple):
    """An item somebody did something with, in the event that is the `taken`-th of the test."""

    visitor: str
    session_ms: int
    taken: int
    at_ms: int
    row: int
    item: str


def questions_of(events: Sequence[Event], row_of: dict[str, int], clock: SessionClock) -> Questions:
    """The clock goes on from the training: a session may have begun there."""
    steps: list[_Step] = []
    for taken, event in enumerate(events, 1):
        began_ms = clock.began_ms(event)
        if event.action in ANSWERS:
            for line in event.lines:
                row = row_of.get(line.item, -1)
                steps.append(_Step(event.visitor, began_ms, taken, event.at_ms, row, line.item))
    steps.sort(key=attrgetter("visitor", "session_ms", "taken"))
    asked: list[tuple[_Step, int, int, int, int]] = []
    walk: list[int] = []
    for owner, (_, of_session) in enumerate(groupby(steps, key=attrgetter("visitor", "session_ms"))):
        session, start = list(of_session), len(walk)
        walk += [step.row for step in session]
        for place, step in enumerate(session[:-1]):
            after = session[place + 1]
            if after.taken == step.taken or after.item == step.item:
                continue  # not told yet what comes last in the event; or the run goes on
            target = next((o.row for o in session[place + 1 :] if o.row >= 0 and o.item != step.item), -1)
            if target >= 0:
                asked.append((step, start, start + place + 1, target, owner))
    asked.sort(key=lambda one: one[0].taken)
    columns = [np.array(column, np.int64) for column in zip(*(one[1:] for one in asked), strict=True)]
    start_of, stop_of, target_of, owner_of = columns or [np.empty(0, np.int64)] * 4
    return Questions(
        walk=np.array(walk, np.int32),
        start=start_of,
        stop=stop_of,
        targets=target_of.astype(np.int32),
        target_starts=np.arange(len(asked) + 1),
        taken=np.array([one[0].taken for one in asked], np.int64),
        at_ms=np.array([one[0].at_ms for one in asked], np.int64),
        owner=owner_of,
        persons=[one[0].visitor for one in asked],
    )
