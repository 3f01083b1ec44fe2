"""Filter: what a context cannot offer, and what a slot must not show. The catalogue's word is in the
pool already; rules of slots are marks on rows, looked at wherever rows are taken."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from recsys.block import SourceName
from recsys.models.arrays import Rows, Scores
from recsys.pipeline.candidates import Answer
from recsys.pipeline.kernels import unite
from recsys.pipeline.query import Ask, Context, Query

STRICT: Final = 1
"""The page's own item, what the caller excludes, what other slots of the request show."""
IN_CART: Final = 2
IN_SESSION: Final = 4
CHOSEN: Final = 8
"""Stands in this block already."""
SUBSTITUTE: Final = 16
"""Of the last category of what the block should complement."""
COOLING: Final = 32
"""Shown to the person too short a while ago."""
BOUGHT: Final = 64
"""Ordered by the person not long ago."""
ALL_BARS: Final = STRICT | IN_CART | IN_SESSION | CHOSEN | SUBSTITUTE | COOLING | BOUGHT


class Bars:
    """Marks on rows (`marks` uint8[c], bits as above) for as long as a slot is being decided."""

    def __init__(self, query: Query, taken: Sequence[int]) -> None:
        self.marks = query.visit.scratch.barred
        self._marked: list[npt.NDArray[np.intp]] = []
        self._columns = columns = query.visit.columns
        person, placement = query.visit.person, query.placement
        self.add([*taken, query.page_row, *map(columns.row, query.exclude)], STRICT)
        if query.cooling:
            self.add(map(columns.row, query.cooling), COOLING)
        if placement.bought_within_days:
            self.add(map(columns.row, person.ordered_since(placement.bought_within_days)), BOUGHT)
        if placement.exclude_cart and not placement.lead_with_cart:
            self.add([line.row for line in person.cart], IN_CART)
        if placement.exclude_session_items:
            self.add(person.session.tolist(), IN_SESSION)
        if placement.other_categories:
            self._add_categories({query.page_row, *(line.row for line in person.cart)})

    def add(self, rows: Iterable[int], bar: int) -> None:
        known = [row for row in rows if row >= 0]
        if known:
            places = np.array(known, np.intp)
            self.marks[places] |= np.uint8(bar)
            self._marked.append(places)

    def _add_categories(self, rows: Iterable[int]) -> None:
        """Bar everything of the last categories of these."""
        columns = self._columns
        for code in {int(columns.leaf[row]) for row in rows if row >= 0} - {-1}:
            of_leaf = columns.leaf_rows[code]
            of_leaf = of_leaf[of_leaf < columns.capacity]
            self.add(of_leaf[columns.leaf[of_leaf] == code].tolist(), SUBSTITUTE)

    def chosen(self, rows: Rows) -> None:
        """Take notice of rows that a kernel has marked."""
        self._marked.append(rows.astype(np.intp))

    def __enter__(self) -> Bars:  # noqa: PYI034 - typing.Self is newer than Python 3.10
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for rows in self._marked:
            self.marks[rows] = 0


class Pool(msgspec.Struct, frozen=True, eq=False):
    """The candidates of contexts in company: rows int32[c], each once; scores float32[s, m], m >= c, a row
    for each of `asks` and a column for each of `rows`, 0 where that source did not name the item;
    best float32[s], the greatest of each source; named uint32[c], bit s where source s named it."""

    asks: tuple[Ask, ...]
    sources: tuple[SourceName | None, ...]
    """The name of each that speaks for the slot, None for what only others of the company ask."""
    bits: int
    """`named` of a row that all of those, and no others, would have named."""
    rows: Rows
    scores: npt.NDArray[np.float32]
    best: Scores
    named: npt.NDArray[np.uint32]
    learned: Scores | None = None
    """float32[c]: what the bundle's ranker gives each; None without one."""

    def of(self, asks: tuple[Ask, ...]) -> Pool:
        """As a slot sees it that asks no more than these."""
        if asks == self.asks:
            return self
        sources = [ask[0] if ask in asks else None for ask in self.asks]
        bits = sum([1 << place for place, source in enumerate(sources) if source is not None])
        return msgspec.structs.replace(self, sources=tuple(sources), bits=bits)

    def spoke(self, places: Rows) -> set[SourceName]:
        """The sources that named any of these places."""
        bits = int(np.bitwise_or.reduce(self.named[places])) if len(places) else 0
        return {
            source for place, source in enumerate(self.sources) if source is not None and bits >> place & 1
        }


NO_POOL: Final = Pool(
    (), (), 0, np.empty(0, np.int32), np.empty((0, 0), np.float32), np.empty(0, np.float32),
    np.empty(0, np.uint32),
)  # fmt: skip


def offered(answers: Sequence[Answer], context: Context) -> Pool:
    """The union of the answers, without what the catalogue does not offer there."""
    visit, starts, size = context.visit, [0], 0
    said = []
    for _, ranked in answers:
        if len(ranked[0]):
            said.append(ranked)
            size += len(ranked[0])
        starts.append(size)
    asks = tuple([ask for ask, _ in answers])
    sources, bits = tuple([source for source, _ in asks]), (1 << len(asks)) - 1
    rows, named = np.empty(size, np.int32), np.zeros(size, np.uint32)
    scores, best = np.zeros((len(answers), size), np.float32), np.zeros(len(answers), np.float32)
    if not size:
        return Pool(asks, sources, bits, rows, scores, best, named)
    found = unite(
        # An array costs 1,600 instructions here, an empty one too: those are left out.
        np.concatenate([rows_of for rows_of, _ in said]),
        np.concatenate([scores_of for _, scores_of in said]),
        np.array(starts, np.int64), context.offer, context.item_types, visit.scratch.place,
        rows, scores, named, best,
    )  # fmt: skip
    return Pool(asks, sources, bits, rows[:found], scores, best, named[:found])
