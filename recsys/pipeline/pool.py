"""The pool: the candidates of contexts in company, and what each source said of them."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from recsys.models.arrays import Rows, Scores
from recsys.placement import SourceName

Ask = tuple[SourceName, int]
"""A source, and which seeds it is asked about: the `seeds_kind` of a context."""


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
