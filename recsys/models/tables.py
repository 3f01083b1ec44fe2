"""A table of the best k items for every item: looked up when serving, never searched."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import scipy.sparse

from recsys.models.arrays import (
    NOTHING,
    Ranked,
    Rows,
    Scores,
    Vectors,
    load_array,
    load_settings,
    save_arrays,
)
from recsys.models.interactions import Interactions
from recsys.models.kernels import count_following, sort_by_item, top_of_sparse
from recsys.models.progress import Progress
from recsys.models.scratch import Scratch
from recsys.models.vectors import VectorIndex

_BATCH_ITEMS = 4_096
_PARTS_A_THREAD = 4


class _NoSettings(msgspec.Struct, frozen=True):
    """A table has no settings of its own."""


class TopTable:
    """For each item row the best other rows.

    rows: int32[n_items, k], -1 beyond the length; scores: float32[n_items, k], falling;
    lengths: int32[n_items]. Empty rows are fine, so is a table without items.
    """

    def __init__(self, rows: npt.NDArray[np.int32], scores: Scores, lengths: npt.NDArray[np.int32]) -> None:
        self.rows = rows
        self.scores = scores
        self.lengths = lengths

    @classmethod
    def empty(cls, n_items: int, k: int) -> TopTable:
        return cls(
            np.full((n_items, k), -1, np.int32),
            np.zeros((n_items, k), np.float32),
            np.zeros(n_items, np.int32),
        )

    @classmethod
    def of_sparse(cls, matrix: Any, k: int) -> TopTable:
        """The k greatest positive entries of each row of a square sparse matrix."""
        csr = scipy.sparse.csr_matrix(matrix)
        csr.sum_duplicates()
        table = cls.empty(csr.shape[0], k)
        scratch = Scratch(csr.shape[1])
        top_of_sparse(
            csr.indptr.astype(np.int64), csr.indices.astype(np.int32), csr.data.astype(np.float32),
            scratch.sums, scratch.touched, scratch.spare, table.rows, table.scores, table.lengths,
        )  # fmt: skip
        return table

    def __len__(self) -> int:
        return len(self.lengths)

    def of(self, row: int, k: int) -> Ranked:
        """The best k of one item; nothing for a row the table does not have."""
        if not 0 <= row < len(self.lengths):
            return NOTHING
        length = min(k, int(self.lengths[row]))
        return self.rows[row, :length], self.scores[row, :length]

    def scaled_rows(self, factor: npt.NDArray[np.floating[Any]]) -> TopTable:
        """The same table with the scores of row i times factor[i] (> 0)."""
        return TopTable(self.rows, (self.scores * factor[:, None]).astype(np.float32), self.lengths)

    def to_sparse(self) -> Any:
        """The table as a float32 CSR matrix [n_items, n_items]."""
        filled = np.arange(self.rows.shape[1])[None, :] < self.lengths[:, None]
        starts = np.concatenate(([0], np.cumsum(self.lengths, dtype=np.int64)))
        shape = (len(self.lengths), len(self.lengths))
        return scipy.sparse.csr_matrix((self.scores[filled], self.rows[filled], starts), shape=shape)

    def save(self, directory: Path) -> None:
        arrays = {"rows": self.rows, "scores": self.scores, "lengths": self.lengths}
        save_arrays(directory, arrays, _NoSettings())

    @classmethod
    def load(cls, directory: Path) -> TopTable:
        load_settings(directory, _NoSettings)
        return cls(*(load_array(directory, name) for name in ("rows", "scores", "lengths")))


def window_table(
    interactions: Interactions,
    max_gap: int,
    k: int,
    both_ways: bool,
    target_scale: Scores,
    *,
    threads: int = 1,
) -> TopTable:
    """The k items most often seen within `max_gap` places after (or around) each item, weight 1/gap.

    target_scale float32[n_items] multiplies the weight towards an item before the best are taken. The
    same table comes out of any number of threads.
    """
    n_items = interactions.n_items
    table = TopTable.empty(n_items, k)
    counts = np.bincount(interactions.item, minlength=n_items)
    starts = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    positions = np.empty(len(interactions), np.int64)
    sort_by_item(interactions.item, starts[:-1].copy(), positions)
    # Several parts a thread, with as many interactions each, as one popular item may hold up a part.
    cuts = np.searchsorted(starts, np.linspace(0, len(positions), _PARTS_A_THREAD * threads + 1)[1:-1])
    bounds = [0, *np.maximum.accumulate(cuts).tolist(), n_items]

    def fill(part: int) -> None:
        rows = slice(bounds[part], bounds[part + 1])
        scratch = Scratch(n_items)
        count_following(
            starts[bounds[part] : bounds[part + 1] + 1], bounds[part], positions, interactions.item,
            interactions.session, target_scale, max_gap, both_ways, scratch.sums, scratch.touched,
            scratch.spare, table.rows[rows], table.scores[rows], table.lengths[rows],
        )  # fmt: skip

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(fill, range(len(bounds) - 1)))
    return table


def likeness_table(
    vectors: Vectors, k: int, index: VectorIndex, of_index: Rows, threads: int, progress: Progress, step: str
) -> TopTable:
    """The k items of the greatest positive inner product for each of `vectors` float32[n, d].

    They are looked for in `index`, whose row i is item `of_index[i]`: all items, or those of one type.
    Zero vectors are like nothing.
    """
    table = TopTable.empty(len(vectors), min(k, len(index)))
    for start in range(0, len(vectors), _BATCH_ITEMS):
        asked = start + np.flatnonzero(vectors[start : start + _BATCH_ITEMS].any(axis=1))
        rows, scores = index.nearest_many(vectors[asked], k + 1, threads=threads)
        for row, found, alike in zip(asked.tolist(), rows, scores, strict=True):
            others = of_index[found]
            useful = (found >= 0) & (others != row) & (alike > 0)
            length = min(table.rows.shape[1], int(np.count_nonzero(useful)))
            table.rows[row, :length] = others[useful][:length]
            table.scores[row, :length] = alike[useful][:length]
            table.lengths[row] = length
        progress(step, min(1.0, (start + _BATCH_ITEMS) / len(vectors)))
    return table
