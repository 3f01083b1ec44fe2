"""What an event's properties tell: products and articles, words searched, money, attention.

Shops send the same properties over and over: a product's page, a category's list. What they tell
is kept by their bytes, so that most events are read by looking them up.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from recsys.events import (
    BLOCKED_IDS,
    MAX_ID_BYTES,
    MAX_LINES,
    MAX_TEXT_CHARS,
    Action,
    Flaw,
    Line,
    article_key,
    each_once,
)
from recsys.known import Known
from recsys.mend import HALF, UNREADABLE, mended, without_halves
from recsys.refusal import Refused, refuse
from recsys.segment import Product, Properties, decode_properties

MAX_CACHED = 4096
"""Properties known of actions that read them alike."""
MAX_CACHED_BYTES = 1000
"""Longer properties (large carts, lists) are read anew: they seldom come twice."""
MAX_URL_CHARS = 2000
"""Longer links are dropped: cut off they would lead nowhere."""
MAX_AMOUNT = 1e12
"""Prices and values beyond this, infinite ones and NaN are taken as not given; so are prices below 0."""

_LEAST = -MAX_AMOUNT

# By name of their own: an enum's members are slow to look up.
READ, LIST_VIEW, CART_VIEW = Action.READ, Action.LIST_VIEW, Action.CART_VIEW
_OPAQUE = frozenset((Action.OTHER, Action.PAGE, Action.ALIAS))
"""Of these nobody has said what the properties look like: nothing in them is wrong."""
_ABOUT_ITEMS = frozenset(
    (
        Action.VIEW,
        Action.CLICK,
        Action.CART_ADD,
        Action.CART_REMOVE,
        Action.READ,
        Action.WISH,
        Action.UNWISH,
    )
)
_ALONE = frozenset((READ, LIST_VIEW, CART_VIEW, Action.REFUND))
_ABOUT_ORDERS = frozenset((Action.REFUND, Action.ORDER_UPDATE, Action.ORDER_CANCEL))
_ITEM_FIELDS = frozenset(("products", "product_id", "sku", "content_id", "article_id"))
_AMOUNTS = frozenset(("total", "revenue", "value"))
_NO_ITEM = BLOCKED_IDS - {"0", "-1", "id", "email", "guest", "true", "false"}


class Told(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What properties tell, in the words of `recsys.events.Event`."""

    lines: tuple[Line, ...] = ()
    query: str | None = None
    category: str | None = None
    order_id: str | None = None
    value: float | None = None
    dwell_s: float | None = None
    scroll: float | None = None
    path: str | None = None
    flaws: tuple[Flaw, ...] = ()
    refused: tuple[str, str, str, str] | None = None
    """Why they cannot be taken, as `Refused` takes it. Told, not raised: what is wrong with the
    call as a whole is said first."""


NOTHING = Told()
NO_PROPERTIES = b"{}"
_NO_PRODUCT = Flaw("missing_field", "$.properties.product_id", "the id of a product", "nothing")
_NO_CONTENT = Flaw("missing_field", "$.properties.content_id", "the id of an article", "nothing")


def tables() -> dict[Action, Known[bytes, Told]]:
    """For each action what its properties tell, by their bytes. Who reads them alike shares a table."""
    shared: dict[object, Known[bytes, Told]] = {}
    for action in Action:
        shared.setdefault(_kind(action), Known(partial(_read, action=action), MAX_CACHED, _is_short))
    return {action: shared[_kind(action)] for action in Action}


def _kind(action: Action) -> object:
    """What `_read` asks of an action."""
    if action in _ALONE:
        return action
    return action in _OPAQUE, action in _ABOUT_ITEMS, action in _ABOUT_ORDERS


def _is_short(data: bytes, _: Told) -> bool:
    return len(data) <= MAX_CACHED_BYTES


def _read(data: bytes, action: Action) -> Told:
    flaws: list[Flaw] = []
    try:
        properties = decode_properties(data)
    except UNREADABLE:
        if data == b"null":
            return _read(NO_PROPERTIES, action)
        try:
            properties, flaws = mended(data, Properties, "$.properties", strict=False)
        except Refused as refused:
            whole = without_halves(data)
            if whole != data:
                told = _read(whole, action)
                return replace(told, flaws=(HALF, *told.flaws))
            return NOTHING if action in _OPAQUE else Told(refused=refused.told)
    lines = _lines(properties, action, flaws, _known_line if len(data) <= MAX_CACHED_BYTES else _line_of)
    order_id = optional_id(properties.order_id, "$.properties.order_id", flaws)
    value = _value(properties, action)
    if flaws:
        lost = _lost(action, lines, value, flaws)
        if lost is not None:
            return Told(refused=(lost.kind, lost.path, lost.expected, lost.got))
    elif not lines and action in _ABOUT_ITEMS:
        flaws.append(_NO_CONTENT if action is READ else _NO_PRODUCT)
    return Told(
        lines,
        text_of(properties.query),
        text_of(properties.category) if action is LIST_VIEW else None,
        order_id,
        value,
        _dwell_s(properties),
        _scroll(properties),
        text_of(properties.path),
        each_once(flaws) if flaws and action not in _OPAQUE else (),
    )


def _lost(action: Action, lines: tuple[Line, ...], value: float | None, flaws: list[Flaw]) -> Flaw | None:
    """The wrong field without which nobody could act on the event: the item that something was done
    with, the order that is changed, and how much of it a refund gives back."""
    if lines and action in _ABOUT_ITEMS:
        return None
    for flaw in flaws:
        field = flaw.path.rpartition(".")[2].partition("[")[0]
        if (
            (field in _ITEM_FIELDS and action in _ABOUT_ITEMS)
            or (field == "order_id" and action in _ABOUT_ORDERS)
            or (field in _AMOUNTS and action is Action.REFUND and value is None and not flaw.is_repaired)
        ):
            return flaw
    return None


def optional_id(value: str | float | None, path: str, flaws: list[Flaw]) -> str | None:
    """`id_of`, where an event can do without."""
    if value is None:
        return None
    try:
        return id_of(value, path)
    except Refused as refused:
        flaws.append(Flaw(refused.kind, path, refused.expected, refused.got))
        return None


def id_of(value: str | float | None, path: str) -> str | None:
    """An id as text, without blanks around it. Raises Refused for one that is too long."""
    if isinstance(value, str):
        text = value.strip()
        if len(text) <= MAX_ID_BYTES // 4:  # no need to count bytes
            return text
    elif value is None:
        return None
    else:  # 1042.0 is 1042 from a spreadsheet
        text = repr(int(value) if isinstance(value, float) and value.is_integer() else value)
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_ID_BYTES:
        refuse("too_long", path, f"an id of at most {MAX_ID_BYTES} bytes", f"{size} bytes")
    return text


def text_of(value: str | None) -> str | None:
    """A label, cut to its limit; None for an empty one."""
    if not value:
        return None
    return value if len(value) <= MAX_TEXT_CHARS else value[:MAX_TEXT_CHARS]


def _link(value: str | None) -> str | None:
    return value if value and len(value) <= MAX_URL_CHARS else None


def _amount(value: float | None) -> float | None:
    return value if value is not None and _LEAST < value < MAX_AMOUNT else None


_LineOf: TypeAlias = "Callable[..., Line | None]"
"""`_line_of`, or what knows its answers."""


def _line(product: Product, path: str, flaws: list[Flaw], line_of: _LineOf) -> Line | None:
    item = optional_id(product.sku if product.product_id in (None, "") else product.product_id, path, flaws)
    if not item:
        return None
    return line_of(
        item,
        product.quantity,
        product.price,
        product.name,
        product.category,
        product.brand,
        product.url,
        product.image_url,
    )


def _line_of(
    item: str,
    quantity: float | None,
    price: float | None,
    name: str | None,
    category: str | None,
    brand: str | None,
    url: str | None,
    image: str | None,
) -> Line | None:
    if item.lower() in _NO_ITEM:
        return None
    return Line(
        item,
        1.0 if quantity is None or not 0 < quantity < 1e6 else quantity,
        price if price is not None and 0 <= price < MAX_AMOUNT else None,
        text_of(name),
        text_of(category),
        text_of(brand),
        _link(url),
        _link(image),
    )


_known_line = lru_cache(maxsize=MAX_CACHED)(_line_of)
"""For short properties: a product is named again and again, beside things that differ."""


def _lines(properties: Properties, action: Action, flaws: list[Flaw], line_of: _LineOf) -> tuple[Line, ...]:
    if action is READ or _is_article(properties):
        return _article_lines(properties, flaws)
    products = properties.products
    if products:
        if len(products) > MAX_LINES:
            flaws.append(
                Flaw("too_long", "$.properties.products", f"at most {MAX_LINES}", f"{len(products)}")
            )
        found = [
            _line(product, f"$.properties.products[{index}].product_id", flaws, line_of)
            for index, product in enumerate(products[:MAX_LINES])
        ]
        return tuple([line for line in found if line is not None])
    line = _line(properties, "$.properties.product_id", flaws, line_of)
    return (line,) if line is not None else ()


def _is_article(properties: Properties) -> bool:
    """Whether an event that may be about either names content and no product."""
    if properties.content_id is None and properties.article_id is None:
        return False
    return properties.product_id is None and properties.sku is None and not properties.products


def _article_lines(properties: Properties, flaws: list[Flaw]) -> tuple[Line, ...]:
    named = "content_id" if properties.content_id is not None else "article_id"
    item = optional_id(getattr(properties, named), f"$.properties.{named}", flaws)
    if not item or item.lower() in _NO_ITEM:
        return ()
    title = text_of(properties.title) or text_of(properties.name)
    return (
        Line(article_key(item), name=title, category=text_of(properties.category), url=_link(properties.url)),
    )


def _value(properties: Properties, action: Action) -> float | None:
    total, revenue, value = properties.total, properties.revenue, properties.value
    if total is not None and _LEAST < total < MAX_AMOUNT:
        return total
    if revenue is not None and _LEAST < revenue < MAX_AMOUNT:
        return revenue
    if value is not None and _LEAST < value < MAX_AMOUNT:
        return value
    # "products": [] is a cart that was looked at and is empty; no list at all says nothing.
    return 0.0 if action is CART_VIEW and properties.products == [] else None


def _dwell_s(properties: Properties) -> float | None:
    seconds = properties.dwell_s if properties.dwell_s is not None else properties.time_on_page
    if properties.engagement_time_msec is not None:
        seconds = properties.engagement_time_msec / 1000
    # A tab left open overnight is not attention: half an hour at most, as the session gap.
    return None if seconds is None or _amount(seconds) is None else min(max(seconds, 0.0), 1800.0)


def _scroll(properties: Properties) -> float | None:
    scroll, depth, percent = properties.scroll, properties.scroll_depth, properties.percent_scrolled
    if scroll is None and depth is None and percent is None:
        return None
    for value in (scroll, depth, percent):
        if value is not None and _LEAST < value < MAX_AMOUNT:
            return min(max(value / 100 if value > 1 else value, 0.0), 1.0)
    return None
