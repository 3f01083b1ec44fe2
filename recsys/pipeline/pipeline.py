"""The sentence: candidates -> filter -> score -> rank -> mix."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from recsys.pipeline.blend import blend
from recsys.pipeline.filter import Bars
from recsys.pipeline.find import answers_of, found
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


def expect(query: Query) -> Company:
    """Tell that the slot will be filled: what it asks is asked with what its company asks."""
    return query.company


def ask(company: Company) -> None:
    """Have those answer ahead that do not wait for others. Nothing more is expected in the company."""
    company.answers = answers_of(company)


def find(company: Company) -> Pool:
    """The candidates of a company, found and weighed once for all of its slots."""
    if company.pool is None:
        company.pool = _weighed(company)
    return company.pool


def pool_of(query: Query) -> Pool:
    """The candidates of the slot."""
    return find(expect(query)).of(query.asks)


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
