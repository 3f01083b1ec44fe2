"""Rank: the best candidates in order."""

from __future__ import annotations

import numpy as np

from recsys.models.arrays import Rows
from recsys.pipeline.filter import ALL_BARS, Bars
from recsys.pipeline.kernels import best_first
from recsys.pipeline.query import Query
from recsys.pipeline.score import Scored


def best(scored: Scored, query: Query, bars: Bars) -> Rows:
    """Indices int32[k] into the pool, the best first, k at most the slot's limit, of those that a
    source of the slot named and no bar keeps out. Equals are ordered by the visit's salt: the same for
    the same person and seed, another for others."""
    pool = scored.pool
    order = np.empty(min(query.limit, len(pool.rows)), np.int32)
    found = best_first(
        scored.totals, pool.rows, pool.named, pool.bits(query.sources), bars.marks, ALL_BARS,
        query.visit.salt, order,
    )  # fmt: skip
    return order[:found]
