"""What the pipeline's kernels work with: each array that is handed over by itself costs 1,500 instructions,
and there are a hundred. So what a thread brings is one argument, and what the catalogue brings another."""

from __future__ import annotations

from typing import Any, Final, NamedTuple, cast

from numba import types
from numba.experimental import structref

from recsys.models.compiled import Array, f4, f8, i4, i8, kernel, read_only
from recsys.models.opinion_kernel import OPINIONS_TYPE, OpinionArrays
from recsys.models.signal_arrays import JOINED_TYPE
from recsys.models.trees import TREES_TYPE, TreeArrays

MAX_ASKS: Final = 32
"""Sources, and seeds that they are asked about, of one pool: it has a bit for each."""
MAX_SEEDS: Final = 15
"""Of one context: what a session, or a cart, is asked about is fewer."""
MAX_NAMED: Final = 8192
"""Rows that all sources name, before they are united; what comes later is not heard."""

_I4, _I8, _F4, _F8 = (read_only(dtype) for dtype in (i4, i8, f4, f8))
_I4_2D, _F4_2D = read_only(i4, 2), read_only(f4, 2)
_new: Any = structref.new


class TableArrays(NamedTuple):
    """See `recsys.models.tables.TopTable`."""

    rows: Array
    scores: Array
    lengths: Array


class IndexArrays(NamedTuple):
    """See `recsys.models.kernels.scan_lists`."""

    across: Array
    starts: Array
    rows: Array
    vectors: Array


class Memory(NamedTuple):
    """A thread's room for what sources are asked and say."""

    plan: Array
    """int32[MAX_ASKS, 3]: what is asked, a `Loop`, and by which of the `seeds`; then where its answer begins
    and ends in `rows` and `scores`."""
    seeds: Array
    """int32[MAX_ASKS, 1 + MAX_SEEDS]: how many there are, and which."""
    rows: Array
    """int32[MAX_NAMED]: one answer behind the other."""
    scores: Array
    """float32[MAX_NAMED]."""
    gathered: Array
    """int32[k]: the ranker's own candidates."""
    votes: Array
    """float32[k]: and what like sessions say of them."""
    sums: Array
    """float32[n_items], and those behind: of a `Scratch`."""
    touched: Array
    spare: Array
    place: Array
    """int32[c]: all zero between calls."""


TABLE_TYPE = types.NamedTuple((_I4_2D, _F4_2D, _I4), TableArrays)
INDEX_TYPE = types.NamedTuple((_F4_2D, _I8, _I4, _F4_2D), IndexArrays)
MEMORY_TYPE = types.NamedTuple(
    (i4[:, ::1], i4[:, ::1], i4[::1], f4[::1], i4[::1], f4[::1], f4[::1], i4[::1], f4[:, ::1], i4[::1]),
    Memory,
)


@structref.register
class _SourcesType(types.StructRef):
    """As the compiler knows `_Sources`."""


class _Sources(structref.StructRefProxy):
    """What sources ask: `opinions`, with item to item, bought together and the vectors of texts; `products`
    and `articles`, what is alike by its text; `index`, that of tastes, with how many lists are probed and the
    room that they take; and `memory`."""


@structref.register
class _WorkplaceType(types.StructRef):
    """As the compiler knows `_Workplace`."""


class _Workplace(structref.StructRefProxy):
    """`sources`; and the ranker's `desk` and `trees`."""


@structref.register
class _StockType(types.StructRef):
    """As the compiler knows `_Stock`."""


class _Stock(structref.StructRefProxy):
    """Columns of the catalogue, see `recsys.pipeline.columns`, and rows and vectors of its `ColdItems`."""


structref.define_boxing(_SourcesType, _Sources)
structref.define_boxing(_WorkplaceType, _Workplace)
structref.define_boxing(_StockType, _Stock)

SOURCES_TYPE: Any = cast(Any, _SourcesType)(
    (
        ("opinions", OPINIONS_TYPE), ("products", TABLE_TYPE), ("articles", TABLE_TYPE),
        ("index", INDEX_TYPE), ("probes", i8), ("room", i8), ("memory", MEMORY_TYPE),
    )
)  # fmt: skip
WORKPLACE_TYPE: Any = cast(Any, _WorkplaceType)(
    (("sources", SOURCES_TYPE), ("desk", JOINED_TYPE), ("trees", TREES_TYPE))
)
STOCK_TYPE: Any = cast(Any, _StockType)(
    (
        ("heat", _F4), ("surge", _F4), ("slow_surge", _F4), ("greatest", _F8), ("popularity", _F4),
        ("leaf", _I4), ("brand", _I4), ("price", _F4), ("new_rows", _I4), ("new_vectors", _F4_2D),
    )
)  # fmt: skip


@kernel(SOURCES_TYPE(OPINIONS_TYPE, TABLE_TYPE, TABLE_TYPE, INDEX_TYPE, i8, i8, MEMORY_TYPE))
def with_sources(
    opinions: OpinionArrays,
    products: TableArrays,
    articles: TableArrays,
    index: IndexArrays,
    probes: int,
    room: int,
    memory: Memory,
) -> Any:
    """What sources ask, as one argument."""
    sources = _new(SOURCES_TYPE)
    sources.opinions = opinions
    sources.products = products
    sources.articles = articles
    sources.index = index
    sources.probes = probes
    sources.room = room
    sources.memory = memory
    return sources


@kernel(WORKPLACE_TYPE(SOURCES_TYPE, JOINED_TYPE, TREES_TYPE))
def with_ranker(sources: Any, desk: Any, trees: TreeArrays) -> Any:
    """As `sources`, with the ranker."""
    workplace = _new(WORKPLACE_TYPE)
    workplace.sources = sources
    workplace.desk = desk
    workplace.trees = trees
    return workplace


@kernel(STOCK_TYPE(_F4, _F4, _F4, _F8, _F4, _I4, _I4, _F4, _I4, _F4_2D))
def stock_of(
    heat: Array, surge: Array, slow_surge: Array, greatest: Array, popularity: Array, leaf: Array,
    brand: Array, price: Array, new_rows: Array, new_vectors: Array,
) -> Any:  # fmt: skip
    """The columns as one argument."""
    stock = _new(STOCK_TYPE)
    stock.heat = heat
    stock.surge = surge
    stock.slow_surge = slow_surge
    stock.greatest = greatest
    stock.popularity = popularity
    stock.leaf = leaf
    stock.brand = brand
    stock.price = price
    stock.new_rows = new_rows
    stock.new_vectors = new_vectors
    return stock
