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
from recsys.placement import SourceName

TIE_WEIGHT: Final = 1e-3
"""What popularity counts where the sources say the same: less than any of them."""
MAX_WEIGHTS: Final = 256
"""Placements, with the sources of a pool, whose weights a thread keeps."""
KNOW_NEW_ITEMS: Final[tuple[SourceName, ...]] = ("content", "lately")
"""Sources that have something to say of an item nobody had looked at when the models were trained."""

_OF_STEPS: Final = frozenset(("neighbours", "als", "kindred", "item_to_item", "bought_together"))
"""Sources that go by what people have done before."""
_OF_EVERYBODY: Final = frozenset(("trending", "surging", "popular"))


class Scored(msgspec.Struct, frozen=True, eq=False):
    """totals float32[c], the greater the better."""

    pool: Pool
    totals: Scores


def score(pool: Pool, query: Query) -> Scored:
    """What the ranker says; without one the plain sum. What leading sources name comes before what they do
    not, what an unknown person came for before that, and what the placement prefers for this intent before
    all else."""
    scored = plain_score(pool, query) if pool.learned is None else Scored(pool, pool.learned)
    leading = _leading(pool, query)
    if leading and len(pool.rows):
        scored = _led(scored, query, leading)
    came_for = query.visit.came_for
    if came_for >= 0 and query.page_row < 0 and len(pool.rows):
        scored = _ahead(scored, query.visit.columns.leaf[pool.rows] == came_for)
    if query.visit.queries and query.page_row < 0 and len(pool.rows):
        scored = _ahead(scored, np.isin(pool.rows, query.visit.sought.ranked[0]))
    preferred = preferred_rows(query) if query.placement.prefer_tags else None
    if preferred is None or not len(pool.rows):
        return scored
    return _ahead(scored, preferred[pool.rows])


def _leading(pool: Pool, query: Query) -> tuple[SourceName, ...]:
    """Those of the placement. Where it has none, on the page of an item that no lesson of the ranker had,
    those that know it: the ranker would show what is popular there, whatever the page is about. Likewise in a
    young shop, where nobody's steps tell how to go on: what the person looks at counts before what all do."""
    leading, row = query.placement.leading_sources, query.page_row
    if leading:
        return leading
    if pool.learned is None:
        said = zip(pool.sources, pool.best.tolist(), strict=True)
        if any(best > 0 for name, best in said if name in _OF_STEPS):
            return ()
        return tuple(name for name in pool.sources if name and name not in _OF_EVERYBODY)
    return () if row < 0 or query.visit.columns.popularity.item(row) > 0 else KNOW_NEW_ITEMS


def _ahead(scored: Scored, chosen: npt.NDArray[np.bool_]) -> Scored:
    """With the chosen bool[c] before all others, in the same order."""
    totals = scored.totals
    ahead = np.where(chosen, totals.max() - totals.min() + np.float32(1), np.float32(0))
    return Scored(scored.pool, (totals + ahead).astype(np.float32))


def _led(scored: Scored, query: Query, leading: tuple[SourceName, ...]) -> Scored:
    """With what the leading sources name, by the plain sum of what they say, in front."""
    pool, totals = scored.pool, scored.totals
    led = np.empty(len(totals), np.float32)
    put_in_front(pool.cells, _kept_weights(pool, query, leading), totals, led)
    return Scored(pool, led)


def plain_score(pool: Pool, query: Query) -> Scored:
    """Each source's scores divided by its best, times the placement's weight, summed."""
    totals = np.empty(len(pool.rows), np.float32)
    popularity = query.visit.columns.popularity
    weigh(pool.scores, pool.best, weights_of(pool, query), pool.rows, popularity, TIE_WEIGHT, totals)
    return Scored(pool, totals)


def weights_of(pool: Pool, query: Query) -> Scores:
    """float32[s]: the placement's weight of each source of the pool, 0 where it does not speak."""
    return _kept_weights(pool, query)


def _kept_weights(pool: Pool, query: Query, heard: tuple[SourceName, ...] = ()) -> Scores:
    """As `weights_of`; where sources are named, 0 for all but those."""
    placement, kept = query.placement, query.visit.scratch.weights
    # By id: the placement is kept beside, so no other can come to have it.
    key = id(placement), pool.sources, heard
    known = kept.get(key)
    if known is None:
        if len(kept) >= MAX_WEIGHTS:
            kept.clear()
        weights = [
            placement.sources.get(one, 0.0) if one is not None and (not heard or one in heard) else 0.0
            for one in pool.sources
        ]
        known = kept[key] = placement, np.array(weights, np.float32)
    return known[1]
