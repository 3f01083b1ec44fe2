"""The workplace of a thread: a bundle's models and its own memory, as the pipeline's kernels take them."""

from __future__ import annotations

from typing import Any, Final, cast

import numpy as np

from recsys.models.arrays import Rows, frozen
from recsys.models.bundle import Bundle
from recsys.models.opinion_kernel import OpinionArrays
from recsys.models.scratch import Scratch
from recsys.models.tables import TopTable
from recsys.pipeline.workplace_arrays import (
    MAX_ASKS,
    MAX_NAMED,
    MAX_SEEDS,
    IndexArrays,
    Memory,
    TableArrays,
    with_ranker,
    with_sources,
)


class Workplace:
    """One thread's: `memory` as Python sees it, and the cells of its plan and seeds, which Python writes in a
    tenth of the time; `sources`, as kernels take it; and `whole`, with the ranker, None without one.
    `place` is as long as the catalogue's columns. Without a bundle no table knows anything."""

    __slots__ = ("memory", "plan_cells", "seed_cells", "sources", "whole")

    def __init__(self, bundle: Bundle | None, scratch: Scratch | None, place: Rows) -> None:
        scratch = Scratch(0) if scratch is None else scratch
        desk = scratch.desk
        gathered, votes = np.empty(0, np.int32), np.empty(0, np.float32)
        if desk is not None:
            gathered, votes = desk.arrays.gathered, desk.arrays.votes
        self.memory = Memory(
            np.zeros((MAX_ASKS, 3), np.int32), np.zeros((MAX_ASKS, 1 + MAX_SEEDS), np.int32),
            np.zeros(MAX_NAMED, np.int32),
            np.zeros(MAX_NAMED, np.float32), gathered, votes, scratch.sums,
            scratch.touched, scratch.spare, place,
        )  # fmt: skip
        if bundle is None:
            self.sources = with_sources(_NO_OPINIONS, _NO_TABLE, _NO_TABLE, _NO_INDEX, 0, 0, self.memory)
        else:
            by_type, index = bundle.content.neighbours, bundle.als.index
            self.sources = with_sources(
                bundle.opinions.arrays, _table(by_type.get(1)), _table(by_type.get(2)),
                IndexArrays(*map(frozen, index.arrays)), index.probes, index.room, self.memory,
            )  # fmt: skip
        self.plan_cells = memoryview(cast(Any, self.memory.plan.reshape(-1)))
        self.seed_cells = memoryview(cast(Any, self.memory.seeds.reshape(-1)))
        self.whole: Any = None
        if bundle is not None and bundle.ranker is not None and desk is not None:
            self.whole = with_ranker(self.sources, desk.joined, bundle.ranker.trees.arrays)


def _table(table: TopTable | None) -> TableArrays:
    return (
        _NO_TABLE if table is None else TableArrays(*map(frozen, (table.rows, table.scores, table.lengths)))
    )


_EMPTY: Final = TopTable.empty(0, 0)
_NO_VECTORS: Final = frozen(np.empty((0, 1), np.float32))
_NO_TABLE: Final = TableArrays(*map(frozen, (_EMPTY.rows, _EMPTY.scores, _EMPTY.lengths)))
_NO_OPINIONS: Final = OpinionArrays(_NO_VECTORS, _NO_VECTORS, *_NO_TABLE, *_NO_TABLE)
_NO_INDEX: Final = IndexArrays(
    _NO_VECTORS, frozen(np.zeros(1, np.int64)), frozen(np.empty(0, np.int32)), _NO_VECTORS
)
