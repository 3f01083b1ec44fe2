"""Cold items: those that came after the training, known by the vector of their text alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from recsys.models.arrays import EVERYTHING, NOTHING, Offer, Ranked, Rows, Vectors
from recsys.pipeline.source_kernels import likest

MAX_COLD_ITEMS: Final = 4096
"""The newest are kept. Each request compares with all of them; the next training takes them in."""


@dataclass(frozen=True, eq=False)
class ColdItems:
    """rows int32[m] and vectors float32[m, d], of which the first `count` are filled.

    Arrays are shared with later ColdItems: entries are only added behind `count`, and an entry that
    has been replaced gets the row -1. So whoever holds one sees whole vectors.
    """

    rows: Rows
    vectors: Vectors
    count: int

    @classmethod
    def empty(cls, dimensions: int) -> ColdItems:
        return cls(np.full(0, -1, np.int32), np.zeros((0, dimensions), np.float32), 0)

    def with_item(self, row: int, vector: Vectors) -> ColdItems:
        """With one more item, or with the new vector of one that is there."""
        self.without(row)
        cold = self if self.count < len(self.rows) else self._with_room()
        cold.rows[cold.count] = row
        cold.vectors[cold.count] = vector
        return replace(cold, count=cold.count + 1)

    def without(self, row: int) -> None:
        """Forget an item."""
        self.rows[: self.count][self.rows[: self.count] == row] = -1

    def vector(self, row: int) -> Vectors | None:
        places = np.flatnonzero(self.rows[: self.count] == row)
        return self.vectors[places[-1]] if len(places) else None

    def nearest(self, wanted: Vectors, k: int, offer: Offer = EVERYTHING) -> Ranked:
        """The k items on offer whose vectors have the greatest positive inner product with float32[d]."""
        if self.count == 0:
            return NOTHING
        top_rows, top_scores = np.empty(k, np.int32), np.empty(k, np.float32)
        found = likest(self.vectors, self.rows, self.count, *offer, wanted, top_rows, top_scores)
        return top_rows[:found], top_scores[:found]

    def newest(self, k: int) -> Rows:
        """The k items that came last, the newest first."""
        rows = self.rows[: self.count]
        return rows[rows >= 0][: -k - 1 : -1]

    def _with_room(self) -> ColdItems:
        live = np.flatnonzero(self.rows[: self.count] >= 0)[-MAX_COLD_ITEMS // 2 :]
        room = min(MAX_COLD_ITEMS, max(16, 4 * len(live)))
        rows = np.full(room, -1, np.int32)
        vectors = np.zeros((room, self.vectors.shape[1]), np.float32)
        rows[: len(live)], vectors[: len(live)] = self.rows[live], self.vectors[live]
        return ColdItems(rows, vectors, len(live))
