"""The compiled loops that find candidates for a session.

`gather` asks every source once. What they say of an item is kept in a slot of the desk, found by the
item's row, so that `describe` tells the ranker what *all* sources say of a candidate, whoever named it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from recsys.models.compiled import Array, f4, i4, i8, kernel, read_only, u1, void
from recsys.models.kernels import kth_largest
from recsys.models.signal_arrays import (
    CHANNELS,
    DESK_TYPE,
    FOUND,
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
    SUMS,
    DeskArrays,
    SignalArrays,
)  # fmt: skip

_I4, _I8, _F4, _U1 = (read_only(dtype) for dtype in (i4, i8, f4, u1))

(
    _NEAR, _IDF, _AHEAD, _ALIKE, _RECENT, _NEXT, _SHARING_TWO, _FOLLOWING, _PRECEDING, _FOLLOWING_SECOND,
    _AROUND, _FOLLOWING_SESSION, _NEXT_OF_LATE, _COSINE,
) = range(len(CHANNELS))  # fmt: skip
_QUOTAS = np.array((50, 20, 30, 40, 30, 20, 0, 30, 15, 15, 0, 0, 20, 15), np.int64)
"""How many of each channel's best become candidates."""
_SEARCHED_ITEMS = 10
_TABLED_ITEMS = 6
_REACH = 8
"""How far from the last shared item a neighbour's items are voted for."""
_VOTES = 8
_LEAST_VOTES = np.float32(1e-3)
_HALVED_BY_TWO = np.exp2(-np.arange(512) / 2.0).astype(np.float32)


def _vote_shares() -> npt.NDArray[np.float32]:
    """float32[2 reach + 1, 8]: what of a neighbour's vote in each of the first channels goes to an item
    so many places before (-reach and up) or behind the last one shared."""
    shares = np.zeros((2 * _REACH + 1, _VOTES), np.float32)
    places = np.arange(-_REACH, _REACH + 1)
    shares[:, [_NEAR, _ALIKE, _RECENT, _SHARING_TWO]] = _HALVED_BY_TWO[np.abs(places)][:, None]
    shares[:, _IDF] = 1.0
    shares[places > 0, _AHEAD] = 1.0 / places[places > 0]
    shares[places == 1, _NEXT] = 1.0
    return shares


_SHARES = _vote_shares()

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


@kernel(i8(_I4, i8, i8, f4, i4[::1], f4[::1], i8, i4[::1], f4[::1]))
def _merge(
    item_sessions: Array,
    start: int,
    end: int,
    weight: Any,
    sessions: Array,
    similarities: Array,
    n: int,
    merged: Array,
    summed: Array,
) -> int:
    """The first `n` sessions, from new to old, and those of one more item, which go from old to new: the
    newest of both, as many as there is room for. Without branches but the loop's."""
    mine, its, size = 0, end - 1, 0
    while size < len(merged) and (mine < n or its >= start):
        one = sessions[mine] if mine < n else np.int32(-1)
        other = item_sessions[its] if its >= start else np.int32(-1)
        merged[size] = max(one, other)
        is_one, is_other = one >= other, other >= one
        similarity = similarities[mine] if is_one else np.float32(0)
        summed[size] = similarity + (weight if is_other else np.float32(0))
        mine += 1 if is_one else 0
        its -= 1 if is_other else 0
        size += 1
    return size


@kernel(types.UniTuple(i8, 2)(SIGNALS_TYPE, DESK_TYPE))
def _recent_sessions(model: SignalArrays, desk: DeskArrays) -> tuple[int, int]:
    """The most recent sessions that share an item with this one, newest first, as many as the desk holds:
    in which half of its room they are, and how many.

    Each item's sessions are sorted by time, so one list after the other is merged with what there is. An
    item counts half for every two steps back (STAN: Garg et al., "Sequence and Time Aware Neighborhood for
    Session-based Recommendations", SIGIR 2019).
    """
    starts, item_sessions, rows, step = model.item_starts, model.item_sessions, desk.rows, desk.step
    sessions, similarities = desk.found_session, desk.found_similarity
    half, found = 0, 0
    for slot in range(min(desk.facts[SESSION], _SEARCHED_ITEMS)):
        start, end = starts[rows[slot]], starts[rows[slot] + 1]
        found = _merge(
            item_sessions, start, end, _HALVED_BY_TWO[step[slot]],
            sessions[half], similarities[half], found, sessions[1 - half], similarities[1 - half],
        )  # fmt: skip
        half = 1 - half
    return half, found


@kernel(i8(f4[::1], f4[::1], i8, i8, i4[::1]))
def _keep_most_similar(similarities: Array, spare: Array, n: int, k: int, sessions: Array) -> int:
    """Of the first `n` sessions keep the k most similar in their order; of equals the newest."""
    if n <= k:
        return n
    spare[:n] = similarities[:n]
    threshold = kth_largest(spare, n, k)
    ties_left = k
    for index in range(n):
        ties_left -= similarities[index] > threshold
    kept = 0
    for index in range(n):
        similarity = similarities[index]
        is_tie = similarity == threshold
        sessions[kept] = sessions[index]
        similarities[kept] = similarity
        kept += similarity > threshold or (is_tie and ties_left > 0)
        ties_left -= is_tie
    return kept


@kernel(void(SIGNALS_TYPE, DESK_TYPE, i4[::1], i8))
def _meet(model: SignalArrays, desk: DeskArrays, sessions: Array, n: int) -> None:
    """Look at where the `n` neighbours share items with this session. They lie far apart in memory, and in
    short loops the processor fetches many at a time."""
    place, step, voter, fade = desk.place, desk.step, desk.voter, desk.fade
    starts, items, fades = model.session_starts, model.session_items, model.session_fade
    n_session = desk.facts[SESSION]
    for index in range(n):
        voter[index, 0] = starts[sessions[index]]
        voter[index, 1] = starts[sessions[index] + 1]
        fade[index] = fades[sessions[index]]
    for index in range(n):
        start, end = voter[index, 0], voter[index, 1]
        last_step, shared_at, n_shared = np.int32(1 << 30), start, 0
        for at in range(start, end):
            slot = place[items[at]] - 1
            if 0 <= slot < n_session:
                n_shared += 1
                if step[slot] <= last_step:
                    last_step, shared_at = step[slot], at
        voter[index, 2], voter[index, 3], voter[index, 4] = shared_at, last_step, n_shared


@kernel(void(SIGNALS_TYPE, DESK_TYPE, f4[::1], i8), fastmath=True)
def _vote(model: SignalArrays, desk: DeskArrays, similarities: Array, n: int) -> None:
    """Let `n` neighbours vote for their items: most for those beside the last item that they share."""
    place, rows, facts, sums = desk.place, desk.rows, desk.facts, desk.sums
    items, voter, fade = model.session_items, desk.voter, desk.fade
    n_slots = facts[SLOTS]
    for index in range(n):
        start, end, shared_at = voter[index, 0], voter[index, 1], voter[index, 2]
        similarity = similarities[index]
        alike = similarity * similarity / np.sqrt(np.float32(end - start))
        recent = similarity * fade[index]
        flat = similarity * max(
            np.float32(0), np.float32(0.9) - np.float32(0.1) * np.float32(voter[index, 3])
        )
        sharing_two = similarity if voter[index, 4] > 1 else np.float32(0)
        for at in range(max(start, shared_at - _REACH), min(end, shared_at + _REACH + 1)):
            row = items[at]
            slot = place[row] - 1
            if slot < 0:
                if n_slots == len(rows):
                    continue
                slot = n_slots
                n_slots += 1
                place[row] = n_slots
                rows[slot] = row
            away = at - shared_at + _REACH
            sums[slot, _NEAR] += similarity * _SHARES[away, _NEAR]
            sums[slot, _IDF] += flat * _SHARES[away, _IDF]
            sums[slot, _AHEAD] += similarity * _SHARES[away, _AHEAD]
            sums[slot, _ALIKE] += alike * _SHARES[away, _ALIKE]
            sums[slot, _RECENT] += recent * _SHARES[away, _RECENT]
            sums[slot, _NEXT] += recent * _SHARES[away, _NEXT]
            sums[slot, _SHARING_TWO] += sharing_two * _SHARES[away, _SHARING_TWO]
    facts[SLOTS] = n_slots
    for slot in range(n_slots):
        sums[slot, _IDF] *= model.idf[rows[slot]]


@kernel(void(SIGNALS_TYPE, DESK_TYPE, i8))
def _ask_neighbours(model: SignalArrays, desk: DeskArrays, k_neighbours: int) -> None:
    """Let the k most similar of the recent sessions vote."""
    half, found = _recent_sessions(model, desk)
    sessions, similarities = desk.found_session[half], desk.found_similarity[half]
    n = _keep_most_similar(similarities, desk.spare, found, k_neighbours, sessions)
    desk.facts[FOUND] = n
    _meet(model, desk, sessions, n)
    _vote(model, desk, similarities, n)


@kernel(void(i4[::1], i4[::1], i8[::1], f4[:, ::1], _I8, _I4, _F4, i4, i8, f4, i8, f4))
def _add_table(
    place: Array, known: Array, facts: Array, sums: Array,
    starts: Array, rows: Array, scores: Array,
    row: int, channel: int, weight: Any, other_channel: int, other_weight: Any,
) -> None:  # fmt: skip
    """Add an item's row of a table to two channels, times their weights."""
    n_slots = facts[SLOTS]
    for at in range(starts[row], starts[row + 1]):
        slot = place[rows[at]] - 1
        if slot < 0:
            if n_slots == len(known):
                continue
            slot = n_slots
            n_slots += 1
            place[rows[at]] = n_slots
            known[slot] = rows[at]
        sums[slot, channel] += weight * scores[at]
        sums[slot, other_channel] += other_weight * scores[at]
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
        weight: Any = _HALVED_BY_TWO[desk.step[place]]
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
        if not offer[rows[slot]] & item_types:
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
    best[:] = np.float32(0)
    for slot in range(n_slots):
        for channel in range(SUMS):
            best[channel] = max(best[channel], sums[slot, channel])


@kernel(i8(i8, i8, i4[::1], u1[::1], f4[:, ::1], f4[::1], i4[::1], i8))
def _enter_best(
    channel: int, n_slots: int, rows: Array, pooled: Array, sums: Array, spare: Array, pool: Array, size: int
) -> int:
    """Add the channel's best to the pool, as many as its quota."""
    n_named, left = 0, _QUOTAS[channel]
    for slot in range(n_slots):
        score = sums[slot, channel]
        spare[n_named] = score
        n_named += score > 0
    threshold = kth_largest(spare, n_named, left) if n_named > left else np.float32(0)
    for slot in range(n_slots):
        score = sums[slot, channel]
        if score > 0 and score >= threshold:
            left -= 1
            if not pooled[slot] and size < len(pool):
                pooled[slot] = 1
                pool[size] = rows[slot]
                size += 1
            if left == 0:
                break
    return size


@kernel(i8(JOINED_TYPE, _I4, _U1, i8, i8, _U1, u1, i4[::1]))
def gather(
    joined: Any,
    trail: Array,
    kinds: Array,
    start: int,
    k_neighbours: int,
    offer: Array,
    item_types: int,
    pool: Array,
) -> int:
    """Ask all sources for a trail and put the candidates into `pool` int32[m]; returns how many.

    trail int32[t], kinds uint8[t]: what the person did, oldest first; `trail[start:]` is the session. Rows
    that the model does not know keep their place and find nothing. Candidates are rows with one of the bits
    `item_types` in `offer` uint8[c], all where that is empty. The desk is ready for `describe` afterwards.
    """
    model, desk = joined.model, joined.desk
    rows, pooled = desk.rows, desk.pooled
    _clear(desk)
    _seat_trail(desk, trail, kinds, start)
    _ask_neighbours(model, desk, k_neighbours)
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
            size = _enter_best(channel, desk.facts[SLOTS], rows, pooled, desk.sums, desk.spare, pool, size)
    for row in model.popular:
        if len(offer) and not offer[row] & item_types:
            continue
        size = _enter(rows, pooled, _slot_of(desk.place, rows, desk.facts, row), pool, size)
    for index in range(size):
        share = desk.sums[desk.place[pool[index]] - 1, _NEAR] / max(desk.best[_NEAR], _LEAST_VOTES)
        desk.votes[index] = share
    desk.facts[POOLED] = size
    return size
