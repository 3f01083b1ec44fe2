"""JSON lines that BigQuery exports from a GA4 property: an event a line.

Schema: Google's "[GA4] BigQuery Export schema" (support.google.com/analytics/answer/7029846).
BigQuery writes 64-bit numbers as strings; both are taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from flows.imports.ga4_events import (
    MAX_US,
    SEGMENT_NAMES,
    MessageIds,
    category_path,
    known,
    page_of,
    record_of,
)
from flows.imports.source import BAD_JSON, RowProblem, problem_of, read_lines
from flows.imports.timeorder import Key, TimedRow, in_time_order
from recsys.events import MAX_LINES
from recsys.ports import NewRecord

MAX_PARAMS = 100
"""Parameters kept of an event; GA4 itself collects fewer."""


class _Order(msgspec.Struct, gc=False):
    """What rows are ordered by: time, then the device's own order within what it sent at once."""

    event_timestamp: int
    batch_page_id: int | None = None
    batch_ordering_id: int | None = None
    batch_event_index: int | None = None

    @property
    def key(self) -> Key:
        within = (self.batch_page_id, self.batch_ordering_id, self.batch_event_index)
        return (self.event_timestamp, *(number or 0 for number in within))


class _Value(msgspec.Struct, gc=False):
    string_value: str | None = None
    int_value: int | None = None
    float_value: float | None = None
    double_value: float | None = None

    def plain(self) -> str | int | float | None:
        for value in (self.string_value, self.int_value, self.float_value, self.double_value):
            if value is not None:
                return value
        return None


class _Param(msgspec.Struct, gc=False):
    key: str
    value: _Value | None = None


class _Item(msgspec.Struct, gc=False):
    item_id: str | int | None = None
    item_name: str | None = None
    item_brand: str | None = None
    item_variant: str | None = None
    item_category: str | None = None
    item_category2: str | None = None
    item_category3: str | None = None
    item_category4: str | None = None
    item_category5: str | None = None
    price: float | None = None
    quantity: float | None = None


class _Ecommerce(msgspec.Struct, gc=False):
    transaction_id: str | int | None = None
    purchase_revenue: float | None = None
    refund_value: float | None = None


class _Device(msgspec.Struct, gc=False):
    category: str | None = None


class _Geo(msgspec.Struct, gc=False):
    country: str | None = None


class _FirstTouch(msgspec.Struct, gc=False):
    source: str | None = None
    medium: str | None = None
    name: str | None = None


class _Collected(msgspec.Struct, gc=False):
    manual_source: str | None = None
    manual_medium: str | None = None
    manual_campaign_name: str | None = None


class _Event(msgspec.Struct, gc=False):
    event_timestamp: int
    event_name: str
    event_params: list[_Param] | None = None
    user_id: str | int | None = None
    user_pseudo_id: str | int | float | None = None
    device: _Device | None = None
    geo: _Geo | None = None
    platform: str | None = None
    traffic_source: _FirstTouch | None = None
    collected_traffic_source: _Collected | None = None
    ecommerce: _Ecommerce | None = None
    items: list[_Item] | None = None


_order = msgspec.json.Decoder(_Order, strict=False)
_event = msgspec.json.Decoder(_Event, strict=False)

_ONE_PRODUCT = frozenset(("view_item", "select_item", "add_to_cart", "remove_from_cart", "add_to_wishlist"))
# Parameters that have a place of their own, and names that the decoder reads as something typed.
_PLACED = frozenset(
    (
        "page_location", "page_title", "page_referrer", "search_term", "transaction_id", "ga_session_id",
        "source", "medium", "campaign", "engagement_time_msec", "percent_scrolled", "item_list_name",
        "value", "product_id", "sku", "name", "category", "brand", "price", "quantity", "url",
        "image_url", "products", "title", "query", "order_id", "total", "revenue", "path", "dwell_s",
        "time_on_page", "scroll", "scroll_depth",
    )
)  # fmt: skip
_Params = dict[str, str | int | float]


def read_bigquery(path: Path, item_key: Literal["id", "name"]) -> Iterator[NewRecord | RowProblem]:
    """See `ga4.read_ga4`."""
    ids = MessageIds()
    for row in in_time_order(lambda: _timed_rows(path), lambda: _keys(path)):
        if isinstance(row, RowProblem):
            yield row
            continue
        assert isinstance(row.content, bytes)
        try:
            event = _event.decode(row.content)
        except BAD_JSON as error:
            yield problem_of(error, row.line)
        else:
            at_us = row.key[0]
            yield record_of(_call(event, ids.next(at_us, row.content), item_key), at_us)


def _timed_rows(path: Path) -> Iterator[TimedRow | RowProblem]:
    for number, line in read_lines(path):
        if isinstance(line, RowProblem):
            yield line
            continue
        try:
            order = _order.decode(line)
        except BAD_JSON as error:
            yield problem_of(error, number)
            continue
        if 0 <= order.event_timestamp < MAX_US:
            yield TimedRow(order.key, number, line)
        else:
            yield RowProblem(number, "event_timestamp", "epoch microseconds", str(order.event_timestamp))


def _keys(path: Path) -> Iterator[Key]:
    return (row.key for row in _timed_rows(path) if isinstance(row, TimedRow))


def _call(event: _Event, message_id: str, item_key: Literal["id", "name"]) -> dict[str, object]:
    params: _Params = {}
    for param in event.event_params or ():
        value = param.value.plain() if param.value is not None else None
        if value is not None and value != "(not set)":
            params[param.key] = value
    call: dict[str, object] = {
        "messageId": message_id,
        "context": _context(event, params),
        "properties": _properties(event, params, item_key),
    }
    if event.event_name == "page_view":
        call["type"] = "page"
        if title := _text(params, "page_title"):
            call["name"] = title
    else:
        call["type"] = "track"
        call["event"] = SEGMENT_NAMES.get(event.event_name, event.event_name)
    if event.user_pseudo_id is not None:
        call["anonymousId"] = str(event.user_pseudo_id)
    if event.user_id is not None:
        call["userId"] = str(event.user_id)
    if event.platform in ("ANDROID", "IOS"):
        call["channel"] = "mobile"
    return call


def _context(event: _Event, params: _Params) -> dict[str, object]:
    context: dict[str, object] = {}
    page = dict(page_of(url)) if (url := _text(params, "page_location")) else {}
    for name, param in (("title", "page_title"), ("referrer", "page_referrer")):
        if text := _text(params, param):
            page[name] = text
    if page:
        context["page"] = page
    if event.device and (device := known(event.device.category)):
        context["device"] = {"type": device}
    if campaign := _campaign(event, params):
        context["campaign"] = campaign
    if event.geo and (country := known(event.geo.country)):
        context["location"] = {"country": country}
    if "ga_session_id" in params:
        context["sessionId"] = str(params["ga_session_id"])
    return context


def _campaign(event: _Event, params: _Params) -> dict[str, str]:
    """Where this visit came from, as near to the event as the export says; the first visit's source
    (`traffic_source`) only where nothing else is told."""
    collected = event.collected_traffic_source or _Collected()
    first = event.traffic_source or _FirstTouch()
    told = (
        (collected.manual_source, collected.manual_medium, collected.manual_campaign_name),
        (_text(params, "source"), _text(params, "medium"), _text(params, "campaign")),
        (first.source, first.medium, first.name),
    )
    for answer in told:
        pairs = zip(("source", "medium", "name"), map(known, answer), strict=True)
        campaign = {name: text for name, text in pairs if text}
        if campaign:
            return campaign
    return {}


def _properties(event: _Event, params: _Params, item_key: Literal["id", "name"]) -> dict[str, object]:
    others = [(name, value) for name, value in params.items() if name not in _PLACED]
    properties: dict[str, object] = dict(others[:MAX_PARAMS])
    products = [_product(item, item_key) for item in (event.items or ())[:MAX_LINES]]
    if len(products) == 1 and event.event_name in _ONE_PRODUCT:
        properties.update(products[0])
        if event.event_name == "view_item" and (url := _text(params, "page_location")):
            properties["url"] = url
    elif products:
        properties["products"] = products
    if event.event_name in ("view_item_list", "select_item") and (listed := _text(params, "item_list_name")):
        properties["list"] = listed
        if event.event_name == "view_item_list":
            properties["category"] = listed
    if query := _text(params, "search_term"):
        properties["query"] = query
    properties.update(_money(event, params))
    # GA4 counts attention since the event before: with a product viewed it would be credited to
    # the product, though it was spent on the page before it.
    for name in ("engagement_time_msec", "percent_scrolled"):
        if isinstance(params.get(name), int | float) and not products:
            properties[name] = params[name]
    return properties


def _money(event: _Event, params: _Params) -> dict[str, object]:
    money: dict[str, object] = {}
    shop = event.ecommerce or _Ecommerce()
    order_id = known(str(shop.transaction_id)) if shop.transaction_id is not None else None
    if order_id := order_id or _text(params, "transaction_id"):
        money["order_id"] = order_id
    value = params.get("value")
    if event.event_name == "purchase" and shop.purchase_revenue is not None:
        money["total"] = shop.purchase_revenue
    elif event.event_name == "refund" and shop.refund_value is not None:
        money["total"] = shop.refund_value
    elif isinstance(value, int | float):
        money["total" if event.event_name in ("purchase", "refund") else "value"] = value
    return money


def _product(item: _Item, item_key: Literal["id", "name"]) -> dict[str, object]:
    item_id, name = known(str(item.item_id)) if item.item_id is not None else None, known(item.item_name)
    categories = [item.item_category, item.item_category2, item.item_category3, item.item_category4]
    found: dict[str, object | None] = {
        "product_id": (name or item_id) if item_key == "name" else (item_id or name),
        "name": name,
        "brand": known(item.item_brand),
        "variant": known(item.item_variant),
        "category": category_path([text for text in (*categories, item.item_category5) if text]),
        "price": item.price,
        "quantity": item.quantity,
    }
    return {key: value for key, value in found.items() if value is not None}


def _text(params: _Params, name: str) -> str | None:
    value = params.get(name)
    return known(str(value)) if value is not None else None
