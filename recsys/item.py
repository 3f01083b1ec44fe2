"""The item stage: what is known of one item, and how it does right now."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from recsys.catalog import TOLD, CatalogChange, Item, Told, apply_change, apply_evidence
from recsys.counters import ItemCounters, counts
from recsys.events import Action, Event, Line
from recsys.versioned import Versioned

ITEM_STATE_VERSION = 5
"""2: counters of version 2. 3: of version 3. 4: when the item was told. 5: counters of version 4. Older
states are read."""
MAX_LINES_KNOWN = 8


class Mention(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An accepted event named this item."""

    line: Line
    action: Action
    at_ms: int
    counted: bool
    """Whether the event moves counters (`recsys.counters.counts`)."""


class WentOn(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Somebody went on from this item to another within their session."""

    item_id: str
    to_item: str
    at_ms: int


News: TypeAlias = "Mention | WentOn | CatalogChange"


def mentions_of(event: Event) -> list[tuple[str, Mention]]:
    """(item id, mention) for each product or article of an event."""
    action, at_ms, lines = event.action, event.at_ms, event.lines
    counted = counts(event)
    if len(lines) == 1:  # nearly all: a comprehension costs three times as much
        return [(lines[0].item, Mention(lines[0], action, at_ms, counted))]
    return [(line.item, Mention(line, action, at_ms, counted)) for line in lines]


class _Bytes(msgspec.Struct, frozen=True, array_like=True):
    item_id: str
    item: Item | None
    counters: ItemCounters
    told: Told = ()


class ItemState:
    """State of one item; `take` is its only verb. Not shared between threads."""

    __slots__ = ("_lines", "_lines_ms", "_told", "counters", "item", "item_id")

    def __init__(self, item_id: str) -> None:
        self.item_id = item_id
        self.item: Item | None = None
        self.counters = ItemCounters()
        self._told: Told = ()
        self._lines: list[Line] = []
        """Lines that tell nothing new of the item as it is: most events repeat what others said."""
        self._lines_ms: list[int] = []
        """When each of them was said last."""

    def take(self, *news: News) -> None:
        """Fold what is new, in its order."""
        counted: list[tuple[Action, float, int]] = []
        for one in news:
            if type(one) is Mention:
                line, at_ms = one.line, one.at_ms
                if line not in self._lines:
                    self._learn(line, at_ms)
                elif at_ms > self._lines_ms[place := self._lines.index(line)]:
                    self._lines_ms[place] = at_ms
                if one.counted:
                    counted.append((one.action, line.quantity, at_ms // 1000))
            elif type(one) is WentOn:
                self.counters = self.counters.followed_by(one.to_item, one.at_ms // 1000)
            else:
                assert isinstance(one, CatalogChange)
                self.item = apply_change(self.item, one)
                self._told = (one.at_ms,) * len(TOLD)
                self._lines.clear()
                self._lines_ms.clear()
        if counted:
            self.counters = self.counters.counted(counted)

    def _learn(self, line: Line, at_ms: int) -> None:
        self._recall()
        item, self._told = apply_evidence(self.item, line, at_ms, self._told)
        if item is not self.item:
            self.item = item
            self._lines.clear()
            self._lines_ms.clear()
        if not _agrees(item, line):
            return  # in part an older word, which would be passed over when it is the newest
        if len(self._lines) >= MAX_LINES_KNOWN:
            del self._lines[0], self._lines_ms[0]
        self._lines.append(line)
        self._lines_ms.append(at_ms)

    def _recall(self) -> None:
        """What the known lines said, as told when they were said last."""
        if self.item is not None and not self.item.fed:
            for line, at_ms in zip(self._lines, self._lines_ms, strict=True):
                _, self._told = apply_evidence(self.item, line, at_ms, self._told)

    def encode(self) -> bytes:
        """See `Versioned`."""
        self._recall()
        return _bytes.encode(_Bytes(self.item_id, self.item, self.counters, self._told))

    @classmethod
    def decode(cls, data: bytes) -> ItemState:
        """Raises ValueError for another version."""
        known = _bytes.decode(data)
        state = cls(known.item_id)
        state.item, state.counters, state._told = known.item, known.counters, known.told
        return state


def _agrees(item: Item, line: Line) -> bool:
    """Whether a line tells nothing that the item is not."""
    return item.fed or apply_evidence(item, line, item.changed_ms)[0] is item


_bytes = Versioned("an item state", ITEM_STATE_VERSION, _Bytes)
