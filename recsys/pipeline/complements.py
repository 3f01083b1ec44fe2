"""What a session brings that keeps looking at one category: the categories that are bought with it."""

from __future__ import annotations

from typing import Final

import numpy as np

from recsys.models.arrays import NOTHING, Ranked, Rows, Scores
from recsys.pipeline.query import Context, Visit
from recsys.pipeline.source_kernels import hottest_of_leaf

LEAST_LOOKS: Final = 3
"""How often a session has looked at a category before it brings its complements."""
POOL_OF_CATEGORY: Final = 10


def looks(visit: Visit) -> dict[int, int]:
    """By category how often the session has looked at it, where that is often."""
    return visit.once("looks", lambda: _looks(visit))


def brought(context: Context) -> Ranked:
    """What is in demand, else popular, in the complements of the categories that the session keeps looking
    at; the score is the complement's share, falling from item to item."""
    visit, columns = context.visit, context.visit.columns
    found: list[tuple[int, float]] = []
    for code in looks(visit):
        for other, share in columns.goes_with.get(code, ()):
            rows = best_of_category(context, other)
            found += [(row, share / (place + 1)) for place, row in enumerate(rows.tolist())]
    if not found:
        return NOTHING
    best: dict[int, float] = {}
    for row, score in found:
        best[row] = max(best.get(row, 0.0), score)
    return np.array(list(best), np.int32), np.array(list(best.values()), np.float32)


def brought_by(row: int, visit: Visit) -> tuple[int, int] | None:
    """The category that brought an item, with how often the session looked at it."""
    columns = visit.columns
    of = int(columns.leaf[row])
    for code, times in looks(visit).items():
        if any(other == of for other, _ in columns.goes_with.get(code, ())):
            return code, times
    return None


def _looks(visit: Visit) -> dict[int, int]:
    rows, leaf = visit.person.session, visit.columns.leaf
    if len(rows) < LEAST_LOOKS:
        return {}
    codes = [leaf.item(row) for row in rows if row >= 0]
    often = [(code, times) for code in dict.fromkeys(codes) if (times := codes.count(code)) >= LEAST_LOOKS]
    return {code: times for code, times in sorted(often, key=_most_first) if code >= 0}


def _most_first(looked: tuple[int, int]) -> int:
    return -looked[1]


def best_of_category(context: Context, code: int) -> Rows:
    """int32[k]: of a last category what is in demand, else popular; the best POOL_OF_CATEGORY of it."""
    columns, offer, item_types = context.visit.columns, context.offer, context.item_types
    of_leaf = columns.leaf_rows[code]
    rows, heat = np.empty(POOL_OF_CATEGORY, np.int32), np.empty(POOL_OF_CATEGORY, np.float32)
    found = hottest_of_leaf(of_leaf, columns.leaf, code, columns.heat, offer, item_types, rows, heat)
    if found:
        return rows[:found]
    there = columns.of_leaf(code)
    there = there[offer[there] & item_types != 0]
    popularity: Scores = columns.popularity[there]
    best: Rows = there[np.argsort(-popularity, kind="stable")[:POOL_OF_CATEGORY]]
    return best
