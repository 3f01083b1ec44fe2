"""Rank: the best candidates in order."""

from __future__ import annotations

import numpy as np

from recsys.models.arrays import Rows
from recsys.pipeline.kernels import best_first
from recsys.pipeline.query import Query
from recsys.pipeline.score import Scored


def best(scored: Scored, query: Query) -> Rows:
    """Indices int32[k] into the pool, the best first, k at most the slot's limit. Equals are ordered
    by the visit's salt: the same for the same person and seed, another for others."""
    order = np.empty(min(query.limit, len(scored.totals)), np.int32)
    found = best_first(scored.totals, scored.pool.rows, query.visit.salt, order)
    return order[:found]
