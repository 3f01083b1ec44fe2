"""Filter: what a context cannot offer, and what a slot must not show. The catalogue's word is in the
pool already; rules of slots are marks on rows, looked at wherever rows are taken."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Final

import numpy as np
import numpy.typing as npt

from recsys.models.arrays import Rows
from recsys.pipeline.candidates import Answer
from recsys.pipeline.pool import Pool
from recsys.pipeline.pool_kernels import unite
from recsys.pipeline.query import Context, Query

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


def offered(answers: Sequence[Answer], context: Context) -> Pool:
    """The union of the answers, without what the catalogue does not offer there."""
    rows, scores, starts, size = [], [], [0], 0
    for _, (rows_of, scores_of) in answers:
        if len(rows_of):  # each array costs 1,600 instructions to join, an empty one too
            rows.append(rows_of)
            scores.append(scores_of)
            size += len(rows_of)
        starts.append(size)
    asks = tuple([ask for ask, _ in answers])
    names = tuple([name for name, _ in asks])
    cells, found = np.zeros((2 + len(asks), size + 1), np.int32), 0
    if size:
        found = unite(
            np.concatenate(rows), np.concatenate(scores), np.array(starts, np.int64),
            context.offer, context.item_types, context.visit.scratch.place, cells,
        )  # fmt: skip
    return Pool(asks, names, names, (1 << len(asks)) - 1, cells[0, :found], cells)
