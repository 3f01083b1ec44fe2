"""Candidates: each source names items worth a look, with scores that only it understands.

A source is a function of the query that answers (rows int32[k], scores float32[k]). An answer may
hold rows that may not be shown: the filter comes next. Sources that know nothing answer nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import numpy as np

from recsys.block import SourceName
from recsys.fold import leaf_of
from recsys.models.arrays import NOTHING, Ranked, Vectors
from recsys.models.tables import TopTable
from recsys.pipeline.kernels import hottest_of_leaf
from recsys.pipeline.person import Seeds
from recsys.pipeline.query import Query, Visit

NEIGHBOUR_POOL: Final = 200
ALS_POOL: Final = 100
TABLE_POOL: Final = 100
CONTENT_POOL: Final = 100
COLD_POOL: Final = 30
POPULAR_POOL: Final = 100
MIN_CATEGORY_POOL: Final = 10
"""A category with fewer items in demand than this does not stand for what is trending."""


class Answer(NamedTuple):
    """What one source said."""

    source: SourceName
    weight: float
    ranked: Ranked


def candidates(query: Query) -> list[Answer]:
    """Ask every source that the placement gives a weight."""
    return [
        Answer(source, weight, SOURCES[source](query))
        for source, weight in query.placement.sources.items()
        if weight > 0
    ]


def neighbours(query: Query) -> Ranked:
    """What sessions like this one went on to; the page's item counts as the newest of the session."""
    visit, page_row = query.visit, query.page_row
    bundle, models = visit.bundle, visit.scratch.models
    session = visit.person.session
    if bundle is None or models is None:
        return NOTHING
    if page_row >= 0 and (len(session) == 0 or session[-1] != page_row):
        session = np.append(session, np.int32(page_row))
    key = ("neighbours", int(session[-1]) if len(session) else -1)
    return visit.once(key, lambda: bundle.neighbours.recommend(session, NEIGHBOUR_POOL, models))


def als(query: Query) -> Ranked:
    """What fits the taste that the whole history shows: the history folded in, now."""
    visit, item_types = query.visit, query.item_types
    return visit.once(("als", item_types), lambda: _nearest_to_taste(visit, item_types))


def item_to_item(query: Query) -> Ranked:
    """Items liked by the same people, or seen in the same sessions, as the seeds."""
    bundle = query.visit.bundle
    return NOTHING if bundle is None else _around(query, "item_to_item", bundle.item_to_item.table)


def bought_together(query: Query) -> Ranked:
    """What shares baskets with the seeds."""
    bundle = query.visit.bundle
    return NOTHING if bundle is None else _around(query, "bought_together", bundle.bought_together.table)


def content(query: Query) -> Ranked:
    """Items whose texts are like those of the seeds, those newer than the model included."""
    key = ("content", query.item_types, query.seeds_key)
    return query.visit.once(key, lambda: _alike(query.visit, query.seeds, query.item_types))


def trending(query: Query) -> Ranked:
    """What is in demand now: in the category the session is in, else in the whole shop."""
    key = ("trending", query.item_types)
    return query.visit.once(key, lambda: _in_demand(query.visit, query.item_types))


def recent(query: Query) -> Ranked:
    """What the person looked at before, the newest and most often seen first."""
    visit = query.visit
    return visit.once("recent", lambda: _ranked(visit.person.recent))


def cart(query: Query) -> Ranked:
    """What is in the cart, the newest first."""
    lines = query.visit.person.cart
    return _ranked({line.row: 1.0 / (place + 1) for place, line in enumerate(lines) if line.row >= 0})


def popular(query: Query) -> Ranked:
    """What people liked of late, as of the last training."""
    columns = query.visit.columns
    rows = columns.popular[query.item_types][:POPULAR_POOL]
    return rows, columns.popularity[rows]


SOURCES: Mapping[SourceName, Callable[[Query], Ranked]] = {
    "neighbours": neighbours,
    "als": als,
    "item_to_item": item_to_item,
    "bought_together": bought_together,
    "content": content,
    "trending": trending,
    "recent": recent,
    "cart": cart,
    "popular": popular,
}


def vector_of(visit: Visit, row: int) -> Vectors | None:
    """The content vector float32[d] of an item, of the bundle's or newer; None without one."""
    bundle = visit.bundle
    if bundle is None or row < 0:
        return None
    return bundle.content.vectors[row] if row < bundle.n_items else visit.columns.cold.vector(row)


def _nearest_to_taste(visit: Visit, item_types: int) -> Ranked:
    if visit.bundle is None or visit.taste is None:
        return NOTHING
    return visit.bundle.als.nearest(visit.taste, ALS_POOL, visit.columns.eligible_bits[item_types])


def _around(query: Query, name: str, table: TopTable) -> Ranked:
    visit, seeds, models = query.visit, query.seeds, query.visit.scratch.models
    if models is None or not len(seeds.rows):
        return NOTHING
    key = (name, query.seeds_key)
    return visit.once(key, lambda: table.blend(seeds.rows, seeds.weights, TABLE_POOL, models))


def _alike(visit: Visit, seeds: Seeds, item_types: int) -> Ranked:
    """From the tables of the training where it knew the seeds, else by a search near their vectors;
    among the items that came later always by their vectors."""
    bundle, cold, models = visit.bundle, visit.columns.cold, visit.scratch.models
    if bundle is None or models is None or not len(seeds.rows):
        return NOTHING
    content = bundle.content
    tabled = bool(content.neighbours) and max(seeds.rows.tolist()) < bundle.n_items
    if tabled and not cold.count:
        return content.like(seeds.rows, seeds.weights, item_types, CONTENT_POOL, models)
    wanted = _wanted(visit, seeds)
    if tabled:
        known = content.like(seeds.rows, seeds.weights, item_types, CONTENT_POOL, models)
    else:
        known = content.nearest(wanted, CONTENT_POOL, visit.columns.eligible_bits[item_types])
    added = cold.nearest(wanted, COLD_POOL)
    rows, scores = np.concatenate((known[0], added[0])), np.concatenate((known[1], added[1]))
    others = (rows[:, None] != seeds.rows).all(axis=1)
    return rows[others], scores[others]


def _wanted(visit: Visit, seeds: Seeds) -> Vectors:
    """float32[d]: the weighted sum of the seeds' content vectors."""
    assert visit.bundle is not None
    wanted = np.zeros(visit.bundle.content.dimensions, np.float32)
    for row, weight in zip(seeds.rows.tolist(), seeds.weights.tolist(), strict=True):
        vector = vector_of(visit, row)
        if vector is not None:
            wanted += np.float32(weight) * vector
    return wanted


def _in_demand(visit: Visit, item_types: int) -> Ranked:
    columns = visit.columns
    code = columns.leaf_codes.get(leaf_of(visit.person.category), -1) if visit.person.category else -1
    of_leaf = columns.leaf_rows.get(code)
    if of_leaf is not None:
        top_rows, top_heat = np.empty(POPULAR_POOL, np.int32), np.empty(POPULAR_POOL, np.float32)
        found = hottest_of_leaf(
            of_leaf, columns.leaf, code, columns.heat, columns.offer, item_types, top_rows, top_heat
        )
        if found >= MIN_CATEGORY_POOL:
            return top_rows[:found], np.exp2(top_heat[:found] - top_heat[0])
    rows = columns.hot[item_types][:POPULAR_POOL]
    rows = rows[rows < columns.capacity]
    heat = columns.heat[rows]
    return rows, np.exp2(heat - heat.max()) if len(rows) else heat


def _ranked(weights: Mapping[int, float]) -> Ranked:
    rows = np.fromiter(weights.keys(), np.int32, len(weights))
    return rows, np.fromiter(weights.values(), np.float32, len(weights))
