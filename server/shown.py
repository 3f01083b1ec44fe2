"""What askers have been shown of late: as the flow has told the state, and what this process served
itself, which counts at once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import islice
from threading import Lock
from typing import Final

import msgspec
import structlog

from recsys.block import Slot
from recsys.keys import shown_key
from recsys.placement import Placement
from recsys.ports import ProfileStore, StoreUnavailable
from recsys.shown import Impression, decode_shown, person_of, remembered, remembering
from server.people import Found
from server.requests import Asker
from server.served import Served

log = structlog.get_logger("server.shown")

MAX_PEOPLE: Final = 5000
"""People whose last blocks a process remembers until the flow has told the state."""


class Memory:
    """What this process served itself, by person."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.people: OrderedDict[str, tuple[Impression, ...]] = OrderedDict()


class Shown:
    """Reads and remembers impressions of the placements that count for some cooldown. Thread-safe.

    `counting` is `recsys.shown.remembering` of the placements: for others nothing is read or kept.
    `memory`: of another one of this process.
    """

    def __init__(
        self, store: ProfileStore, placements: Mapping[str, Placement], memory: Memory | None = None
    ) -> None:
        self._store = store
        self.memory = memory if memory is not None else Memory()
        self.counting = remembering(placements)
        self._kept = frozenset().union(*self.counting.values())

    def to_each(
        self, founds: Sequence[Found], askers: Sequence[Asker], slots: Sequence[Slot]
    ) -> list[tuple[Impression, ...]]:
        """What each asker was shown, on this device or another, the newest first; nothing where no slot
        asks. All are looked up together; where the state does not answer, what this process knows."""
        if not any(slot.placement in self.counting for slot in slots):
            return [()] * len(askers)
        names_of = [_names(found, asker) for found, asker in zip(founds, askers, strict=True)]
        keys = [shown_key(name) for names in names_of for name in names]
        try:
            stored = self._store.get_many(keys)
        except StoreUnavailable:
            stored = [None] * len(keys)  # counted as a fallback where the person was looked up
        values = iter(stored)
        each = []
        for names in names_of:
            with self.memory.lock:
                own = [self.memory.people[name] for name in names if name in self.memory.people]
            found = [value for value in islice(values, len(names)) if value is not None]
            each.append(remembered(*own, *map(_impressions, found)) if own or found else ())
        return each

    def add(self, served: Sequence[Served]) -> None:
        """Remember what counts of blocks served now."""
        for one in served:
            block = one.block
            name = one.person or person_of(one.asker.visitor, one.asker.user_id)
            if block.placement not in self._kept or not name:
                continue
            impression = Impression(block.decision_id, block.placement, block.at_ms, block.items.ids)
            with self.memory.lock:
                own = self.memory.people.get(name)
                self.memory.people[name] = (impression,) if own is None else remembered(own, (impression,))
                self.memory.people.move_to_end(name)
                while len(self.memory.people) > MAX_PEOPLE:
                    self.memory.people.popitem(last=False)


def _names(found: Found, asker: Asker) -> list[str]:
    """As whom the asker may have been shown something: as the person they are, as the ids they name, under
    a customer's former ids, and on their devices before somebody logged in there."""
    names = [found.person, person_of(None, asker.user_id), person_of(asker.visitor, None)]
    if found.record is not None:
        profile = found.record.profile
        names += [person_of(None, former) for former in profile.former]
        names += [person_of(visitor, None) for visitor in profile.visitors]
    return [name for name in dict.fromkeys(names) if name]


def _impressions(data: bytes) -> tuple[Impression, ...]:
    try:
        return decode_shown(data).impressions
    except (ValueError, msgspec.DecodeError) as error:
        # Of a later version, during an upgrade.
        log.error("record_unreadable", error=str(error))
        return ()
