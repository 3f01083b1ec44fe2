"""Urgency: only what the catalogue says, only while it is fresh, and only to whom the placement says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from recsys.block import Urgency
from recsys.catalog import Item
from recsys.pipeline.query import Query

STOCK_FRESH_MS: Final = 86_400_000
"""A number of pieces left that is older than this is not told: it is likely wrong."""


def urgency(query: Query) -> Callable[[Item], Urgency | None] | None:
    """What tells the urgency of an item in this slot; None where the placement, or the person's intent,
    says nothing of the kind."""
    placement, person = query.placement, query.visit.person
    if not (placement.urgent_stock or placement.urgent_sale_s):
        return None
    if person.tier not in placement.urgent_tiers:
        return None
    return lambda item: _urgency(item, placement.urgent_stock, placement.urgent_sale_s, person.now_ms)


def _urgency(item: Item, most_left: int, within_s: int, now_ms: int) -> Urgency | None:
    stock, sale_end_ms = item.stock, item.sale_end_ms
    if stock is None or not 0 < stock <= most_left or not 0 <= now_ms - item.stock_ms <= STOCK_FRESH_MS:
        stock = None
    if item.sale_price is None or sale_end_ms is None or not now_ms < sale_end_ms <= now_ms + within_s * 1000:
        sale_end_ms = None
    return None if stock is None and sale_end_ms is None else Urgency(stock, sale_end_ms)
