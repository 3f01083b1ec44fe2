"""The sentence: candidates -> filter -> score -> rank -> mix."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from recsys.block import SourceName
from recsys.pipeline.blend import blend
from recsys.pipeline.candidates import candidates
from recsys.pipeline.filter import Bars, Pool, offered
from recsys.pipeline.kindred import Acquainted
from recsys.pipeline.learned import Learned
from recsys.pipeline.mix import Choice, mix
from recsys.pipeline.query import Context, Query
from recsys.pipeline.score import score


def choose(query: Query, taken: Sequence[int]) -> Choice:
    """Fill one slot. `taken`: rows that other slots of the request show."""
    if query.placement.shares and not query.types:
        return blend(query, taken, choose)
    with Bars(query, taken) as bars:
        return mix(score(pool_of(query), query), query, bars)


def pool_of(query: Query) -> Pool:
    """The candidates of the slot's context, found once however many slots stand there."""
    context, sources = query.context, query.sources
    return query.visit.once(
        ("pool", context.seeds_key, context.shown_key, sources),
        lambda: _weighed(context, sources),
    )


def _weighed(context: Context, sources: Sequence[SourceName]) -> Pool:
    learned = Learned(context)
    with Acquainted(context) as acquainted:
        pool = offered(candidates(context, sources, learned, acquainted), context)
        if learned.knows:
            return msgspec.structs.replace(pool, learned=learned.totals(pool.rows))
        if acquainted.knows:
            return msgspec.structs.replace(pool, learned=acquainted.totals(pool.rows))
        return pool
