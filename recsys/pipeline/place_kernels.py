"""The compiled loops that give items their places: as different as asked, within the caps, none twice."""

from __future__ import annotations

import numpy as np
from numba import types

from recsys.models.compiled import Array, boolean, f4, f8, i4, i8, kernel, read_only

_u1 = types.uint8
_U1, _I4, _F4 = (read_only(dtype) for dtype in (_u1, i4, f4))
_F4_2D, _F8_2D = read_only(f4, 2), read_only(f8, 2)
_BOOLEAN = read_only(boolean)


@kernel(boolean(i4, i4[::1], i8, i8, _I4, _I4, _I4, i8, i8))
def _fits(
    row: int,
    block: Array,
    size: int,
    vacated: int,
    group: Array,
    brand: Array,
    leaf: Array,
    max_per_brand: int,
    max_per_category: int,
) -> bool:
    """Whether the block's first `size` rows, but that at the place `vacated` (-1: none), leave room for the
    row: no variant of the same product, and fewer of its brand and category than the most there may be.
    Unknown ones (-1) are not counted."""
    n_brand, n_leaf = 0, 0
    for place in range(size):
        if place == vacated:
            continue
        other = block[place]
        if group[row] >= 0 and group[other] == group[row]:
            return False
        n_brand += brand[row] >= 0 and brand[other] == brand[row]
        n_leaf += leaf[row] >= 0 and leaf[other] == leaf[row]
    return n_brand < max_per_brand and n_leaf < max_per_category


@kernel(i8(i4, i4[::1], _I4, _F4_2D, f4[::1]))
def _liken(row: int, order: Array, rows: Array, vectors: Array, likeness: Array) -> int:
    """Raise the greatest likeness of each of `order` that is left to that to the row, a place of a block."""
    if row < 0 or row >= len(vectors):
        return 0
    for index in range(len(order)):
        if order[index] < 0 or rows[order[index]] >= len(vectors):
            continue
        alike = np.float32(0)
        other = rows[order[index]]
        for dimension in range(vectors.shape[1]):
            alike += vectors[row, dimension] * vectors[other, dimension]
        likeness[index] = max(likeness[index], alike)
    return 1


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
    the one with the greatest (1 - d) x relevance - d x its greatest likeness to those of the block, where
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
    if diversity > 0:
        for place in range(size):
            _liken(block[place], order, rows, vectors, likeness)
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
        if not _fits(row, block, size + n_picked, -1, group, brand, leaf, max_per_brand, max_per_category):
            continue
        picked[n_picked] = place
        block[size + n_picked] = row
        n_picked += 1
        if diversity > 0:
            _liken(row, order, rows, vectors, likeness)
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
        if not _fits(row, block, size, -1, group, brand, leaf, max_per_brand, max_per_category):
            continue
        barred[row] |= chosen
        block[size] = row
        size += 1
    return size


@kernel(i8(i4[::1], _BOOLEAN, i4[::1], _F8_2D, f8, _I4, _I4, _I4, i8, i8, boolean[::1], f8[::1]))
def draw(
    block: Array,
    fixed: Array,
    new: Array,
    chances: Array,
    share: float,
    group: Array,
    brand: Array,
    leaf: Array,
    max_per_brand: int,
    max_per_category: int,
    drawn: Array,
    propensities: Array,
) -> int:
    """Give places of the rows `block`, but those that are `fixed`, to `new` rows, each with the chance
    `share`: to one of those that `_fits` beside the others, none twice, all alike. `chances`
    float64[len(block), 2] of [0, 1): whether, and which. Writes into `block` and `drawn`, and how likely
    each place was to be as it is, after what stands above it, into `propensities`; `new` is overwritten.
    Returns how many were drawn."""
    left = len(new)
    for place in range(len(block)):
        drawn[place], propensities[place] = False, 1.0
        if fixed[place]:
            continue
        fitting = 0
        for index in range(left):  # those that fit go to the front
            row = new[index]
            if _fits(row, block, len(block), place, group, brand, leaf, max_per_brand, max_per_category):
                new[index], new[fitting] = new[fitting], row
                fitting += 1
        if not fitting:
            continue
        if chances[place, 0] >= share:
            propensities[place] = 1.0 - share
            continue
        which = int(chances[place, 1] * fitting)
        block[place], drawn[place], propensities[place] = new[which], True, share / fitting
        left -= 1
        new[which] = new[left]
    return len(new) - left
