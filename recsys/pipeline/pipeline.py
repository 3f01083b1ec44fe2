"""The sentence: candidates -> filter -> score -> rank -> mix."""

from __future__ import annotations

from collections.abc import Sequence

from recsys.pipeline.candidates import candidates
from recsys.pipeline.filter import Bars, Pool, offered
from recsys.pipeline.mix import Choice, mix
from recsys.pipeline.query import Query
from recsys.pipeline.score import plain_score


def choose(query: Query, taken: Sequence[int]) -> Choice:
    """Fill one slot. `taken`: rows that other slots of the request show."""
    with Bars(query, taken) as bars:
        return mix(plain_score(pool_of(query), query), query, bars)


def pool_of(query: Query) -> Pool:
    """The candidates of the slot's context, found once however many slots stand there."""
    context, sources = query.context, query.sources
    return query.visit.once(
        ("pool", context.seeds_key, context.item_types, sources),
        lambda: offered(candidates(context, sources), context),
    )
