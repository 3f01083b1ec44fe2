"""What the compiled sentence works with, as two arguments: each array that is handed over by itself costs
1,500 instructions, and there are sixty."""

from __future__ import annotations

from typing import Any, cast

from numba import types
from numba.experimental import structref

from recsys.models.arrays import Rows
from recsys.models.compiled import Array, f4, i4, kernel, read_only
from recsys.models.opinion_kernel import OPINIONS_TYPE, OpinionArrays
from recsys.models.opinions import Opinions
from recsys.models.ranker import Ranker
from recsys.models.scratch import Scratch
from recsys.models.signal_arrays import JOINED_TYPE
from recsys.models.trees import TREES_TYPE, TreeArrays

_I4, _F4, _F4_2D = read_only(i4), read_only(f4), read_only(f4, 2)
_new: Any = structref.new


@structref.register
class _WorkplaceType(types.StructRef):
    """As the compiler knows `_Workplace`."""


class _Workplace(structref.StructRefProxy):
    """The models of a bundle, and the working memory of a thread: `desk`, that of the ranker; `opinions` and
    `trees`, models; `sums` float32[n_items] and `place` int32[c], all zero between calls."""


@structref.register
class _StockType(types.StructRef):
    """As the compiler knows `_Stock`."""


class _Stock(structref.StructRefProxy):
    """Columns of the catalogue: `heat`, `surge`, see `recsys.pipeline.columns`; `new_rows` and `new_vectors`
    of its `ColdItems`."""


structref.define_boxing(_WorkplaceType, _Workplace)
structref.define_boxing(_StockType, _Stock)
WORKPLACE_TYPE: Any = cast(Any, _WorkplaceType)(
    (
        ("desk", JOINED_TYPE),
        ("opinions", OPINIONS_TYPE),
        ("trees", TREES_TYPE),
        ("sums", f4[::1]),
        ("place", i4[::1]),
    )
)
STOCK_TYPE: Any = cast(Any, _StockType)(
    (("heat", _F4), ("surge", _F4), ("new_rows", _I4), ("new_vectors", _F4_2D))
)


@kernel(WORKPLACE_TYPE(JOINED_TYPE, OPINIONS_TYPE, TREES_TYPE, f4[::1], i4[::1]))
def _furnish(desk: Any, opinions: OpinionArrays, trees: TreeArrays, sums: Array, place: Array) -> Any:
    workplace = _new(WORKPLACE_TYPE)
    workplace.desk = desk
    workplace.opinions = opinions
    workplace.trees = trees
    workplace.sums = sums
    workplace.place = place
    return workplace


@kernel(STOCK_TYPE(_F4, _F4, _I4, _F4_2D))
def stock_of(heat: Array, surge: Array, new_rows: Array, new_vectors: Array) -> Any:
    """The columns as one argument."""
    stock = _new(STOCK_TYPE)
    stock.heat = heat
    stock.surge = surge
    stock.new_rows = new_rows
    stock.new_vectors = new_vectors
    return stock


def workplace_of(ranker: Ranker, opinions: Opinions, scratch: Scratch, place: Rows) -> Any:
    """One thread's; `place` is as long as the catalogue's columns."""
    assert scratch.desk is not None
    return _furnish(scratch.desk.joined, opinions.arrays, ranker.trees.arrays, scratch.sums, place)
