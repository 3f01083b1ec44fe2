"""Items like this one: a table made at training, a lookup when serving.

Two kinds of evidence are mixed. The cosine of ALS vectors finds items that the same people like, also
where no session has both; co-occurrence within a session is sharper where there is enough of it.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import scipy.sparse

from recsys.models.arrays import Ranked, Vectors, load_settings, save_arrays
from recsys.models.interactions import Interactions
from recsys.models.progress import Progress, silent
from recsys.models.tables import TopTable, window_table
from recsys.models.vectors import VectorIndex, unit_length

# FAISS multiplies blocks of 4,096 queries; smaller batches take four times as long.
_BATCH_ITEMS = 4_096


class ItemToItemSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    k_neighbours: int = 50
    """How many neighbours are kept for each item."""
    vector_share: float = 0.1
    """The share of the ALS cosine in the score, 0 to 1; the rest is co-occurrence. Most ALS cosines of
    neighbours are near 1 and those of co-occurrence near 0.2, so a tenth is not little; it gives the best
    next items on two public sets (Diginetica, Serenade's example)."""
    max_gap: int = 10
    """How many places apart in a session two items still count as seen together, with weight 1/gap."""


DEFAULTS = ItemToItemSettings()


class ItemToItem:
    """table: for each item its neighbours. The score is a mix of two cosines, 0 to 1."""

    def __init__(self, settings: ItemToItemSettings, table: TopTable) -> None:
        self.settings = settings
        self.table = table

    @classmethod
    def fit(
        cls,
        interactions: Interactions,
        item_vectors: Vectors,
        settings: ItemToItemSettings = DEFAULTS,
        *,
        threads: int = 1,
        progress: Progress = silent,
    ) -> ItemToItem:
        """item_vectors float32[n_items, f]: ALS item factors, of any length; zero vectors match nothing."""
        k_candidates = 2 * settings.k_neighbours
        by_vector = _vector_neighbours(item_vectors, k_candidates, threads, progress)
        together = _seen_together(interactions, settings.max_gap, k_candidates)
        share = settings.vector_share
        mixed = share * by_vector.to_sparse() + (1.0 - share) * together.to_sparse()
        return cls(settings, TopTable.of_sparse(scipy.sparse.csr_matrix(mixed), settings.k_neighbours))

    def similar(self, row: int, k: int) -> Ranked:
        """The k items most like item `row`."""
        return self.table.of(row, k)

    def save(self, directory: Path) -> None:
        save_arrays(directory, {}, self.settings)
        self.table.save(directory / "table")

    @classmethod
    def load(cls, directory: Path) -> ItemToItem:
        return cls(load_settings(directory, ItemToItemSettings), TopTable.load(directory / "table"))


def _vector_neighbours(item_vectors: Vectors, k: int, threads: int, progress: Progress) -> TopTable:
    """The k items of the greatest positive cosine for each item."""
    vectors = unit_length(item_vectors)
    index = VectorIndex.build(vectors, threads=threads)
    table = TopTable.empty(len(vectors), k)
    for start in range(0, len(vectors), _BATCH_ITEMS):
        rows, scores = index.nearest_many(vectors[start : start + _BATCH_ITEMS], k + 1, threads=threads)
        for row, (others, cosines) in enumerate(zip(rows, scores, strict=True), start):
            useful = (others >= 0) & (others != row) & (cosines > 0)
            length = min(k, int(np.count_nonzero(useful)))
            table.rows[row, :length] = others[useful][:length]
            table.scores[row, :length] = cosines[useful][:length]
            table.lengths[row] = length
        progress("item_to_item", min(1.0, (start + _BATCH_ITEMS) / len(vectors)))
    return table


def _seen_together(interactions: Interactions, max_gap: int, k: int) -> TopTable:
    """Co-occurrence within sessions, weight 1/gap, divided by the root of both items' counts."""
    counts = np.bincount(interactions.item, minlength=interactions.n_items)
    scale = (1.0 / np.sqrt(np.maximum(counts, 1))).astype(np.float32)
    return window_table(interactions, max_gap, k, both_ways=True, target_scale=scale).scaled_rows(scale)
