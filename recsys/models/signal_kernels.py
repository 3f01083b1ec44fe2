"""The compiled loops that find candidates for a session and describe them to the ranker.

`gather` asks every source once. What they say of an item is kept in a slot of the `Desk`, found by the
item's row, so that `describe` tells the ranker what *all* sources say of a candidate, whoever named it.
`clear` leaves the desk as it was. Between them other sources may add candidates.

All in one file, and arguments in named tuples of arrays, for the reasons `recsys.models.kernels` gives.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import types

from recsys.models.compiled import Array, f4, i4, i8, kernel, read_only, u1, void
from recsys.models.opinion_kernel import OPINIONS

_I4, _I8, _F4, _U1 = (read_only(dtype) for dtype in (i4, i8, f4, u1))
_F4_2D = read_only(f4, 2)

CHANNELS = (
    "neighbours_near", "neighbours_idf", "neighbours_ahead", "neighbours_alike", "neighbours_recent",
    "neighbours_next", "neighbours_sharing_two", "following_last", "preceding_last", "following_second",
    "around_session", "following_session", "next_of_late", "cosine_table",
)  # fmt: skip
"""What the sources say of an item, each a sum of votes."""
(
    _NEAR, _IDF, _AHEAD, _ALIKE, _RECENT, _NEXT, _SHARING_TWO, _FOLLOWING, _PRECEDING, _FOLLOWING_SECOND,
    _AROUND, _FOLLOWING_SESSION, _NEXT_OF_LATE, _COSINE,
) = range(len(CHANNELS))  # fmt: skip
N_CHANNELS = len(CHANNELS)
_QUOTAS = np.array((50, 20, 30, 40, 30, 20, 0, 30, 15, 15, 0, 0, 20, 15), np.int64)
"""How many of each channel's best become candidates."""

COLUMNS = (
    "popularity", "popularity_faded", "popularity_of_late", "trend", "last_seen", "first_seen", "repeat",
    "ending",
)  # fmt: skip
"""What is known of an item whatever the session; see `recsys.models.signals`."""
N_COLUMNS = len(COLUMNS)
UNSEEN = np.array((0, 0, 0, 1, 2, 0, 0.1, 1 / 3), np.float32)
"""The columns of an item that the training has not seen."""

FEATURES = (
    *CHANNELS,
    *(f"{channel}_share" for channel in CHANNELS),
    "cosine_last", "cosine_session", "cosine_earlier",
    *COLUMNS,
    "steps_back", "times_in_session", "seconds_back", "past_times", "past_seconds_back", "past_kind",
    "session_items", "session_steps", "past_items", "seconds_between_last", "seconds_since_past",
    "session_seconds", "last_kind", "last_popularity", "last_repeat", "pool_size", "sessions_found",
    "neighbours_near_best", "following_last_best",
    "demand", "surge", "after_last", "after_last_share",
    *OPINIONS,
)  # fmt: skip
"""The rows of the ranker's features; `_share` is the share of the channel's best."""
N_FEATURES = len(FEATURES)

MAX_POOL = 192
"""Candidates of one session."""
MAX_PAST_ITEMS = 20
"""Items of earlier sessions that become candidates."""
MAX_SESSION_ITEMS = 32
"""Distinct items of the session that are looked at, the newest."""
MAX_PAST_ROWS = 60
MAX_SLOTS = 16_384
"""Items that are scored; what comes later is not. 600 sessions rarely name a quarter of it."""
_SEARCHED_ITEMS = 10
_TABLED_ITEMS = 6
_REACH = 8
"""How far from the last shared item a neighbour's items are voted for."""

_HALVED_BY_TWO = np.exp2(-np.arange(512) / 2.0).astype(np.float32)


class SignalArrays(NamedTuple):
    """The model; `recsys.models.signals.Signals` says what each is. Read-only."""

    item_starts: Array
    item_sessions: Array
    session_starts: Array
    session_items: Array
    session_fade: Array
    idf: Array
    following_starts: Array
    following_rows: Array
    following_scores: Array
    preceding_starts: Array
    preceding_rows: Array
    preceding_scores: Array
    next_starts: Array
    next_rows: Array
    next_scores: Array
    cosine_starts: Array
    cosine_rows: Array
    cosine_scores: Array
    vectors: Array
    columns: Array
    popular: Array


class Desk(NamedTuple):
    """Working memory of one thread. Between calls `place`, `sums`, `times`, `past_times`, `pooled` and
    `facts` are all zero; `step`, `newest`, `past_newest` and `past_kind` are all -1."""

    place: Array
    """int32[n_items]: an item's slot + 1, 0 for none."""
    rows: Array
    """int32[slots]: the item in each slot; those of the session first, the newest first."""
    sums: Array
    """float32[slots, channels]."""
    step: Array
    """int32[slots]: how many items back in the session it was last seen, -1 for not at all."""
    times: Array
    newest: Array
    """int64[slots]: where in the trail it was last seen in the session."""
    past_times: Array
    past_newest: Array
    past_kind: Array
    pooled: Array
    best: Array
    """float32[channels]: the greatest sum of each."""
    spare: Array
    found_session: Array
    found_similarity: Array
    head: Array
    end: Array
    newest_of: Array
    step_of: Array
    mean: Array
    """float32[d]: the session's mean vector."""
    facts: Array
    """int64: how many slots are used, are of the session, of the past; steps; sessions found; candidates."""


SLOTS, SESSION, PAST, STEPS, FOUND, POOLED = range(6)
N_FACTS = 6

SIGNALS_TYPE = types.NamedTuple(
    (_I8, _I4, _I8, _I4, _F4, _F4, *(_I8, _I4, _F4) * 4, _F4_2D, _F4_2D, _I4), SignalArrays
)
DESK_TYPE = types.NamedTuple(
    (
        *(i4[::1], i4[::1], f4[:, ::1], i4[::1], i4[::1], i8[::1], i4[::1], i8[::1], i4[::1], u1[::1]),
        *(f4[::1], f4[::1], i4[::1], f4[::1], i8[::1], i8[::1], i4[::1], i4[::1], f4[::1], i8[::1]),
    ),
    Desk,
)


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


@kernel(void(DESK_TYPE, _I4, _U1, i8))
def _seat_trail(desk: Desk, rows: Array, kinds: Array, start: int) -> None:
    """Give slots to the items of the session, the newest first, and to those of earlier sessions."""
    desk.facts[:] = 0
    steps = 0
    for at in range(len(rows) - 1, start - 1, -1):
        if at == len(rows) - 1 or rows[at] != rows[at + 1]:
            steps += 1
        row = rows[at]
        if row < 0 or row >= len(desk.place):
            continue
        if desk.place[row] == 0 and desk.facts[SLOTS] == MAX_SESSION_ITEMS:
            continue
        slot = _slot_of(desk.place, desk.rows, desk.facts, row)
        if desk.newest[slot] < 0:
            desk.newest[slot] = at
            desk.step[slot] = min(steps - 1, 511)
        desk.times[slot] += 1
    desk.facts[SESSION] = desk.facts[SLOTS]
    desk.facts[STEPS] = steps
    for at in range(start - 1, max(start - 1 - MAX_PAST_ROWS, -1), -1):
        row = rows[at]
        if row < 0 or row >= len(desk.place):
            continue
        slot = _slot_of(desk.place, desk.rows, desk.facts, row)
        desk.past_newest[slot] = max(desk.past_newest[slot], at)
        desk.past_times[slot] += 1
        desk.past_kind[slot] = max(desk.past_kind[slot], np.int32(kinds[at]))
    desk.facts[PAST] = desk.facts[SLOTS]


@kernel(f4(f4[::1], i8, i8))
def _kth_largest(values: Array, n: int, k: int) -> float:
    """The k-th largest (from 1) of `values[:n]`, which are shuffled: quickselect."""
    low, high = 0, n - 1
    target = k - 1
    while low < high:
        pivot = values[(low + high) // 2]
        left, right = low, high
        while left <= right:
            while values[left] > pivot:
                left += 1
            while values[right] < pivot:
                right -= 1
            if left <= right:
                values[left], values[right] = values[right], values[left]
                left += 1
                right -= 1
        if target <= right:
            high = right
        elif target >= left:
            low = left
        else:
            break
    return values[target]  # type: ignore[no-any-return]


@kernel(i8(SIGNALS_TYPE, DESK_TYPE))
def _recent_sessions(model: SignalArrays, desk: Desk) -> int:
    """The most recent sessions that share an item with this one, newest first, as many as the desk holds.

    Each item's sessions are sorted by time: merging the few lists from their ends meets every session
    once, with all the items it shares. An item counts half for every two steps back (STAN: Garg et al.,
    "Sequence and Time Aware Neighborhood for Session-based Recommendations", SIGIR 2019).
    """
    item_starts, item_sessions = model.item_starts, model.item_sessions
    head, end, newest_of, step_of = desk.head, desk.end, desk.newest_of, desk.step_of
    found_session, found_similarity = desk.found_session, desk.found_similarity
    n_lists = 0
    for slot in range(min(desk.facts[SESSION], _SEARCHED_ITEMS)):
        row = desk.rows[slot]
        if item_starts[row] == item_starts[row + 1]:
            continue
        head[n_lists] = item_starts[row + 1] - 1
        end[n_lists] = item_starts[row]
        newest_of[n_lists] = item_sessions[head[n_lists]]
        step_of[n_lists] = desk.step[slot]
        n_lists += 1
    found = 0
    while found < len(found_session):
        newest = np.int32(-1)
        for index in range(n_lists):
            newest = max(newest, newest_of[index])
        if newest < 0:
            break
        similarity = np.float32(0)
        for index in range(n_lists):
            if newest_of[index] == newest:
                head[index] -= 1
                newest_of[index] = item_sessions[head[index]] if head[index] >= end[index] else -1
                similarity += _HALVED_BY_TWO[step_of[index]]
        found_session[found] = newest
        found_similarity[found] = similarity
        found += 1
    return found


@kernel(
    void(i4[::1], i4[::1], i8[::1], i4[::1], f4[:, ::1], _I4, i8, i8, f4, f4),
    fastmath=True,
)
def _vote(
    place: Array,
    rows: Array,
    facts: Array,
    step: Array,
    sums: Array,
    session_items: Array,
    start: int,
    end: int,
    similarity: Any,
    fade_by_age: Any,
) -> None:
    """One neighbour's votes for its items: most for those beside the last item that it shares."""
    last_step, shared_at, n_shared = 1 << 30, start, 0
    for at in range(start, end):
        slot = place[session_items[at]] - 1
        if 0 <= slot < facts[SESSION]:
            n_shared += 1
            if step[slot] <= last_step:
                last_step, shared_at = step[slot], at
    alike = similarity * similarity / np.sqrt(np.float32(end - start))
    recent = similarity * fade_by_age
    flat = similarity * max(np.float32(0), np.float32(0.9 - 0.1 * last_step))
    sharing_two = similarity if n_shared > 1 else np.float32(0)
    for at in range(max(start, shared_at - _REACH), min(end, shared_at + _REACH + 1)):
        slot = _slot_of(place, rows, facts, session_items[at])
        if slot < 0:
            continue
        distance = abs(at - shared_at)
        fade = _HALVED_BY_TWO[distance]
        sums[slot, _NEAR] += similarity * fade
        sums[slot, _IDF] += flat
        sums[slot, _ALIKE] += alike * fade
        sums[slot, _RECENT] += recent * fade
        sums[slot, _SHARING_TWO] += sharing_two * fade
        if at > shared_at:
            sums[slot, _AHEAD] += similarity / np.float32(distance)
            if distance == 1:
                sums[slot, _NEXT] += recent


@kernel(void(SIGNALS_TYPE, DESK_TYPE, i8), fastmath=True)
def _ask_neighbours(model: SignalArrays, desk: Desk, k_neighbours: int) -> None:
    """Let the k most similar of the recent sessions vote; of equals the newest."""
    found = _recent_sessions(model, desk)
    place, rows, facts, step, sums = desk.place, desk.rows, desk.facts, desk.step, desk.sums
    found_session, session_fade = desk.found_session, model.session_fade
    session_starts, session_items = model.session_starts, model.session_items
    facts[FOUND] = min(found, k_neighbours)
    threshold: Any = np.float32(0)
    ties_left = found
    if found > k_neighbours:
        desk.spare[:found] = desk.found_similarity[:found]
        threshold = _kth_largest(desk.spare, found, k_neighbours)
        ties_left = k_neighbours
        for index in range(found):
            ties_left -= desk.found_similarity[index] > threshold
    for index in range(found):
        similarity = desk.found_similarity[index]
        if similarity < threshold:
            continue
        if similarity == threshold:
            if ties_left == 0:
                continue
            ties_left -= 1
        session = found_session[index]
        _vote(
            place, rows, facts, step, sums, session_items, session_starts[session],
            session_starts[session + 1], similarity, session_fade[session],
        )  # fmt: skip
    for slot in range(desk.facts[SLOTS]):
        desk.sums[slot, _IDF] *= model.idf[desk.rows[slot]]


@kernel(void(DESK_TYPE, _I8, _I4, _F4, i4, i8, f4))
def _add_table(
    desk: Desk, starts: Array, rows: Array, scores: Array, row: int, channel: int, weight: Any
) -> None:
    """Add an item's row of a table to a channel, times `weight`."""
    place, known, facts, sums = desk.place, desk.rows, desk.facts, desk.sums
    for at in range(starts[row], starts[row + 1]):
        slot = _slot_of(place, known, facts, rows[at])
        if slot >= 0:
            sums[slot, channel] += weight * scores[at]


@kernel(void(SIGNALS_TYPE, DESK_TYPE))
def _ask_tables(model: SignalArrays, desk: Desk) -> None:
    """What follows and precedes the last items of the session, and is like the last."""
    following = (model.following_starts, model.following_rows, model.following_scores)
    preceding = (model.preceding_starts, model.preceding_rows, model.preceding_scores)
    one: Any = np.float32(1)
    for place in range(min(desk.facts[SESSION], _TABLED_ITEMS)):
        row = desk.rows[place]
        weight: Any = _HALVED_BY_TWO[desk.step[place]]
        _add_table(desk, *following, row, _FOLLOWING_SESSION, weight)
        _add_table(desk, *following, row, _AROUND, weight)
        _add_table(desk, *preceding, row, _AROUND, weight)
        if place == 0:
            _add_table(desk, *following, row, _FOLLOWING, one)
            _add_table(desk, *preceding, row, _PRECEDING, one)
            _add_table(desk, model.next_starts, model.next_rows, model.next_scores, row, _NEXT_OF_LATE, one)
            _add_table(desk, model.cosine_starts, model.cosine_rows, model.cosine_scores, row, _COSINE, one)
        elif place == 1:
            _add_table(desk, *following, row, _FOLLOWING_SECOND, one)


@kernel(i8(i4[::1], u1[::1], i8, i4[::1], i8))
def _enter(rows: Array, pooled: Array, slot: int, pool: Array, size: int) -> int:
    if slot < 0 or pooled[slot] or size == len(pool):
        return size
    pooled[slot] = 1
    pool[size] = rows[slot]
    return size + 1


@kernel(i8(DESK_TYPE, i8, i4[::1], i8))
def _enter_best(desk: Desk, channel: int, pool: Array, size: int) -> int:
    """Add the channel's best to the pool; its greatest sum is noted on the way."""
    n_slots, quota = desk.facts[SLOTS], _QUOTAS[channel]
    rows, pooled, sums, spare = desk.rows, desk.pooled, desk.sums, desk.spare
    best: Any = np.float32(0)
    n_named = 0
    for slot in range(n_slots):
        score = sums[slot, channel]
        spare[n_named] = score
        n_named += score > 0
        best = max(best, score)
    desk.best[channel] = best
    if quota == 0 or n_named == 0:
        return size
    threshold = _kth_largest(spare, n_named, quota) if n_named > quota else np.float32(0)
    left = quota
    for slot in range(n_slots):
        score = sums[slot, channel]
        if score > 0 and score >= threshold and left > 0:
            left -= 1
            size = _enter(rows, pooled, slot, pool, size)
    return size


@kernel(i8(SIGNALS_TYPE, DESK_TYPE, _I4, _U1, i8, i8, i4[::1]))
def gather(
    model: SignalArrays, desk: Desk, trail: Array, kinds: Array, start: int, k_neighbours: int, pool: Array
) -> int:
    """Ask all sources for a trail and put the candidates into `pool` int32[m]; returns how many.

    trail int32[t], kinds uint8[t]: what the person did, oldest first; `trail[start:]` is the session. Rows
    that the model does not know keep their place and find nothing. The desk must be clear, and is
    afterwards ready for `describe`.
    """
    rows, pooled = desk.rows, desk.pooled
    _seat_trail(desk, trail, kinds, start)
    _ask_neighbours(model, desk, k_neighbours)
    _ask_tables(model, desk)
    size = 0
    for slot in range(desk.facts[SESSION]):
        size = _enter(rows, pooled, slot, pool, size)
    for slot in range(desk.facts[SESSION], min(desk.facts[PAST], desk.facts[SESSION] + MAX_PAST_ITEMS)):
        size = _enter(rows, pooled, slot, pool, size)
    for channel in range(N_CHANNELS):
        size = _enter_best(desk, channel, pool, size)
    for row in model.popular:
        size = _enter(rows, pooled, _slot_of(desk.place, rows, desk.facts, row), pool, size)
    desk.facts[POOLED] = size
    return size


@kernel(void(DESK_TYPE))
def clear(desk: Desk) -> None:
    """Ready for the next trail."""
    for slot in range(desk.facts[SLOTS]):
        desk.place[desk.rows[slot]] = 0
        desk.sums[slot] = np.float32(0)
        desk.times[slot] = 0
        desk.past_times[slot] = 0
        desk.pooled[slot] = 0
        desk.step[slot] = -1
        desk.newest[slot] = -1
        desk.past_newest[slot] = -1
        desk.past_kind[slot] = -1
    desk.facts[:] = 0
