"""The catalogue in rows: what the stages read of every item, as arrays.

One thread writes, many read. A cell is replaced in one step; a new row is complete before `row_of`
names it; larger arrays come in a new `Columns`. So a reader that holds one `Columns` through a
request never sees half a change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import repeat
from math import inf, log2
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from recsys.catalog import Item, type_of
from recsys.counters import HALF_LIFE_S, SLOW_SURGE_HALF_LIFE_S, SURGE_HALF_LIFE_S, ItemCounters
from recsys.fold import leaf_of
from recsys.models.arrays import Rows
from recsys.models.bundle import Bundle
from recsys.models.signals import Traits
from recsys.pipeline.arrival import CategoryNames
from recsys.pipeline.cold import ColdItems
from recsys.pipeline.lazy import lazy
from recsys.pipeline.workplace_arrays import stock_of

PRODUCT: Final = 1
ARTICLE: Final = 2
ANY_TYPE: Final = PRODUCT | ARTICLE
TYPE_SETS: Final = (PRODUCT, ARTICLE, ANY_TYPE)
HOT_ITEMS: Final = 256
"""How many of the items in the greatest demand are kept in order, for each set of types."""
_CART_VIEWS, _ORDER_VIEWS = 3.0, 6.0

Bits = npt.NDArray[np.uint8]
Heats = npt.NDArray[np.float64]
Heats32 = npt.NDArray[np.float32]
_Cell = TypeVar("_Cell", bound=np.generic)


@dataclass(frozen=True, eq=False)
class Columns:
    """Arrays have one cell for each of c >= n rows; lists and `row_of` are shared by later Columns.

    offer uint8[c]: PRODUCT or ARTICLE for an item that may be shown, 0 for any other row.
    price float32[c]: NaN where unknown. leaf, brand and group int32[c]: codes of the last category, the
    brand and the product that the item is a variant of, -1 for none.
    heat float32[c]: log2 of the demand of late, brought to `base_s`; -inf for none. All demand halves
    at one rate, so the order of two items, and the ratio of their demands, is the same at any time.
    surge, slow_surge float32[c]: as `heat`, of the views of the last minutes and of the last hour.
    greatest float64[3]: the greatest of these three that any row, shown or not, has had: heats never fall.
    every_row int32[c]: 0, 1, 2 and so on.
    popularity float32[c]: the bundle's popularity divided by the greatest, 0 where unknown.
    """

    row_of: dict[str, int]
    ids: list[str]
    """The item of each row, by its id."""
    items: list[Item | None]
    """None for a row that the bundle knows and the catalogue does not."""
    counters: list[ItemCounters | None]
    wire: list[bytes]
    offer: npt.NDArray[np.uint8]
    price: npt.NDArray[np.float32]
    leaf: npt.NDArray[np.int32]
    brand: npt.NDArray[np.int32]
    group: npt.NDArray[np.int32]
    heat: npt.NDArray[np.float32]
    surge: npt.NDArray[np.float32]
    slow_surge: npt.NDArray[np.float32]
    greatest: Heats
    popularity: npt.NDArray[np.float32]
    every_row: Rows
    base_s: int
    n_bundle: int
    """Rows below are the bundle's, in its order."""
    eligible_bits: dict[int, Bits]
    """For each set of types a bitmap of the bundle's rows, as VectorIndex.nearest wants it."""
    n_offered: dict[int, int]
    """How many rows may be shown, by type."""
    offered_types: dict[int, int]
    """For each set of types those of which anything may be shown; all of them where nothing may. A shop
    without articles need not find a block's candidates apart from those of a block that may show both."""
    popular: dict[int, Rows]
    """For each set of types the bundle's rows by popularity, the most popular first."""
    hot: dict[int, Rows]
    """For each set of types the eligible rows in the greatest demand, the greatest first."""
    surging: dict[int, Rows]
    """As `hot`, by `surge`."""
    after: dict[int, tuple[Rows, Heats]]
    """For a row what people went on to from it of late: rows int32[k], heats float64[k]."""
    leaf_codes: dict[str, int]
    leaf_names: CategoryNames
    """As `leaf_codes`, by the words of the name."""
    brand_codes: dict[str, int]
    group_codes: dict[str, int]
    leaf_rows: dict[int, Rows]
    """Rows that are or were of a leaf category; `leaf` has the last word. Every code in `leaf` is here."""
    group_rows: dict[int, list[int]]
    """The rows of a group, in the order they came."""
    goes_with: dict[int, tuple[tuple[int, float], ...]]
    """For the code of a leaf category its complements; see `recsys.pipeline.complements`."""
    cold: ColdItems

    @classmethod
    def of_bundle(cls, bundle: Bundle | None, capacity: int, now_s: int) -> Columns:
        """The bundle's rows, none of them eligible yet, and room for `capacity` rows in all."""
        item_ids = bundle.item_ids if bundle is not None else []
        n_bundle = len(item_ids)
        popularity = np.zeros(capacity, np.float32)
        if bundle is not None and n_bundle:
            scores = bundle.popularity.scores
            popularity[:n_bundle] = scores / max(float(scores.max()), 1e-9)
        return cls(
            row_of={} if bundle is None else bundle.item_row.copy(),
            ids=list(item_ids),
            items=[None] * n_bundle,
            counters=[None] * n_bundle,
            wire=[b""] * n_bundle,
            offer=np.zeros(capacity, np.uint8),
            price=np.full(capacity, np.nan, np.float32),
            leaf=np.full(capacity, -1, np.int32),
            brand=np.full(capacity, -1, np.int32),
            group=np.full(capacity, -1, np.int32),
            heat=np.full(capacity, -np.inf, np.float32),
            surge=np.full(capacity, -np.inf, np.float32),
            slow_surge=np.full(capacity, -np.inf, np.float32),
            greatest=np.full(3, -np.inf),
            popularity=popularity,
            every_row=np.arange(capacity, dtype=np.int32),
            base_s=now_s,
            n_bundle=n_bundle,
            eligible_bits={types: np.zeros((n_bundle + 7) // 8, np.uint8) for types in TYPE_SETS},
            n_offered={PRODUCT: 0, ARTICLE: 0},
            offered_types={types: types for types in TYPE_SETS},
            popular=_popular_by_types(bundle, item_ids),
            hot={types: np.empty(0, np.int32) for types in TYPE_SETS},
            surging={types: np.empty(0, np.int32) for types in TYPE_SETS},
            after={},
            leaf_codes={},
            leaf_names=CategoryNames(),
            brand_codes={},
            group_codes={},
            leaf_rows={},
            group_rows={},
            goes_with={},
            cold=ColdItems.empty(bundle.content.dimensions if bundle is not None else 0),
        )

    @lazy
    def stock(self) -> Any:
        """What kernels read of it, as one argument."""
        cold = self.cold
        return stock_of(*self.heats, self.greatest, self.popularity, *self.traits, cold.rows, cold.vectors)

    @property
    def traits(self) -> Traits:
        """As the ranker is told of them."""
        return Traits(self.leaf, self.brand, self.price)

    @property
    def capacity(self) -> int:
        return len(self.offer)

    def offered_more(self, item_type: int, rows: int) -> None:
        """So many more rows of a type may be shown; fewer where negative."""
        self.n_offered[item_type] += rows
        there = sum([one for one, count in self.n_offered.items() if count])
        for types in TYPE_SETS:
            self.offered_types[types] = types & there or types

    def row(self, item_id: str) -> int:
        """-1 for an unknown item, and for one that came after this Columns was left behind."""
        row = self.row_of.get(item_id, -1)
        return row if row < len(self.offer) else -1

    def rows(self, item_ids: Iterable[str]) -> Rows:
        """int32[n]: `row` of each."""
        return np.array(self.rows_of(item_ids), np.int32)

    def rows_of(self, item_ids: Iterable[str]) -> list[int]:
        """`row` of each."""
        rows = list(map(self.row_of.get, item_ids, repeat(-1)))
        if rows and max(rows) >= len(self.offer):
            return [row if row < len(self.offer) else -1 for row in rows]
        return rows

    def of_leaf(self, code: int) -> Rows:
        """int32[n]: the rows of a last category."""
        there = self.leaf_rows[code]
        there = there[there < len(self.leaf)]
        of_leaf: Rows = there[self.leaf[there] == code]
        return of_leaf

    def with_variants(self, rows: list[int]) -> list[int]:
        """These rows, and behind them all variants of the same products."""
        if not self.group_rows:
            return rows
        of_group, code_of = self.group_rows.get, self.group.item
        same = [other for code in {code_of(row) for row in rows if row >= 0} for other in of_group(code, ())]
        if same and max(same) >= len(self.group):
            same = [row for row in same if row < len(self.group)]
        return rows + same

    def grown(self, capacity: int) -> Columns:
        """The same rows with room for `capacity`."""
        return replace(
            self,
            offer=_extended(self.offer, capacity, 0),
            price=_extended(self.price, capacity, np.nan),
            leaf=_extended(self.leaf, capacity, -1),
            brand=_extended(self.brand, capacity, -1),
            group=_extended(self.group, capacity, -1),
            heat=_extended(self.heat, capacity, -np.inf),
            surge=_extended(self.surge, capacity, -np.inf),
            slow_surge=_extended(self.slow_surge, capacity, -np.inf),
            greatest=self.greatest.copy(),
            popularity=_extended(self.popularity, capacity, 0),
            every_row=np.arange(capacity, dtype=np.int32),
        )

    @property
    def heats(self) -> tuple[Heats32, Heats32, Heats32]:
        return self.heat, self.surge, self.slow_surge

    def heats_of(self, counters: ItemCounters) -> tuple[float, float, float]:
        """As `heats` keep them; demand is in views, of which a cart counts 3 and an order 6."""
        demand = counters.views + _CART_VIEWS * counters.carts + _ORDER_VIEWS * counters.orders
        heat = log2(demand) + (counters.at_s - self.base_s) / HALF_LIFE_S if demand > 0 else -inf
        surge, slow_surge = counters.surge, counters.slow_surge
        return (
            heat,
            -inf if surge is None else surge - self.base_s / SURGE_HALF_LIFE_S,
            -inf if slow_surge is None else slow_surge - self.base_s / SLOW_SURGE_HALF_LIFE_S,
        )

    def write_codes(self, row: int, item: Item) -> None:
        """The codes of the item's last category, brand and group; a new one where it is the first."""
        leaf = last_category(item)
        self.leaf[row] = self.leaf_code(item)
        if leaf:
            self.leaf_names.add(int(self.leaf[row]), leaf)
        self.brand[row] = _code(self.brand_codes, item.brand)
        self._join_group(row, _code(self.group_codes, item.group))

    def _join_group(self, row: int, code: int) -> None:
        """Requests beside it have the rows of a group as they were, or as they are now."""
        known, old = self.group_rows, int(self.group[row])
        if code == old:
            return
        if old >= 0:
            known[old] = [other for other in known[old] if other != row]
        self.group[row] = code
        if code >= 0:
            known.setdefault(code, []).append(row)

    def leaf_code(self, item: Item) -> int:
        """The code of its last category, a new one where it is the first of it; -1 without one."""
        return _code(self.leaf_codes, last_category(item))

    def after_of(self, counters: ItemCounters) -> tuple[Rows, Heats]:
        """As `after` keeps it; items that are unknown here are left out."""
        rows = self.rows([after.item for after in counters.after])
        heats = np.array([after.heat for after in counters.after])
        return rows[rows >= 0], heats[rows >= 0]

    @property
    def warmths(self) -> tuple[tuple[Heats32, dict[int, Rows]], ...]:
        """What rows are ranked by, and the best rows by it."""
        return (self.heat, self.hot), (self.surge, self.surging)

    def warmest(self, heat: Heats32, item_types: int, offer: npt.NDArray[np.uint8] | None = None) -> Rows:
        """The rows of these types of the greatest heat, computed over the whole catalogue; of those
        that `offer` says may be shown, else of all that may."""
        offered = self.offer if offer is None else offer
        warm = np.flatnonzero((offered & item_types > 0) & np.isfinite(heat[: len(offered)]))
        if len(warm) > HOT_ITEMS:
            warm = warm[np.argpartition(-heat[warm], HOT_ITEMS)[:HOT_ITEMS]]
        return by_heat(heat, warm.astype(np.int32))


def by_heat(heat: Heats32, rows: Rows) -> Rows:
    """The warmest first."""
    return rows[np.lexsort((rows, -heat[rows]))]


def offer_of(item: Item) -> int:
    """PRODUCT or ARTICLE for an item that may be shown, else 0. An item that only events have named
    may be shown as soon as one of them has told its title."""
    if not item.can_be_had or not (item.fed or item.title):
        return 0
    return ARTICLE if item.type == "article" else PRODUCT


@lru_cache(maxsize=16)
def type_set(names: tuple[str, ...]) -> int:
    """("product", "article") -> PRODUCT | ARTICLE."""
    return sum(bit for name, bit in _TYPE_BITS.items() if name in names)


def types_of(item_ids: Sequence[str]) -> npt.NDArray[np.uint8]:
    """uint8[n]: PRODUCT or ARTICLE for each id."""
    return np.fromiter((_TYPE_BITS[type_of(item_id)] for item_id in item_ids), np.uint8, len(item_ids))


def traits_of(item_ids: Sequence[str], items: Iterable[Item]) -> Traits:
    """What a catalogue says of the items with these ids, as `Columns.traits` but for the codes' numbers."""
    traits = Traits.unknown(len(item_ids))
    row_of = {item_id: row for row, item_id in enumerate(item_ids)}
    leaf_codes: dict[str, int] = {}
    brand_codes: dict[str, int] = {}
    for item in items:
        row = row_of.get(item.id, -1)
        if row >= 0:
            traits.leaf[row] = _code(leaf_codes, last_category(item))
            traits.brand[row] = _code(brand_codes, item.brand)
            traits.price[row] = np.nan if item.price_now is None else item.price_now
    return traits


_TYPE_BITS: Mapping[str, int] = {"product": PRODUCT, "article": ARTICLE}


def last_category(item: Item) -> str:
    """The name of its last category, "" without one."""
    return leaf_of(item.category[-1]) if item.category else ""


def _code(codes: dict[str, int], name: str) -> int:
    return codes.setdefault(name, len(codes)) if name else -1


def _popular_by_types(bundle: Bundle | None, item_ids: list[str]) -> dict[int, Rows]:
    if bundle is None:
        return {types: np.empty(0, np.int32) for types in TYPE_SETS}
    ranked = bundle.popularity.ranked
    bits = types_of(item_ids)
    return {types: np.ascontiguousarray(ranked[bits[ranked] & types > 0]) for types in TYPE_SETS}


def _extended(array: npt.NDArray[_Cell], capacity: int, empty: float) -> npt.NDArray[_Cell]:
    grown = np.full(capacity, empty, array.dtype)
    grown[: len(array)] = array
    return grown
