"""The compiled loops of the sources: what was looked at, what is in demand, what is alike."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from recsys.models.compiled import Array, f4, i4, i8, kernel, read_only
from recsys.models.interactions import InteractionKind

_u1 = types.uint8
_U1, _I4, _I8, _F4 = (read_only(dtype) for dtype in (_u1, i4, i8, f4))
_F4_2D = read_only(f4, 2)

_ORDER, _CART = int(InteractionKind.ORDER), int(InteractionKind.CART)
_LOOK_HALF_LIFE_S = 3 * 86_400.0
_LOOK_STEP = 0.9
_KEPT_LOOK = 1.5
"""A look at what was put into the cart or wished for counts so much more."""


@kernel(i8(_I4, _U1, _I8, i8, i4[::1], i4[::1], f4[::1]))
def looked_at(
    rows: Array, kinds: Array, at_s: Array, now_s: int, place: Array, found_rows: Array, found_scores: Array
) -> int:
    """What was touched, the newest first, each row once with the sum of its fading looks: they fade by
    age and by what was touched since. Not the last of all, nor what was ordered since."""
    size = 0
    last = rows[len(rows) - 1]
    for index in range(len(rows) - 1, -1, -1):
        row = rows[index]
        if row < 0 or row >= len(place):
            continue
        if kinds[index] == _ORDER and place[row] == 0:
            place[row] = -1
        if place[row] == -1 or row == last:
            continue
        half_lives = max(now_s - at_s[index], 0) / _LOOK_HALF_LIFE_S
        weight = _LOOK_STEP ** (len(rows) - 1 - index) * 2.0**-half_lives
        if kinds[index] == _CART:
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


@kernel(i8(i4, f4, i4[::1], f4[::1], i8))
def _enter(row: int, score: Any, top_rows: Array, top_scores: Array, size: int) -> int:
    """Put a row in its place among the best so far, the best first, of equals behind those that came before;
    the last goes where there is no room. Returns how many there are then."""
    at = min(size, len(top_rows) - 1)
    while at > 0 and top_scores[at - 1] < score:
        top_scores[at] = top_scores[at - 1]
        top_rows[at] = top_rows[at - 1]
        at -= 1
    top_scores[at] = score
    top_rows[at] = row
    return min(size + 1, len(top_rows))


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
        if size < limit or warmth > top_heat[size - 1]:
            size = _enter(row, warmth, top_rows, top_heat, size)
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
        if size < limit or score > top_scores[size - 1]:
            size = _enter(row, score, top_rows, top_scores, size)
    return size
