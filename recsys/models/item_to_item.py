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
from recsys.models.tables import TopTable, likeness_table, window_table
from recsys.models.vectors import VectorIndex, unit_length


class ItemToItemSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which items count as seen together, and how many are kept."""

    k_neighbours: int = 50
    """How many neighbours are kept for each item."""
    vector_share: float = 0.1
    """The share of the ALS cosine in the score, 0 to 1; the rest is co-occurrence. Most ALS cosines of
    neighbours are near 1 and those of co-occurrence near 0.2, so a tenth is not little; it gives the best
    next items on two public sets of sessions."""
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
        vectors = unit_length(item_vectors)
        index = VectorIndex.build(vectors, threads=threads)
        everything = np.arange(len(vectors), dtype=np.int32)
        by_vector = likeness_table(
            vectors, k_candidates, index, everything, threads, progress, "item_to_item"
        )
        together = _seen_together(interactions, settings.max_gap, k_candidates, threads)
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


def _seen_together(interactions: Interactions, max_gap: int, k: int, threads: int) -> TopTable:
    """Co-occurrence within sessions, weight 1/gap, divided by the root of both items' counts."""
    counts = np.bincount(interactions.item, minlength=interactions.n_items)
    scale = (1.0 / np.sqrt(np.maximum(counts, 1))).astype(np.float32)
    return window_table(interactions, max_gap, k, True, scale, threads=threads).scaled_rows(scale)
