"""The compiled loops of the pipeline. Like those of the models they have explicit signatures, release
the GIL and allocate nothing.

They are in one file and call nothing outside it, because numba's cache looks at this file only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from recsys.models.compiled import Array, f4, i4, i8, kernel, read_only, void

_u1, _u8 = types.uint8, types.uint64
_U1, _I4, _I8, _F4 = (read_only(dtype) for dtype in (_u1, i4, i8, f4))
_I4_2D, _F4_2D = (read_only(dtype, 2) for dtype in (i4, f4))


@kernel(i8(_I4, _F4, _I8, _U1, _U1, _u1, _u1, i4[::1], i4[::1], f4[:, ::1]))
def merge_allowed(
    rows: Array,
    scores: Array,
    source_starts: Array,
    offer: Array,
    barred: Array,
    item_types: int,
    bars: int,
    place: Array,
    pool_rows: Array,
    pool_scores: Array,
) -> int:
    """The union of several sources' rows as far as they may be shown, and each source's scores.

    Source s has `rows[source_starts[s]:source_starts[s + 1]]`. `pool_scores` float32[s, c] comes in
    as zeros; `place` int32[n] is all zero between calls. Returns how many `pool_rows` there are.
    """
    size = 0
    for source in range(len(source_starts) - 1):
        for index in range(source_starts[source], source_starts[source + 1]):
            row = rows[index]
            if row < 0 or row >= len(offer) or not scores[index] > 0:
                continue
            if not (offer[row] & item_types) or (barred[row] & bars):
                continue
            if place[row] == 0:
                pool_rows[size] = row
                size += 1
                place[row] = size
            pool_scores[source, place[row] - 1] = scores[index]
    for index in range(size):
        place[pool_rows[index]] = 0
    return size


@kernel(void(_F4_2D, _F4, _I4, _F4, f4, f4[::1], f4[::1], i4[::1]), fastmath=True)
def weigh(
    pool_scores: Array,
    weights: Array,
    rows: Array,
    popularity: Array,
    tie_weight: float,
    totals: Array,
    lead_share: Array,
    lead: Array,
) -> None:
    """The weighted sum of the sources, each divided by its best; `lead` is the one that gave most."""
    n_sources, n_rows = len(pool_scores), len(rows)
    for index in range(n_rows):
        totals[index] = tie_weight * popularity[rows[index]]
        lead_share[index] = np.float32(0)
        lead[index] = 0
    for source in range(n_sources):
        best = np.float32(0)
        for index in range(n_rows):
            best = max(best, pool_scores[source, index])
        if best <= 0:
            continue
        factor = weights[source] / best
        for index in range(n_rows):
            # Without branches, so that eight rows go at a time.
            share = factor * pool_scores[source, index]
            totals[index] += share
            leads = share > lead_share[index]
            lead[index] = np.int32(source) if leads else lead[index]
            lead_share[index] = share if leads else lead_share[index]


@kernel(_u8(i4, _u8))
def _mixed(row: int, salt: Any) -> Any:
    """A row's place among its equals: splitmix64 of row and salt."""
    z = np.uint64(row) + salt + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@kernel(i8(_F4, _I4, _u8, i4[::1]))
def best_first(scores: Array, rows: Array, salt: int, order: Array) -> int:
    """Indices of the best scores into `order`, best first; equals by `_mixed(row, salt)`.

    Returns how many there are, at most `len(order)`. An insertion sort of the few that are kept:
    nearly all of the others fail the first comparison.
    """
    limit = len(order)
    size = 0
    if limit == 0:
        return 0
    for index in range(len(scores)):
        score = scores[index]
        if size == limit:
            last = order[size - 1]
            if score < scores[last]:
                continue
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


@kernel(i8(_I4, _U1, _u1, _u1, _u1, _u1[::1], i4[::1], i4[::1], i8))
def fill(
    rows: Array,
    offer: Array,
    item_types: int,
    bars: int,
    chosen: int,
    barred: Array,
    block: Array,
    places: Array,
    size: int,
) -> int:
    """Append allowed `rows` in their order to `block[size:]`, each marked `chosen` in `barred`; their
    places in `rows` go to `places[size:]`."""
    for index in range(len(rows)):
        if size == len(block):
            break
        row = rows[index]
        if row < 0 or row >= len(offer) or not (offer[row] & item_types) or (barred[row] & bars):
            continue
        barred[row] |= chosen
        block[size] = row
        places[size] = index
        size += 1
    return size


@kernel(i8(i8, _U1, _u1, _u1, _u1, _u1[::1], i4[::1], i8))
def fill_from(
    start: int, offer: Array, item_types: int, bars: int, chosen: int, barred: Array, block: Array, size: int
) -> int:
    """`fill` with every row there is, going round from row `start`."""
    n_rows = len(offer)
    for step in range(n_rows):
        if size == len(block):
            break
        row = (start + step) % n_rows
        if not (offer[row] & item_types) or (barred[row] & bars):
            continue
        barred[row] |= chosen
        block[size] = row
        size += 1
    return size


@kernel(i8(_I4, _I4, i4, _F4, _U1, _u1, i4[::1], f4[::1]))
def hottest_of_leaf(
    rows: Array,
    leaf: Array,
    code: int,
    heat: Array,
    offer: Array,
    item_types: int,
    top_rows: Array,
    top_heat: Array,
) -> int:
    """The rows of greatest finite `heat` that still belong to the leaf category `code`, best first."""
    size = 0
    limit = len(top_rows)
    for index in range(len(rows)):
        row = rows[index]
        if row >= len(leaf) or leaf[row] != code or not (offer[row] & item_types):
            continue
        warmth = heat[row]
        if not np.isfinite(warmth):
            continue
        if size == limit:
            if warmth <= top_heat[size - 1]:
                continue
            size -= 1
        at = size
        while at > 0 and top_heat[at - 1] < warmth:
            top_heat[at] = top_heat[at - 1]
            top_rows[at] = top_rows[at - 1]
            at -= 1
        top_heat[at] = warmth
        top_rows[at] = row
        size += 1
    return size


@kernel(i8(_F4_2D, _I4, i8, _F4, i4[::1], f4[::1]), fastmath=True)
def likest(vectors: Array, rows: Array, count: int, wanted: Array, top_rows: Array, top_scores: Array) -> int:
    """Of the first `count` vectors the rows with the greatest positive inner product with `wanted`."""
    size = 0
    limit = len(top_rows)
    for index in range(count):
        if rows[index] < 0:
            continue
        score = np.float32(0)
        for dimension in range(len(wanted)):
            score += vectors[index, dimension] * wanted[dimension]
        if score <= 0:
            continue
        if size == limit:
            if score <= top_scores[size - 1]:
                continue
            size -= 1
        at = size
        while at > 0 and top_scores[at - 1] < score:
            top_scores[at] = top_scores[at - 1]
            top_rows[at] = top_rows[at - 1]
            at -= 1
        top_scores[at] = score
        top_rows[at] = rows[index]
        size += 1
    return size


@kernel(void(_I4, _I4, _F4, _I4_2D, _F4_2D, _I4, i4[::1]))
def strongest_seeds(
    rows: Array,
    seeds: Array,
    weights: Array,
    table_rows: Array,
    table_scores: Array,
    table_lengths: Array,
    strongest: Array,
) -> None:
    """For each row which seed's row of the table names it with the greatest weighted score; 0 if none."""
    for index in range(len(rows)):
        strongest[index] = 0
        best = np.float32(0)
        for seed_index in range(len(seeds)):
            seed = seeds[seed_index]
            if seed < 0 or seed >= len(table_lengths):
                continue
            for column in range(table_lengths[seed]):
                if table_rows[seed, column] == rows[index]:
                    share = weights[seed_index] * table_scores[seed, column]
                    if share > best:
                        best = share
                        strongest[index] = seed_index
