"""The pool: the candidates of contexts in company, and what each source said of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from recsys.block import SourceName
from recsys.models.arrays import NOTHING, Ranked, Rows, Scores
from recsys.pipeline.query import Ask


class Pool(msgspec.Struct, frozen=True, eq=False):
    """c candidates, as s sources name them; rows int32[c], each once.

    cells int32[2 + s, m + 1], m >= c, is what kernels read, as one array, for each that is handed over costs
    1,500 instructions: `rows`, `named`, and the bits of `scores`.
    """

    asks: tuple[Ask, ...]
    names: tuple[SourceName, ...]
    """The source of each ask."""
    sources: tuple[SourceName | None, ...]
    """The name of each that speaks for the slot, None for what only others of the company ask."""
    bits: int
    """`named` of a row that all of those, and no others, would have named."""
    rows: Rows
    cells: npt.NDArray[np.int32]
    learned: Scores | None = None
    """float32[c]: what the bundle's ranker gives each; None without one."""

    @property
    def named(self) -> npt.NDArray[np.uint32]:
        """uint32[c]: bit s where source s named the row."""
        return self.cells[1, : len(self.rows)].view(np.uint32)

    @property
    def scores(self) -> npt.NDArray[np.float32]:
        """float32[s, m + 1]: what each source gives each of `rows`, 0 where it did not name it; behind the
        last of them the source's best."""
        return self.cells[2:].view(np.float32)

    @property
    def best(self) -> Scores:
        """float32[s]: the greatest score of each source."""
        return np.ascontiguousarray(self.scores[:, -1])

    def of(self, asks: tuple[Ask, ...]) -> Pool:
        """As a slot sees it that asks no more than these."""
        if asks == self.asks:
            return self
        sources, bits = _heard(self.asks, asks)
        return msgspec.structs.replace(self, sources=sources, bits=bits)

    def spoke(self, places: Rows) -> int:
        """Bit s where source s speaks for the slot and named any of these places."""
        return int(np.bitwise_or.reduce(self.named[places])) & self.bits if len(places) else 0


@lru_cache(maxsize=4096)
def _heard(asks: tuple[Ask, ...], heeded: tuple[Ask, ...]) -> tuple[tuple[SourceName | None, ...], int]:
    """`sources` and `bits` of a pool with these `asks` for a slot that heeds some of them. A page's slots are
    the same for everybody, so there are few such pairs."""
    sources = tuple([ask[0] if ask in heeded else None for ask in asks])
    return sources, sum([1 << place for place, source in enumerate(sources) if source is not None])


NO_POOL: Final = Pool((), (), (), 0, np.empty(0, np.int32), np.zeros((2, 1), np.int32))


class Answer(NamedTuple):
    """What one source said."""

    ask: Ask
    ranked: Ranked


class Named(NamedTuple):
    """What all sources said, to be made a pool of. `arrays`, as `unite` takes them: rows int32[k] and scores
    float32[k], one answer behind the other, and where each begins and the last ends, int64[s + 1]. `cells`
    are all zero."""

    asks: tuple[Ask, ...]
    arrays: tuple[Rows, Scores, npt.NDArray[np.int64]]
    cells: npt.NDArray[np.int32]

    @classmethod
    def by(cls, answers: Sequence[Answer]) -> Named:
        rows, scores, starts, size = [], [], [0], 0
        for _, (rows_of, scores_of) in answers:
            if len(rows_of):  # each array costs 1,600 instructions to join, an empty one too
                rows.append(rows_of)
                scores.append(scores_of)
                size += len(rows_of)
            starts.append(size)
        all_rows, all_scores = (np.concatenate(rows), np.concatenate(scores)) if size else NOTHING
        cells = np.zeros((2 + len(answers), size + 1), np.int32)
        asks = tuple([ask for ask, _ in answers])
        return cls(asks, (all_rows, all_scores, np.array(starts, np.int64)), cells)

    def pool(self, n: int, learned: Scores | None = None) -> Pool:
        """Of the `n` candidates that are in the cells now."""
        names = tuple([name for name, _ in self.asks])
        return Pool(self.asks, names, names, (1 << len(names)) - 1, self.cells[0, :n], self.cells, learned)
