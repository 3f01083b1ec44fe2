"""Made-up items, and filters about them as text, of every construct that filters have."""

from __future__ import annotations

import json
from collections.abc import Callable

from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import strategies as st

from recsys.catalog import Item
from recsys.markets import market_code

TEXTS = ("", "A", "Acme", "acme", "Zelt", "zélt", "1.5", "-2", "2e1", "0x1", "nan", 'a"b\\c')
PRICES = (0.0, 1.5, 10.0, 49.99, 50.0)
NAMES = ("color", "size", "weight")

texts = st.sampled_from(TEXTS)
prices = st.none() | st.sampled_from(PRICES)
lists = st.lists(texts, max_size=3).map(tuple)
items = st.builds(
    Item,
    id=texts.filter(bool),
    type=st.sampled_from(("product", "article")),
    title=texts,
    category=lists,
    brand=texts,
    price=prices,
    sale_price=prices,
    currency=st.sampled_from(("", "EUR")),
    available=st.booleans(),
    group=texts,
    published_ms=st.none() | st.sampled_from((0, 1_767_225_600_000, 1_767_225_600_001)),
    tags=lists,
    min_age=st.sampled_from((0, 16, 18)),
    markets=lists,
    not_markets=lists,
    attributes=st.dictionaries(st.sampled_from(NAMES), texts, max_size=3),
)


def as_cel(item: Item) -> dict[str, object]:
    """What a filter's names stand for, for an evaluator that takes one item at a time."""
    published = None
    if item.published_ms is not None:
        published = Timestamp()
        published.FromMilliseconds(item.published_ms)
    return {
        "id": item.id,
        "item_type": item.type,
        "title": item.title,
        "category": list(item.category),
        "brand": item.brand,
        "price": item.price,
        "sale_price": item.sale_price,
        "price_now": item.price_now,
        "currency": item.currency,
        "available": item.available,
        "group": item.group,
        "published": published,
        "tags": list(item.tags),
        "min_age": float(item.min_age),
        "markets": [market_code(market) for market in item.markets],
        "not_markets": [market_code(market) for market in item.not_markets],
        "attributes": item.attributes,
    }


LITERAL_TEXTS = (
    *(json.dumps(text, ensure_ascii=False) for text in TEXTS),
    *("'Acme'", 'r"A"', '"z\\u00e9lt"', '"\\x41"', "'\\101cme'"),
)
ENTRIES = ("attributes.color", "attributes['size']", "category[0]", "tags[1]", "tags[7]", "tags[-1]")
PLAIN_TEXTS = ("brand", "title", "item_type", "id", "group", "currency", *ENTRIES, *LITERAL_TEXTS)
NULL_NUMBERS = ("price", "sale_price", "price_now")
LITERAL_NUMBERS = ("0.0", "1.5", "-2.0", "50.0", "1e1", ".5")
INTS = ("0", "1", "-1", "0x2", "size(tags)", "tags.size()", "size(attributes)", "(size(category) + 2 * 3)")
TIMES = (
    'timestamp("2026-01-01T00:00:00Z")',
    'timestamp("2026-01-01T01:00:00.001+01:00")',
    "published",
)
ORDERINGS = (" < ", " <= ", ">", ">=")
EQUALITIES = (" == ", "!=")
METHODS = ("startsWith", "endsWith", "contains")


@st.composite
def filters(draw: st.DrawFn) -> str:
    return Speaker(draw).truth(draw(st.integers(0, 3)))


class Speaker:
    """Says filters of all kinds, one draw a choice."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw

    def one(self, *choices: str) -> str:
        return self._draw(st.sampled_from(choices))

    def truth(self, depth: int) -> str:
        kinds = (*_LEAVES, *(5 * _JOINTS if depth else ()))
        return self._draw(st.sampled_from(kinds))(self, depth)

    def literals(self, of: tuple[str, ...]) -> str:
        return ", ".join(self._draw(st.lists(st.sampled_from(of), max_size=3)))

    def text(self, depth: int) -> str:
        if depth and self._draw(st.integers(0, 4)) == 0:
            return f"(({self.truth(depth - 1)}) ? {self.one(*PLAIN_TEXTS)} : {self.one(*PLAIN_TEXTS)})"
        return self.one(*PLAIN_TEXTS)

    def double(self, depth: int) -> str:
        kind = self._draw(st.integers(0, 6 if depth else 4))
        if kind <= 1:
            return self.one(*NULL_NUMBERS)
        if kind == 2:
            return self.one("min_age", *LITERAL_NUMBERS)
        if kind == 3:
            return self.one(f"double({self.text(depth)})", f"double({self.one(*INTS)})")
        if kind == 4:
            return f"-{self.one(*NULL_NUMBERS)}"
        if kind == 5:
            return f"({self.double(0)} {self.one(*'+-*/')} {self.double(0)})"
        return f"(({self.truth(depth - 1)}) ? {self.one(*NULL_NUMBERS)} : {self.double(0)})"

    def whole(self, depth: int) -> str:
        return self.one(*INTS, f"size({self.text(depth)})")


_LEAVES: tuple[Callable[[Speaker, int], str], ...] = (
    lambda say, depth: say.one("available", "true", "false"),
    lambda say, depth: say.double(depth) + say.one(*ORDERINGS, *EQUALITIES) + say.double(depth),
    lambda say, depth: say.one(*NULL_NUMBERS, "published", "null") + say.one(*EQUALITIES) + "null",
    lambda say, depth: say.text(depth) + say.one(*EQUALITIES) + say.text(depth),
    lambda say, depth: say.text(depth) + say.one(*ORDERINGS) + say.one(*LITERAL_TEXTS),
    lambda say, depth: say.one(*LITERAL_TEXTS) + say.one(*ORDERINGS) + say.text(depth),
    lambda say, depth: say.one(*TIMES) + say.one(*ORDERINGS, *EQUALITIES) + say.one(*TIMES),
    lambda say, depth: f"{say.text(depth)} in {say.one('category', 'tags', 'markets', 'attributes')}",
    lambda say, depth: f"{say.text(depth)} in [{say.literals(LITERAL_TEXTS)}]",
    lambda say, depth: f"{say.double(depth)} in [{say.literals(LITERAL_NUMBERS)}]",
    lambda say, depth: f"has(attributes.{say.one(*NAMES)})",
    lambda say, depth: f"{say.text(depth)}.{say.one(*METHODS)}({say.one(*LITERAL_TEXTS)})",
    lambda say, depth: say.whole(depth) + say.one(*ORDERINGS, *EQUALITIES) + say.whole(depth),
)
_JOINTS: tuple[Callable[[Speaker, int], str], ...] = (
    lambda say, depth: f"({say.truth(depth - 1)}) && ({say.truth(depth - 1)})",
    lambda say, depth: f"({say.truth(depth - 1)}) || {say.truth(depth - 1)} || ({say.truth(0)})",
    lambda say, depth: f"!({say.truth(depth - 1)})",
    lambda say, depth: f"({say.truth(depth - 1)}) {say.one(*EQUALITIES)} ({say.truth(depth - 1)})",
    lambda say, depth: f"({say.truth(depth - 1)}) ? ({say.truth(depth - 1)}) : {say.truth(depth - 1)}",
)
