"""The stateless steps: each picks its part of a batch and shapes it for the next step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from recsys import archive
from recsys.catalog import CatalogChange
from recsys.events import Action, Arrival, DeadLetter
from recsys.item import Mention, mentions_of
from recsys.keys import decision_key
from recsys.tally import Count, count_of
from recsys.visitor import Accepted, Fact


class Save(NamedTuple):
    """A record for the state, whole: writing it twice is writing it once."""

    key: str
    value: bytes


class Claim(NamedTuple):
    """A record that stands once it is written: a block served."""

    key: str
    value: bytes


def visits(batch: Sequence[object]) -> list[tuple[str, Arrival]]:
    return [
        (arrival.event.visitor, arrival)
        for arrival in batch
        if isinstance(arrival, Arrival) and arrival.event.action is not Action.SERVED
    ]


def facts(batch: Sequence[tuple[str, object]]) -> list[tuple[str, Fact]]:
    return [(out.user_id, out) for _, out in batch if isinstance(out, Fact)]


def mentions(batch: Sequence[tuple[str, object]]) -> Iterable[tuple[str, Mention]]:
    for _, out in batch:
        if isinstance(out, Accepted) and out.event.lines:
            yield from mentions_of(out.event)


def changes(batch: Sequence[object]) -> list[tuple[str, CatalogChange]]:
    return [(change.item_id, change) for change in batch if isinstance(change, CatalogChange)]


def values(batch: Sequence[tuple[str, object]]) -> list[object]:
    return [out for _, out in batch if not isinstance(out, (Save, Fact))]


def counts(batch: Sequence[object]) -> list[tuple[str, Count]]:
    count = count_of(batch)
    return [("tally", count)] if count.partitions or count.effects else []


def saves(batch: Sequence[tuple[str, object]]) -> list[Save]:
    return [out for _, out in batch if isinstance(out, Save)]


def served(batch: Sequence[object]) -> list[Claim]:
    return [
        Claim(decision_key(arrival.event.message_id), arrival.raw)
        for arrival in batch
        if isinstance(arrival, Arrival) and arrival.event.action is Action.SERVED
    ]


def rows(batch: Sequence[object]) -> Iterable[tuple[str, tuple[object, ...]]]:
    for out in batch:
        if isinstance(out, Accepted):
            yield "0", archive.row(out.event, out.raw, out.person, out.session_ms)
        elif isinstance(out, Arrival) and out.event.action is Action.SERVED:
            yield "0", archive.row(out.event, out.raw, f"a:{out.event.visitor}", 0)


def dead_letters(batch: Sequence[object]) -> list[DeadLetter]:
    return [out for out in batch if isinstance(out, DeadLetter)]
