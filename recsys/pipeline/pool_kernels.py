"""The compiled loops of the pool: sources united and weighed, the best found, and who named them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from recsys.models.compiled import Array, f4, f8, i4, i8, kernel, read_only, void

_u1, _u8 = types.uint8, types.uint64
_U1, _I4, _F4 = (read_only(dtype) for dtype in (_u1, i4, f4))
_I4_2D, _F4_2D = (read_only(dtype, 2) for dtype in (i4, f4))

_TWO_TO_MINUS_53 = 2.0**-53


@kernel(i8(_I4, _F4, _I4_2D, _U1, _u1, i4[::1], i4[:, ::1]))
def unite(
    rows: Array,
    scores: Array,
    plan: Array,
    offer: Array,
    item_types: int,
    place: Array,
    cells: Array,
) -> int:
    """The union of several sources' rows as far as the catalogue offers them, into the `cells` of a
    `recsys.pipeline.pool.Pool`; what a source names twice it is added up.

    Source s, of as many as there are cells for, has the rows `plan[s, 1]` to `plan[s, 2]`. `cells` come in as
    zeros; `place` int32[n] is all zero between calls. Returns how many rows there are.
    """
    pool_rows, named, pool_scores = cells[0], cells[1].view(np.uint32), cells[2:].view(np.float32)
    size, of_best = 0, cells.shape[1] - 1
    for source in range(len(pool_scores)):
        bit = np.uint32(1) << np.uint32(source)
        best = np.float32(0)
        for index in range(plan[source, 1], plan[source, 2]):
            row = rows[index]
            if row < 0 or row >= len(offer) or not scores[index] > 0 or not (offer[row] & item_types):
                continue
            if place[row] == 0:
                pool_rows[size] = row
                size += 1
                place[row] = size
            at = place[row] - 1
            pool_scores[source, at] += scores[index]
            named[at] |= bit
            best = max(best, pool_scores[source, at])
        pool_scores[source, of_best] = best
    for index in range(size):
        place[pool_rows[index]] = 0
    return size


@kernel(void(_F4_2D, _F4, _F4, _I4, _F4, f4, f4[::1]), fastmath=True)
def weigh(
    pool_scores: Array,
    best: Array,
    weights: Array,
    rows: Array,
    popularity: Array,
    tie_weight: float,
    totals: Array,
) -> None:
    """The weighted sum of the sources, each divided by its best, into `totals` float32[c]."""
    n_rows = len(rows)
    for index in range(n_rows):
        totals[index] = tie_weight * popularity[rows[index]]
    for source in range(len(weights)):
        if best[source] <= 0 or weights[source] <= 0:
            continue
        factor = weights[source] / best[source]
        for index in range(n_rows):
            # Without branches, so that eight rows go at a time.
            totals[index] += factor * pool_scores[source, index]


@kernel(void(_I4_2D, _F4, _F4, f4[::1]))
def put_in_front(cells: Array, weights: Array, totals: Array, led: Array) -> None:
    """The totals float32[c] into `led`, with what any source of positive weight names in front of all others:
    by the sum of what they say, each divided by its best and times its weight. `cells`: of a
    `recsys.pipeline.pool.Pool`."""
    scores, of_best, n_rows = cells[2:].view(np.float32), cells.shape[1] - 1, len(totals)
    led[:] = 0
    for source in range(len(weights)):
        best = scores[source, of_best]
        if best <= 0 or weights[source] <= 0:
            continue
        weight = weights[source] / best
        for index in range(n_rows):
            led[index] += weight * scores[source, index]
    greatest = np.float32(-np.inf)
    for index in range(n_rows):
        greatest = max(greatest, totals[index])
    for index in range(n_rows):
        ahead = greatest - totals[index] + np.float32(1) + led[index] if led[index] > 0 else np.float32(0)
        led[index] = totals[index] + ahead


@kernel(_u8(i4, _u8))
def _mixed(row: int, salt: Any) -> Any:
    """A row's place among its equals: splitmix64 of row and salt."""
    z = np.uint64(row) + salt + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@kernel(void(_u8, f8[::1]))
def uniform(salt: int, numbers: Array) -> None:
    """Numbers of [0, 1), evenly spread, the same for the same salt."""
    for index in range(len(numbers)):
        numbers[index] = (_mixed(index, salt) >> np.uint64(11)) * _TWO_TO_MINUS_53


@kernel(i8(_F4, _I4_2D, types.uint32, _U1, _u1, _u8, i4[::1]))
def best_first(
    scores: Array, cells: Array, sources: int, barred: Array, bars: int, salt: int, order: Array
) -> int:
    """Places in the pool of the best scores into `order`, best first, among those that one of `sources` named
    and no bar keeps out; equals by `_mixed(row, salt)`. `cells`: of a `recsys.pipeline.pool.Pool`.

    Returns how many there are, at most `len(order)`. An insertion sort of the few that are kept:
    nearly all of the others fail the first comparison.
    """
    rows, named = cells[0], cells[1].view(np.uint32)
    limit = len(order)
    size = 0
    if limit == 0:
        return 0
    for index in range(len(scores)):
        score = scores[index]
        if size == limit and score < scores[order[size - 1]]:
            continue
        if not (named[index] & sources) or (barred[rows[index]] & bars):
            continue
        if size == limit:
            last = order[size - 1]
            if score == scores[last] and _mixed(rows[index], salt) >= _mixed(rows[last], salt):
                continue
            size -= 1
        at = size
        while at > 0:
            other = order[at - 1]
            if scores[other] > score:
                break
            if scores[other] == score and _mixed(rows[other], salt) <= _mixed(rows[index], salt):
                break
            order[at] = other
            at -= 1
        order[at] = index
        size += 1
    return size


@kernel(types.uint32(_I4, _F4, _I4_2D, _F4, i4[::1]))
def tell(order: Array, totals: Array, cells: Array, weights: Array, told: Array) -> Any:
    """What is to be known of the places `order` of a pool, into the columns of `told` int32[3 * k]: the row,
    the source with the greatest share by `weights` float32[s] (0: it does not speak for the slot), and the
    total (the bits of a float32). Bit s of the answer: source s named one of them."""
    rows, named, scores = cells[0], cells[1].view(np.uint32), cells[2:].view(np.float32)
    k, of_best = len(order), cells.shape[1] - 1
    told_rows, told_leads, told_totals = told[:k], told[k : 2 * k], told[2 * k :].view(np.float32)
    spoke = np.uint32(0)
    for index in range(len(order)):
        place = order[index]
        most = np.float32(0)
        lead = 0
        for source in range(len(weights)):
            best = scores[source, of_best]
            if best <= 0:
                continue
            share = weights[source] * scores[source, place] / best
            if share > most:
                most = share
                lead = source
        told_rows[index] = rows[place]
        told_leads[index] = lead
        told_totals[index] = totals[place]
        spoke |= named[place]
    return spoke
