"""The compiled loops that find candidates for a session.

`gather` asks every source once. What they say of an item is kept in a slot of the desk, found by the
item's row, so that `describe` tells the ranker what *all* sources say of a candidate, whoever named it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from recsys.models.compiled import Array, f4, i4, i8, kernel, read_only, u1, void
from recsys.models.kernels import kth_largest, unsigned
from recsys.models.signal_arrays import (
    CHANNELS,
    DESK_TYPE,
    JOINED_TYPE,
    MAX_PAST_ITEMS,
    MAX_PAST_ROWS,
    MAX_SESSION_ITEMS,
    N_CHANNELS,
    PAST,
    POOLED,
    SESSION,
    SIGNALS_TYPE,
    SLOTS,
    STEPS,
    DeskArrays,
    SignalArrays,
)  # fmt: skip
from recsys.models.vote_kernels import HALVED_BY_TWO, ask_neighbours

_I4, _I8, _F4, _U1 = (read_only(dtype) for dtype in (i4, i8, f4, u1))


(
    _FOLLOWING, _PRECEDING, _FOLLOWING_SECOND, _AROUND, _FOLLOWING_SESSION, _NEXT_OF_LATE, _COSINE,
) = range(CHANNELS.index("following_last"), N_CHANNELS)  # fmt: skip
_NEAR = CHANNELS.index("neighbours_near")
_QUOTAS = np.array((50, 20, 30, 40, 30, 20, 0, 30, 15, 15, 0, 0, 20, 40), np.int64)
"""How many of each channel's best become candidates."""
_TABLED_ITEMS = 6
_LEAST_VOTES = np.float32(1e-3)

# A named tuple is for calls from outside and once a decision: handing twenty arrays to an inner loop
# counts twenty references. So what is called for each vote takes the few arrays it works on.


@kernel(i8(i4[::1], i4[::1], i8[::1], i4))
def _slot_of(place: Array, rows: Array, facts: Array, row: int) -> int:
    """The slot of an item, a new one if need be; -1 when all are taken."""
    slot = place[row] - 1
    if slot < 0 and facts[SLOTS] < len(rows):
        slot = facts[SLOTS]
        facts[SLOTS] = slot + 1
        place[row] = slot + 1
        rows[slot] = row
    return slot  # type: ignore[no-any-return]


@kernel(void(DESK_TYPE))
def _clear(desk: DeskArrays) -> None:
    """Forget the last trail."""
    place, rows, n_slots = desk.place, desk.rows, desk.facts[SLOTS]
    for slot in range(n_slots):
        place[rows[slot]] = 0
    desk.sums[:n_slots] = np.float32(0)
    desk.pooled[:n_slots] = 0
    desk.times[:] = 0
    desk.past_times[:] = 0
    desk.step[:] = -1
    desk.newest[:] = -1
    desk.past_newest[:] = -1
    desk.past_kind[:] = -1
    desk.facts[:] = 0


@kernel(void(DESK_TYPE, _I4, _U1, i8))
def _seat_trail(desk: DeskArrays, rows: Array, kinds: Array, start: int) -> None:
    """Give slots to the items of the session, the newest first, and to those of earlier sessions."""
    place, seated, facts, steps = desk.place, desk.rows, desk.facts, 0
    for at in range(len(rows) - 1, start - 1, -1):
        if at == len(rows) - 1 or rows[at] != rows[at + 1]:
            steps += 1
        row = rows[at]
        if row < 0 or row >= len(place):
            continue
        if place[row] == 0 and facts[SLOTS] == MAX_SESSION_ITEMS:
            continue
        slot = _slot_of(place, seated, facts, row)
        if desk.newest[slot] < 0:
            desk.newest[slot] = at
            desk.step[slot] = min(steps - 1, 511)
        desk.times[slot] += 1
    facts[SESSION] = facts[SLOTS]
    facts[STEPS] = steps
    for at in range(start - 1, max(start - 1 - MAX_PAST_ROWS, -1), -1):
        row = rows[at]
        if row < 0 or row >= len(place):
            continue
        slot = _slot_of(place, seated, facts, row)
        desk.past_newest[slot] = max(desk.past_newest[slot], at)
        desk.past_times[slot] += 1
        desk.past_kind[slot] = max(desk.past_kind[slot], np.int32(kinds[at]))
    facts[PAST] = facts[SLOTS]


@kernel(void(i4[::1], i4[::1], i8[::1], f4[:, ::1], _I8, _I4, _F4, i4, i8, f4, i8, f4))
def _add_table(
    place: Array, known: Array, facts: Array, sums: Array,
    starts: Array, rows: Array, scores: Array,
    row: int, channel: int, weight: Any, other_channel: int, other_weight: Any,
) -> None:  # fmt: skip
    """Add an item's row of a table to two channels, times their weights."""
    n_slots, room = unsigned(facts[SLOTS]), unsigned(len(known))
    for at in range(starts[row], starts[row + 1]):
        named, score = unsigned(rows[unsigned(at)]), scores[unsigned(at)]
        seat = unsigned(place[named])
        if seat == 0:
            if n_slots == room:
                continue
            n_slots += unsigned(1)
            seat = n_slots
            place[named] = seat
            known[seat - unsigned(1)] = named
        slot = seat - unsigned(1)
        sums[slot, unsigned(channel)] += weight * score
        sums[slot, unsigned(other_channel)] += other_weight * score
    facts[SLOTS] = n_slots


@kernel(void(SIGNALS_TYPE, DESK_TYPE))
def _ask_tables(model: SignalArrays, desk: DeskArrays) -> None:
    """What follows and precedes the last items of the session, and is like the last."""
    at_desk = (desk.place, desk.rows, desk.facts, desk.sums)
    following = (model.following_starts, model.following_rows, model.following_scores)
    preceding = (model.preceding_starts, model.preceding_rows, model.preceding_scores)
    next_of_late = (model.next_starts, model.next_rows, model.next_scores)
    cosine = (model.cosine_starts, model.cosine_rows, model.cosine_scores)
    one: Any = np.float32(1)
    none: Any = np.float32(0)
    for place in range(min(desk.facts[SESSION], _TABLED_ITEMS)):
        row = desk.rows[place]
        weight: Any = HALVED_BY_TWO[desk.step[place]]
        of_last = one if place == 0 else none
        _add_table(*at_desk, *following, row, _FOLLOWING_SESSION, weight, _AROUND, weight)
        _add_table(*at_desk, *preceding, row, _PRECEDING, of_last, _AROUND, weight)
        if place == 0:
            _add_table(*at_desk, *following, row, _FOLLOWING, one, _FOLLOWING, none)
            _add_table(*at_desk, *next_of_late, row, _NEXT_OF_LATE, one, _NEXT_OF_LATE, none)
            _add_table(*at_desk, *cosine, row, _COSINE, one, _COSINE, none)
        elif place == 1:
            _add_table(*at_desk, *following, row, _FOLLOWING_SECOND, one, _FOLLOWING_SECOND, none)


@kernel(void(i8, i4[::1], _U1, u1, u1[::1], f4[:, ::1]))
def _drop_unoffered(
    n_slots: int, rows: Array, offer: Array, item_types: int, pooled: Array, sums: Array
) -> None:
    """What may not be shown takes no place in any channel, nor in the pool."""
    for slot in range(n_slots):
        if not offer[unsigned(rows[slot])] & item_types:
            pooled[slot] = 1
            sums[slot] = np.float32(0)


@kernel(i8(i4[::1], u1[::1], i8, i4[::1], i8))
def _enter(rows: Array, pooled: Array, slot: int, pool: Array, size: int) -> int:
    if slot < 0 or pooled[slot] or size == len(pool):
        return size
    pooled[slot] = 1
    pool[size] = rows[slot]
    return size + 1


@kernel(void(i8, f4[:, ::1], f4[::1]))
def _find_best(n_slots: int, sums: Array, best: Array) -> None:
    """The greatest sum of each channel."""
    for channel in range(len(best)):
        greatest = np.float32(0)
        for slot in range(n_slots):
            greatest = max(greatest, sums[slot, channel])
        best[channel] = greatest


@kernel(i8(i8, DESK_TYPE, i8))
def _enter_best(channel: int, desk: DeskArrays, size: int) -> int:
    """Add the channel's best to the pool of `size` so far, as many as its quota; of equals those seated
    first. Returns how many it holds then."""
    sums, spare, listed, rows = desk.sums, desk.spare, desk.listed, desk.rows
    pooled, pool = desk.pooled, desk.gathered
    n_slots, n_named, left, of = desk.facts[SLOTS], 0, _QUOTAS[channel], unsigned(channel)
    for slot in range(n_slots):
        score = sums[slot, of]
        spare[unsigned(n_named)], listed[unsigned(n_named)] = score, slot
        n_named += score > 0
    threshold = kth_largest(spare, n_named, left) if n_named > left else np.float32(0)
    n_listed = 0
    for place in range(n_named):
        slot = listed[place]
        listed[unsigned(n_listed)] = slot
        n_listed += sums[unsigned(slot), of] >= threshold
    for place in range(min(n_listed, left)):
        size = _enter(rows, pooled, listed[place], pool, size)
    return size


@kernel(i8(JOINED_TYPE, _I4, _U1, i8, i8, _U1, u1))
def gather(
    joined: Any,
    trail: Array,
    kinds: Array,
    start: int,
    k_neighbours: int,
    offer: Array,
    item_types: int,
) -> int:
    """Ask all sources for a trail and put the candidates into the desk's `gathered`; returns how many.

    trail int32[t], kinds uint8[t]: what the person did, oldest first; `trail[start:]` is the session. Rows
    that the model does not know keep their place and find nothing. Candidates are rows with one of the bits
    `item_types` in `offer` uint8[c], all where that is empty. The desk is ready for `describe` afterwards.
    """
    model, desk = joined.model, joined.desk
    rows, pooled, pool = desk.rows, desk.pooled, desk.gathered
    _clear(desk)
    _seat_trail(desk, trail, kinds, start)
    ask_neighbours(model, desk, k_neighbours)
    _ask_tables(model, desk)
    # The shares of the best that the ranker has learned are of all that was found, whatever is on offer.
    _find_best(desk.facts[SLOTS], desk.sums, desk.best)
    if len(offer):
        _drop_unoffered(desk.facts[SLOTS], rows, offer, item_types, pooled, desk.sums)
    size = 0
    for slot in range(desk.facts[SESSION]):
        size = _enter(rows, pooled, slot, pool, size)
    for slot in range(desk.facts[SESSION], min(desk.facts[PAST], desk.facts[SESSION] + MAX_PAST_ITEMS)):
        size = _enter(rows, pooled, slot, pool, size)
    for channel in range(N_CHANNELS):
        if _QUOTAS[channel] > 0 and desk.best[channel] > 0:
            size = _enter_best(channel, desk, size)
    for row in model.popular:
        if len(offer) and not offer[row] & item_types:
            continue
        size = _enter(rows, pooled, _slot_of(desk.place, rows, desk.facts, row), pool, size)
    for index in range(size):
        share = desk.sums[desk.place[pool[index]] - 1, _NEAR] / max(desk.best[_NEAR], _LEAST_VOTES)
        desk.votes[index] = share
    desk.facts[POOLED] = size
    return size
