"""The person of a request in rows: what they did, what is in the cart; read once, asked by every slot."""

from __future__ import annotations

from collections.abc import Mapping
from math import log2
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from recsys.events import Action
from recsys.fold import SessionRules, is_open
from recsys.models.arrays import Rows, Scores
from recsys.models.interactions import InteractionKind
from recsys.pipeline.columns import Columns
from recsys.pipeline.lazy import lazy
from recsys.profile import Profile

SEED_ITEMS: Final = 5
"""How many of the last items speak for a session when items like them are looked for."""
_HISTORY_HALF_LIFE_S: Final = 30 * 86_400
_RECENT_HALF_LIFE_S: Final = 3 * 86_400
_RECENT_STEP: Final = 0.9
_RECENT_STEP_LOG2: Final = log2(_RECENT_STEP)

_KIND: Mapping[int, InteractionKind] = {
    Action.VIEW: InteractionKind.VIEW,
    Action.CLICK: InteractionKind.VIEW,
    Action.CART_ADD: InteractionKind.CART,
    Action.WISH: InteractionKind.CART,
    Action.ORDER: InteractionKind.ORDER,
    Action.READ: InteractionKind.READ,
}
_WEIGHTS: Final = np.array((1.0, 3.0, 5.0, 1.0), np.float32)
"""By InteractionKind, as the models weigh them."""
_BY_PLACE: Final = (1.0 / np.arange(1, 2 * SEED_ITEMS + 1)).astype(np.float32)
"""The weight of each seed, the newest first."""
_RECENT_WEIGHT: Mapping[int, float] = {Action.CART_ADD: 1.5, Action.WISH: 1.5}

Kinds = npt.NDArray[np.uint8]


class Deed(NamedTuple):
    """Something the person did with an item: the evidence of a reason."""

    row: int
    item: str
    action: int
    at_s: int


class Seeds(NamedTuple):
    """Items that others are looked for by: rows int32[s], weights float32[s], and the deeds behind
    them; `personal` is False for the item of the page."""

    rows: Rows
    weights: Scores
    deeds: tuple[Deed, ...]
    personal: bool


class Line(NamedTuple):
    """One line of the cart, the newest first."""

    row: int
    item: str
    at_s: int


class Person(msgspec.Struct, frozen=True, eq=False, dict=True):
    """`profile` is None when nothing is known or nothing may be used; `cart` is there all the same,
    for showing people their own cart is no personalisation."""

    profile: Profile | None
    cart: tuple[Line, ...]
    columns: Columns
    now_ms: int
    rules: SessionRules

    @classmethod
    def of(cls, profile: Profile | None, columns: Columns, now_ms: int, rules: SessionRules) -> Person:
        """Reads no more than consent allows."""
        if profile is None:
            return cls(None, (), columns, now_ms, rules)
        held = sorted(profile.cart, key=lambda line: -line.at_s)
        cart = tuple(Line(columns.row(line.item), line.item, line.at_s) for line in held)
        allowed = None if profile.personalization is False else profile
        return cls(allowed, cart, columns, now_ms, rules)

    @lazy
    def deeds(self) -> tuple[Deed, ...]:
        """What was done with items, oldest first; items unknown to the catalogue have row -1."""
        if self.profile is None:
            return ()
        row = self.columns.row
        return tuple(
            Deed(row(touch.item), touch.item, touch.action, touch.at_s) for touch in self.profile.touches
        )

    @lazy
    def session_deeds(self) -> tuple[Deed, ...]:
        """Those of the newest session; when it has none, of the last sitting that has."""
        deeds, profile = self.deeds, self.profile
        if not deeds or profile is None:
            return ()
        start_s = deeds[-1].at_s
        if profile.session is not None and profile.session.start_ms // 1000 <= start_s:
            start_s = profile.session.start_ms // 1000
        else:
            for deed in reversed(deeds):
                if start_s - deed.at_s > self.rules.gap_ms // 1000:
                    break
                start_s = deed.at_s
        return tuple(deed for deed in deeds if deed.at_s >= start_s)

    @lazy
    def session(self) -> Rows:
        """int32[h]: the rows of the session, oldest first, each repeated only after another."""
        rows = [deed.row for deed in self.session_deeds]
        kept = [row for index, row in enumerate(rows) if index == 0 or row != rows[index - 1]]
        return np.array(kept, np.int32)

    @lazy
    def in_session(self) -> bool:
        """Whether the newest session is open now."""
        session = self.profile.session if self.profile is not None else None
        return session is not None and is_open(session, self.now_ms, self.rules)

    @lazy
    def category(self) -> str:
        """The category the open session is in, "" for none."""
        session = self.profile.session if self.profile is not None else None
        return session.category if session is not None and self.in_session else ""

    @lazy
    def history(self) -> tuple[Deed, ...]:
        """All that is known to have been done, oldest first: older orders, then the deeds."""
        if self.profile is None:
            return ()
        since_s = self.deeds[0].at_s if self.deeds else self.now_ms // 1000 + 1
        row = self.columns.row
        ordered = tuple(
            Deed(row(item), item, int(Action.ORDER), order.at_s)
            for order in self.profile.orders
            if order.at_s < since_s and not order.refunded
            for item in order.items
        )
        return ordered + self.deeds

    @lazy
    def history_rows(self) -> Rows:
        """int32[h]: the row of each of `history`, -1 for an unknown item."""
        return np.array([deed.row for deed in self.history], np.int32)

    @lazy
    def history_kinds(self) -> Kinds:
        """uint8[h]: an InteractionKind for each of `history`."""
        return np.array([_KIND.get(deed.action, 0) for deed in self.history], np.uint8)

    @lazy
    def history_fading(self) -> Scores:
        """float32[h]: what is left of each of `history` by its age."""
        now_s = self.now_ms // 1000
        # Histories are short: a list is faster than arrays of numpy's.
        left = [2.0 ** (min(deed.at_s - now_s, 0) / _HISTORY_HALF_LIFE_S) for deed in self.history]
        return np.array(left, np.float32)

    @lazy
    def heaviest_deed(self) -> Deed | None:
        """What counts most in the history: orders before carts before views, faded by age."""
        weights = _WEIGHTS[self.history_kinds] * self.history_fading
        known = [index for index, deed in enumerate(self.history) if deed.row >= 0]
        return self.history[max(known, key=weights.tolist().__getitem__)] if known else None

    @lazy
    def session_seeds(self) -> Seeds:
        """The last distinct items of the session, the newest first and with the greatest weight."""
        newest: dict[int, Deed] = {}
        for deed in reversed(self.session_deeds):
            if deed.row >= 0:
                newest.setdefault(deed.row, deed)
                if len(newest) == SEED_ITEMS:
                    break
        return _seeds(tuple(newest.values()))

    @lazy
    def cart_seeds(self) -> Seeds:
        """The items of the cart, the newest first; none where only the cart itself may be used."""
        if self.profile is None:
            return _seeds(())
        added = int(Action.CART_ADD)
        deeds = tuple(Deed(line.row, line.item, added, line.at_s) for line in self.cart if line.row >= 0)
        return _seeds(deeds[: 2 * SEED_ITEMS])

    @lazy
    def recent(self) -> dict[int, float]:
        """Row -> how strongly it may be offered again: what was looked at, but the last of it all;
        not what was ordered since."""
        weights: dict[int, float] = {}
        ordered: set[int] = set()
        last = self.deeds[-1].row if self.deeds else -1
        now_s = self.now_ms / 1000
        for steps_back, deed in enumerate(reversed(self.deeds)):
            if deed.action == Action.ORDER:
                ordered.add(deed.row)
            if deed.row < 0 or deed.row == last or deed.row in ordered:
                continue
            half_lives = max(now_s - deed.at_s, 0.0) / _RECENT_HALF_LIFE_S
            faded = 2.0 ** (steps_back * _RECENT_STEP_LOG2 - half_lives)
            weights[deed.row] = weights.get(deed.row, 0.0) + _RECENT_WEIGHT.get(deed.action, 1.0) * faded
        return weights

    def newest_deed(self, row: int) -> Deed | None:
        """The last thing done with an item."""
        return self._newest_deeds.get(row)

    @lazy
    def newest_in_session(self) -> Deed | None:
        """The last thing done in the session with an item that the catalogue knows."""
        return next((deed for deed in reversed(self.session_deeds) if deed.row >= 0), None)

    @lazy
    def _newest_deeds(self) -> dict[int, Deed]:
        return {deed.row: deed for deed in self.deeds}


def _seeds(deeds: tuple[Deed, ...]) -> Seeds:
    rows = np.array([deed.row for deed in deeds], np.int32)
    return Seeds(rows, _BY_PLACE[: len(deeds)], deeds, personal=True)


def page_seeds(row: int, item: str, deed: Deed | None) -> Seeds:
    """The item of the page a block stands on."""
    known = deed if deed is not None else Deed(row, item, int(Action.OTHER), 0)
    return Seeds(np.array([row], np.int32), np.ones(1, np.float32), (known,), personal=False)
