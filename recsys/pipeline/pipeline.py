"""The sentence: candidates -> filter -> score -> rank -> mix."""

from __future__ import annotations

from collections.abc import Sequence

from recsys.pipeline.candidates import candidates
from recsys.pipeline.filter import Bars, allowed
from recsys.pipeline.mix import Choice, mix
from recsys.pipeline.query import Query
from recsys.pipeline.rank import best
from recsys.pipeline.score import plain_score


def choose(query: Query, taken: Sequence[int]) -> Choice:
    """Fill one slot. `taken`: rows that other slots of the request show."""
    with Bars(query, taken) as bars:
        answers = candidates(query)
        pool = allowed(answers, query, bars)
        scored = plain_score(pool, query)
        order = best(scored, query)
        return mix(order, scored, query, bars)
