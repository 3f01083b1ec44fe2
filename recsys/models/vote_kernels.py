"""The compiled loops of session kNN for the ranker: the sessions most like this one vote for their items."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from recsys.models.compiled import Array, f4, i4, i8, kernel, read_only, void
from recsys.models.kernels import kth_largest, unsigned
from recsys.models.prefetch import fetch
from recsys.models.signal_arrays import (
    CHANNELS,
    DESK_TYPE,
    FOUND,
    SESSION,
    SIGNALS_TYPE,
    SLOTS,
    DeskArrays,
    SignalArrays,
)

_I4 = read_only(i4)

_NEAR, _IDF, _AHEAD, _ALIKE, _RECENT, _NEXT, _SHARING_TWO = (
    CHANNELS.index(f"neighbours_{channel}")
    for channel in ("near", "idf", "ahead", "alike", "recent", "next", "sharing_two")
)
_SEARCHED_ITEMS = 10
_REACH = 8
"""How far from the last shared item a neighbour's items are voted for."""
_AWAY = np.arange(-_REACH, _REACH + 1)
_NEAR_SHARES = np.exp2(-np.abs(_AWAY) / 2.0).astype(np.float32)
"""What of a vote goes to an item so many places before (from -reach on) or behind the last one shared."""
_AHEAD_SHARES = np.where(_AWAY > 0, 1.0 / np.maximum(_AWAY, 1), 0.0).astype(np.float32)
"""As that, to those behind it alone."""
HALVED_BY_TWO = np.exp2(-np.arange(512) / 2.0).astype(np.float32)
"""What an item of the session counts so many steps back."""


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
    newest of both, as many as there is room for. While there are some of both, without branches."""
    mine, its, size, room = 0, end - 1, 0, len(merged)
    while mine < n and its >= start and size < room:
        one, other = sessions[unsigned(mine)], item_sessions[unsigned(its)]
        is_one, is_other = int(one >= other), int(other >= one)
        similarity = similarities[unsigned(mine)]
        merged[unsigned(size)] = max(one, other)
        summed[unsigned(size)] = similarity * np.float32(is_one) + weight * np.float32(is_other)
        mine += is_one
        its -= is_other
        size += 1
    while mine < n and size < room:
        merged[unsigned(size)], summed[unsigned(size)] = (
            sessions[unsigned(mine)],
            similarities[unsigned(mine)],
        )
        mine += 1
        size += 1
    while its >= start and size < room:
        merged[unsigned(size)] = item_sessions[unsigned(its)]
        summed[unsigned(size)] = weight
        its -= 1
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
            item_sessions, start, end, HALVED_BY_TWO[step[slot]],
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
        sessions[unsigned(kept)] = sessions[index]
        similarities[unsigned(kept)] = similarity
        kept += similarity > threshold or (is_tie and ties_left > 0)
        ties_left -= is_tie
    return kept


@kernel(void(SIGNALS_TYPE, DESK_TYPE, i4[::1], i8))
def _meet(model: SignalArrays, desk: DeskArrays, sessions: Array, n: int) -> None:
    """Look at where the `n` neighbours share items with this session. They lie far apart in memory: all are
    asked for before the first is looked at, and no branch waits for what one of them says."""
    place, step, voter, fade = desk.place, desk.step, desk.voter, desk.fade
    starts, items, fades = model.session_starts, model.session_items, model.session_fade
    n_session = unsigned(desk.facts[SESSION])
    for index in range(n):
        fetch(starts, sessions[index])
        fetch(fades, sessions[index])
    for index in range(n):
        session = unsigned(sessions[index])
        voter[index, 0] = starts[session]
        voter[index, 1] = starts[session + unsigned(1)]
        fetch(items, voter[index, 0])
        fetch(items, voter[index, 1])
        fade[index] = fades[session]
    for index in range(n):
        start, end = voter[index, 0], voter[index, 1]
        last_step: Any = np.int32(1 << 30)
        shared_at, n_shared = start, 0
        for at in range(start, end):
            # No slot is 0: one less is a number greater than that of any slot.
            slot = unsigned(place[unsigned(items[unsigned(at)])]) - unsigned(1)
            is_shared = slot < n_session
            steps_back = step[slot if is_shared else unsigned(0)]
            is_later = is_shared and steps_back <= last_step
            n_shared += int(is_shared)
            last_step = steps_back if is_later else last_step
            shared_at = at if is_later else shared_at
        voter[index, 2], voter[index, 3], voter[index, 4] = shared_at, last_step, n_shared


@kernel(void(SIGNALS_TYPE, DESK_TYPE, f4[::1], i8), fastmath=True)
def _vote(model: SignalArrays, desk: DeskArrays, similarities: Array, n: int) -> None:
    """Let `n` neighbours vote for their items: most for those beside the last item that they share."""
    place, rows, facts, sums = desk.place, desk.rows, desk.facts, desk.sums
    items, voter, fade = model.session_items, desk.voter, desk.fade
    n_slots, room = unsigned(facts[SLOTS]), unsigned(len(rows))
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
            row = unsigned(items[unsigned(at)])
            seat = unsigned(place[row])
            if seat == 0:
                if n_slots == room:
                    continue
                n_slots += unsigned(1)
                seat = n_slots
                place[row] = seat
                rows[seat - unsigned(1)] = row
            slot, away = seat - unsigned(1), unsigned(at - shared_at + _REACH)
            share = _NEAR_SHARES[away]
            sums[slot, _NEAR] += similarity * share
            sums[slot, _IDF] += flat
            sums[slot, _AHEAD] += similarity * _AHEAD_SHARES[away]
            sums[slot, _ALIKE] += alike * share
            sums[slot, _RECENT] += recent * share
            sums[slot, _NEXT] += recent if at == shared_at + 1 else np.float32(0)
            sums[slot, _SHARING_TWO] += sharing_two * share
    facts[SLOTS] = n_slots
    for named in range(int(n_slots)):
        sums[named, _IDF] *= model.idf[unsigned(rows[named])]


@kernel(void(SIGNALS_TYPE, DESK_TYPE, i8))
def ask_neighbours(model: SignalArrays, desk: DeskArrays, k_neighbours: int) -> None:
    """Let the k most similar of the recent sessions vote."""
    half, found = _recent_sessions(model, desk)
    sessions, similarities = desk.found_session[half], desk.found_similarity[half]
    n = _keep_most_similar(similarities, desk.spare, found, k_neighbours, sessions)
    desk.facts[FOUND] = n
    _meet(model, desk, sessions, n)
    _vote(model, desk, similarities, n)
