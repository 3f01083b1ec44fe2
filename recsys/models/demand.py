"""Live demand as it stood at any time of the past: what `recsys.counters` tell the ranker when it serves,
for the replay it learns from."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from recsys.counters import (
    AFTER_HALF_LIFE_S,
    HALF_LIFE_S,
    MAX_AFTER,
    SLOW_SURGE_HALF_LIFE_S,
    SURGE_HALF_LIFE_S,
)
from recsys.models.arrays import Rows
from recsys.models.compiled import Array, f4, f8, i4, i8, kernel, read_only, u1, void
from recsys.models.interactions import InteractionKind, Interactions

VIEWS_OF_KIND: Final = (1.0, 3.0, 6.0, 1.0)
"""What a view, a cart, an order and a read count in demand."""
UNKNOWN: Final = np.float32(-40.0)
"""Of an item that nobody has looked at; of all items where there are no live counters."""
N_LIVE: Final = 5
HALF_LIVES_S: Final = (float(HALF_LIFE_S), float(SURGE_HALF_LIFE_S), float(SLOW_SURGE_HALF_LIFE_S))
"""Of the heats, of which the first is demand and the others are of views alone."""

NOTHING_AFTER: Final = (np.empty(0, np.int32), np.empty(0))

Live = npt.NDArray[np.float32]
"""float32[N_LIVE, c]: log2 of an item's demand, and of its views of the last minutes, divided by the
greatest of all; of how many went on to it from the item at hand in these hours, as it is and divided by
the greatest; of its views of the last hour, divided by the greatest of all; UNKNOWN for none, and at least
that."""

Heats = npt.NDArray[np.floating]

_I4, _I8, _F8, _U1 = (read_only(dtype) for dtype in (i4, i8, f8, u1))


@kernel(void(i4[::1], f8[::1], i4, f8))
def _follow(rows: Array, heats: Array, row: int, more: float) -> None:
    """As `ItemCounters.followed_by`, in no order: of too many the least is forgotten."""
    coldest = 0
    for place in range(len(rows)):
        if rows[place] == row:
            most, least = max(heats[place], more), min(heats[place], more)
            heats[place] = most + np.log2(1.0 + np.exp2(least - most))
            return
        if heats[place] < heats[coldest]:
            coldest = place
    if more > heats[coldest]:
        rows[coldest], heats[coldest] = row, more


@kernel(
    void(
        *(_I8, _I4, _I4, _U1, _F8, _F8, f8, _F8, f8, f8[:, ::1], f8[::1]),
        *(i4[:, ::1], f8[:, ::1]),
    )
)
def _fold(
    order: Array,
    item: Array,
    came_from: Array,
    kind: Array,
    at_s: Array,
    views_of_kind: Array,
    base_s: float,
    half_lives_s: Array,
    after_half_life_s: float,
    heat: Array,
    best: Array,
    after_rows: Array,
    after_heat: Array,
) -> None:
    """Add interactions to heat float64[h, n], by each of `half_lives_s` float64[h]: log2 of sums brought to
    `base_s`, so that none overflows; and keep the greatest of each in `best` float64[h]."""
    for place in range(len(order)):
        one = order[place]
        row = item[one]
        for live in range(len(half_lives_s)):
            if live > 0 and (kind[one] == 1 or kind[one] == 2):
                continue
            more = (at_s[one] - base_s) / half_lives_s[live]
            if live == 0:
                more += np.log2(views_of_kind[kind[one]])
            most, least = max(heat[live, row], more), min(heat[live, row], more)
            heat[live, row] = most + np.log2(1.0 + np.exp2(least - most))
            best[live] = max(best[live], heat[live, row])
        if came_from[one] >= 0:
            more = at_s[one] / after_half_life_s
            _follow(after_rows[came_from[one]], after_heat[came_from[one]], row, more)


@kernel(
    [
        void(_I4, heats, heats, heats, _F8, _I4, _F8, f8, f4[:, ::1], f4[::1])
        for heats in (read_only(f4), read_only(f8))
    ]
)
def tell_live(
    rows: Array,
    demand: Array,
    surge: Array,
    slow_surge: Array,
    greatest: Array,
    after_rows: Array,
    after_heats: Array,
    half_lives: float,
    live: Array,
    live_slow_surge: Array,
) -> None:
    """Fill the rows of `Live` for the candidates `rows` int32[c]: `live` all but the last one, which is
    `live_slow_surge`.

    demand, surge and slow_surge: heats of all items; `greatest` float64[3] of each. after_rows int32[a] and
    after_heats float64[a]: what people went on to from the item at hand; `half_lives`: how many have passed,
    by now, since those heats were zero.
    """
    most_demand = greatest[0] if np.isfinite(greatest[0]) else 0.0
    most_surge = greatest[1] if np.isfinite(greatest[1]) else 0.0
    most_slow_surge = greatest[2] if np.isfinite(greatest[2]) else 0.0
    warmest = -np.inf
    for place in range(len(after_rows)):
        warmest = max(warmest, after_heats[place])
    for index in range(len(rows)):
        row = rows[index]
        live[0, index] = max(np.float32(demand[row] - most_demand), UNKNOWN)
        live[1, index] = max(np.float32(surge[row] - most_surge), UNKNOWN)
        live_slow_surge[index] = max(np.float32(slow_surge[row] - most_slow_surge), UNKNOWN)
        live[2, index], live[3, index] = UNKNOWN, UNKNOWN
        for place in range(len(after_rows)):
            if after_rows[place] == row:
                live[2, index] = max(np.float32(after_heats[place] - half_lives), UNKNOWN)
                live[3, index] = max(np.float32(after_heats[place] - warmest), UNKNOWN)


class Demand:
    """Goes through interactions in the order of time. Memory: 270 bytes an item, 20 an interaction."""

    def __init__(self, interactions: Interactions) -> None:
        self._interactions = interactions
        self._came_from = came_from(interactions)
        self._order = np.argsort(interactions.at_s, kind="stable")
        self._at_s = interactions.at_s[self._order]
        self._base_s = float(self._at_s[-1]) if len(self._at_s) else 0.0
        self.begin()

    def begin(self) -> None:
        """Go back to when nothing had happened."""
        n_items = self._interactions.n_items
        self._heat = np.full((len(HALF_LIVES_S), n_items), -np.inf)
        self._best = np.full(len(HALF_LIVES_S), -np.inf)
        self._after_rows = np.full((n_items, MAX_AFTER), -1, np.int32)
        self._after_heat = np.full((n_items, MAX_AFTER), -np.inf)
        self._done = 0

    def go_to(self, at_s: float) -> None:
        """Take in what happened before epoch second `at_s`; goes back by `begin` only."""
        until = int(np.searchsorted(self._at_s, at_s, side="left"))
        if until > self._done:
            one = self._interactions
            _fold(
                self._order[self._done : until], one.item, self._came_from, one.kind, one.at_s,
                np.array(VIEWS_OF_KIND), self._base_s, np.array(HALF_LIVES_S), float(AFTER_HALF_LIFE_S),
                self._heat, self._best, self._after_rows, self._after_heat,
            )  # fmt: skip
            self._done = until

    def of(self, rows: Rows, at_hand: int, now_s: float) -> Live:
        """As it is now, for the person who looks at the item `at_hand` (-1 for none)."""
        demand, surge, slow_surge = self._heat
        return live_of(rows, (demand, surge, slow_surge), self._best, self.after(at_hand), now_s)

    def after(self, row: int) -> tuple[Rows, npt.NDArray[np.float64]]:
        """What people went on to from an item of late, and its heats."""
        if row < 0:
            return NOTHING_AFTER
        filled = self._after_rows[row] >= 0
        return self._after_rows[row][filled], self._after_heat[row][filled]

    def surging(self, k: int) -> Rows:
        """int32[k]: what most people have looked at in the last minutes."""
        heat = self._heat[1]
        k = min(k, int(np.count_nonzero(np.isfinite(heat))))
        return np.argpartition(-heat, k - 1)[:k].astype(np.int32) if k else np.empty(0, np.int32)


def live_of(
    rows: Rows,
    heats: tuple[Heats, Heats, Heats],
    greatest: npt.NDArray[np.float64],
    after: tuple[Rows, npt.NDArray[np.float64]],
    now_s: float,
) -> Live:
    """For candidates `rows` int32[c]: from the heats [n] of all items by demand, surge and slow surge, the
    `greatest` float64[3] of each, and what people went on to from the item at hand: rows int32[a] and their
    heats float64[a]."""
    live = np.empty((N_LIVE, len(rows)), np.float32)
    tell_live(rows, *heats, greatest, *after, now_s / AFTER_HALF_LIFE_S, live[:-1], live[-1])
    return live


def came_from(interactions: Interactions) -> Rows:
    """int32[n]: the item that was looked at before, within the session; -1 for none, for the same one, and
    where the interaction is no look at an item."""
    found = np.full(len(interactions), -1, np.int32)
    looked = np.flatnonzero(np.isin(interactions.kind, (InteractionKind.VIEW, InteractionKind.READ)))
    item, session = interactions.item[looked], interactions.session[looked]
    went_on = (session[1:] == session[:-1]) & (item[1:] != item[:-1])
    found[looked[1:][went_on]] = item[:-1][went_on]
    return found


def no_live(n: int) -> Live:
    """For `n` candidates where there are no live counters."""
    return np.full((N_LIVE, n), UNKNOWN, np.float32)
