"""Which packs of mailings are in the log, so that what a kill has taken from there is found.

What a pack shows is claimed in the state first, and logged then. A process that is killed in between
leaves claims of which the log knows nothing, and whoever asks again finds them decided. So each claim
names its pack, and the state is told of packs that are in the log: a pack of which it is not was lost on
the way, or is on it still.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

import msgspec
import structlog

from recsys.keys import decision_key, logged_key
from recsys.ports import ProfileStore, StoreUnavailable
from server.renders import decision_id_of
from server.served import Served, decode_served

log = structlog.get_logger("server.logged")

KNOWN_S: Final = 7 * 86_400
"""So long a mailing may be gone on with after a kill, and miss nothing."""
_MARGIN_S: Final = 3600
"""Marks are younger than claims by the time that the log took, and clocks of servers differ."""
_YES: Final = b"1"
_ANEW: Final = ("decided_anew", "left_cart", "unsubscribed", "no_consent")
"""Why a rendering was decided as a whole, as `Change.why`."""


def new_pack() -> str:
    """An id for a pack: 64 random bits."""
    return os.urandom(8).hex()


class Logged:
    """Remembers in the state what is durable in the log. Thread-safe."""

    def __init__(self, store: ProfileStore) -> None:
        self._store = store

    def note(self, marks: Sequence[str]) -> None:
        """These are in the log. Where the state does not answer they are logged twice if somebody asks again,
        under the same message id."""
        try:
            self._store.claim_many([(logged_key(mark), _YES) for mark in marks], KNOWN_S)
        except StoreUnavailable as error:
            log.warning("packs_not_noted", error=str(error), marks=len(marks))

    def missing(self, found: Sequence[Served], now_ms: int) -> list[Served]:
        """Of what was decided before: what has to be logged, as nothing says that it was. Raises
        StoreUnavailable."""
        since_ms = now_ms - (KNOWN_S - _MARGIN_S) * 1000
        impressions = [one if _is_impression(one) else self._first_of(one) for one in found]
        asked = [one for one in impressions if one is not None and one.pack and one.block.at_ms > since_ms]
        asked = self._unknown(asked, [one.pack for one in asked])
        # Of a pack that was lost those who asked again are noted one by one: the others have not asked yet.
        return self._unknown(asked, [one.block.decision_id for one in asked])

    def _first_of(self, replaced: Served) -> Served | None:
        """The impression of a rendering whose items were replaced since: few are, between a kill and the
        going on."""
        first = decision_id_of(replaced.render_id, replaced.asker, replaced.block.slot)
        (stored,) = self._store.get_many([decision_key(first)])
        try:
            return decode_served(stored) if stored is not None else None
        except (msgspec.DecodeError, ValueError):
            return None  # that it cannot be read was said where it was replaced

    def _unknown(self, found: list[Served], marks: Sequence[str]) -> list[Served]:
        if not found:
            return found
        distinct = list(dict.fromkeys(marks))
        known = self._store.get_many([logged_key(mark) for mark in distinct])
        there = {mark for mark, value in zip(distinct, known, strict=True) if value is not None}
        return [one for one, mark in zip(found, marks, strict=True) if mark not in there]


def marks_of(served: Sequence[Served], pack: str) -> list[str]:
    """What to note once `served` is in the log: the pack, and by themselves those of other packs."""
    again = [one.block.decision_id for one in served if one.pack != pack]
    return [pack, *again] if len(again) < len(served) else again


def _is_impression(served: Served) -> bool:
    """Whether it counts as shown; a block of which items were replaced does not, that of before does."""
    return all(change.why in _ANEW for change in served.block.changes)
