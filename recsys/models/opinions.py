"""What the bundle's other models think of candidates, for the ranker to weigh."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from recsys.models.als import Als
from recsys.models.als_kernels import fade
from recsys.models.arrays import Rows, Vectors, frozen
from recsys.models.bought_together import BoughtTogether
from recsys.models.content import Content
from recsys.models.item_to_item import ItemToItem
from recsys.models.opinion_kernel import N_OPINIONS, OpinionArrays, ask_models, ask_texts
from recsys.models.scratch import Scratch
from recsys.models.signals import Trail

Said = npt.NDArray[np.float32]
"""float32[N_OPINIONS, c]: a row for each of `opinion_kernel.OPINIONS`, a column for each candidate."""


class NewVectors(NamedTuple):
    """Content vectors of items newer than the models: rows int32[k] and vectors float32[k, d], of which the
    first `filled` count; -1 for an entry that has been replaced."""

    rows: Rows
    vectors: Vectors
    filled: int


class Opinions:
    """Of models fitted on the same interactions: their rows are the same items."""

    def __init__(
        self, als: Als, item_to_item: ItemToItem, bought_together: BoughtTogether, content: Content
    ) -> None:
        self._als = als
        alike, bought = item_to_item.table, bought_together.table
        arrays = (
            als.item_factors, content.vectors,
            alike.rows, alike.scores, alike.lengths, bought.rows, bought.scores, bought.lengths,
        )  # fmt: skip
        self.arrays = OpinionArrays(*(frozen(array) for array in arrays))

    def of(
        self, rows: Rows, trail: Trail, taste: Vectors | None, scratch: Scratch, new: NewVectors | None = None
    ) -> Said:
        """About candidates `rows` int32[c] for somebody of that taste float32[f], None for nobody's; `new`
        tells the content vectors of items that are newer than the models."""
        said = np.empty((N_OPINIONS, len(rows)), np.float32)
        contents = self.arrays.contents
        mean = np.empty(contents.shape[1], np.float32)
        session = trail.rows[trail.start :]
        taste = self._als.nobody if taste is None else taste
        ask_models(rows, session, taste, self.arrays, mean, scratch.sums, said)
        if new is not None:
            ask_texts(rows, session, contents, mean, *new, said)
        return said

    def taste(self, trail: Trail, scratch: Scratch) -> Vectors | None:
        """As a visit of the pipeline has it: the whole history folded in, faded by age."""
        weights = np.empty(len(trail.rows), np.float32)
        fade(trail.rows, trail.kinds, trail.at_s, self._als.kind_weights, int(trail.now_s), weights)
        return self._als.fold_in(trail.rows, weights, scratch)

    def scratch(self) -> Scratch:
        """Working memory; one a thread."""
        return self._als.scratch()
