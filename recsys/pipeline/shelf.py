"""The shelf: catalogue, bundle and live counters, as the pipeline reads them and one thread writes them."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from recsys.catalog import Item
from recsys.counters import ItemCounters
from recsys.filters.attributes import Attributes
from recsys.models.arrays import Rows, Scores
from recsys.models.bundle import Bundle, Pace
from recsys.models.complements import complements_of
from recsys.models.content import item_text
from recsys.pipeline.cold import MAX_COLD_ITEMS
from recsys.pipeline.columns import HOT_ITEMS, TYPE_SETS, Columns, Heats32, offer_of
from recsys.pipeline.passing import Passing
from recsys.pipeline.workplace import Workplace
from recsys.placement import Placement

Serialise = Callable[[Item], bytes]
"""How a server sends an item; called once for each version of it."""

_Row = tuple[Item, bytes, ItemCounters | None]

_MIN_CAPACITY = 64
_NEVER_MS = 1 << 62


def as_nothing(_: Item) -> bytes:
    """The serialisation of whoever sends no items."""
    return b""


def text_of(item: Item) -> str:
    """The text that an item's content vector is made of, at training and for cold items alike."""
    category = " ".join((*item.category, *item.tags))
    return item_text(item.title, item.description, category, item.brand)


class Shelf:
    """Rows are the bundle's item rows first, then items the bundle does not know.

    `upsert` and `count` belong to one writer thread. A reader takes `columns` once for a request and
    sees every item either before or after a change. Memory: about 42 bytes a row beside the Item
    objects and their wire bytes, and 13 bytes a row for the scratch of each reading thread.
    """

    def __init__(
        self, columns: Columns, bundle: Bundle | None, serialise: Serialise, attributes: Attributes
    ) -> None:
        self.columns = columns
        self.bundle = bundle
        self._serialise = serialise
        self._attributes = attributes
        self.passing = Passing(self._attributes)
        self._sale_turns_ms: dict[str, int] = {}
        self._next_sale_turn_ms = _NEVER_MS
        self._of_thread = threading.local()

    @classmethod
    def build(
        cls,
        items: Iterable[Item],
        bundle: Bundle | None,
        counters: Mapping[str, ItemCounters],
        now_s: int,
        serialise: Serialise = as_nothing,
    ) -> Shelf:
        """`now_s`: the time of now, near the counters'; demand is kept relative to it, and sales are as they
        are then."""
        rows = ((item, serialise(item), counters.get(item.id)) for item in items)
        return cls._of_rows(rows, bundle, now_s, serialise)

    @classmethod
    def _of_rows(
        cls,
        rows: Iterable[_Row],
        bundle: Bundle | None,
        now_s: int,
        serialise: Serialise,
        attributes: Attributes | None = None,
    ) -> Shelf:
        """`attributes`: those of the rows, where they are known; without them each is looked at."""
        n_bundle = bundle.n_items if bundle is not None else 0
        columns = Columns.of_bundle(bundle, n_bundle + _MIN_CAPACITY, now_s)
        written = Attributes(columns.capacity) if attributes is None else attributes
        shelf = cls(columns, bundle, serialise, written)
        by_leaf: dict[int, list[int]] = {}
        cold: list[tuple[int, int]] = []
        for item, wire, counters in rows:
            row = shelf._row_for(item.id)
            columns = shelf.columns
            columns.counters[row] = counters
            if counters is not None:
                shelf._write_counters(row, counters)
            shelf._write_row(row, item, wire, has_attributes=attributes is not None)
            by_leaf.setdefault(int(columns.leaf[row]), []).append(row)
            if row >= n_bundle:
                cold.append((item.changed_ms, row))
        columns = shelf.columns
        columns.leaf_rows.update({code: np.array(of, np.int32) for code, of in by_leaf.items() if code >= 0})
        if bundle is not None:
            table = bundle.bought_together.table
            columns.goes_with.update(complements_of(table, columns.leaf[:n_bundle]))
        for heat, warm in columns.warmths:
            for types in TYPE_SETS:
                warm[types] = columns.warmest(heat, types)
        # What people went on to may stand in a later row: all rows are there now.
        for row, counters in enumerate(columns.counters):
            if counters is not None and counters.after:
                columns.after[row] = columns.after_of(counters)
        for _, row in sorted(cold)[-MAX_COLD_ITEMS // 2 :]:
            shelf._embed(row)
        shelf.turn_sales(now_s * 1000)
        return shelf

    def with_bundle(self, bundle: Bundle | None, pace: Pace = iter) -> Shelf:
        """The same catalogue on another bundle's rows. Called by the writer thread, which goes on
        with the new shelf; `pace` may make it wait between the rows."""
        columns = self.columns
        of_items = zip(columns.items, columns.wire, columns.counters, strict=True)
        rows = ((item, wire, counters) for item, wire, counters in of_items if item is not None)
        from_rows = self._rows_on(bundle)
        moved = self._attributes.moved(from_rows, len(from_rows) + _MIN_CAPACITY)
        return self._of_rows(pace(rows), bundle, columns.base_s, self._serialise, moved)

    def _rows_on(self, bundle: Bundle | None) -> Rows:
        """int32[n]: for each row that there will be on another bundle, the row here; -1 for an item that has
        none."""
        item_ids, item_row = ([], {}) if bundle is None else (bundle.item_ids, bundle.item_row)
        newer = [item.id for item in self.columns.items if item is not None and item.id not in item_row]
        return self.columns.rows([*item_ids, *newer])

    def upsert(self, item: Item) -> None:
        """Take a new item, or a new version of one. It costs what has changed: a flood of prices must not
        be felt by the requests beside it."""
        row = self._row_for(item.id)
        columns = self.columns
        old = columns.items[row]
        if old == item:
            return
        offer = columns.offer[row]
        if old is None or old.category != item.category:
            # First: a request beside it that meets the row's category asks for the rows of that.
            self._join_leaf(row, columns.leaf_code(item))
        self._write_row(row, item, self._serialise(item))
        if columns.offer[row] != offer:  # a price alone makes nothing warmer
            self._rewarm(row, TYPE_SETS)
        if row >= columns.n_bundle and (old is None or text_of(old) != text_of(item)):
            self._embed(row)

    def turn_sales(self, now_ms: int) -> None:
        """What is on sale no longer costs its full price, and what is from now on its sale's, though no feed
        has said so yet. Called by the writer thread, as often as it likes: it looks at sales when the next
        one begins or ends."""
        if now_ms < self._next_sale_turn_ms:
            return
        for item_id in [one for one, turns_ms in self._sale_turns_ms.items() if turns_ms <= now_ms]:
            item = self.columns.items[self.columns.row(item_id)]
            assert item is not None
            self.upsert(item.at_sales_of(now_ms))
        self._next_sale_turn_ms = min(self._sale_turns_ms.values(), default=_NEVER_MS)

    def count(self, item_id: str, counters: ItemCounters) -> None:
        """Take an item's newest counters. Those of an item never upserted are ignored."""
        row = self.columns.row(item_id)
        if row >= 0:
            self._write_counters(row, counters)
            offer = int(self.columns.offer[row])  # what may not be shown is in no order
            self._rewarm(row, [types for types in TYPE_SETS if offer & types])

    def scratch(self) -> PipelineScratch:
        """This thread's working memory."""
        scratch: PipelineScratch | None = getattr(self._of_thread, "scratch", None)
        capacity = self.columns.capacity
        if scratch is None or len(scratch.place) < capacity:
            scratch = self._of_thread.scratch = PipelineScratch(capacity, self.bundle)
        return scratch

    def _row_for(self, item_id: str) -> int:
        """The item's row; a new one, not eligible yet, for a new item."""
        columns = self.columns
        row = columns.row_of.get(item_id)
        if row is not None:
            return row
        row = len(columns.items)
        if row >= columns.capacity:
            self.columns = columns = columns.grown(2 * columns.capacity)
        columns.ids.append(item_id)
        columns.items.append(None)
        columns.counters.append(None)
        columns.wire.append(b"")
        columns.row_of[item_id] = row
        return row

    def _write_row(self, row: int, item: Item, wire: bytes, *, has_attributes: bool = False) -> None:
        """What makes an item unavailable is written first, what makes it available last."""
        columns = self.columns
        old = columns.items[row]
        offer = offer_of(item)
        is_offer_new = offer != columns.offer[row]
        if is_offer_new and not offer:
            self._set_offer(row, 0)
        columns.items[row] = item
        columns.wire[row] = wire
        if not has_attributes:
            self._attributes.set(row, item, old)
        price = item.price_now
        columns.price[row] = np.nan if price is None else price
        if old is None or (old.category, old.brand, old.group) != (item.category, item.brand, item.group):
            columns.write_codes(row, item)
        if is_offer_new and offer:
            self._set_offer(row, offer)
        turns_ms = item.sale_turns_ms
        if turns_ms is None:
            self._sale_turns_ms.pop(item.id, None)
        else:
            self._sale_turns_ms[item.id] = turns_ms
            self._next_sale_turn_ms = min(self._next_sale_turn_ms, turns_ms)

    def _write_counters(self, row: int, counters: ItemCounters) -> None:
        columns = self.columns
        columns.counters[row] = counters
        for place, heat in enumerate(columns.heats_of(counters)):
            columns.heats[place][row] = heat
            columns.greatest[place] = max(columns.greatest[place], heat)
        if counters.after:
            columns.after[row] = columns.after_of(counters)

    def _set_offer(self, row: int, offer: int) -> None:
        columns = self.columns
        for types, change in ((int(columns.offer[row]), -1), (offer, 1)):
            if types:
                columns.offered_more(types, change)
        columns.offer[row] = offer
        if row >= columns.n_bundle:
            return
        byte, bit = row >> 3, 1 << (row & 7)
        for types, bits in columns.eligible_bits.items():
            others = int(bits[byte]) & ~bit
            bits[byte] = others | bit if offer & types else others

    def _join_leaf(self, row: int, code: int) -> None:
        columns = self.columns
        known = columns.leaf_rows.get(code)
        if known is None:
            if code >= 0:
                columns.leaf_rows[code] = np.array([row], np.int32)
        elif not (known == row).any():
            columns.leaf_rows[code] = np.append(known, np.int32(row))

    def _rewarm(self, row: int, type_sets: Sequence[int]) -> None:
        """Put the row at its place among the warm ones of these types, or take it out."""
        columns = self.columns
        offer = int(columns.offer[row])
        for heat, warm in columns.warmths:
            own_heat = float(heat[row])
            for types in type_sets:
                if offer & types and own_heat > -math.inf:
                    warm[types] = _with_row(heat, warm[types], row, own_heat)
                else:
                    warm[types] = self._without_row(heat, warm[types], types, row)

    def _without_row(self, heat: Heats32, warm: Rows, types: int, row: int) -> Rows:
        others = warm != row
        if others.all():
            return warm
        rest = warm[others]
        # The next in line is looked for now and then only: it takes a pass over all items.
        return self.columns.warmest(heat, types) if len(rest) == HOT_ITEMS // 2 else rest

    def _embed(self, row: int) -> None:
        item = self.columns.items[row]
        if self.bundle is None or item is None:
            return
        vector = self.bundle.content.embed(text_of(item))
        cold = self.columns.cold
        if vector.any():
            self.columns = replace(self.columns, cold=cold.with_item(row, vector))
        else:
            cold.without(row)


def _with_row(heat: Heats32, warm: Rows, row: int, own_heat: float) -> Rows:
    """`warm`, the warmest first and of two alike the lower row, with `row` in its place."""
    (places,) = (warm == row).nonzero()
    if len(places):
        place = int(places[0])
        if 0 < place < len(warm) - 1 and heat[warm[place - 1]] > own_heat > heat[warm[place + 1]]:
            return warm  # it stays between its neighbours, as most do
        warm = warm[warm != row]
    elif len(warm) == HOT_ITEMS and own_heat <= heat[warm[-1]]:
        return warm
    heats = heat[warm]
    place = int(np.count_nonzero((heats > own_heat) | ((heats == own_heat) & (warm < row))))
    return np.concatenate((warm[:place], (np.int32(row),), warm[place:]))[:HOT_ITEMS]


class PipelineScratch:
    """Buffers of one thread. `place` int32[c] and `barred` uint8[c + 1] are all zero between calls. The last
    cell of `barred` is that of unknown rows, -1; `barred_cells` are the same cells, in which Python marks one
    in a tenth of the time. `models` is the bundle's scratch, None without a bundle; `workplace`: see
    `recsys.pipeline.workplace`; `weights`: see `recsys.pipeline.score`."""

    __slots__ = ("barred", "barred_cells", "models", "place", "weights", "workplace")

    def __init__(self, capacity: int, bundle: Bundle | None) -> None:
        self.place = np.zeros(capacity, np.int32)
        self.barred_cells = bytearray(capacity + 1)
        self.barred = np.frombuffer(self.barred_cells, np.uint8)
        self.models = models = bundle.scratch() if bundle is not None else None
        self.workplace = Workplace(bundle, models, self.place)
        self.weights: dict[tuple[int, tuple[str | None, ...], tuple[str, ...]], tuple[Placement, Scores]] = {}
