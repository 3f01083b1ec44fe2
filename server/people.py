"""Who a request is about, and whether the state has caught up with what the caller did."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec
import structlog

from recsys.keys import person_key, visitor_key
from recsys.names import has_names, joined
from recsys.ports import Position, ProfileStore, StoreUnavailable
from recsys.profile import PersonRecord, VisitorLink, decode_link, decode_person
from recsys.progress import progress_in
from server.requests import Asker

log = structlog.get_logger("server.people")
_T = TypeVar("_T")

FIRST_PAUSE_S = 0.001
LONGEST_PAUSE_S = 0.004
SETTLED_S = 0.05
"""When the flow is past a position for so long, whatever it changed is in the state."""


class Found(msgspec.Struct, frozen=True):
    """What the state knows of an asker."""

    record: PersonRecord | None = None
    reached: bool = True
    """Whether the record includes the position that was asked for; True when none was."""
    store_down: bool = False

    @property
    def person(self) -> str:
        return self.record.person if self.record is not None else ""


STORE_DOWN = Found(store_down=True)


class People:
    """Looks people up in the state. Thread-safe.

    `sleep_s` and `monotonic_s` are the clock of waits.
    """

    def __init__(
        self,
        store: ProfileStore,
        sleep_s: Callable[[float], None] = time.sleep,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._sleep_s = sleep_s
        self._monotonic_s = monotonic_s

    def find(self, asker: Asker) -> Found:
        """One person. A state that does not answer is told by `store_down`, never raised."""
        try:
            return self.read_all((asker,))[0]
        except StoreUnavailable:
            return STORE_DOWN  # counted as a fallback; the refresh thread says why, once for all

    def read_all(self, askers: Sequence[Asker]) -> list[Found]:
        """Each asker's person, in at most two look-ups for all of them. Raises StoreUnavailable."""
        return [Found(record) for record in self._records(askers)]

    def find_fresh(
        self, asker: Asker, position: Position, until_s: float, is_wanted: Callable[[], bool]
    ) -> Found:
        """Wait until the person's record covers `position`, at most until `until_s` on the
        monotonic clock and while the caller still wants it; then what there is."""
        if asker.user_id is None and asker.visitor is None:
            return Found(reached=False)
        pause_s = FIRST_PAUSE_S
        begun_s, taken_s = self._monotonic_s(), math.inf
        while True:
            found = self.find(asker)
            if found.record is not None and found.record.standing.covers(*position):
                return found
            now_s = self._monotonic_s()
            if now_s - taken_s >= SETTLED_S:  # a duplicate or a dead letter: it changed nobody
                return Found(found.record)
            if taken_s == math.inf and now_s - begun_s >= SETTLED_S and self._has_taken(position):
                taken_s = now_s
            left_s = until_s - self._monotonic_s()
            if left_s <= 0 or not is_wanted():
                return Found(found.record, reached=False, store_down=found.store_down)
            self._sleep_s(min(pause_s, left_s))
            pause_s = min(pause_s * 1.25, LONGEST_PAUSE_S)

    def _has_taken(self, position: Position) -> bool:
        """Whether the flow has been past a position, whatever it was."""
        try:
            progress = progress_in(self._store)
        except (StoreUnavailable, ValueError, msgspec.DecodeError):
            return False
        return (
            progress is not None and dict(progress.partitions).get(position.partition, -1) >= position.offset
        )

    def _records(self, askers: Sequence[Asker]) -> list[PersonRecord | None]:
        keys: list[str] = []
        for asker in askers:
            if asker.user_id is not None:
                keys.append(person_key(asker.user_id))
            if asker.visitor is not None:
                keys.append(visitor_key(asker.visitor))
        if not keys:
            return [None] * len(askers)
        values = iter(self._store.get_many(keys))
        records: list[PersonRecord | None] = []
        linked: list[tuple[int, str]] = []
        for index, asker in enumerate(askers):
            customer = _decoded(next(values), decode_person) if asker.user_id is not None else None
            device = next(values) if asker.visitor is not None else None
            if customer is not None:  # who the device belongs to does not matter then
                records.append(customer)
                continue
            record, user_id = _who(asker, _decoded(device, decode_link))
            records.append(record)
            if user_id is not None:
                linked.append((index, user_id))
        if linked:
            customers = self._customers([user_id for _, user_id in linked])
            for (index, _), customer in zip(linked, customers, strict=True):
                records[index] = customer
        return [
            joined(record, self._customers) if record is not None and has_names(record) else record
            for record in records
        ]

    def _customers(self, user_ids: Sequence[str]) -> list[PersonRecord | None]:
        values = self._store.get_many([person_key(user_id) for user_id in user_ids])
        return [_decoded(value, decode_person) for value in values]


def _who(asker: Asker, link: VisitorLink | None) -> tuple[PersonRecord | None, str | None]:
    """The record that counts where no customer is known, or the user id under which it is still to be read.

    A named customer wins over the device: it may be shared. Only a customer of whom nothing is
    known yet is served by what the device did before anybody logged in on it.
    """
    if link is None:
        return None, None
    if link.user_id is None:
        return link.record, None
    return None, link.user_id if asker.user_id is None else None


def _decoded(value: bytes | None, decode: Callable[[bytes], _T]) -> _T | None:
    if value is None:
        return None
    try:
        return decode(value)
    except (ValueError, msgspec.DecodeError) as error:
        # A record of a later version, during an upgrade: the person is served as unknown.
        log.error("record_unreadable", error=str(error))
        return None
