"""Candidates are found and filtered in one call: the compiled sources, which are loops over the bundle's
tables and the catalogue's columns, are asked one after the other, and their answers united with others'."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np
from numba import types

from recsys.counters import SURGE_HALF_LIFE_S
from recsys.models.compiled import Array, f4, i4, i8, kernel, read_only
from recsys.models.kernels import blend_rows, scan_lists
from recsys.pipeline.pool_kernels import unite
from recsys.pipeline.source_kernels import hottest_of_leaf, likest, looked_at
from recsys.pipeline.workplace_arrays import MEMORY_TYPE, SOURCES_TYPE, STOCK_TYPE, Memory


class Loop(IntEnum):
    """A source that is a compiled loop, or how an answer comes otherwise."""

    ANSWERED = 0
    """Its answer is handed in."""
    GATHERED = 1
    """Its answer is what the ranker has gathered."""
    ALS = 2
    ITEM_TO_ITEM = 3
    """Items liked by the same people, or seen in the same sessions, as the seeds."""
    BOUGHT_TOGETHER = 4
    """What shares baskets with the seeds."""
    CONTENT = 5
    TRENDING = 6
    SURGING = 7
    """What most other people look at just now; scores are views, each worth half after ten minutes."""
    RECENT = 8
    """What the person looked at before, the newest and most often seen first; not the last of it all, and not
    what was ordered since."""
    POPULAR = 9
    """What people liked of late, as of the last training."""


(
    _ANSWERED, _GATHERED, _ALS, _ITEM_TO_ITEM, _BOUGHT_TOGETHER, _CONTENT, _TRENDING, _SURGING, _RECENT,
    _POPULAR,
) = (int(loop) for loop in Loop)  # fmt: skip
ALS_POOL = 40
COLD_POOL = 20
POPULAR_POOL = 30
MIN_CATEGORY_POOL = 10
"""A category with fewer items in demand than this does not stand for what is trending."""
LEAST_SURGE = 1.5
"""Views, each worth half after SURGE_HALF_LIFE_S: one view alone is no surge, however new."""
_OWN_LOOKS_S = 10 * SURGE_HALF_LIFE_S
_BY_PLACE = (1.0 / np.arange(1, 33)).astype(np.float32)
"""The weight of each seed, as `recsys.pipeline.person` has it."""
_PRODUCT, _ARTICLE = 1, 2
_LEAST = np.float32(1e-3)
"""The score of a candidate that no neighbour named: less than that of any they did."""

_u1 = types.uint8
_U1, _I4, _I8, _F4 = (read_only(dtype) for dtype in (_u1, i4, i8, f4))
_TABLE = (read_only(i4, 2), read_only(f4, 2), _I4)


@kernel(i8(_I4, _F4, f4, i4[::1], f4[::1]))
def _warm(warm: Array, heat: Array, ago: Any, rows: Array, scores: Array) -> int:
    """The first of the rows `warm`; the score is the heat without its logarithm, `ago` half-lives later."""
    found = 0
    for place in range(min(len(warm), POPULAR_POOL, len(rows))):
        if warm[place] < len(heat):  # it may have come since the columns were taken
            rows[found] = warm[place]
            scores[found] = np.exp2(heat[warm[place]] - ago)
            found += 1
    return found


@kernel(i8(_I4, _F4, f4, _I4, _I8, i8, i4[::1], f4[::1]))
def _surging(
    surging: Array,
    surge: Array,
    ago: Any,
    touched: Array,
    at_s: Array,
    now_s: int,
    rows: Array,
    scores: Array,
) -> int:
    """What others look at just now: of the warmest rows those that were looked at more than once, by somebody
    else than the person, who says nothing of others."""
    recent = len(touched)
    while recent and now_s - at_s[recent - 1] < _OWN_LOOKS_S:
        recent -= 1
    found, kept = _warm(surging, surge, ago, rows, scores), 0
    for place in range(found):
        row, is_own = rows[place], False
        for own in range(recent, len(touched)):
            is_own = is_own or touched[own] == row
        if scores[place] >= LEAST_SURGE and not is_own:
            rows[kept], scores[kept] = row, scores[place]
            kept += 1
    return kept


@kernel(i8(STOCK_TYPE, _I4, i8, _I4, _U1, _u1, i4[::1], f4[::1]))
def _trending(
    stock: Any,
    leaf_rows: Array,
    leaf: int,
    hot: Array,
    offer: Array,
    item_types: int,
    rows: Array,
    scores: Array,
) -> int:
    """What is in demand in the category `leaf`, of the rows that are or were of it; in the whole shop where
    those are too few."""
    top_rows, top_scores = rows[:POPULAR_POOL], scores[:POPULAR_POOL]
    found = hottest_of_leaf(leaf_rows, stock.leaf, leaf, stock.heat, offer, item_types, top_rows, top_scores)
    if found >= MIN_CATEGORY_POOL:
        most = top_scores[0]
        for place in range(found):
            top_scores[place] = np.exp2(top_scores[place] - most)
        return found
    for row in hot:
        if row < len(stock.heat):
            return _warm(hot, stock.heat, stock.heat[row], rows, scores)
    return 0


@kernel(i8(_I4, _F4, i4[::1], f4[::1]))
def _popular(popular: Array, popularity: Array, rows: Array, scores: Array) -> int:
    """The rows `popular` by their popularity."""
    found = min(len(popular), len(rows))
    for place in range(found):
        rows[place] = popular[place]
        scores[place] = popularity[popular[place]]
    return found


@kernel(i8(MEMORY_TYPE, *_TABLE, _I4, _U1, _u1, i8, i4[::1], f4[::1]))
def _around(
    memory: Memory,
    table_rows: Array,
    table_scores: Array,
    table_lengths: Array,
    seeds: Array,
    offer: Array,
    item_types: int,
    k: int,
    rows: Array,
    scores: Array,
) -> int:
    """The k items that a table names around the seeds."""
    return blend_rows(
        seeds, _BY_PLACE[: len(seeds)], table_rows, table_scores, table_lengths, offer, item_types,
        memory.sums, memory.touched, memory.spare, rows[:k], scores[:k],
    )  # fmt: skip


@kernel(i8(SOURCES_TYPE, STOCK_TYPE, i8, _I4, _U1, _u1, i8, i4[::1], f4[::1]))
def _alike(
    sources: Any,
    stock: Any,
    n_new: int,
    seeds: Array,
    offer: Array,
    item_types: int,
    k: int,
    rows: Array,
    scores: Array,
) -> int:
    """Of each type on offer what is likest to the seeds, and of what came after the training."""
    memory, size = sources.memory, 0
    if item_types & _PRODUCT:
        table = sources.products
        size += _around(
            memory, table.rows, table.scores, table.lengths, seeds, offer, item_types, k, rows, scores
        )
    if item_types & _ARTICLE:
        table, more_rows, more_scores = sources.articles, rows[size:], scores[size:]
        size += _around(
            memory,
            table.rows,
            table.scores,
            table.lengths,
            seeds,
            offer,
            item_types,
            k,
            more_rows,
            more_scores,
        )
    if n_new and size < len(rows):
        contents = sources.opinions.contents
        wanted = np.zeros(contents.shape[1], np.float32)
        for place in range(len(seeds)):
            wanted += _BY_PLACE[place] * contents[seeds[place]]
        new_rows, new_scores = rows[size : size + COLD_POOL], scores[size : size + COLD_POOL]
        size += likest(
            stock.new_vectors, stock.new_rows, n_new, offer, item_types, wanted, new_rows, new_scores
        )
    return size


@kernel(i8(SOURCES_TYPE, _F4, _U1, i4[::1], f4[::1]))
def _liked(sources: Any, taste: Array, eligible: Array, rows: Array, scores: Array) -> int:
    """What fits a taste float32[f]; nothing fits none."""
    if not len(sources.index.rows) or not taste.any():
        return 0
    top_rows, top_scores = rows[:ALS_POOL], scores[:ALS_POOL]
    index, probes, room = sources.index, sources.probes, sources.room
    return scan_lists(
        taste,
        index.across,
        index.starts,
        index.rows,
        index.vectors,
        eligible,
        probes,
        room,
        top_rows,
        top_scores,
    )


@kernel(i8(MEMORY_TYPE, i8, i4[::1], f4[::1]))
def _gathered(memory: Memory, n_gathered: int, rows: Array, scores: Array) -> int:
    """The ranker's own candidates, by the votes of sessions like this one."""
    found = min(n_gathered, len(rows))
    for place in range(found):
        rows[place] = memory.gathered[place]
        scores[place] = memory.votes[place] + _LEAST
    return found


@kernel(i8(MEMORY_TYPE, _I4, _U1, _I8, i8, i4[::1], f4[::1]))
def _recent(
    memory: Memory, touched: Array, kinds: Array, at_s: Array, now_s: int, rows: Array, scores: Array
) -> int:
    """See `looked_at`; nothing where there is no room for all of it."""
    if not len(touched) or len(touched) > len(rows):
        return 0
    return looked_at(touched, kinds, at_s, now_s, memory.place, rows, scores)


@kernel(
    types.Tuple((i4[:, ::1], i8))(
        *(SOURCES_TYPE, STOCK_TYPE, i8, i8, i8, i8, i8, _F4, _U1, _U1, _u1),
        *(_I4, i8, _I4, _I4, f4, _I4, _I4, _U1, _I8, i8),
    )
)
def find(
    sources: Any,
    stock: Any,
    n_asks: int,
    n_answered: int,
    n_gathered: int,
    n_new: int,
    k: int,
    taste: Array,
    eligible: Array,
    offer: Array,
    item_types: int,
    leaf_rows: Array,
    leaf: int,
    hot: Array,
    surging: Array,
    surge_ago: Any,
    popular: Array,
    touched: Array,
    kinds: Array,
    at_s: Array,
    now_s: int,
) -> tuple[Array, int]:
    """Answer the first `n_asks` of the memory's `plan` (answers go behind the `n_answered` rows that are
    there, and the plan tells where they begin and end) and unite what is on offer: the `cells` of a
    `recsys.pipeline.pool.Pool`, and how many candidates are in it.

    `n_gathered` are the ranker's own; of the stock's new items `n_new` count; a table names k items; taste
    float32[f] and `eligible`, a bitmap: see `scan_lists`; leaf_rows int32[r], `leaf`: the category that the
    session is in; hot, surging and popular int32: the best rows by each; `surge_ago`: half-lives of a surge
    since its base; touched int32[t], kinds uint8[t], at_s int64[t]: what the person did.
    """
    memory, tables, size = sources.memory, sources.opinions, n_answered
    alike = (tables.alike_rows, tables.alike_scores, tables.alike_lengths)
    bought = (tables.bought_rows, tables.bought_scores, tables.bought_lengths)
    for one in range(n_asks):
        loop, asked_by = memory.plan[one, 0], memory.plan[one, 1]
        if loop == _ANSWERED:
            continue
        if size == len(memory.rows):  # there is no room left: nobody is heard any more
            memory.plan[one, 1], memory.plan[one, 2] = size, size
            continue
        seeds = memory.seeds[asked_by, 1 : 1 + memory.seeds[asked_by, 0]]
        rows, scores, found = memory.rows[size:], memory.scores[size:], 0
        if loop == _GATHERED:
            found = _gathered(memory, n_gathered, rows, scores)
        elif loop == _ALS:
            found = _liked(sources, taste, eligible, rows, scores)
        elif loop == _ITEM_TO_ITEM:
            found = _around(memory, *alike, seeds, offer, item_types, k, rows, scores)
        elif loop == _BOUGHT_TOGETHER:
            found = _around(memory, *bought, seeds, offer, item_types, k, rows, scores)
        elif loop == _CONTENT:
            found = _alike(sources, stock, n_new, seeds, offer, item_types, k, rows, scores)
        elif loop == _TRENDING:
            found = _trending(stock, leaf_rows, leaf, hot, offer, item_types, rows, scores)
        elif loop == _SURGING:
            found = _surging(surging, stock.surge, surge_ago, touched, at_s, now_s, rows, scores)
        elif loop == _RECENT:
            found = _recent(memory, touched, kinds, at_s, now_s, rows, scores)
        elif loop == _POPULAR:
            found = _popular(popular, stock.popularity, rows, scores)
        memory.plan[one, 1], memory.plan[one, 2] = size, size + found
        size += found
    cells = np.zeros((2 + n_asks, size + 1), np.int32)
    return cells, unite(memory.rows, memory.scores, memory.plan, offer, item_types, memory.place, cells)
