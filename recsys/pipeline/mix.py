"""Mix: the final block. The cart first where it leads, then the ranked, then what is always good
enough, so that a block is never empty while something may be shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from recsys.models.arrays import Rows
from recsys.pipeline.candidates import trending
from recsys.pipeline.columns import ANY_TYPE
from recsys.pipeline.filter import ALL_BARS, CHOSEN, IN_CART, IN_SESSION, Bars, Pool
from recsys.pipeline.kernels import fill, fill_from
from recsys.pipeline.query import Query
from recsys.pipeline.score import Scored

CATALOGUE: Final = "catalogue"
"""The source of an item that is there because it may be shown and nothing better was left."""

_SEEDED: Final = frozenset(("item_to_item", "bought_together", "content"))
_OF_PERSON: Final = frozenset(("als", "recent", "cart"))


@dataclass(frozen=True, eq=False)
class Choice:
    """What a slot shows: rows, the best first, with the score and the main source of each.

    `personal`: something known of the person had a say; `contextual`: the page's item had one.
    """

    rows: list[int]
    scores: list[float]
    sources: list[str]
    personal: bool
    contextual: bool


class _Block:
    """Rows as they are chosen: rows int32[limit], of which `size` are filled."""

    def __init__(self, query: Query, bars: Bars) -> None:
        self.query = query
        self.bars = bars
        self.rows: Rows = np.empty(query.limit, np.int32)
        self.size = 0
        self.sources: list[str] = []

    @property
    def is_full(self) -> bool:
        return self.size == len(self.rows)

    def take(self, rows: Rows, source: str, item_types: int, bars: int = ALL_BARS) -> None:
        offer = self.query.visit.columns.offer
        size = fill(rows, offer, item_types, bars, CHOSEN, self.bars.marks, self.rows, self.size)
        self._grow_to(size, source)

    def take_any(self, item_types: int, bars: int = ALL_BARS) -> None:
        offer = self.query.visit.columns.offer
        start = self.query.visit.salt % max(len(offer), 1)
        size = fill_from(start, offer, item_types, bars, CHOSEN, self.bars.marks, self.rows, self.size)
        self._grow_to(size, CATALOGUE)

    def _grow_to(self, size: int, source: str) -> None:
        self.bars.chosen(self.rows[self.size : size])
        self.sources += [source] * (size - self.size)
        self.size = size


def mix(order: Rows, scored: Scored, query: Query, bars: Bars) -> Choice:
    """`order`: indices into the pool, the best first."""
    block = _Block(query, bars)
    if query.placement.lead_with_cart:
        held = np.array([line.row for line in query.visit.person.cart], np.int32)
        block.take(held, "cart", query.item_types)
    block.take(scored.pool.rows[order], "", query.item_types)
    for item_types, watched in _relaxed(query):
        if not block.is_full:
            _take_fallback(block, item_types, watched)
        if block.size:
            break
    return _choice(block, order, scored)


def _take_fallback(block: _Block, item_types: int, bars: int) -> None:
    """What is in demand, else what was popular, else anything that may be shown."""
    columns = block.query.visit.columns
    block.take(trending(block.query)[0], "trending", item_types, bars)
    if not block.is_full:
        block.take(columns.popular[item_types], "popular", item_types, bars)
    if not block.is_full:
        block.take_any(item_types, bars)


def _relaxed(query: Query) -> Iterator[tuple[int, int]]:
    """Item types and bars of the slot; then, for a block that would stay empty, ever fewer rules."""
    yield query.item_types, ALL_BARS
    yield query.item_types, ALL_BARS & ~IN_SESSION
    yield ANY_TYPE, ALL_BARS & ~IN_SESSION
    yield ANY_TYPE, ALL_BARS & ~IN_SESSION & ~IN_CART


def _choice(block: _Block, order: Rows, scored: Scored) -> Choice:
    pool, person = scored.pool, block.query.visit.person
    rows = block.rows[: block.size]
    index_of = dict(zip(pool.rows[order].tolist(), order.tolist(), strict=True))
    found = [
        _index(pool.rows, row) if source == "cart" else index_of.get(row, -1)
        for row, source in zip(rows.tolist(), block.sources, strict=True)
    ]
    scores = [float(scored.totals[index]) if index >= 0 else 0.0 for index in found]
    leads = [pool.answers[int(scored.lead[index])].source if index >= 0 else CATALOGUE for index in found]
    sources = [source or lead for source, lead in zip(block.sources, leads, strict=True)]
    spoke = _spoke(pool, [index for index in found if index >= 0])
    by_neighbours, by_seeds = "neighbours" in spoke, bool(spoke & _SEEDED)
    return Choice(
        rows=rows.tolist(),
        scores=scores,
        sources=sources,
        personal=bool(spoke & _OF_PERSON)
        or "cart" in sources
        or (by_seeds and block.query.seeds.personal)
        or (by_neighbours and len(person.session) > 0),
        contextual=(by_seeds or by_neighbours) and block.query.page_row >= 0,
    )


def _index(rows: Rows, row: int) -> int:
    """Where a row stands that need not be among the best; -1 for nowhere."""
    places = np.flatnonzero(rows == row)
    return int(places[0]) if len(places) else -1


def _spoke(pool: Pool, indices: list[int]) -> set[str]:
    """The sources that said anything for these candidates."""
    if not indices:
        return set()
    said = (pool.scores[:, indices] > 0).any(axis=1)
    return {pool.answers[place].source for place in np.flatnonzero(said).tolist()}
