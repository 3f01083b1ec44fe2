"""The stateless steps: each picks its part of a batch and shapes it for the next step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import msgspec

from recsys import archive
from recsys.catalog import CatalogChange
from recsys.events import Action, Arrival, DeadLetter
from recsys.facts import Fact
from recsys.fold import Effect
from recsys.item import News, WentOn, mentions_of
from recsys.keys import decision_key
from recsys.shown import ShownRecord, shown_by
from recsys.tally import Count, count_fates, count_of
from recsys.visitor import Accepted, Duplicate

SERVED = Action.SERVED

Records: TypeAlias = "dict[str, bytes]"
"""Records for the state by key, whole: writing one twice is writing it once."""


class Claim(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A record that stands once it is written: a block served."""

    key: str
    value: bytes


class Decoded(msgspec.Struct, frozen=True, array_like=True):
    """What a read of the log holds."""

    visits: dict[str, list[Arrival]]
    """By visitor, in the log's order."""
    changes: list[CatalogChange]
    served: list[Arrival]
    dead: list[DeadLetter]
    passed: dict[int, int]
    """Offsets behind which the log is though no record of them came, by partition."""


class Visited(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a visitor's events of one batch came to."""

    records: tuple[tuple[str, bytes], ...]
    accepted: Sequence[Accepted] = ()
    others: Sequence[Duplicate | DeadLetter] = ()
    facts: Sequence[Fact] = ()


class Told(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a person's facts of one batch came to."""

    records: tuple[tuple[str, bytes], ...]
    effects: Sequence[Effect] = ()


class Kept(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What an item's news, or the tally's counts, came to."""

    records: tuple[tuple[str, bytes], ...]


class Gathered(msgspec.Struct, frozen=True, array_like=True):
    """What all visitors of one batch came to."""

    records: Records
    accepted: list[Accepted]
    others: list[Duplicate | DeadLetter]
    facts: list[Fact]


def visits(batch: Sequence[Decoded]) -> Iterable[tuple[str, list[Arrival]]]:
    """Events by visitor, in the log's order."""
    return [visit for decoded in batch for visit in decoded.visits.items()]


def gathered(batch: Sequence[tuple[str, Visited]]) -> Iterable[Gathered]:
    """One value of all visitors: the engine is paid by the value."""
    came = Gathered({}, [], [], [])
    for _, visited in batch:
        came.records.update(visited.records)
        came.accepted.extend(visited.accepted)
        if visited.others:
            came.others.extend(visited.others)
        if visited.facts:
            came.facts.extend(visited.facts)
    return (came,)


def facts(batch: Sequence[Gathered]) -> Iterable[tuple[str, list[Fact]]]:
    """What visitors tell, by customer."""
    by_person: dict[str, list[Fact]] = {}
    for came in batch:
        for fact in came.facts:
            by_person.setdefault(fact.user_id, []).append(fact)
    return by_person.items()


def mentions(batch: Sequence[Gathered]) -> Iterable[tuple[str, list[News]]]:
    """What accepted events tell of items, and what people went on to from them, by item."""
    by_item: defaultdict[str, list[News]] = defaultdict(list)
    for came in batch:
        for accepted in came.accepted:
            event = accepted.event
            if event.lines:
                for item_id, mention in mentions_of(event):
                    by_item[item_id].append(mention)
            if accepted.came_from:
                went_on = WentOn(accepted.came_from, event.lines[0].item, event.at_ms)
                by_item[went_on.item_id].append(went_on)
    return by_item.items()


def changes(batch: Sequence[Decoded]) -> list[tuple[str, list[CatalogChange]]]:
    """Catalogue changes by item."""
    return [(change.item_id, [change]) for decoded in batch for change in decoded.changes]


def count_decoded(batch: Sequence[Decoded]) -> list[tuple[str, Count]]:
    """What goes past the visitor stage, for the tally, and places of the log without a record."""
    count = count_of(one for decoded in batch for one in (*decoded.changes, *decoded.served, *decoded.dead))
    for decoded in batch:
        for partition, offset in decoded.passed.items():
            count.partitions[partition] = max(count.partitions.get(partition, -1), offset)
    return _counted(count)


def count_gathered(batch: Sequence[Gathered]) -> list[tuple[str, Count]]:
    """What became of visitors' events, for the tally."""
    return [count for came in batch for count in _counted(count_fates(came.accepted, came.others))]


def count_told(batch: Sequence[tuple[str, Told]]) -> list[tuple[str, Count]]:
    """Effects of customers' events, for the tally."""
    return _counted(count_of(effect for _, told in batch for effect in told.effects))


def _counted(count: Count) -> list[tuple[str, Count]]:
    return [("tally", count)] if count.partitions or count.effects else []


def records(batch: Sequence[Gathered]) -> list[Records]:
    """What the state keeps of visitors."""
    return [came.records for came in batch]


def kept(batch: Sequence[tuple[str, Told | Kept]]) -> list[Records]:
    """What the state keeps of customers, items, what was shown and the tally."""
    return [dict(record for _, one in batch for record in one.records)]


def served(batch: Sequence[Decoded]) -> list[Claim]:
    """Blocks served, by decision id."""
    return [Claim(decision_key(one.event.message_id), one.raw) for decoded in batch for one in decoded.served]


def rows(batch: Sequence[Gathered]) -> list[tuple[str, archive.Columns]]:
    """Accepted events for the archive's one part."""
    return [("0", _columns(came.accepted)) for came in batch if came.accepted]


def _columns(accepted: Sequence[Accepted]) -> archive.Columns:
    return archive.columns_of(
        [one.event for one in accepted],
        [one.raw for one in accepted],
        [one.person for one in accepted],
        [one.session_ms for one in accepted],
    )


def shown(batch: Sequence[Decoded], counting: frozenset[str]) -> Iterable[tuple[str, list[ShownRecord]]]:
    """What persons were shown, in placements that count."""
    by_person: dict[str, list[ShownRecord]] = {}
    if counting:
        for decoded in batch:
            for one in decoded.served:
                found = shown_by(one.raw, counting)
                if found is not None:
                    by_person.setdefault(found.person, []).append(found)
    return by_person.items()


def served_rows(batch: Sequence[Decoded]) -> list[tuple[str, archive.Columns]]:
    """Blocks served, for the archive."""
    blocks = [one for decoded in batch for one in decoded.served]
    if not blocks:
        return []
    events = [one.event for one in blocks]
    persons = [f"a:{event.visitor}" for event in events]
    return [("0", archive.columns_of(events, [one.raw for one in blocks], persons, [0] * len(blocks)))]


def broken(batch: Sequence[Decoded]) -> list[DeadLetter]:
    """Events that could not be decoded."""
    return [one for decoded in batch for one in decoded.dead]


def refused(batch: Sequence[Gathered]) -> list[DeadLetter]:
    """Events that the visitor stage refused: another event's id."""
    return [one for came in batch for one in came.others if isinstance(one, DeadLetter)]
