"""Score: how good each candidate is for this slot. A learned ranker will take the plain sum's place."""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

from recsys.models.arrays import Rows, Scores
from recsys.pipeline.filter import Pool
from recsys.pipeline.kernels import weigh
from recsys.pipeline.query import Query

TIE_WEIGHT: Final = 1e-3
"""What popularity counts where the sources say the same: less than any of them."""


class Scored(msgspec.Struct, frozen=True, eq=False):
    """totals float32[c], the greater the better; lead int32[c], the answer that gave most of it."""

    pool: Pool
    totals: Scores
    lead: Rows


def plain_score(pool: Pool, query: Query) -> Scored:
    """Each source's scores divided by its best, times the placement's weight, summed."""
    size = len(pool.rows)
    totals, lead = np.empty(size, np.float32), np.empty(size, np.int32)
    popularity = query.visit.columns.popularity
    weigh(
        pool.scores, pool.weights, pool.rows, popularity, TIE_WEIGHT, totals, np.empty(size, np.float32), lead
    )
    return Scored(pool, totals, lead)
