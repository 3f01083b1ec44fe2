"""Urgency: only what the catalogue says, only while it is fresh, and only to whom the placement says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from recsys.block import Urgency
from recsys.catalog import Item
from recsys.picked import picked
from recsys.pipeline.query import Query

STOCK_FRESH_MS: Final = 86_400_000
"""A number of pieces left that is older than this is not told: it is likely wrong."""


def urgencies_of(rows: Sequence[int], query: Query) -> Sequence[Urgency | None]:
    """The urgency of each row's item in this slot; () where none has any, or the placement, or the person's
    intent, says nothing of the kind."""
    placement, person = query.placement, query.visit.person
    most_left, within_s = placement.urgent_stock, placement.urgent_sale_s
    if not (most_left or within_s):
        return ()
    found = [
        None
        # Nearly always no feed has told of either.
        if item is None or (item.stock is None and item.sale_end_ms is None)
        else _urgency(item, most_left, within_s, person.now_ms)
        for item in picked(rows, query.visit.columns.items)
    ]
    return found if any(found) and person.tier in placement.urgent_tiers else ()


class Told(Protocol):
    """An urgency as it was told: 0 where it tells nothing of the kind."""

    stock: int
    sale_end_ms: int


def still_urgent(told: Told, item: Item | None, now_ms: int) -> Urgency | None:
    """What is left of an urgency that was told before: fewer pieces, and the same end of the sale."""
    if item is None:
        return None
    lasts_s = max(told.sale_end_ms - now_ms, 0) // 1000 + 1 if told.sale_end_ms == item.sale_end_ms else 0
    return _urgency(item, told.stock, lasts_s, now_ms)


def _urgency(item: Item, most_left: int, within_s: int, now_ms: int) -> Urgency | None:
    stock, sale_end_ms = item.stock, item.sale_end_ms
    if stock is None or not 0 < stock <= most_left or not 0 <= now_ms - item.stock_ms <= STOCK_FRESH_MS:
        stock = None
    if item.sale_price is None or sale_end_ms is None or not now_ms < sale_end_ms <= now_ms + within_s * 1000:
        sale_end_ms = None
    return None if stock is None and sale_end_ms is None else Urgency(stock, sale_end_ms)
