"""The compiled loops of session kNN: which sessions share items with this one, and what they vote for."""

from __future__ import annotations

from typing import Any

import numpy as np

from recsys.models.compiled import Array, boolean, f4, i4, i8, kernel, read_only, u1
from recsys.models.kernels import drop_unoffered, kth_largest, take_top

_I4, _I8, _F4, _U1 = (read_only(dtype) for dtype in (i4, i8, f4, u1))


@kernel(i8(_I4, _I8, _I4, i8, i4[::1], f4[::1], i4[::1], i8[::1], i8[::1], i4[::1], i4[::1]))
def _recent_sessions(
    session: Array,
    item_starts: Array,
    item_sessions: Array,
    m_most_recent_sessions: int,
    found_session: Array,
    found_similarity: Array,
    found_position: Array,
    head: Array,
    end: Array,
    newest_of: Array,
    position: Array,
) -> int:
    """The m most recent sessions that share an item with `session`, newest first.

    Each item's list of sessions is sorted by time, so merging the few lists from their ends meets every
    session once, with all the items it shares, and stops after m: no hash map and no heap of times.
    """
    n_items = len(item_starts) - 1
    length = len(session)
    n_lists = 0
    for steps_back in range(length):
        row = session[length - 1 - steps_back]
        seen = False
        for newer in range(steps_back):
            if session[length - 1 - newer] == row:
                seen = True
                break
        if seen:
            continue
        if row < 0 or row >= n_items or item_starts[row] == item_starts[row + 1]:
            continue
        head[n_lists] = item_starts[row + 1] - 1
        end[n_lists] = item_starts[row]
        newest_of[n_lists] = item_sessions[head[n_lists]]
        position[n_lists] = steps_back
        n_lists += 1
    found = 0
    while found < m_most_recent_sessions:
        newest = -1
        for index in range(n_lists):
            newest = max(newest, newest_of[index])
        if newest < 0:
            break
        similarity = np.float32(0)
        first = length
        for index in range(n_lists):
            if newest_of[index] == newest:
                head[index] -= 1
                newest_of[index] = item_sessions[head[index]] if head[index] >= end[index] else -1
                # Whole numbers, so that equal similarities are equal. Serenade divides by the number of
                # distinct items, which is the same for all sessions and changes no ranking.
                similarity += np.float32(length - position[index])
                first = min(first, position[index])
        found_session[found] = newest
        found_similarity[found] = similarity
        found_position[found] = first
        found += 1
    return found


@kernel(
    i8(
        *(_I4, _I8, _I4, _I8, _I4, _F4, i8, i8, boolean, _U1, u1),
        *(f4[::1], i4[::1], f4[:, ::1], i4[::1], f4[::1], i4[::1], f4[::1], i8[::1], i8[::1], i4[::1]),
        *(i4[::1], i4[::1], f4[::1]),
    )
)
def score_neighbours(
    session: Array,
    item_starts: Array,
    item_sessions: Array,
    session_starts: Array,
    session_items: Array,
    idf: Array,
    m_most_recent_sessions: int,
    k_neighbours: int,
    keep_last: bool,
    offer: Array,
    item_types: int,
    sums: Array,
    touched: Array,
    spare: Array,
    found_session: Array,
    found_similarity: Array,
    found_position: Array,
    order_statistic: Array,
    head: Array,
    end: Array,
    newest_of: Array,
    position: Array,
    top_rows: Array,
    top_scores: Array,
) -> int:
    """VMIS-kNN (Kersbergen, Sprangers and Schelter, "Serenade", SIGMOD 2022, algorithm 2).

    Among the m most recent sessions that share an item the k most similar vote for their items with
    similarity x (1 - position/10) x idf, where `position` is how many steps back from the end of
    `session` (int32[h], oldest first) the newest shared item lies, from 1.
    """
    n_found = _recent_sessions(
        session, item_starts, item_sessions, m_most_recent_sessions,
        found_session, found_similarity, found_position, head, end, newest_of, position,
    )  # fmt: skip
    threshold: Any = np.float32(0)
    ties_left = n_found
    if n_found > k_neighbours:
        order_statistic[:n_found] = found_similarity[:n_found]
        threshold = kth_largest(order_statistic, n_found, k_neighbours)
        ties_left = k_neighbours
        for index in range(n_found):
            if found_similarity[index] > threshold:
                ties_left -= 1
    n_touched = 0
    for index in range(n_found):
        if found_similarity[index] < threshold:
            continue
        if found_similarity[index] == threshold:
            # Of equally similar sessions the newest are taken: they come first.
            if ties_left == 0:
                continue
            ties_left -= 1
        weight = found_similarity[index] * max(np.float32(0), np.float32(0.9 - 0.1 * found_position[index]))
        if weight <= 0:
            continue
        neighbour = found_session[index]
        for at in range(session_starts[neighbour], session_starts[neighbour + 1]):
            row = session_items[at]
            if sums[row] == 0:
                touched[n_touched] = row
                n_touched += 1
            sums[row] += weight
    for index in range(n_touched):
        sums[touched[index]] *= idf[touched[index]]
    if not keep_last and 0 <= session[-1] < len(sums):
        sums[session[-1]] = np.float32(0)
    n_touched = drop_unoffered(touched, n_touched, sums, offer, item_types)
    return take_top(touched, n_touched, sums, spare, top_rows, top_scores)
