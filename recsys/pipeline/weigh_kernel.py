"""Candidates are weighed by the bundle's ranker in one call: described, asked about, and put to the trees."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from recsys.models.affinity_kernel import tell_affinities
from recsys.models.compiled import Array, f4, f8, i4, i8, kernel, read_only
from recsys.models.demand import tell_live
from recsys.models.describe_kernel import describe
from recsys.models.opinion_kernel import ask_models, ask_texts
from recsys.models.signal_arrays import AFFINITIES_AT, LIVE_AT, N_FEATURES, OPINIONS_AT, SLOW_SURGE_AT
from recsys.models.trees import LANES, TOGETHER, sum_leaves
from recsys.pipeline.unheard_kernel import describe_unheard, settle_unheard, unheard_of
from recsys.pipeline.workplace_arrays import STOCK_TYPE, WORKPLACE_TYPE

_U1, _I4, _I8, _F4, _F8 = (read_only(dtype) for dtype in (types.uint8, i4, i8, f4, f8))


@kernel(
    f4[::1](
        *(WORKPLACE_TYPE, STOCK_TYPE, i8, _I4, _I4, _U1, _I8, i8, f8, _F4),
        *(_I4, _F8, f8),
    )
)
def weigh(
    workplace: Any,
    stock: Any,
    n_new: int,
    rows: Array,
    trail: Array,
    kinds: Array,
    at_s: Array,
    start: int,
    now_s: float,
    taste: Array,
    after_rows: Array,
    after_heats: Array,
    half_lives: float,
) -> Array:
    """What the ranker gives candidates `rows` int32[n]: float32[n], the greater the better. After `gather` of
    this trail.

    trail int32[t], kinds uint8[t], at_s int64[t], `start` and `now_s`: see `recsys.models.signals.Trail`;
    taste float32[f]: see `ask_models`; from `after_rows` to `half_lives`: see `tell_live`. Of the stock's
    new items the first `n_new` count.
    """
    n = len(rows)
    room = n + -n % LANES
    session, opinions = trail[start:], workplace.sources.opinions
    features = np.empty((N_FEATURES, room), np.float32)
    live, said = features[LIVE_AT:OPINIONS_AT], features[OPINIONS_AT:AFFINITIES_AT]
    tell_live(
        rows, stock.heat, stock.surge, stock.slow_surge, stock.greatest, after_rows, after_heats, half_lives,
        live, features[SLOW_SURGE_AT],
    )  # fmt: skip
    mean = np.empty(opinions.contents.shape[1], np.float32)
    ask_models(rows, session, taste, opinions, mean, workplace.sources.memory.sums, said)
    ask_texts(rows, session, opinions.contents, mean, stock.new_rows, stock.new_vectors, n_new, said)
    describe(workplace.desk, rows, kinds, at_s, start, now_s, features)
    tell_affinities(
        workplace.desk, rows, kinds, at_s, start, now_s, stock.leaf, stock.brand, stock.price,
        features[AFFINITIES_AT:SLOW_SURGE_AT],
    )  # fmt: skip
    found = np.empty(n, np.int32)
    unheard = found[: unheard_of(stock, rows, found)]
    describe_unheard(stock, rows, unheard, features)
    leaves, totals = np.empty((TOGETHER, room), np.uint32), np.empty(room, np.float32)
    sum_leaves(features, workplace.trees, leaves, totals)
    settle_unheard(workplace.sources, stock, n_new, trail, rows, unheard, totals[:n])
    return totals[:n]
