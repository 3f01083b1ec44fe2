"""A feed's row -> `recsys.catalog.Item`, for products and for articles."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NoReturn, TypeVar

from flows.imports.feed_values import (
    markets_in,
    plain_text,
    read_adult,
    read_age,
    read_availability,
    read_id,
    read_link,
    read_ms,
    read_period,
    read_price,
    read_stock,
)
from flows.imports.source import RowProblem
from recsys.catalog import ComingSale, Item, split_category
from recsys.events import ARTICLE_PREFIX, MAX_TEXT_CHARS, article_key
from recsys.item_limits import (
    MAX_ATTRIBUTE_NAME_CHARS,
    MAX_ATTRIBUTES,
    MAX_DESCRIPTION_CHARS,
    MAX_TAGS,
)

Kind = Literal["product", "article"]
FeedRow = Mapping[str, list[str]]
"""A row's fields by name, lower case: every value of a field that is repeated."""

ADULT_YEARS = 18
"""What Google's field `adult` asks for."""

Value = TypeVar("Value")

_PRODUCT_SIGNS = frozenset(
    (
        "price", "sale_price", "availability", "product_type", "google_product_category", "gtin", "mpn",
        "item_group_id", "brand", "condition",
    )
)  # fmt: skip
_ARTICLE_SIGNS = frozenset(
    ("published", "pubdate", "updated", "summary", "author", "tags", "guid", "content", "encoded", "body")
)
_PRODUCT_PLACES = frozenset(
    (
        "id", "title", "description", "link", "image_link", "product_type", "brand", "price", "sale_price",
        "item_group_id", "quantity", "adult", "min_age", "shipping", "shopping_ads_excluded_country",
    )
)  # fmt: skip
_ARTICLE_PLACES = frozenset(
    (
        "id", "guid", "title", "description", "summary", "content", "encoded", "body", "text", "url", "link",
        "published", "pubdate", "updated", "date", "category", "tags", "image", "image_link", "image_url",
    )
)  # fmt: skip


_BODIES = ("summary", "description", "content", "encoded", "body", "text")
_DATES = ("published", "pubdate", "date", "updated")
_IMAGES = ("image_link", "image_url", "image")


class _Wrong(Exception):
    def __init__(self, field: str, expected: str, got: str) -> None:
        super().__init__(field)
        self.field, self.expected, self.got = field, expected, got


def kind_of(row: FeedRow) -> Kind | None:
    """What a row is about, by the fields it has; None where they would do for either."""
    if _PRODUCT_SIGNS & row.keys():
        return "product"
    return "article" if _ARTICLE_SIGNS & row.keys() else None


def item_of(row: FeedRow, kind: Kind, line: int, at_ms: int | None) -> Item | RowProblem:
    """The item, or the first thing wrong with it. `at_ms`: see `feeds.read_feed`."""
    item_id = ""
    try:
        if kind == "product":
            item_id = _product_id(row)
            return _product(row, item_id, at_ms)
        item_id = _article_id(row)
        return _article(row, item_id)
    except _Wrong as wrong:
        return RowProblem(line, wrong.field, wrong.expected, wrong.got, item_id)


def _product_id(row: FeedRow) -> str:
    item_id = _read(row, "id", read_id)
    if item_id is None:
        _refuse("id", "an id", "")
    if item_id.startswith(ARTICLE_PREFIX):
        _refuse("id", f"an id that does not begin with `{ARTICLE_PREFIX}`", item_id)
    return item_id


def _product(row: FeedRow, item_id: str, at_ms: int | None) -> Item:
    price, currency = _read(row, "price", read_price) or (None, "")
    sale_price, sale_end_ms, coming = None, None, None
    sale, period = _read(row, "sale_price", read_price), _read(row, "sale_price_effective_date", read_period)
    if sale is not None:
        currency = currency or sale[1]
        if period is None or at_ms is None or period[0] <= at_ms < period[1]:
            sale_price = sale[0]
            sale_end_ms = None if period is None else period[1]
        elif at_ms < period[0] < period[1]:
            coming = ComingSale(sale[0], *period)
    available = _read(row, "availability", read_availability)
    category = split_category(_first(row, "product_type"))
    if not category and not _first(row, "google_product_category").isdigit():
        category = split_category(_first(row, "google_product_category"))
    return Item(
        item_id,
        "product",
        _title(row),
        plain_text(_first(row, "description"), MAX_DESCRIPTION_CHARS),
        _read(row, "link", read_link) or "",
        _read(row, "image_link", read_link) or "",
        tuple(part[:MAX_TEXT_CHARS] for part in category),
        _first(row, "brand")[:MAX_TEXT_CHARS],
        price,
        sale_price,
        currency,
        True if available is None else available,
        _read(row, "item_group_id", read_id) or "",
        attributes=_attributes(row, _PRODUCT_PLACES, available),
        stock=_read(row, "quantity", read_stock),
        sale_end_ms=sale_end_ms,
        coming_sale=coming,
        min_age=_min_age(row),
        markets=markets_in(row.get("shipping", ())),
        not_markets=markets_in(row.get("shopping_ads_excluded_country", ())),
    )


def _min_age(row: FeedRow) -> int:
    least = _read(row, "min_age", read_age) or 0
    return max(least, ADULT_YEARS) if _read(row, "adult", read_adult) else least


def _article_id(row: FeedRow) -> str:
    for field in ("id", "guid", "link", "url"):
        found = _read(row, field, read_id)
        if found is not None:
            return article_key(found.removeprefix(ARTICLE_PREFIX))
    return _refuse("id", "an id", "")


def _article(row: FeedRow, item_id: str) -> Item:
    categories = [plain_text(text, MAX_TEXT_CHARS) for text in row.get("category", ()) if text.strip()]
    # A path is one category in parts; several are one and further labels (RSS, Atom).
    path = split_category(categories[0]) if categories and ">" in categories[0] else tuple(categories[:1])
    labels = [label.strip() for text in row.get("tags", ()) for label in text.split(",")]
    tags = [label[:MAX_TEXT_CHARS] for label in (*labels, *categories[1:]) if label]
    return Item(
        item_id,
        "article",
        _title(row),
        plain_text(_first(row, _present(row, _BODIES)), MAX_DESCRIPTION_CHARS),
        _read(row, "url", read_link) or _read(row, "link", read_link) or "",
        _read(row, _present(row, _IMAGES), read_link) or "",
        path,
        published_ms=_read(row, _present(row, _DATES), read_ms),
        tags=tuple(dict.fromkeys(tags))[:MAX_TAGS],
        attributes=_attributes(row, _ARTICLE_PLACES, None),
    )


def _title(row: FeedRow) -> str:
    title = plain_text(_first(row, "title"), MAX_TEXT_CHARS)
    return title or _refuse("title", "a title", "")


def _attributes(row: FeedRow, places: frozenset[str], available: bool | None) -> dict[str, str]:
    kept: dict[str, str] = {}
    for name, values in row.items():
        if name in places or (name == "availability" and available is not None and _is_plain(values)):
            continue
        text = ", ".join(value.strip() for value in values if value.strip())
        if text and len(kept) < MAX_ATTRIBUTES:
            kept[name[:MAX_ATTRIBUTE_NAME_CHARS]] = plain_text(text, MAX_TEXT_CHARS)
    return kept


def _is_plain(values: list[str]) -> bool:
    """In stock or not: `Item.available` says as much. Preorder and backorder are worth keeping."""
    word = values[0].strip().lower() if values else ""
    return not word.startswith(("pre", "back"))


def _first(row: FeedRow, field: str) -> str:
    return next((value.strip() for value in row.get(field, ()) if value.strip()), "")


def _present(row: FeedRow, fields: tuple[str, ...]) -> str:
    """The first of these fields that says something; the first of all where none does."""
    return next((field for field in fields if _first(row, field)), fields[0])


def _read(row: FeedRow, field: str, read: Callable[[str], Value]) -> Value | None:
    """The field's first value, read; None where it has none."""
    text = _first(row, field)
    if not text:
        return None
    try:
        return read(text)
    except ValueError as error:
        _refuse(field, str(error), text)


def _refuse(field: str, expected: str, got: str) -> NoReturn:
    raise _Wrong(field, expected, f"`{got[:64]}`" if got else "nothing")
