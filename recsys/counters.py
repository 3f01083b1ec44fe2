"""Live counters of one item: how often it was viewed, put in a cart and ordered, with decay; and what
people went on to from it.

A counter is a sum of `2 ** -(age / half life)`, kept as it stood at `at_s`, so that it needs no
clock of its own: two counters are compared by bringing both to the same time. What fades within hours
is kept as *heat*: log2 of the sum of `2 ** (at_s / half life)`. It never has to be brought to another
time, and the greater heat is the greater sum at any time.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import log2

import msgspec

from recsys.events import Action, Event
from recsys.versioned import Versioned

# By name of their own: an enum's members are slow to look up.
VIEW, READ, CART_ADD, ORDER = Action.VIEW, Action.READ, Action.CART_ADD, Action.ORDER
COUNTERS_VERSION = 4
"""2: surge and what came after. 3: surge by a shorter half-life. 4: one by an hour beside it. Older records
are read: without those, and with surges from long ago."""
HALF_LIFE_S = 2 * 86_400
SURGE_HALF_LIFE_S = 600
"""Short: a newspaper's front page changes within the hour, and HALF_LIFE_S tells the days."""
SLOW_SURGE_HALF_LIFE_S = 3_600
"""Where little is looked at, ten minutes tell next to nothing."""
AFTER_HALF_LIFE_S = 6 * 3_600
MAX_AFTER = 20
"""How many items that people went on to are kept: those of the greatest heat."""


class After(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An item that people went on to within their session."""

    item: str
    heat: float


class ItemCounters(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Decayed sums as they stood at `at_s` (epoch seconds)."""

    views: float = 0.0
    carts: float = 0.0
    orders: float = 0.0
    at_s: int = 0
    surge: float | None = None
    """Heat of the views, by SURGE_HALF_LIFE_S; None before the first. Up to version 2 it was of hours, so
    what is left of it is less than any view's since."""
    after: tuple[After, ...] = ()
    """By AFTER_HALF_LIFE_S, the greatest heat first."""
    slow_surge: float | None = None
    """As `surge`, by SLOW_SURGE_HALF_LIFE_S."""

    def counted(self, events: Iterable[tuple[Action, float, int]]) -> ItemCounters:
        """With more events: of each the action, the quantity and when it happened, in epoch seconds. Late
        ones count for what is left of them."""
        views, carts, orders, now_s = self.views, self.carts, self.orders, self.at_s
        surge, slow_surge = self.surge, self.slow_surge
        for action, quantity, at_s in events:
            gain = 1.0
            if at_s > now_s:
                kept = 0.5 ** ((at_s - now_s) / HALF_LIFE_S)
                views, carts, orders, now_s = views * kept, carts * kept, orders * kept, at_s
            elif at_s < now_s:
                gain = 0.5 ** ((now_s - at_s) / HALF_LIFE_S)
            if action is VIEW or action is READ:
                views += gain
                surge = heated(surge, at_s / SURGE_HALF_LIFE_S)
                slow_surge = heated(slow_surge, at_s / SLOW_SURGE_HALF_LIFE_S)
            elif action is CART_ADD:
                carts += gain
            elif action is ORDER:
                orders += gain * min(quantity, 10.0)
        return ItemCounters(views, carts, orders, now_s, surge, self.after, slow_surge)

    def followed_by(self, item: str, at_s: int) -> ItemCounters:
        """With one more person who went on to `item`."""
        heat = at_s / AFTER_HALF_LIFE_S
        after = list(self.after)
        for index, before in enumerate(after):
            if before.item == item:
                heat = heated(before.heat, heat)
                del after[index]
                break
        place = len(after)
        while place and after[place - 1].heat < heat:
            place -= 1
        after.insert(place, After(item, heat))
        del after[MAX_AFTER:]
        return ItemCounters(
            self.views, self.carts, self.orders, self.at_s, self.surge, tuple(after), self.slow_surge
        )


def heated(heat: float | None, more: float) -> float:
    """Heat and heat together: log2(2 ** heat + 2 ** more)."""
    if heat is None:
        return more
    most, least = (heat, more) if heat > more else (more, heat)
    return most + log2(1.0 + 2.0 ** (least - most))


COUNTED = frozenset((VIEW, READ, CART_ADD, ORDER))


def counts(event: Event) -> bool:
    """Whether an event moves the counters of its items."""
    return event.action in COUNTED and bool(event.lines)


def decay(age_s: float) -> float:
    return 1.0 if age_s == 0 else float(0.5 ** (age_s / HALF_LIFE_S))


_counters = Versioned("a counter record", COUNTERS_VERSION, ItemCounters)
encode_counters = _counters.encode
decode_counters = _counters.decode
