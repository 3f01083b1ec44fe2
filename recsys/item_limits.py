"""How large an item may be: checked when a change comes through the log, whoever wrote it there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from recsys.events import MAX_ID_BYTES, MAX_TEXT_CHARS

MAX_DESCRIPTION_CHARS = 5000
"""Google's own limit of feeds."""
MAX_LINK_CHARS = 2000
MAX_CURRENCY_CHARS = 8
MAX_CATEGORY_PARTS = 32
MAX_TAGS = 32
MAX_MARKETS = 256
MAX_ATTRIBUTES = 32
MAX_ATTRIBUTE_NAME_CHARS = 64
MAX_PRICE = 1e9
MAX_STOCK = 10**9
MAX_AGE = 200
MAX_MS = 2**53
"""Epoch milliseconds, as JSON numbers are exact."""

_TEXTS = {
    "title": MAX_TEXT_CHARS,
    "description": MAX_DESCRIPTION_CHARS,
    "link": MAX_LINK_CHARS,
    "image_link": MAX_LINK_CHARS,
    "brand": MAX_TEXT_CHARS,
    "currency": MAX_CURRENCY_CHARS,
    "group": MAX_ID_BYTES,
}
_LISTS = {
    "category": MAX_CATEGORY_PARTS,
    "tags": MAX_TAGS,
    "markets": MAX_MARKETS,
    "not_markets": MAX_MARKETS,
    "attributes": MAX_ATTRIBUTES,
}
_NUMBERS = {
    "price": MAX_PRICE,
    "sale_price": MAX_PRICE,
    "stock": MAX_STOCK,
    "min_age": MAX_AGE,
    "sale_end_ms": MAX_MS,
}


def check_item(item: msgspec.Struct) -> None:
    """Raises msgspec.ValidationError for the first field of a `recsys.catalog.Item` that is beyond its
    limit, with its path."""
    for field, expected, got in _beyond(item):
        raise msgspec.ValidationError(f"Expected {expected}, got {got} - at `$.{field}`")


def _beyond(item: Any) -> Iterator[tuple[str, str, str]]:
    for field, most in _TEXTS.items():
        size = len(getattr(item, field))
        if size > most:
            yield field, f"at most {most} characters", str(size)
    for field, most in _LISTS.items():
        entries = getattr(item, field)
        if len(entries) > most:
            yield field, f"at most {most}", str(len(entries))
        longest = max(map(len, entries), default=0)
        if longest > MAX_TEXT_CHARS:
            yield f"{field}[...]", f"at most {MAX_TEXT_CHARS} characters", str(longest)
    longest = max(map(len, item.attributes.values()), default=0)
    if longest > MAX_TEXT_CHARS:
        yield "attributes[...]", f"at most {MAX_TEXT_CHARS} characters", str(longest)
    for field, limit in _NUMBERS.items():
        number = getattr(item, field)
        if number is not None and not 0 <= number <= limit:
            yield field, f"0 to {limit:.0f}", str(number)
    if item.published_ms is not None and not -MAX_MS <= item.published_ms <= MAX_MS:
        yield "published_ms", f"{-MAX_MS} to {MAX_MS}", str(item.published_ms)
    sale = item.coming_sale
    if sale is None:
        return
    if not 0 <= sale.price <= MAX_PRICE:
        yield "coming_sale.price", f"0 to {MAX_PRICE:.0f}", str(sale.price)
    if not 0 <= sale.start_ms < MAX_MS:
        yield "coming_sale.start_ms", f"0 to {MAX_MS - 1}", str(sale.start_ms)
    if not sale.start_ms < sale.end_ms <= MAX_MS:
        yield "coming_sale.end_ms", f"{sale.start_ms + 1} to {MAX_MS}", str(sale.end_ms)
