"""Mix: the final block. The cart first where it leads, then the ranked, then what is always good
enough, so that a block is never empty while something may be shown in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import compress
from struct import Struct
from typing import Final

import msgspec
import numpy as np

from recsys.models.arrays import Rows
from recsys.models.direct import direct
from recsys.picked import picked
from recsys.pipeline.explore import explored
from recsys.pipeline.filter import ALL_BARS, CHOSEN, COOLING, IN_SESSION, SUBSTITUTE, Bars
from recsys.pipeline.find import named_by
from recsys.pipeline.place_kernels import fill
from recsys.pipeline.pool import Pool
from recsys.pipeline.pool_kernels import tell
from recsys.pipeline.query import Query
from recsys.pipeline.rank import best, caps_of
from recsys.pipeline.score import Scored, weights_of

NEW: Final = "new"
"""The source of an item that stands there to become known."""
CATALOGUE: Final = "catalogue"
"""The source of an item that is there because it may be shown and nothing better was left."""

_tell: Final = direct(tell)
_SEEDED: Final = frozenset(("item_to_item", "bought_together", "content"))
_OF_PERSON: Final = frozenset(
    ("als", "kindred", "buy_again", "recent", "cart", "complements", "price_drop", "back_in_stock")
)


class Choice(msgspec.Struct, frozen=True, eq=False):
    """What a slot shows: rows, the best first, with the score and the main source of each.

    `personal`: something known of the person had a say; `contextual`: the page's item had one.
    """

    rows: list[int]
    scores: list[float]
    sources: list[str]
    propensities: list[float]
    """How likely each was to stand there; 1 where nothing was left to chance."""
    personal: bool
    contextual: bool


class _Block:
    """Rows as they are chosen, with the score and the source of each; `spoke`: bit s where source s of the
    pool said anything for one of them."""

    def __init__(self, query: Query, bars: Bars) -> None:
        self.query = query
        self.bars = bars
        self.rows: list[int] = list(query.keeps)
        self.scores: list[float] = [0.0] * len(query.keeps)
        self.sources: list[str] = [""] * len(query.keeps)
        self.propensities: list[float] = []
        self.spoke = 0

    @property
    def n_missing(self) -> int:
        return self.query.limit - len(self.rows)

    def take_cart(self, scored: Scored) -> None:
        """What is in the cart, with its score if it is a candidate besides. No cap counts it out, nor that
        it was shown lately, nor that the rest of the block is to be of other categories."""
        query, pool = self.query, scored.pool
        offer, marks, barred = query.context.offer, self.bars.marks, ALL_BARS & ~COOLING & ~SUBSTITUTE
        for row in dict.fromkeys(line.row for line in query.visit.person.cart):
            if row < 0 or not offer[row] & query.item_types or marks[row] & barred or not self.n_missing:
                continue
            places = np.flatnonzero(pool.rows == row).astype(np.int32)
            self.spoke |= pool.spoke(places)
            self._append([row], [float(scored.totals[places[0]]) if len(places) else 0.0], ["cart"])
        self.bars.add(self.rows, CHOSEN)

    def take_ranked(self, order: Rows, scored: Scored) -> None:
        """The best candidates; `order`: places in the pool, the best first, none of them there yet."""
        pool = scored.pool
        if not len(order):
            return
        count = len(order)
        told = bytearray(12 * count)
        weights = weights_of(pool, self.query)
        spoke = _tell(order, scored.totals, pool.cells, weights, np.frombuffer(told, np.int32))
        self.spoke |= spoke & pool.bits
        cells = _told(count).unpack(told)
        self._append(cells[:count], cells[2 * count :], picked(cells[count : 2 * count], pool.names))

    def take(self, rows: Rows, source: str, bars: int) -> None:
        """What no source has ranked for this slot."""
        self._append_unranked(self._fill(rows, bars), source)

    def take_any(self, bars: int) -> None:
        """Whatever may be shown, going round from a row that the salt says."""
        every_row = self.query.visit.columns.every_row
        start = self.query.visit.salt % max(len(every_row), 1)
        self.take(every_row[start:], CATALOGUE, bars)
        self.take(every_row[:start], CATALOGUE, bars)

    def explore(self) -> None:
        """Give some places to new items; never that of something in the cart."""
        found = explored(self.query, self.rows, self.sources, self.bars)
        if found is None:
            self.propensities = [1.0] * len(self.rows)
            return
        self.rows, self.propensities = found.rows, found.propensities
        for place in compress(range(len(self.rows)), found.is_new):
            self.scores[place], self.sources[place] = 0.0, NEW

    def leave(self, count: int) -> None:
        """Let go of the first so many rows."""
        del self.rows[:count], self.scores[:count], self.sources[:count], self.propensities[:count]

    def _fill(self, rows: Rows, bars: int) -> list[int]:
        """Those of `rows` that may be shown, fit and are not there yet, as many as are missing."""
        self.bars.add(self.rows, CHOSEN)
        had, offer = len(self.rows), self.query.context.offer
        block = np.empty(self.query.limit, np.int32)
        block[:had] = self.rows
        caps = caps_of(self.query)
        size = fill(rows, offer, self.query.item_types, bars, CHOSEN, self.bars.marks, *caps, block, had)
        found: list[int] = block[had:size].tolist()
        self.bars.chosen(found)
        return found

    def _append(self, rows: Sequence[int], scores: Sequence[float], sources: Sequence[str]) -> None:
        self.rows += rows
        self.scores += scores
        self.sources += sources

    def _append_unranked(self, rows: list[int], source: str) -> None:
        self._append(rows, [0.0] * len(rows), [source] * len(rows))


@lru_cache(maxsize=256)
def _told(count: int) -> Struct:
    """The columns of `tell`, of so many rows."""
    return Struct(f"{2 * count}i{count}f")


def mix(scored: Scored, query: Query, bars: Bars) -> Choice:
    """The block: ranked for the places that are left when the cart has had its own; of what it keeps only
    that it is there."""
    block = _Block(query, bars)
    if query.placement.lead_with_cart:
        block.take_cart(scored)
    block.take_ranked(best(scored, query, bars, block.rows), scored)
    for watched in _relaxed(query) if query.placement.fills else ():
        if block.n_missing:
            _take_fallback(block, watched)
        if block.rows:
            break
    block.explore()
    if query.keeps:
        block.leave(len(query.keeps))
    return _choice(block, scored.pool)


def _take_fallback(block: _Block, bars: int) -> None:
    """What is in demand, else what was popular, else anything of the slot's types that may be shown."""
    context = block.query.context
    block.take(named_by("trending", context)[0], "trending", bars)
    if block.n_missing:
        block.take(context.visit.columns.popular[context.item_types], "popular", bars)
    if block.n_missing:
        block.take_any(bars)


def _relaxed(query: Query) -> Iterator[int]:
    """Bars of the slot; then, for a block that would stay empty, all but what the session has looked at: to
    propose that again is better than nothing, and what is in the cart, or a substitute for it, is not. A
    further page may be empty: it is the end."""
    yield ALL_BARS
    if query.is_first_page:
        yield ALL_BARS & ~IN_SESSION


def _choice(block: _Block, pool: Pool) -> Choice:
    query, spoke = block.query, block.spoke
    by_neighbours, by_seeds, of_person = [spoke & bits != 0 for bits in _groups(pool.names)]
    return Choice(
        block.rows,
        block.scores,
        block.sources,
        block.propensities,
        personal=of_person
        or "cart" in block.sources
        or (by_seeds and query.seeds.personal)
        or (by_neighbours and bool(query.visit.person.session)),
        contextual=(by_seeds or by_neighbours) and query.page_row >= 0,
    )


@lru_cache(maxsize=256)
def _groups(names: tuple[str, ...]) -> tuple[int, int, int]:
    """The bits of the neighbours, of the sources that go by seeds, and of those that go by the person."""
    neighbours, seeded, of_person = (
        sum(1 << place for place, name in enumerate(names) if name in group)
        for group in (("neighbours",), _SEEDED, _OF_PERSON)
    )
    return neighbours, seeded, of_person
