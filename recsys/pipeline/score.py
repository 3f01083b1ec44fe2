"""Score: how good each candidate is. A bundle's ranker knows; without one it is a plain sum."""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from recsys.models.arrays import Scores
from recsys.pipeline.pool import Pool
from recsys.pipeline.pool_kernels import put_in_front, weigh
from recsys.pipeline.preference import preferred_rows
from recsys.pipeline.query import Query

TIE_WEIGHT: Final = 1e-3
"""What popularity counts where the sources say the same: less than any of them."""
MAX_WEIGHTS: Final = 256
"""Placements, with the sources of a pool, whose weights a thread keeps."""


class Scored(msgspec.Struct, frozen=True, eq=False):
    """totals float32[c], the greater the better."""

    pool: Pool
    totals: Scores


def score(pool: Pool, query: Query) -> Scored:
    """What the ranker says; without one the plain sum. What the placement's leading sources name comes
    before what they do not, what an unknown person came for before that, and what the placement prefers for
    this intent before all else."""
    scored = plain_score(pool, query) if pool.learned is None else Scored(pool, pool.learned)
    if query.placement.leading_sources and len(pool.rows):
        scored = _led(scored, query)
    came_for = query.visit.came_for
    if came_for >= 0 and query.page_row < 0 and len(pool.rows):
        scored = _ahead(scored, query.visit.columns.leaf[pool.rows] == came_for)
    preferred = preferred_rows(query) if query.placement.prefer_tags else None
    if preferred is None or not len(pool.rows):
        return scored
    return _ahead(scored, preferred[pool.rows])


def _ahead(scored: Scored, chosen: npt.NDArray[np.bool_]) -> Scored:
    """With the chosen bool[c] before all others, in the same order."""
    totals = scored.totals
    ahead = np.where(chosen, totals.max() - totals.min() + np.float32(1), np.float32(0))
    return Scored(scored.pool, (totals + ahead).astype(np.float32))


def _led(scored: Scored, query: Query) -> Scored:
    """With what the leading sources name, by the plain sum of what they say, in front."""
    pool, totals = scored.pool, scored.totals
    led = np.empty(len(totals), np.float32)
    put_in_front(pool.cells, _leading_weights(pool, query), totals, led)
    return Scored(pool, led)


def plain_score(pool: Pool, query: Query) -> Scored:
    """Each source's scores divided by its best, times the placement's weight, summed."""
    totals = np.empty(len(pool.rows), np.float32)
    popularity = query.visit.columns.popularity
    weigh(pool.scores, pool.best, weights_of(pool, query), pool.rows, popularity, TIE_WEIGHT, totals)
    return Scored(pool, totals)


def weights_of(pool: Pool, query: Query) -> Scores:
    """float32[s]: the placement's weight of each source of the pool, 0 where it does not speak."""
    return _kept_weights(pool, query, leading=False)


def _leading_weights(pool: Pool, query: Query) -> Scores:
    """As `weights_of`, 0 for those that do not lead."""
    return _kept_weights(pool, query, leading=True)


def _kept_weights(pool: Pool, query: Query, *, leading: bool) -> Scores:
    placement, kept = query.placement, query.visit.scratch.weights
    # By id: the placement is kept beside, so no other can come to have it.
    key = id(placement), pool.sources, leading
    known = kept.get(key)
    if known is None:
        if len(kept) >= MAX_WEIGHTS:
            kept.clear()
        heard = placement.leading_sources if leading else placement.sources.keys()
        weights = [
            placement.sources[one] if one is not None and one in heard else 0.0 for one in pool.sources
        ]
        known = kept[key] = placement, np.array(weights, np.float32)
    return known[1]
