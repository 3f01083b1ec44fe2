"""Rank: the best candidates in order, as different from each other as the placement asks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from recsys.models.arrays import Rows
from recsys.models.direct import direct
from recsys.pipeline.filter import ALL_BARS, Bars
from recsys.pipeline.place_kernels import arrange
from recsys.pipeline.pool_kernels import best_first
from recsys.pipeline.query import Query
from recsys.pipeline.score import Scored

_best_first: Final = direct(best_first)
UNLIMITED: Final = 1 << 30
LOOKED_AT: Final = 4
"""So many times the limit are put in order at first; all of them where those do not fill the block."""
_NO_VECTORS: Final = np.empty((0, 0), np.float32)


def best(scored: Scored, query: Query, bars: Bars, shown: Sequence[int]) -> Rows:
    """Indices int32[k] into the pool, the best first, for the places that the rows `shown` leave; of
    those that a source of the slot named, no bar keeps out, and the placement's caps allow.

    Equals are ordered by the visit's salt: the same for the same person and seed, another for others.
    """
    missing = query.limit - len(shown)
    if not _is_arranged(query):
        return ordered(scored, query, bars, missing)
    n_rows, wanted = len(scored.pool.rows), LOOKED_AT * missing
    picked = _arranged(ordered(scored, query, bars, wanted), scored, query, shown)
    if len(picked) < missing and wanted < n_rows:
        picked = _arranged(ordered(scored, query, bars, n_rows), scored, query, shown)
    return picked


def caps_of(query: Query) -> tuple[Rows, Rows, Rows, int, int]:
    """Group, brand and category of each row, and the most items of a brand and of a category."""
    columns, placement = query.visit.columns, query.placement
    per_brand, per_category = placement.max_per_brand, placement.max_per_category
    return (
        columns.group, columns.brand, columns.leaf,
        UNLIMITED if per_brand is None else per_brand,
        UNLIMITED if per_category is None else per_category,
    )  # fmt: skip


def _is_arranged(query: Query) -> bool:
    placement = query.placement
    capped = placement.max_per_brand is not None or placement.max_per_category is not None
    return capped or placement.diversity > 0 or bool(query.visit.columns.group_codes)


def ordered(scored: Scored, query: Query, bars: Bars, limit: int) -> Rows:
    """As `best`, at most `limit` of them, whatever the placement's caps and diversity."""
    pool = scored.pool
    order = np.empty(min(limit, len(pool.rows)), np.int32)
    found = _best_first(
        scored.totals, pool.cells, pool.bits, bars.marks, ALL_BARS, query.visit.salt, order
    )  # fmt: skip
    return order[:found]


def _arranged(order: Rows, scored: Scored, query: Query, shown: Sequence[int]) -> Rows:
    if not len(order):
        return order
    bundle, diversity = query.visit.bundle, query.placement.diversity
    vectors = bundle.content.vectors if bundle is not None and diversity > 0 else _NO_VECTORS
    block, picked = np.empty(query.limit, np.int32), np.empty(query.limit, np.int32)
    block[: len(shown)] = shown
    found = arrange(
        order, scored.pool.rows, scored.totals, *caps_of(query), diversity, vectors,
        np.empty(len(order), np.float32), block, picked, len(shown),
    )  # fmt: skip
    return picked[:found]
