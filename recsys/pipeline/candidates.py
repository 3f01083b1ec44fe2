"""Candidates: each source names items worth a look, with scores that only it understands.

A source is a compiled loop (`recsys.pipeline.find_kernel`), or a function of the context that answers (rows
int32[k], scores float32[k]) or names the loop that will. An answer may hold rows that may not be shown: the
filter comes next. Sources that know nothing answer nothing. What does not depend on the context is asked once
a visit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from recsys.counters import AFTER_HALF_LIFE_S
from recsys.models.arrays import NOTHING, Ranked, Rows, Vectors
from recsys.models.interactions import InteractionKind
from recsys.pipeline.complements import best_of_category, brought
from recsys.pipeline.find_kernel import COLD_POOL, Loop
from recsys.pipeline.kindred import named_by_kindred
from recsys.pipeline.news import dropped, ranked_news, returned
from recsys.pipeline.query import Context, Visit
from recsys.placement import SourceName

NEIGHBOUR_POOL: Final = 200
CONTENT_POOL: Final = 30
WHOLE_POOL: Final = 200
LEAST_DUE: Final = 0.02
"""What is ordered again less likely than this is no more due than anything else."""
Answer = Ranked | Loop
_DAY_S: Final = 86_400
_ORDER: Final = int(InteractionKind.ORDER)
_LEAST_LEFT: Final = 0.02
"""Of what went on to an item: a lesser part is how much later a look told again is dated."""
_NOTHING_AFTER: Final = (np.empty(0, np.int32), np.empty(0))


def neighbours(context: Context) -> Answer:
    """What sessions like this one went on to; the page's item counts as the newest of the session. The
    ranker, where there is one, has found it already; where nobody else has looked at anything of the session,
    that is only what is popular."""
    visit, session = context.visit, context.session
    bundle, models = visit.bundle, visit.scratch.models
    if bundle is None or models is None or not session:
        return NOTHING
    if bundle.ranker is not None:
        heard = visit.columns.popularity.item
        for row in reversed(session):
            if row >= 0 and heard(row) > 0:
                return Loop.GATHERED
        return NOTHING
    rows = np.array(session, np.int32)
    key = ("neighbours", session[-1], context.shown_key)
    offer = context.on_offer
    return visit.once(key, lambda: bundle.neighbours.recommend(rows, NEIGHBOUR_POOL, models, offer=offer))


def als(context: Context) -> Answer:
    """What fits the taste that the whole history shows: the history folded in, now."""
    visit = context.visit
    if visit.bundle is None or visit.taste is None:
        return NOTHING
    if context.few is not None:
        return _likest(context.few, visit.bundle.als.item_factors, visit.taste, WHOLE_POOL)
    return visit.searched.get(context.shown_key, Loop.ALS)


def content(context: Context) -> Answer:
    """Items whose texts are like those of the seeds, those newer than the model included: from the tables of
    the training where it knew the seeds, else by a search near their vectors. Without seeds, what has the
    words of a search. Without a model, what is of the category of the page's item."""
    bundle, seeds = context.visit.bundle, context.seeds
    if bundle is None:
        return _of_same_category(context)
    if not seeds.deeds:
        return context.visit.sought.ranked
    if context.filters or not bundle.content.neighbours:
        return _alike(context)
    return Loop.CONTENT if max([deed.row for deed in seeds.deeds]) < bundle.n_items else _alike(context)


def new_items(context: Context) -> Rows:
    """int32[k]: items that came after the training, those likest to the seeds first; without seeds the
    newest first. Some may not be shown."""
    rows, _ = _new_alike(context)
    return rows if len(rows) else context.visit.columns.cold.newest(COLD_POOL)


def trending(context: Context) -> Answer:
    """What is in demand now: in the category the session is in, or an unknown person came for, else in the
    whole shop."""
    came_for = context.visit.came_for
    if came_for >= 0 and context.page_row < 0:
        rows = best_of_category(context, came_for)
        if len(rows):
            return _by_place(rows)
    return Loop.TRENDING


def lately(context: Context) -> Ranked:
    """What other people went on to in these hours from the last items of the session: this knows items newer
    than the model."""
    visit, seeds = context.visit, context.seeds
    after = visit.columns.after
    left_from = [place for place, deed in enumerate(seeds.deeds) if deed.row in after]
    if not left_from:
        return NOTHING
    found = []
    for place in left_from:
        rows_after, warmth = others_after(seeds.deeds[place].row, visit)
        found.append((rows_after, seeds.weights.item(place) * warmth))
    rows, scores = zip(*found, strict=True)
    return np.concatenate(rows), np.concatenate(scores).astype(np.float32)


def others_after(seed: int, visit: Visit) -> tuple[Rows, npt.NDArray[np.float64]]:
    """What others went on to from an item, int32[k], and how many of them, faded, float64[k]: without the
    steps of the person, which are counted like everybody's."""
    after, done, now = visit.columns.after, visit.person.done, visit.person.now_ms / 1000 / AFTER_HALF_LIFE_S
    if seed not in after:
        return _NOTHING_AFTER
    rows, heats = after[seed]
    warmth = np.exp2(heats - now)
    own = dict.fromkeys(set(done.rows).intersection(rows.tolist()), 0.0)
    if not own:
        return rows, warmth
    for place, row in enumerate(done.rows[1:]):
        if row in own and done.rows[place] == seed:
            own[row] += 2.0 ** (done.at_s[place + 1] / AFTER_HALF_LIFE_S - now)
    left = warmth - np.array([own.get(row, 0.0) for row in rows.tolist()])
    others = left > _LEAST_LEFT * warmth
    return rows[others], left[others]


def buy_again(context: Context) -> Ranked:
    """What the person has ordered and is due again, by the item's own interval."""
    if not context.visit.person.orders:
        return NOTHING
    return context.visit.once("buy_again", lambda: _due(context.visit))


def cart(context: Context) -> Ranked:
    """What is in the cart, the newest first."""
    held = context.visit.person.cart
    if not held:
        return NOTHING
    places = {line.row: 1.0 / (place + 1) for place, line in enumerate(held)}
    places.pop(-1, None)
    rows = np.fromiter(places.keys(), np.int32, len(places))
    return rows, np.fromiter(places.values(), np.float32, len(places))


def price_drop(context: Context) -> Ranked:
    """What the person looked at, wished for or has in the cart and costs less now than then; scores are
    the share that it costs less."""
    return context.visit.once("price_drop", lambda: ranked_news(dropped(context.visit)))


def back_in_stock(context: Context) -> Ranked:
    """What the person looked at, wished for or has in the cart and could not be had meanwhile; the one
    that came back last first."""
    return context.visit.once("back_in_stock", lambda: ranked_news(returned(context.visit)))


LOOPS: Mapping[SourceName, Loop] = {
    "item_to_item": Loop.ITEM_TO_ITEM,
    "bought_together": Loop.BOUGHT_TOGETHER,
    "surging": Loop.SURGING,
    "recent": Loop.RECENT,
    "popular": Loop.POPULAR,
}
"""The sources for which a compiled loop answers, whatever the context."""
SOURCES: Mapping[SourceName, Callable[[Context], Answer]] = {
    "neighbours": neighbours,
    "als": als,
    "kindred": named_by_kindred,
    "content": content,
    "trending": trending,
    "lately": lately,
    "buy_again": buy_again,
    "cart": cart,
    "price_drop": price_drop,
    "back_in_stock": back_in_stock,
    "complements": brought,
}
"""All others."""


def vector_of(visit: Visit, row: int) -> Vectors | None:
    """The content vector float32[d] of an item, of the bundle's or newer; None without one."""
    bundle = visit.bundle
    if bundle is None or row < 0:
        return None
    return bundle.content.vectors[row] if row < bundle.n_items else visit.columns.cold.vector(row)


def _alike(context: Context) -> Ranked:
    """By a search near the vectors of the seeds, which a filter narrows, or of which some came later."""
    visit, seeds = context.visit, context.seeds
    bundle = visit.bundle
    assert bundle is not None
    if context.few is not None:
        known = _likest(context.few, bundle.content.vectors, _wanted(context), WHOLE_POOL)
    else:
        known = bundle.content.nearest(_wanted(context), CONTENT_POOL, context.eligible_bits)
    added = _new_alike(context)
    rows, scores = np.concatenate((known[0], added[0])), np.concatenate((known[1], added[1]))
    others = (rows[:, None] != seeds.rows).all(axis=1)
    return rows[others], scores[others]


def _of_same_category(context: Context) -> Ranked:
    """What is of the last category of the page's item, what is in demand there first."""
    columns, row = context.visit.columns, context.page_row
    code = int(columns.leaf[row]) if row >= 0 else -1
    if code < 0:
        return NOTHING
    of_leaf = columns.of_leaf(code)
    others = of_leaf[of_leaf != row][:CONTENT_POOL]
    best = best_of_category(context, code)
    rows = np.array(list(dict.fromkeys([*best.tolist(), *others.tolist()])), np.int32)
    return _by_place(rows[rows != row])


def _new_alike(context: Context) -> Ranked:
    """Items newer than the model whose texts are like those of the seeds."""
    visit, seeds = context.visit, context.seeds
    cold = visit.columns.cold
    if visit.bundle is None or not cold.count or not len(seeds.rows):
        return NOTHING
    key, offer = ("new", context.seeds_key, context.shown_key), context.on_offer
    return visit.once(key, lambda: cold.nearest(_wanted(context), COLD_POOL, offer))


def _wanted(context: Context) -> Vectors:
    """float32[d]: the weighted sum of the seeds' content vectors."""
    visit, seeds = context.visit, context.seeds
    assert visit.bundle is not None
    wanted = np.zeros(visit.bundle.content.dimensions, np.float32)
    for row, weight in zip(seeds.rows.tolist(), seeds.weights.tolist(), strict=True):
        vector = vector_of(visit, row)
        if vector is not None:
            wanted += np.float32(weight) * vector
    return wanted


def _by_place(rows: Rows) -> Ranked:
    """Rows in an order that says all there is to say."""
    return rows, (1.0 / (1.0 + np.arange(len(rows)))).astype(np.float32)


def _likest(rows: Rows, vectors: Vectors, wanted: Vectors, k: int) -> Ranked:
    """Of these rows the k whose vectors have the greatest positive inner product with `wanted`."""
    rows = rows[rows < len(vectors)]
    scores = vectors[rows] @ wanted
    best = np.argsort(-scores, kind="stable")[:k]
    best = best[scores[best] > 0]
    return rows[best], scores[best]


def _due(visit: Visit) -> Ranked:
    person, bundle = visit.person, visit.bundle
    if bundle is None or bundle.repurchase is None or person.profile is None or not person.profile.orders:
        return NOTHING
    rows, kinds, times_s = [column.tolist() for column in person.history[:3]]
    newest_s: dict[int, int] = {}
    for row, kind, at_s in zip(rows, kinds, times_s, strict=True):
        if kind == _ORDER:
            newest_s[row] = max(newest_s.get(row, 0), at_s)
    now_s, repurchase = person.now_ms / 1000, bundle.repurchase
    due = {
        row: repurchase.due(row, (now_s - at_s) / _DAY_S)
        for row, at_s in newest_s.items()
        if 0 <= row < bundle.n_items
    }
    due = {row: much for row, much in due.items() if much >= LEAST_DUE}
    return (np.array(list(due), np.int32), np.array(list(due.values()), np.float32)) if due else NOTHING
