"""Mix: the final block. The cart first where it leads, then the ranked, then what is always good
enough, so that a block is never empty while something may be shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec
import numpy as np

from recsys.models.arrays import Rows, Scores
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


class Choice(msgspec.Struct, frozen=True, eq=False):
    """What a slot shows: rows, the best first, with the score and the main source of each.

    `personal`: something known of the person had a say; `contextual`: the page's item had one.
    """

    rows: list[int]
    scores: list[float]
    sources: list[str]
    personal: bool
    contextual: bool


class _Block:
    """Rows as they are chosen: rows int32[limit], of which `size` are filled, with the score and the
    source of each; `candidates` are the places in the pool of those that were in it."""

    def __init__(self, query: Query, bars: Bars) -> None:
        self.query = query
        self.bars = bars
        self.rows: Rows = np.empty(query.limit, np.int32)
        self.size = 0
        self.scores: list[float] = []
        self.sources: list[str] = []
        self.candidates: list[int] = []

    @property
    def is_full(self) -> bool:
        return self.size == len(self.rows)

    def take_cart(self, pool: Pool, totals: Scores) -> None:
        """What is in the cart, with its score if it is a candidate besides."""
        before = self.size
        held = [line.row for line in self.query.visit.person.cart]
        self._fill(np.array(held, np.int32), self.query.item_types, ALL_BARS)
        for row in self.rows[before : self.size].tolist():
            places = np.flatnonzero(pool.rows == row).tolist()
            self.candidates += places
            self.scores.append(float(totals[places[0]]) if places else 0.0)
            self.sources.append("cart")

    def take_ranked(self, order: Rows, scored: Scored) -> None:
        """The best candidates; `order`: places in the pool, the best first."""
        taken = order[self._fill(scored.pool.rows[order], self.query.item_types, ALL_BARS)]
        names = [answer.source for answer in scored.pool.answers]
        self.candidates += taken.tolist()
        self.scores += scored.totals[taken].tolist()
        self.sources += [names[lead] for lead in scored.lead[taken].tolist()]

    def take(self, rows: Rows, source: str, item_types: int, bars: int) -> None:
        """What no source has ranked for this slot."""
        self._unranked(len(self._fill(rows, item_types, bars)), source)

    def take_any(self, item_types: int, bars: int) -> None:
        """Whatever may be shown."""
        offer = self.query.visit.columns.offer
        start = self.query.visit.salt % max(len(offer), 1)
        size = fill_from(start, offer, item_types, bars, CHOSEN, self.bars.marks, self.rows, self.size)
        before = self.size
        self._grow_to(size)
        self._unranked(size - before, CATALOGUE)

    def _fill(self, rows: Rows, item_types: int, bars: int) -> Rows:
        """Append those that may be shown; their places in `rows`."""
        offer, before = self.query.visit.columns.offer, self.size
        places = np.empty(len(self.rows), np.int32)
        size = fill(rows, offer, item_types, bars, CHOSEN, self.bars.marks, self.rows, places, before)
        self._grow_to(size)
        return places[before:size]

    def _grow_to(self, size: int) -> None:
        self.bars.chosen(self.rows[self.size : size])
        self.size = size

    def _unranked(self, count: int, source: str) -> None:
        self.scores += [0.0] * count
        self.sources += [source] * count


def mix(order: Rows, scored: Scored, query: Query, bars: Bars) -> Choice:
    """`order`: places in the pool, the best first."""
    block = _Block(query, bars)
    if query.placement.lead_with_cart:
        block.take_cart(scored.pool, scored.totals)
    block.take_ranked(order, scored)
    for item_types, watched in _relaxed(query):
        if not block.is_full:
            _take_fallback(block, item_types, watched)
        if block.size:
            break
    return _choice(block, scored.pool)


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


def _choice(block: _Block, pool: Pool) -> Choice:
    query, spoke = block.query, _spoke(pool, block.candidates)
    by_neighbours, by_seeds = "neighbours" in spoke, bool(spoke & _SEEDED)
    return Choice(
        block.rows[: block.size].tolist(),
        block.scores,
        block.sources,
        personal=bool(spoke & _OF_PERSON)
        or "cart" in block.sources
        or (by_seeds and query.seeds.personal)
        or (by_neighbours and len(query.visit.person.session) > 0),
        contextual=(by_seeds or by_neighbours) and query.page_row >= 0,
    )


def _spoke(pool: Pool, places: list[int]) -> set[str]:
    """The sources that said anything for these candidates."""
    if not places:
        return set()
    most = np.maximum.reduce(pool.scores[:, places], axis=1).tolist()
    return {answer.source for answer, score in zip(pool.answers, most, strict=True) if score > 0}
