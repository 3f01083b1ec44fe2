"""What the bundle's other models think of candidates, for the ranker to weigh."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from recsys.models.als import Als
from recsys.models.als_kernels import fade
from recsys.models.arrays import Rows, Vectors
from recsys.models.bought_together import BoughtTogether
from recsys.models.content import Content
from recsys.models.item_to_item import ItemToItem
from recsys.models.opinion_kernel import N_OPINIONS, OPINIONS, ask_models
from recsys.models.scratch import Scratch
from recsys.models.signals import Trail

Said = npt.NDArray[np.float32]
"""float32[N_OPINIONS, c]: a row for each of `opinion_kernel.OPINIONS`, a column for each candidate."""

_CONTENT_LAST: Final = OPINIONS.index("content_last")
_CONTENT_SESSION: Final = OPINIONS.index("content_session")


class Opinions:
    """Of models fitted on the same interactions: their rows are the same items."""

    def __init__(
        self, als: Als, item_to_item: ItemToItem, bought_together: BoughtTogether, content: Content
    ) -> None:
        self._als = als
        self._content = content
        alike, bought = item_to_item.table, bought_together.table
        self._tables = (
            alike.rows, alike.scores, alike.lengths, bought.rows, bought.scores, bought.lengths,
        )  # fmt: skip

    def of(
        self,
        rows: Rows,
        trail: Trail,
        taste: Vectors | None,
        scratch: Scratch,
        vector_of_new: Callable[[int], Vectors | None] = lambda _: None,
    ) -> Said:
        """About candidates `rows` int32[c] for somebody of that taste float32[f], None for nobody's.
        `vector_of_new` tells the content vector of an item that is newer than the models."""
        said = np.empty((N_OPINIONS, len(rows)), np.float32)
        contents, factors = self._content.vectors, self._als.item_factors
        mean = np.empty(contents.shape[1], np.float32)
        session = trail.rows[trail.start :]
        taste = np.zeros(factors.shape[1], np.float32) if taste is None else taste
        ask_models(rows, session, taste, factors, contents, *self._tables, mean, scratch.sums, said)
        new = np.flatnonzero(rows >= len(contents))
        if len(new) and len(session):
            last = contents[session[-1]] if 0 <= session[-1] < len(contents) else None
            for place in new.tolist():
                vector = vector_of_new(int(rows[place]))
                if vector is not None:
                    said[_CONTENT_LAST, place] = vector @ last if last is not None else 0.0
                    said[_CONTENT_SESSION, place] = vector @ mean
        return said

    def taste(self, trail: Trail, scratch: Scratch) -> Vectors | None:
        """As a visit of the pipeline has it: the whole history folded in, faded by age."""
        weights = np.empty(len(trail.rows), np.float32)
        fade(trail.rows, trail.kinds, trail.at_s, self._als.kind_weights, int(trail.now_s), weights)
        return self._als.fold_in(trail.rows, weights, scratch)

    def scratch(self) -> Scratch:
        """Working memory; one a thread."""
        return self._als.scratch()
