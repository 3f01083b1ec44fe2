"""Score: how good each candidate is. A bundle's ranker knows; without one it is a plain sum."""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

from recsys.models.arrays import Rows, Scores
from recsys.pipeline.filter import Pool
from recsys.pipeline.kernels import leading, weigh
from recsys.pipeline.preference import preferred_rows
from recsys.pipeline.query import Query

TIE_WEIGHT: Final = 1e-3
"""What popularity counts where the sources say the same: less than any of them."""


class Scored(msgspec.Struct, frozen=True, eq=False):
    """totals float32[c], the greater the better."""

    pool: Pool
    totals: Scores


def score(pool: Pool, query: Query) -> Scored:
    """What the ranker says; without one the plain sum. What the placement prefers for this intent comes
    before all else, in the same order."""
    scored = plain_score(pool, query) if pool.learned is None else Scored(pool, pool.learned)
    preferred = preferred_rows(query) if query.placement.prefer_tags else None
    if preferred is None or not len(pool.rows):
        return scored
    totals = scored.totals
    ahead = np.where(preferred[pool.rows], totals.max() - totals.min() + np.float32(1), np.float32(0))
    return Scored(pool, (totals + ahead).astype(np.float32))


def plain_score(pool: Pool, query: Query) -> Scored:
    """Each source's scores divided by its best, times the placement's weight, summed."""
    totals = np.empty(len(pool.rows), np.float32)
    popularity = query.visit.columns.popularity
    weigh(pool.scores, pool.best, _weights(pool, query), pool.rows, popularity, TIE_WEIGHT, totals)
    return Scored(pool, totals)


def leads(places: Rows, pool: Pool, query: Query) -> list[str]:
    """For each of these places in the pool the source that speaks most for it."""
    lead = np.empty(len(places), np.int32)
    leading(pool.scores, pool.best, _weights(pool, query), places, lead)
    return [pool.asks[source][0] for source in lead.tolist()]


def _weights(pool: Pool, query: Query) -> Scores:
    """float32[s]: the placement's weight of each source of the pool."""
    weights = query.placement.sources
    return query.visit.once(
        ("weights", id(query.placement), pool.sources),
        lambda: np.array([weights[one] if one else 0.0 for one in pool.sources], np.float32),
    )
