"""The person of a request in rows: what they did, what is in the cart; read once, asked by every slot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from recsys.events import Action
from recsys.fold import SessionRules, is_open
from recsys.intent import intent
from recsys.models.arrays import Rows, Scores
from recsys.models.interactions import InteractionKind
from recsys.picked import INT32S, INT64S
from recsys.pipeline.columns import Columns
from recsys.pipeline.lazy import lazy
from recsys.placement import Tier
from recsys.profile import Order, Profile

SEED_ITEMS: Final = 5
"""How many of the last items speak for a session when items like them are looked for."""

_KIND_OF: Final[Mapping[int, InteractionKind]] = {
    Action.CART_ADD: InteractionKind.CART,
    Action.WISH: InteractionKind.CART,
    Action.ORDER: InteractionKind.ORDER,
    Action.READ: InteractionKind.READ,
}
_KINDS: Final = bytes([_KIND_OF.get(action, InteractionKind.VIEW) for action in range(256)])
"""By Action, an InteractionKind."""
_ORDERED: Final = bytes((InteractionKind.ORDER,))
_BY_PLACE: Final = (1.0 / np.arange(1, 2 * SEED_ITEMS + 1)).astype(np.float32)
"""The weight of each seed, the newest first."""
_BY_PLACES: Final = tuple([_BY_PLACE[:count] for count in range(len(_BY_PLACE) + 1)])
"""Of so many seeds."""

Kinds = npt.NDArray[np.uint8]
Times = npt.NDArray[np.int64]
_NO_ROWS: Final = np.empty(0, np.int32)


class Deed(msgspec.Struct, frozen=True, gc=False):
    """Something the person did with an item: the evidence of a reason."""

    row: int
    item: str
    action: int
    at_s: int


class Seeds(msgspec.Struct, frozen=True, eq=False):
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


class Done(NamedTuple):
    """Touches in columns, the oldest first; rows of items unknown to the catalogue are -1."""

    items: Sequence[str]
    rows: list[int]
    actions: Sequence[int]
    at_s: Sequence[int]
    """Epoch seconds."""


_NOTHING_DONE: Final = Done((), [], (), ())


class History(NamedTuple):
    """All that is known to have been done, the oldest first, as models read it; rows of items unknown to the
    catalogue are -1."""

    rows: Rows
    """int32[h]."""
    kinds: Kinds
    """uint8[h]: an InteractionKind for each."""
    at_s: Times
    """int64[h]: epoch seconds."""
    n_older: int
    """How many of the first are orders that are older than the first touch."""

    @property
    def touched(self) -> History:
        """The touches alone."""
        n_older = self.n_older
        if not n_older:
            return self
        return History(self.rows[n_older:], self.kinds[n_older:], self.at_s[n_older:], 0)


class Person(msgspec.Struct, frozen=True, eq=False, dict=True):
    """`profile` is None when nothing is known or nothing may be used; `cart` and `orders`
    are there all the same, for showing people their own cart, and not what they have, is no
    personalisation.
    """

    profile: Profile | None
    cart: tuple[Line, ...]
    orders: tuple[Order, ...]
    columns: Columns
    now_ms: int
    rules: SessionRules

    @classmethod
    def of(cls, profile: Profile | None, columns: Columns, now_ms: int, rules: SessionRules) -> Person:
        """Reads no more than consent allows."""
        if profile is None:
            return cls(None, (), (), columns, now_ms, rules)
        held = sorted(profile.cart, key=lambda line: -line.at_s) if profile.cart else ()
        cart = tuple([Line(columns.row(line.item), line.item, line.at_s) for line in held])
        allowed = None if profile.personalization is False else profile
        return cls(allowed, cart, profile.orders, columns, now_ms, rules)

    @lazy
    def done(self) -> Done:
        """The touches, in columns."""
        touches = () if self.profile is None else self.profile.touches
        if not touches:
            return _NOTHING_DONE
        items = [one.item for one in touches]
        rows, actions = self.columns.rows_of(items), [one.action for one in touches]
        return Done(items, rows, actions, [one.at_s for one in touches])

    @lazy
    def history(self) -> History:
        """All that is known to have been done: older orders, then the touches."""
        _, rows, actions, at_s = self.done
        older = self._older_orders
        if older:
            rows = self.columns.rows_of([item for item, _ in older]) + rows
            at_s = [*(ordered_s for _, ordered_s in older), *at_s]
        kinds = _ORDERED * len(older) + bytes(actions).translate(_KINDS)
        return History(
            np.frombuffer(INT32S[len(rows)].pack(*rows), np.int32),
            np.frombuffer(kinds, np.uint8),
            np.frombuffer(INT64S[len(rows)].pack(*at_s), np.int64),
            len(older),
        )

    @property
    def rows(self) -> Rows:
        """int32[t]: the row of each touch."""
        return self.history.touched.rows

    @lazy
    def session_from(self) -> int:
        """The place of the first touch of the newest session; when it has none, of the last sitting
        that has. The number of touches for nobody who touched anything."""
        at_s, profile = self.done.at_s, self.profile
        if not at_s or profile is None:
            return 0
        place = len(at_s) - 1
        start_s = at_s[place]
        if profile.session is not None and profile.session.start_ms // 1000 <= start_s:
            start_s = profile.session.start_ms // 1000
            while place and at_s[place - 1] >= start_s:
                place -= 1
            return place
        gap_s = self.rules.gap_ms // 1000
        while place and start_s - at_s[place - 1] <= gap_s:
            place -= 1
            start_s = at_s[place]
        return place

    @lazy
    def session(self) -> list[int]:
        """The rows of the session, each repeated only after another."""
        session: list[int] = []
        for row in self.done.rows[self.session_from :]:
            if not session or session[-1] != row:
                session.append(row)
        return session

    @lazy
    def in_session(self) -> bool:
        """Whether the newest session is open now."""
        session = self.profile.session if self.profile is not None else None
        return session is not None and is_open(session, self.now_ms, self.rules)

    @lazy
    def tier(self) -> Tier:
        """Of intent, now."""
        if self.profile is None:
            return "browsing"
        return intent(self.profile, self.now_ms, self.rules).tier

    @lazy
    def category(self) -> str:
        """The category the open session is in, "" for none."""
        session = self.profile.session if self.profile is not None else None
        return session.category if session is not None and self.in_session else ""

    @property
    def queries(self) -> tuple[str, ...]:
        """What the open session has searched for, the newest last."""
        session = self.profile.session if self.profile is not None else None
        return session.queries if session is not None and self.in_session else ()

    @lazy
    def _older_orders(self) -> list[tuple[str, int]]:
        """(item, epoch seconds) of what was ordered before the first touch."""
        if self.profile is None or not self.profile.orders:
            return []
        since_s = self.done.at_s[0] if self.done.at_s else self.now_ms // 1000 + 1
        return [
            (item, order.at_s)
            for order in self.profile.orders
            if order.at_s < since_s and not order.refunded
            for item in order.items
        ]

    def ordered_since(self, days: int) -> list[str]:
        """What was ordered in the last so many days, and not given back."""
        since_s = self.now_ms // 1000 - days * 86_400
        return [
            item
            for order in self.orders
            if order.at_s > since_s and not order.refunded
            for item in order.items
        ]

    @lazy
    def session_seeds(self) -> Seeds:
        """The last distinct items of the session, the newest first and with the greatest weight."""
        items, rows, actions, at_s = self.done
        newest: dict[int, Deed] = {}
        for place in range(len(rows) - 1, self.session_from - 1, -1):
            row = rows[place]
            if row >= 0 and row not in newest:
                newest[row] = Deed(row, items[place], actions[place], at_s[place])
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

    def deed(self, place: int) -> Deed:
        """The touch at this place, as evidence."""
        items, rows, actions, at_s = self.done
        return Deed(rows[place], items[place], actions[place], at_s[place])

    def newest_deed(self, row: int) -> Deed | None:
        """The last thing done with an item."""
        place = self._newest_places.get(row)
        return None if place is None else self.deed(place)

    @lazy
    def ordered_rows(self) -> frozenset[int]:
        """The rows of all that is known to have been ordered."""
        if not self.orders:
            return frozenset()
        return frozenset(self.history.rows[self.history.kinds == InteractionKind.ORDER].tolist())

    def newest_order(self, row: int) -> Deed | None:
        """The last time that an item was ordered."""
        ordered = (self.history.rows == row) & (self.history.kinds == InteractionKind.ORDER)
        places = np.flatnonzero(ordered)
        return self.history_deed(int(places[-1])) if len(places) else None

    @lazy
    def _newest_places(self) -> dict[int, int]:
        rows = self.done.rows
        return dict(zip(rows, range(len(rows)), strict=True))

    def history_deed(self, place: int) -> Deed:
        """The one at this place of the history, as evidence."""
        n_older = len(self._older_orders)
        if place >= n_older:
            return self.deed(place - n_older)
        item, at_s = self._older_orders[place]
        return Deed(int(self.history.rows[place]), item, int(Action.ORDER), at_s)


def _seeds(deeds: tuple[Deed, ...]) -> Seeds:
    if not deeds:
        return _NO_SEEDS
    rows = np.array([deed.row for deed in deeds], np.int32)
    return Seeds(rows, _BY_PLACES[len(deeds)], deeds, personal=True)


_NO_SEEDS: Final = Seeds(_NO_ROWS, _BY_PLACE[:0], (), personal=True)


def page_seeds(row: int, item: str, deed: Deed | None) -> Seeds:
    """The item of the page a block stands on."""
    known = deed if deed is not None else Deed(row, item, int(Action.OTHER), 0)
    return Seeds(np.array([row], np.int32), _BY_PLACES[1], (known,), personal=False)
