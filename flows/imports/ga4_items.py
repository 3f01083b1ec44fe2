"""The list of items beside a flattened GA4 export: categories, brands and prices by name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from flows.imports.ga4_events import category_path, known, number_of
from flows.imports.source import RowProblem, read_table
from recsys.catalog import encode_change
from recsys.decode import CATALOG_KEY
from recsys.events import MAX_ID_BYTES
from recsys.ports import NewRecord

# "Home/Apparel/Men's / Unisex/": blanks around a slash mean that it belongs to the name.
_CATEGORY_SLASH = re.compile(r"(?<! )/(?! )")


class ListedItem(msgspec.Struct, frozen=True):
    """What the shop's list of items says about one."""

    category: str | None
    """ "Apparel > Hats"."""
    brand: str | None
    price: float | None


def read_items(path: Path) -> Iterator[tuple[str, ListedItem] | RowProblem]:
    """Names and items of a list with the columns item_name, category ("Home/Apparel/Hats/"), brand
    and price_median; all but the first may be missing."""
    rows = read_table(path, ",")
    _, header = next(rows, (0, list[str]()))
    if isinstance(header, RowProblem) or "item_name" not in header:
        got = str(header) if isinstance(header, RowProblem) else f"`{','.join(header)[:100]}`"
        yield RowProblem(1, "", "a column item_name", got)
        return
    for line, cells in rows:
        if isinstance(cells, RowProblem):
            yield cells
            continue
        row = dict(zip(header, cells, strict=False))
        name = known(row.get("item_name"))
        if name is None or len(name.encode()) > MAX_ID_BYTES:
            yield RowProblem(line, "item_name", f"a name of at most {MAX_ID_BYTES} bytes", f"`{name}`")
            continue
        price = number_of(row.get("price_median", ""))
        category = _category(row.get("category", ""))
        yield name, ListedItem(category, known(row.get("brand")), price if isinstance(price, float) else None)


def _category(text: str) -> str | None:
    parts = [part for part in _CATEGORY_SLASH.split(text) if part.strip()]
    # "Home" is where the breadcrumb begins, not a category.
    return category_path(parts[1:] if len(parts) > 1 and parts[0] == "Home" else parts)


def listed_changes(listed: Mapping[str, ListedItem], at_ms: int) -> Iterator[NewRecord]:
    """The list as catalogue changes: patches and not a feed's whole items, so that events go on
    telling links and today's prices, as they do of items that no feed has named."""
    for name, about in listed.items():
        fields: dict[str, object] = {"title": name}
        if about.category:
            fields["category"] = about.category.split(" > ")
        if about.brand:
            fields["brand"] = about.brand
        if about.price is not None:
            fields["price"] = about.price
        yield NewRecord(CATALOG_KEY + name, encode_change("patch", name, fields), at_ms)
