"""The sentence: candidates -> filter -> score -> rank -> mix."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from recsys.pipeline.blend import blend
from recsys.pipeline.filter import Bars
from recsys.pipeline.find import found
from recsys.pipeline.kindred import Acquainted
from recsys.pipeline.learned import Learned
from recsys.pipeline.mix import Choice, mix
from recsys.pipeline.pool import NO_POOL, Pool
from recsys.pipeline.query import Company, Query
from recsys.pipeline.score import score


def choose(query: Query, taken: Sequence[int]) -> Choice:
    """Fill one slot. `taken`: rows that other slots of the request show."""
    if query.placement.shares and not query.types:
        return blend(query, taken, choose)
    with Bars(query, taken) as bars:
        return mix(score(pool_of(query), query), query, bars)


def pool_of(query: Query) -> Pool:
    """The candidates of the slot, found and weighed once for all slots of its context's company."""
    company = expect(query)
    if company.pool is None:
        company.pool = _weighed(company)
    return company.pool.of(query.asks)


def expect(query: Query) -> Company:
    """Tell that the slot will be filled: what it asks is asked with what its company asks."""
    return query.company


def _weighed(company: Company) -> Pool:
    if not company.asks:
        return NO_POOL
    learned = Learned(company.context)
    with Acquainted(company.context) as acquainted:
        pool = found(company, learned, acquainted)
        if learned.knows:
            return msgspec.structs.replace(pool, learned=learned.totals(pool.rows))
        if acquainted.knows:
            return msgspec.structs.replace(pool, learned=acquainted.totals(pool.rows))
        return pool
