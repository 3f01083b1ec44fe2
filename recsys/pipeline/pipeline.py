"""The sentence: candidates -> filter -> score -> rank -> mix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from recsys.pipeline.blend import blend
from recsys.pipeline.filter import Bars
from recsys.pipeline.find import found
from recsys.pipeline.kindred import Acquainted
from recsys.pipeline.learned import Learned
from recsys.pipeline.mix import Choice, mix
from recsys.pipeline.pool import NO_POOL, Pool
from recsys.pipeline.query import Ask, Context, Query
from recsys.pipeline.score import score


def choose(query: Query, taken: Sequence[int]) -> Choice:
    """Fill one slot. `taken`: rows that other slots of the request show."""
    if query.placement.shares and not query.types:
        return blend(query, taken, choose)
    with Bars(query, taken) as bars:
        return mix(score(pool_of(query), query), query, bars)


def pool_of(query: Query) -> Pool:
    """The candidates of the slot, found and weighed once for all slots of its context's company."""
    visit, company = query.visit, query.context.company
    wanted = expect(query)
    pool = visit.once(("pool", company, len(wanted)), lambda: _weighed(wanted))
    return pool.of(query.asks)


def expect(query: Query) -> Mapping[Ask, Context]:
    """Tell that the slot will be filled: what it asks is asked with what its company asks. What that is."""
    return query.wanted


def _weighed(wanted: Mapping[Ask, Context]) -> Pool:
    if not wanted:
        return NO_POOL
    context = next(iter(wanted.values()))
    learned = Learned(context)
    with Acquainted(context) as acquainted:
        pool = found(wanted, learned.n_gathered, acquainted)
        if learned.knows:
            return msgspec.structs.replace(pool, learned=learned.totals(pool.rows))
        if acquainted.knows:
            return msgspec.structs.replace(pool, learned=acquainted.totals(pool.rows))
        return pool
