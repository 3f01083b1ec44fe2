"""The stateless steps: each picks its part of a batch and shapes it for the next step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import msgspec

from recsys import archive
from recsys.catalog import CatalogChange
from recsys.events import Action, Arrival, DeadLetter
from recsys.fold import Effect
from recsys.item import Mention, mentions_of
from recsys.keys import decision_key
from recsys.tally import Count, count_of
from recsys.visitor import Accepted, Duplicate, Fact

Decoded: TypeAlias = "Arrival | DeadLetter | CatalogChange"


class Save(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A record for the state, whole: writing it twice is writing it once."""

    key: str
    value: bytes


class Claim(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A record that stands once it is written: a block served."""

    key: str
    value: bytes


class Visited(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a visitor's events of one batch came to."""

    saves: tuple[Save, ...]
    fates: Sequence[Accepted | Duplicate | DeadLetter] = ()
    facts: Sequence[Fact] = ()


class Told(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a person's facts of one batch came to."""

    saves: tuple[Save, ...]
    effects: Sequence[Effect] = ()


class Kept(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What an item's news, or the tally's counts, came to."""

    saves: tuple[Save, ...]


def visits(batch: Sequence[Decoded]) -> Iterable[tuple[str, list[Arrival]]]:
    by_visitor: dict[str, list[Arrival]] = {}
    for one in batch:
        if isinstance(one, Arrival) and one.event.action is not Action.SERVED:
            by_visitor.setdefault(one.event.visitor, []).append(one)
    return by_visitor.items()


def facts(batch: Sequence[tuple[str, Visited]]) -> Iterable[tuple[str, list[Fact]]]:
    by_person: dict[str, list[Fact]] = {}
    for _, visited in batch:
        for fact in visited.facts:
            by_person.setdefault(fact.user_id, []).append(fact)
    return by_person.items()


def mentions(batch: Sequence[tuple[str, Visited]]) -> Iterable[tuple[str, list[Mention]]]:
    by_item: dict[str, list[Mention]] = {}
    for accepted in _accepted(batch):
        if accepted.event.lines:
            for item_id, mention in mentions_of(accepted.event):
                by_item.setdefault(item_id, []).append(mention)
    return by_item.items()


def changes(batch: Sequence[Decoded]) -> list[tuple[str, list[CatalogChange]]]:
    return [(change.item_id, [change]) for change in batch if isinstance(change, CatalogChange)]


def count_decoded(batch: Sequence[Decoded]) -> list[tuple[str, Count]]:
    return _counted(count_of(batch))


def count_visited(batch: Sequence[tuple[str, Visited]]) -> list[tuple[str, Count]]:
    return _counted(count_of(fate for _, visited in batch for fate in visited.fates))


def count_told(batch: Sequence[tuple[str, Told]]) -> list[tuple[str, Count]]:
    return _counted(count_of(effect for _, told in batch for effect in told.effects))


def _counted(count: Count) -> list[tuple[str, Count]]:
    return [("tally", count)] if count.partitions or count.effects else []


def saves(batch: Sequence[tuple[str, Visited | Told | Kept]]) -> list[Save]:
    return [save for _, kept in batch for save in kept.saves]


def served(batch: Sequence[Decoded]) -> list[Claim]:
    return [Claim(decision_key(arrival.event.message_id), arrival.raw) for arrival in _served(batch)]


def rows(batch: Sequence[tuple[str, Visited]]) -> list[tuple[str, list[Any]]]:
    made = [archive.row(one.event, one.raw, one.person, one.session_ms) for one in _accepted(batch)]
    return [("0", made)] if made else []


def served_rows(batch: Sequence[Decoded]) -> list[tuple[str, list[Any]]]:
    made = [archive.row(one.event, one.raw, f"a:{one.event.visitor}", 0) for one in _served(batch)]
    return [("0", made)] if made else []


def broken(batch: Sequence[Decoded]) -> list[DeadLetter]:
    return [one for one in batch if isinstance(one, DeadLetter)]


def refused(batch: Sequence[tuple[str, Visited]]) -> list[DeadLetter]:
    return [fate for _, visited in batch for fate in visited.fates if isinstance(fate, DeadLetter)]


def _accepted(batch: Sequence[tuple[str, Visited]]) -> Iterable[Accepted]:
    return (fate for _, visited in batch for fate in visited.fates if isinstance(fate, Accepted))


def _served(batch: Sequence[Decoded]) -> Iterable[Arrival]:
    return (one for one in batch if isinstance(one, Arrival) and one.event.action is Action.SERVED)
