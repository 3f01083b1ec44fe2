"""Filter: what a slot must not show. Rules are marks on rows, looked at wherever rows are taken."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from types import TracebackType
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from recsys.models.arrays import Rows, Scores
from recsys.pipeline.candidates import Answer
from recsys.pipeline.kernels import merge_allowed
from recsys.pipeline.query import Query

STRICT: Final = 1
"""The page's own item, what the caller excludes, what other slots of the request show."""
IN_CART: Final = 2
IN_SESSION: Final = 4
CHOSEN: Final = 8
"""Stands in this block already."""
ALL_BARS: Final = STRICT | IN_CART | IN_SESSION | CHOSEN


class Bars:
    """Marks on rows (`marks` uint8[c], bits as above) for as long as a slot is being decided."""

    def __init__(self, query: Query, taken: Sequence[int]) -> None:
        self.marks = query.visit.scratch.barred
        self._marked: list[npt.NDArray[np.intp]] = []
        columns, person, placement = query.visit.columns, query.visit.person, query.placement
        strict = [*taken, query.page_row, *map(columns.row, query.exclude)]
        self.add(strict, STRICT)
        if placement.exclude_cart and not placement.lead_with_cart:
            self.add([line.row for line in person.cart], IN_CART)
        if placement.exclude_session_items:
            self.add(person.session.tolist(), IN_SESSION)

    def add(self, rows: Sequence[int], bar: int) -> None:
        known = np.array([row for row in rows if row >= 0], np.intp)
        if len(known):
            self.marks[known] |= np.uint8(bar)
            self._marked.append(known)

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
    """The candidates left: rows int32[c], each once; scores float32[s, m], m >= c, a row for each
    answer and a column for each of `rows`, 0 where that source did not name the item."""

    answers: Sequence[Answer]
    rows: Rows
    scores: npt.NDArray[np.float32]

    @property
    def weights(self) -> Scores:
        """float32[s]: the placement's weight of each source."""
        return np.array([answer.weight for answer in self.answers], np.float32)


def allowed(answers: Sequence[Answer], query: Query, bars: Bars) -> Pool:
    """The union of the answers without what may not be shown in this slot."""
    if not answers:
        return Pool((), np.empty(0, np.int32), np.empty((0, 0), np.float32))
    rows = np.concatenate([answer.ranked[0] for answer in answers])
    scores = np.concatenate([answer.ranked[1] for answer in answers])
    starts = np.array([0, *accumulate(len(answer.ranked[0]) for answer in answers)], np.int64)
    pool_rows = np.empty(len(rows), np.int32)
    pool_scores = np.zeros((len(answers), len(rows)), np.float32)
    size = merge_allowed(
        rows, scores, starts, query.visit.columns.offer, bars.marks, query.item_types, ALL_BARS,
        query.visit.scratch.place, pool_rows, pool_scores,
    )  # fmt: skip
    return Pool(answers, pool_rows[:size], pool_scores)
