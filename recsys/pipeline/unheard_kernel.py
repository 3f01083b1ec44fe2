"""Candidates that nobody has looked at: the ranker's lessons had none, so what it makes of their being
unknown is chance. They are weighed as the least popular are, and among each other by how like they are to
what the person looks at."""

from __future__ import annotations

from typing import Any

import numpy as np

from recsys.models.compiled import Array, f4, i4, i8, kernel, read_only, void
from recsys.models.signal_arrays import COLUMNS, FEATURES, N_COLUMNS
from recsys.pipeline.said_kernel import MUCH_ALIKE, cosine
from recsys.pipeline.workplace_arrays import SOURCES_TYPE, STOCK_TYPE

_I4 = read_only(i4)
_POPULARITY = FEATURES.index(COLUMNS[0])
_COMPARED_ITEMS = 5
"""How many of the newest items of the trail a candidate is compared with."""


@kernel(i8(STOCK_TYPE, _I4, i4[::1]))
def unheard_of(stock: Any, rows: Array, unheard: Array) -> int:
    """Where among `rows` int32[n] those stand that nobody has looked at, before the training or since, into
    `unheard` int32[n]; how many they are."""
    size = 0
    for place in range(len(rows)):
        row = rows[place]
        if stock.popularity[row] <= 0 and not np.isfinite(stock.heat[row]):
            unheard[size] = place
            size += 1
    return size


@kernel(void(STOCK_TYPE, _I4, _I4, f4[:, ::1]))
def describe_unheard(stock: Any, rows: Array, unheard: Array, features: Array) -> None:
    """Tell of the places `unheard` what is told of the least popular of the other `rows` whatever the
    session; `features` float32[N_FEATURES, m >= n]."""
    least = -1
    for place in range(len(rows) if len(unheard) else 0):
        popularity = stock.popularity[rows[place]]
        if popularity > 0 and (least < 0 or popularity < stock.popularity[rows[least]]):
            least = place
    if least < 0:
        return
    for place in unheard:
        for column in range(_POPULARITY, _POPULARITY + N_COLUMNS):
            features[column, place] = features[column, least]


@kernel(void(SOURCES_TYPE, STOCK_TYPE, i8, _I4, _I4, _I4, f4[::1]))
def settle_unheard(
    sources: Any, stock: Any, n_new: int, trail: Array, rows: Array, unheard: Array, totals: Array
) -> None:
    """Of the `totals` float32[n] deal out those of the places `unheard` again, the likest to the trail's
    newest items first; what is not much like any of them comes behind all others. Of the stock's new items
    `n_new` count."""
    if not len(unheard) or not len(trail):
        return
    least = np.float32(np.inf)
    for place in range(len(totals)):
        least = min(least, totals[place])
    likeness, dealt = np.empty(len(unheard), np.float32), np.empty(len(unheard), np.float32)
    for index in range(len(unheard)):
        place = unheard[index]
        dealt[index], likeness[index] = totals[place], np.float32(-1)
        for at in range(max(len(trail) - _COMPARED_ITEMS, 0), len(trail)):
            alike = cosine(sources, stock, n_new, rows[place], trail[at])
            likeness[index] = max(likeness[index], alike)
    dealt.sort()
    order = np.argsort(likeness)
    for index in range(len(unheard)):
        alike, place = likeness[order[index]], unheard[order[index]]
        totals[place] = dealt[index] if alike >= MUCH_ALIKE else least - np.float32(1) + alike
