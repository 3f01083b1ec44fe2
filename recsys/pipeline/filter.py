"""Filter: what a context cannot offer, and what a slot must not show. The catalogue's word is in the
pool already; rules of slots are marks on rows, looked at wherever rows are taken."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Final

import numpy as np
import numpy.typing as npt

from recsys.pipeline.query import Query

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
VARIANT: Final = 128
"""Another one of a product whose page it is, or that another slot, an earlier page or the cart has."""
ALL_BARS: Final = STRICT | IN_CART | IN_SESSION | CHOSEN | SUBSTITUTE | COOLING | BOUGHT | VARIANT


def standing(query: Query, taken: Sequence[int]) -> list[int]:
    """Rows of which the slot has no variant: those in `taken`, its page's, an earlier page's, and the cart's
    where that is left out."""
    placement, rows = query.placement, query.visit.columns.rows_of(query.seen)
    rows += [*taken, query.page_row]
    if placement.exclude_cart and not placement.lead_with_cart:
        rows += [line.row for line in query.visit.person.cart]
    return rows


class Bars:
    """Marks on rows (`marks` uint8[c], bits as above) for as long as a slot is being decided."""

    def __init__(self, query: Query, taken: Sequence[int]) -> None:
        scratch = query.visit.scratch
        self.marks = scratch.barred
        self._cells = cells = scratch.barred_cells
        self._columns = columns = query.visit.columns
        self._of_categories: list[npt.NDArray[np.intp]] = []
        self._rows = [*taken, query.page_row, *columns.rows_of(query.exclude)]
        try:
            for row in self._rows:
                cells[row] = STRICT  # as yet no row has another mark
            self._mark(query, taken)
        except BaseException:
            self._clear()  # the thread's next block must not find these marks
            raise

    def _mark(self, query: Query, taken: Sequence[int]) -> None:
        """What the slot's rules bar."""
        columns, person, placement = self._columns, query.visit.person, query.placement
        if query.cooling:
            self.add(columns.with_variants(columns.rows_of(query.cooling)), COOLING)
        if placement.bought_within_days and person.orders:
            bought = columns.rows_of(person.ordered_since(placement.bought_within_days))
            self.add(columns.with_variants(bought), BOUGHT)
        in_cart = [line.row for line in person.cart]
        if in_cart and placement.exclude_cart and not placement.lead_with_cart:
            self.add(in_cart, IN_CART)
        if columns.group_rows:
            there = standing(query, taken)
            self.add(list(set(columns.with_variants(there)).difference(there)), VARIANT)
        if placement.exclude_session_items:
            self.add(person.session, IN_SESSION)
        if placement.other_categories:
            self._add_categories({query.page_row, *in_cart})

    def add(self, rows: Sequence[int], bar: int) -> None:
        self._rows += rows
        cells = self._cells
        for row in rows:
            cells[row] |= bar

    def _add_categories(self, rows: Iterable[int]) -> None:
        """Bar everything of the last categories of these."""
        columns = self._columns
        for code in {int(columns.leaf[row]) for row in rows if row >= 0} - {-1}:
            of_leaf = columns.of_leaf(code).astype(np.intp)
            self._of_categories.append(of_leaf)
            self.marks[of_leaf] |= np.uint8(SUBSTITUTE)

    def chosen(self, rows: Sequence[int]) -> None:
        """Take notice of rows that a kernel has marked."""
        self._rows += rows

    def __enter__(self) -> Bars:  # noqa: PYI034 - typing.Self is newer than Python 3.10
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clear()

    def _clear(self) -> None:
        cells = self._cells
        for row in self._rows:
            cells[row] = 0
        for of_leaf in self._of_categories:
            self.marks[of_leaf] = 0
