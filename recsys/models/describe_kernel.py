"""The compiled loop that describes candidates to the ranker, after `recsys.models.signal_kernels.gather`."""

from __future__ import annotations

from typing import Any

import numpy as np

from recsys.models.compiled import Array, f4, f8, i4, i8, kernel, read_only, u1, void
from recsys.models.kernels import unsigned
from recsys.models.prefetch import AHEAD, LINE_F4, fetch
from recsys.models.signal_arrays import (
    COLUMNS,
    DESK_TYPE,
    FEATURES,
    FOUND,
    JOINED_TYPE,
    N_CHANNELS,
    N_COLUMNS,
    PAST,
    POINTED_AT,
    POOLED,
    SESSION,
    SIGNALS_TYPE,
    STEPS,
    UNSEEN,
    DeskArrays,
    SignalArrays,
)
from recsys.models.vote_kernels import HALVED_BY_TWO

_I4, _I8, _F4, _U1 = (read_only(dtype) for dtype in (i4, i8, f4, u1))
_F4_2D = read_only(f4, 2)

_COMPARED_ITEMS = 6
"""How many of the session's newest items a candidate is compared with."""
_AVERAGED_ITEMS = 8
_HALVED_BY_THREE = np.exp2(-np.arange(512) / 3.0).astype(np.float32)
_SHARES = N_CHANNELS
_COSINES = FEATURES.index("cosine_last")
_COLUMNS = FEATURES.index(COLUMNS[0])
_OF_CANDIDATE = FEATURES.index("steps_back")
_OF_VISIT = FEATURES.index("session_items")
_POPULARITY, _REPEAT = COLUMNS.index("popularity"), COLUMNS.index("repeat")
_NEAR, _FOLLOWING = FEATURES.index("neighbours_near"), FEATURES.index("following_last")


@kernel(void(DESK_TYPE, _F4_2D, _F4, f4[::1]), fastmath=True)
def _average(desk: DeskArrays, vectors: Array, weights: Array, mean: Array) -> None:
    """The direction of the session by `vectors` float32[n, d] into `mean` float32[d], of length 1; weights
    float32[512]: what an item counts so many steps back."""
    mean[:] = np.float32(0)
    for slot in range(min(desk.facts[SESSION], _AVERAGED_ITEMS)):
        row, weight = desk.rows[slot], weights[desk.step[slot]]
        for place in range(len(mean)):
            mean[place] += weight * vectors[row, place]
    squares: Any = np.float32(0)
    for place in range(len(mean)):
        squares += mean[place] * mean[place]
    if squares > 0:
        for place in range(len(mean)):
            mean[place] /= np.sqrt(squares)


@kernel(void(SIGNALS_TYPE, DESK_TYPE, _I4, f4[:, ::1]), fastmath=True)
def _likenesses(model: SignalArrays, desk: DeskArrays, rows: Array, features: Array) -> None:
    """Cosines of the candidates with the last item, the session, and the likest of the items before."""
    vectors, mean, seated = model.vectors, desk.mean, desk.rows
    n_session, dimensions, last_row = desk.facts[SESSION], len(desk.mean), len(rows) - 1
    for index in range(len(rows)):
        row, soon = unsigned(rows[index]), rows[min(index + AHEAD, last_row)] * dimensions
        for place in range(0, dimensions, LINE_F4):
            fetch(vectors, soon + place)
        last, session, earlier = np.float32(0), np.float32(0), np.float32(-1)
        if row < len(vectors) and n_session:
            for place in range(dimensions):
                session += vectors[row, place] * mean[place]
            for slot in range(min(n_session, _COMPARED_ITEMS)):
                other, alike = unsigned(seated[slot]), np.float32(0)
                for place in range(dimensions):
                    alike += vectors[row, place] * vectors[other, place]
                if slot == 0:
                    last = alike
                else:
                    earlier = max(earlier, alike)
        features[_COSINES, index] = last
        features[_COSINES + 1, index] = session
        features[_COSINES + 2, index] = earlier


@kernel(void(SIGNALS_TYPE, DESK_TYPE, _I4, f4[:, ::1]), fastmath=True)
def _pointed(model: SignalArrays, desk: DeskArrays, rows: Array, features: Array) -> None:
    """How near the candidates are to where the session, and its last item, point."""
    vectors, aim, last_row = model.next_vectors, desk.aim, len(rows) - 1
    knows_last = desk.facts[SESSION] > 0
    last, dimensions = unsigned(desk.rows[0]), len(aim)
    for index in range(len(rows)):
        row, soon = unsigned(rows[index]), rows[min(index + AHEAD, last_row)] * dimensions
        for place in range(0, dimensions, LINE_F4):
            fetch(vectors, soon + place)
        of_session, of_last = np.float32(0), np.float32(0)
        if row < len(vectors) and knows_last:
            for place in range(dimensions):
                of_session += vectors[row, place] * aim[place]
                of_last += vectors[row, place] * vectors[last, place]
        features[POINTED_AT, index] = of_session
        features[POINTED_AT + 1, index] = of_last


@kernel(void(DESK_TYPE, _I4, _I8, f8, f4[:, ::1]))
def _acquaintance(desk: DeskArrays, rows: Array, at_s: Array, now_s: float, features: Array) -> None:
    """What the person has had to do with the candidates; -1 for never."""
    place, step, times, newest = desk.place, desk.step, desk.times, desk.newest
    past_times, past_newest, past_kind = desk.past_times, desk.past_newest, desk.past_kind
    of_candidate = features[_OF_CANDIDATE : _OF_CANDIDATE + 6]
    for index in range(len(rows)):
        of_candidate[:, index] = np.float32(-1)
        of_candidate[1, index] = np.float32(0)
        of_candidate[3, index] = np.float32(0)
        slot = place[rows[index]] - 1 if rows[index] < len(place) else np.int32(-1)
        if slot < 0 or slot >= desk.facts[PAST]:
            continue
        if newest[slot] >= 0:
            of_candidate[0, index] = np.float32(step[slot])
            of_candidate[1, index] = np.float32(times[slot])
            of_candidate[2, index] = np.float32(now_s - at_s[newest[slot]])
        if past_newest[slot] >= 0:
            of_candidate[3, index] = np.float32(past_times[slot])
            of_candidate[4, index] = np.float32(now_s - at_s[past_newest[slot]])
            of_candidate[5, index] = np.float32(past_kind[slot])


@kernel(void(SIGNALS_TYPE, DESK_TYPE, _U1, _I8, i8, i8, f4[:, ::1]))
def _circumstances(
    model: SignalArrays, desk: DeskArrays, kinds: Array, at_s: Array, start: int, n: int, features: Array
) -> None:
    """What is the same for all candidates."""
    facts, length = desk.facts, len(kinds)
    unknown = np.float32(-1)
    has_session = length > start
    known = facts[SESSION] > 0
    of_visit = (
        np.float32(facts[SESSION]),
        np.float32(facts[STEPS]),
        np.float32(facts[PAST] - facts[SESSION]),
        np.float32(at_s[length - 1] - at_s[length - 2]) if length - 2 >= start else unknown,
        np.float32(at_s[start] - at_s[start - 1]) if has_session and start > 0 else unknown,
        np.float32(at_s[length - 1] - at_s[start]) if has_session else unknown,
        np.float32(kinds[length - 1]) if length else unknown,
        model.columns[desk.rows[0], _POPULARITY] if known else unknown,
        model.columns[desk.rows[0], _REPEAT] if known else unknown,
        np.float32(facts[POOLED]),
        np.float32(facts[FOUND]),
        desk.best[_NEAR],
        desk.best[_FOLLOWING],
    )
    for offset, value in enumerate(of_visit):
        features[_OF_VISIT + offset, :n] = value


@kernel(void(JOINED_TYPE, _I4, _U1, _I8, i8, f8, f4[:, ::1]))
def describe(
    joined: Any,
    rows: Array,
    kinds: Array,
    at_s: Array,
    start: int,
    now_s: float,
    features: Array,
) -> None:
    """Fill `features` float32[N_FEATURES, m >= n] for the candidates `rows` int32[n].

    kinds uint8[t], at_s int64[t] epoch seconds and `start` are the trail that `gather` was asked about. The
    rows from LIVE_AT to SLOW_SURGE_AT are left as they are: demand now, what other models and the catalogue
    tell.
    """
    model, desk, n = joined.model, joined.desk, len(rows)
    for row in rows:
        fetch(model.columns, row * N_COLUMNS)
    _average(desk, model.vectors, _HALVED_BY_THREE, desk.mean)
    _average(desk, model.next_vectors, HALVED_BY_TWO, desk.aim)
    _circumstances(model, desk, kinds, at_s, start, n, features)
    _likenesses(model, desk, rows, features)
    _pointed(model, desk, rows, features)
    _acquaintance(desk, rows, at_s, now_s, features)
    place, sums, best, columns = desk.place, desk.sums, desk.best, model.columns
    for index in range(n):
        row = unsigned(rows[index])
        seat = unsigned(place[row]) if row < len(place) else unsigned(0)
        if seat == 0:
            features[: 2 * N_CHANNELS, index] = np.float32(0)
        else:
            slot = seat - unsigned(1)
            for channel in range(N_CHANNELS):
                score = sums[slot, channel]
                features[channel, index] = score
                share = score / best[channel] if best[channel] > 0 else np.float32(0)
                features[_SHARES + channel, index] = share
        for column in range(N_COLUMNS):
            known = row < len(columns)
            features[_COLUMNS + column, index] = columns[row, column] if known else UNSEEN[column]
