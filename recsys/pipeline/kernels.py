"""The compiled loops of the pipeline. Like those of the models they have explicit signatures, release
the GIL and allocate nothing.

They are in one file and call nothing outside it, because numba's cache looks at this file only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from recsys.events import Action
from recsys.models.compiled import Array, boolean, f4, f8, i4, i8, kernel, read_only, void

_u1, _u8 = types.uint8, types.uint64
_U1, _I4, _I8, _F4 = (read_only(dtype) for dtype in (_u1, i4, i8, f4))
_I4_2D, _F4_2D = (read_only(dtype, 2) for dtype in (i4, f4))

_ORDER, _CART_ADD, _WISH = int(Action.ORDER), int(Action.CART_ADD), int(Action.WISH)
_LOOK_HALF_LIFE_S = 3 * 86_400.0
_LOOK_STEP = 0.9
_TWO_TO_MINUS_53 = 2.0**-53
_KEPT_LOOK = 1.5
"""A look at what was put into the cart or wished for counts so much more."""


@kernel(i8(_I4, _U1, _I8, i8, i4[::1], i4[::1], f4[::1]))
def looked_at(
    rows: Array, actions: Array, at_s: Array, now_s: int, place: Array, found_rows: Array, found_scores: Array
) -> int:
    """What was touched, the newest first, each row once with the sum of its fading looks: they fade by
    age and by what was touched since. Not the last of all, nor what was ordered since."""
    size = 0
    last = rows[len(rows) - 1]
    for index in range(len(rows) - 1, -1, -1):
        row = rows[index]
        if row < 0 or row >= len(place):
            continue
        if actions[index] == _ORDER and place[row] == 0:
            place[row] = -1
        if place[row] == -1 or row == last:
            continue
        half_lives = max(now_s - at_s[index], 0) / _LOOK_HALF_LIFE_S
        weight = _LOOK_STEP ** (len(rows) - 1 - index) * 2.0**-half_lives
        if actions[index] == _CART_ADD or actions[index] == _WISH:
            weight *= _KEPT_LOOK
        if place[row] == 0:
            found_rows[size] = row
            found_scores[size] = np.float32(0)
            size += 1
            place[row] = size
        found_scores[place[row] - 1] += np.float32(weight)
    for index in range(len(rows)):
        if 0 <= rows[index] < len(place):
            place[rows[index]] = 0
    return size


@kernel(i8(_I4, _F4, _I8, _U1, _u1, i4[::1], i4[:, ::1]))
def unite(
    rows: Array,
    scores: Array,
    source_starts: Array,
    offer: Array,
    item_types: int,
    place: Array,
    cells: Array,
) -> int:
    """The union of several sources' rows as far as the catalogue offers them, into the `cells` of a
    `recsys.pipeline.pool.Pool`; what a source names twice it is added up.

    Source s has `rows[source_starts[s]:source_starts[s + 1]]`. `cells` come in as zeros; `place` int32[n] is
    all zero between calls. Returns how many rows there are.
    """
    pool_rows, named, pool_scores = cells[0], cells[1].view(np.uint32), cells[2:].view(np.float32)
    size, of_best = 0, cells.shape[1] - 1
    for source in range(len(source_starts) - 1):
        bit = np.uint32(1) << np.uint32(source)
        best = np.float32(0)
        for index in range(source_starts[source], source_starts[source + 1]):
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


@kernel(types.uint32(_I4, _F4, _I4_2D, _F4, i4[:, ::1]))
def tell(order: Array, totals: Array, cells: Array, weights: Array, told: Array) -> Any:
    """What is to be known of the places `order` of a pool, into the columns of `told` int32[3, k]: the row,
    the source with the greatest share by `weights` float32[s] (0: it does not speak for the slot), and the
    total (the bits of a float32). Bit s of the answer: source s named one of them."""
    rows, named, scores = cells[0], cells[1].view(np.uint32), cells[2:].view(np.float32)
    told_totals = told[2].view(np.float32)
    of_best = cells.shape[1] - 1
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
        told[0, index] = rows[place]
        told[1, index] = lead
        told_totals[index] = totals[place]
        spoke |= named[place]
    return spoke


@kernel(boolean(i4, i4[::1], i8, _I4, _I4, _I4, i8, i8))
def _fits(
    row: int,
    block: Array,
    size: int,
    group: Array,
    brand: Array,
    leaf: Array,
    max_per_brand: int,
    max_per_category: int,
) -> bool:
    """Whether the block's first `size` rows leave room for the row: no variant of the same product,
    and fewer of its brand and category than the most there may be. Unknown ones (-1) are not counted."""
    n_brand, n_leaf = 0, 0
    for place in range(size):
        other = block[place]
        if group[row] >= 0 and group[other] == group[row]:
            return False
        n_brand += brand[row] >= 0 and brand[other] == brand[row]
        n_leaf += leaf[row] >= 0 and leaf[other] == leaf[row]
    return n_brand < max_per_brand and n_leaf < max_per_category


@kernel(i8(i4[::1], _I4, _F4, _I4, _I4, _I4, i8, i8, f4, _F4_2D, f4[::1], i4[::1], i4[::1], i8))
def arrange(
    order: Array,
    rows: Array,
    totals: Array,
    group: Array,
    brand: Array,
    leaf: Array,
    max_per_brand: int,
    max_per_category: int,
    diversity: float,
    vectors: Array,
    likeness: Array,
    block: Array,
    picked: Array,
    size: int,
) -> int:
    """Pick from `order` (places in the pool, the best first) into `picked`, as far as `_fits` allows.

    With `diversity` d > 0 by maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998): each time
    the one with the greatest (1 - d) x relevance - d x its greatest likeness to those picked, where
    relevance is the total brought to 0..1 and likeness the cosine of `vectors` float32[n, d] of unit
    length; rows beyond them are like nothing. `block` int32[limit] has the `size` rows that stand
    there already and gets those picked behind them; `likeness` float32[len(order)] and `order` are
    overwritten.
    Returns how many were picked.
    """
    n_left, n_picked, limit = len(order), 0, len(block) - size
    most, least = totals[order[0]], totals[order[n_left - 1]]
    span = max(most - least, np.float32(1e-9))
    likeness[:n_left] = 0
    start = 0
    while n_picked < limit and start < n_left:
        best = start
        if diversity > 0:
            best, best_worth = -1, np.float32(-np.inf)
            for index in range(n_left):
                if order[index] < 0:
                    continue
                relevance = (totals[order[index]] - least) / span
                worth = (np.float32(1) - diversity) * relevance - diversity * likeness[index]
                if worth > best_worth:
                    best, best_worth = index, worth
            if best < 0:
                break
        place = order[best]
        row = rows[place]
        if diversity > 0:
            order[best] = -1
        else:
            start += 1
        if not _fits(row, block, size + n_picked, group, brand, leaf, max_per_brand, max_per_category):
            continue
        picked[n_picked] = place
        block[size + n_picked] = row
        n_picked += 1
        if diversity > 0 and row < len(vectors):
            for index in range(n_left):
                if order[index] < 0 or rows[order[index]] >= len(vectors):
                    continue
                alike = np.float32(0)
                other = rows[order[index]]
                for dimension in range(vectors.shape[1]):
                    alike += vectors[row, dimension] * vectors[other, dimension]
                likeness[index] = max(likeness[index], alike)
    return n_picked


@kernel(i8(_I4, _U1, _u1, _u1, _u1, _u1[::1], _I4, _I4, _I4, i8, i8, i4[::1], i8))
def fill(
    rows: Array,
    offer: Array,
    item_types: int,
    bars: int,
    chosen: int,
    barred: Array,
    group: Array,
    brand: Array,
    leaf: Array,
    max_per_brand: int,
    max_per_category: int,
    block: Array,
    size: int,
) -> int:
    """Append allowed `rows` that fit, in their order, to `block[size:]`, each marked `chosen` in
    `barred`. Returns how many the block has then."""
    for index in range(len(rows)):
        if size == len(block):
            break
        row = rows[index]
        if row < 0 or row >= len(offer) or not (offer[row] & item_types) or (barred[row] & bars):
            continue
        if not _fits(row, block, size, group, brand, leaf, max_per_brand, max_per_category):
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


@kernel(i8(_F4_2D, _I4, i8, _U1, _u1, _F4, i4[::1], f4[::1]), fastmath=True)
def likest(
    vectors: Array,
    rows: Array,
    count: int,
    offer: Array,
    item_types: int,
    wanted: Array,
    top_rows: Array,
    top_scores: Array,
) -> int:
    """Of the first `count` vectors the rows on offer with the greatest positive inner product with
    `wanted`; where `offer` is empty, all are."""
    size = 0
    limit = len(top_rows)
    for index in range(count):
        row = rows[index]
        if row < 0 or (len(offer) and (row >= len(offer) or not (offer[row] & item_types))):
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
        top_rows[at] = row
        size += 1
    return size


@kernel(void(_I4, _I4, _F4, _I4_2D, _F4_2D, _I4, i4[::1], i4[:, ::1]))
def strongest_seeds(
    rows: Array,
    seeds: Array,
    weights: Array,
    table_rows: Array,
    table_scores: Array,
    table_lengths: Array,
    place: Array,
    strongest: Array,
) -> None:
    """For each row which seed's row of the table names it with the greatest weighted score, 0 if none, into
    `strongest` int32[2, k], which comes in as zeros; behind it are the bits of that score, a float32. `place`
    int32[n] is all zero between calls."""
    strongest_seed, best = strongest[0], strongest[1].view(np.float32)
    for index in range(len(rows)):
        place[rows[index]] = index + 1
    for seed_index in range(len(seeds)):
        seed = seeds[seed_index]
        if seed < 0 or seed >= len(table_lengths):
            continue
        for column in range(table_lengths[seed]):
            index = place[table_rows[seed, column]] - 1
            if index < 0:
                continue
            share = weights[seed_index] * table_scores[seed, column]
            if share > best[index]:
                best[index] = share
                strongest_seed[index] = seed_index
    for index in range(len(rows)):
        place[rows[index]] = 0
