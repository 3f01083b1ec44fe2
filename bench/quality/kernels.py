"""The baselines' inner loops. Sums over items are kept dense, as textbooks have it: these are to be
right and fair; how the product computes is its own affair."""

from __future__ import annotations

import numpy as np

from recsys.models.compiled import Array, njit

compiled = njit(nogil=True, error_model="numpy", cache=True)


@compiled
def top_of(sums: Array, touched: Array, count: int, out: Array) -> None:
    """The greatest positive sums of the first `count` of `touched`, the greatest first, equals by row;
    -1 where there are no more. Leaves all sums at zero."""
    best = np.zeros(len(out), np.float64)
    out[:] = -1
    for index in range(count):
        row = touched[index]
        value = sums[row]
        sums[row] = 0.0
        last = len(out) - 1
        if value <= 0.0 or value < best[last] or (value == best[last] and 0 <= out[last] < row):
            continue
        place = last
        while place > 0 and (
            value > best[place - 1]
            or (value == best[place - 1] and (out[place - 1] < 0 or row < out[place - 1]))
        ):
            best[place] = best[place - 1]
            out[place] = out[place - 1]
            place -= 1
        best[place] = value
        out[place] = row


@compiled
def forget(bar_current: bool, bar_all: bool, walk: Array, start: int, stop: int, sums: Array) -> None:
    """Forget the items that are no answer."""
    if bar_all:
        for place in range(start, stop):
            if walk[place] >= 0:
                sums[walk[place]] = 0.0
    elif bar_current and stop > start and walk[stop - 1] >= 0:
        sums[walk[stop - 1]] = 0.0


@compiled
def fill(
    out: Array,
    ranked: Array,
    bar_current: bool,
    bar_all: bool,
    walk: Array,
    start: Array,
    stop: Array,
) -> None:
    """Fill what is left of each answer (-1) with the first of `ranked` that are not in it."""
    n_places = out.shape[1]
    for question in range(len(out)):
        answer = out[question]
        place = 0
        while place < n_places and answer[place] >= 0:
            place += 1
        barred_from = start[question] if bar_all else max(stop[question] - 1, start[question])
        for row in ranked:
            if place == n_places:
                break
            is_free = True
            for index in range(place):
                if answer[index] == row:
                    is_free = False
            if bar_all or bar_current:
                for index in range(barred_from, stop[question]):
                    if walk[index] == row:
                        is_free = False
            if is_free:
                answer[place] = row
                place += 1


@compiled
def rule_answers(
    starts: Array,
    followers: Array,
    weights: Array,
    walk: Array,
    start: Array,
    stop: Array,
    n_items: int,
    bar_current: bool,
    recent_first: bool,
    out: Array,
) -> None:
    """What follows the newest item by the rules (CSR: starts, followers, weights); with
    `recent_first` behind the session's own items, the newest of these first."""
    sums = np.zeros(n_items, np.float64)
    touched = np.empty(n_items, np.int32)
    for question in range(len(start)):
        count = 0
        first, last = start[question], stop[question] - 1
        current = walk[last] if last >= first else -1
        if current >= 0:
            for index in range(starts[current], starts[current + 1]):
                touched[count] = followers[index]
                sums[followers[index]] = weights[index]
                count += 1
        if recent_first:
            for place in range(first, last + 1):
                row = walk[place]
                if row < 0:
                    continue
                if sums[row] == 0.0:
                    touched[count] = row
                    count += 1
                sums[row] = 1e9 + (place - first)
        forget(bar_current, False, walk, first, last + 1, sums)
        top_of(sums, touched, count, out[question])


@compiled
def neighbour_answers(
    item_starts: Array,
    item_sessions: Array,
    session_starts: Array,
    session_items: Array,
    idf: Array,
    walk: Array,
    start: Array,
    stop: Array,
    m_recent: int,
    k: int,
    max_items: int,
    by_place: bool,
    bar_current: bool,
    out: Array,
) -> None:
    """What the nearest sessions hold, of the newest `m_recent` that share an item with the session.

    `by_place` (VMIS-kNN): a shared item counts place / length, a neighbour's vote falls by a tenth for
    each place from the end of the newest shared item, and rare items count more (idf). Without
    (S-kNN): similarity is the cosine of the sets of items, and is the vote.
    """
    n_items, n_sessions = len(item_starts) - 1, len(session_starts) - 1
    sums = np.zeros(n_items, np.float64)
    touched = np.empty(n_items, np.int32)
    similarity = np.zeros(n_sessions, np.float64)
    newest_shared = np.zeros(n_sessions, np.int32)
    found = np.empty(n_sessions, np.int32)
    mine = np.empty(max_items, np.int32)
    for question in range(len(start)):
        # The session's distinct items, each at its newest place; place 1 is the newest.
        n_mine = 0
        place = stop[question] - 1
        while place >= start[question] and n_mine < max_items:
            row = walk[place]
            place -= 1
            if row < 0:
                continue
            is_new = True
            for index in range(n_mine):
                if mine[index] == row:
                    is_new = False
            if is_new:
                mine[n_mine] = row
                n_mine += 1
        n_found = 0
        for index in range(n_mine):
            row = mine[index]
            counts = (n_mine - index) / n_mine if by_place else 1.0
            begin = max(item_starts[row], item_starts[row + 1] - m_recent)
            for entry in range(begin, item_starts[row + 1]):
                session = item_sessions[entry]
                if similarity[session] == 0.0:
                    found[n_found] = session
                    n_found += 1
                    newest_shared[session] = index + 1
                similarity[session] += counts
        near = found[:n_found].copy()
        if n_found > m_recent:  # sessions are numbered by time: the greatest are the newest
            near = np.sort(near)[n_found - m_recent :]
        scores = np.empty(len(near), np.float64)
        for index in range(len(near)):
            session = near[index]
            length = session_starts[session + 1] - session_starts[session]
            scores[index] = (
                similarity[session] if by_place else similarity[session] / np.sqrt(n_mine * length)
            )
        for index in range(n_found):
            similarity[found[index]] = 0.0
        if len(near) > k:  # of equals the newest
            order = np.argsort(-(scores + 1e-9 * near / n_sessions))[:k]
        else:
            order = np.arange(len(near))
        count = 0
        for index in order:
            session = near[index]
            vote = scores[index]
            if by_place:
                vote *= max(1.0 - 0.1 * newest_shared[session], 0.0) if newest_shared[session] < 100 else 0.0
            if vote <= 0.0:
                continue
            for entry in range(session_starts[session], session_starts[session + 1]):
                row = session_items[entry]
                gain = vote * (idf[row] if by_place else 1.0)
                if gain <= 0.0:  # what every session has tells nothing, and would be new again each time
                    continue
                if sums[row] == 0.0:
                    touched[count] = row
                    count += 1
                sums[row] += gain
        forget(bar_current, False, walk, start[question], stop[question], sums)
        top_of(sums, touched, count, out[question])


@compiled
def windowed_answers(
    live: Array, n_before: int, taken: Array, window: int, n_items: int, every: int, out: Array
) -> None:
    """The most frequent of the last `window` of `live`, of which the first `n_before` are the
    training's; question i is asked when `taken[i]` (rising) more have happened. Counted anew after
    `every` of them."""
    counts = np.zeros(n_items, np.float64)
    touched = np.empty(n_items, np.int32)
    copied = np.zeros(n_items, np.float64)
    done = max(n_before - window, 0)
    oldest = done
    counted_at = -every
    best = np.full(out.shape[1], -1, np.int32)
    for question in range(len(taken)):
        until = n_before + taken[question]
        while done < until:
            if live[done] >= 0:
                counts[live[done]] += 1.0
            done += 1
            while done - oldest > window:
                if live[oldest] >= 0:
                    counts[live[oldest]] -= 1.0
                oldest += 1
        if done - counted_at >= every:
            counted_at = done
            count = 0
            for row in range(n_items):
                if counts[row] > 0.0:
                    touched[count] = row
                    copied[row] = counts[row]
                    count += 1
            top_of(copied, touched, count, best)
        out[question] = best


@compiled
def blended_answers(
    table_rows: Array,
    table_scores: Array,
    lengths: Array,
    walk: Array,
    start: Array,
    stop: Array,
    n_seeds: int,
    by_place: bool,
    bar_current: bool,
    bar_all: bool,
    out: Array,
) -> None:
    """The sum of the neighbours of the newest `n_seeds` items, each counted 1 / its place from the end
    with `by_place`."""
    n_items = len(lengths)
    sums = np.zeros(n_items, np.float64)
    touched = np.empty(n_items, np.int32)
    for question in range(len(start)):
        count = 0
        for back in range(min(n_seeds, stop[question] - start[question])):
            row = walk[stop[question] - 1 - back]
            if row < 0:
                continue
            weight = 1.0 / (back + 1) if by_place else 1.0
            for index in range(lengths[row]):
                other, gain = table_rows[row, index], weight * table_scores[row, index]
                if gain <= 0.0:
                    continue
                if sums[other] == 0.0:
                    touched[count] = other
                    count += 1
                sums[other] += gain
        forget(bar_current, bar_all, walk, start[question], stop[question], sums)
        top_of(sums, touched, count, out[question])
