"""The wire format: Segment-spec JSON as Segment, RudderStack and analytics.js send it.

Only what Headrace reads is named here; everything else stays in the raw bytes that are archived.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from recsys.events import Action, Flaw
from recsys.mend import HALF, UNREADABLE, mended, without_halves
from recsys.refusal import Refused, refusal_of


class _Page(msgspec.Struct, gc=False):
    path: str | None = None
    referrer: str | None = None


class _Campaign(msgspec.Struct, gc=False):
    source: str | None = None
    medium: str | None = None
    name: str | None = None


class _Device(msgspec.Struct, gc=False):
    type: str | None = None


class _Consent(msgspec.Struct, gc=False, rename="camel"):
    category_preferences: dict[str, bool | None] | None = None


class Context(msgspec.Struct, gc=False):
    """Where a call comes from."""

    page: _Page | None = None
    campaign: _Campaign | None = None
    device: _Device | None = None
    consent: msgspec.Raw = msgspec.Raw(b"")
    """Kept as bytes: a shop's visitors say one of a few things, over and over."""
    channel: str | None = None


class Call(msgspec.Struct, gc=False, rename="camel"):
    """What every call has in common. `properties` and `traits` stay bytes: their digest tells a
    retry from another message under the same id, and each is decoded only where it is read."""

    type: str | None = None
    event: str | None = None
    name: str | None = None
    message_id: str | int | float | None = None
    anonymous_id: str | int | float | None = None
    user_id: str | int | float | None = None
    previous_id: str | int | float | None = None
    group_id: str | int | float | None = None
    timestamp: datetime | int | float | None = None
    original_timestamp: datetime | int | float | None = None
    sent_at: datetime | int | float | None = None
    received_at: datetime | int | float | None = None
    channel: str | None = None
    context: Context | None = None
    properties: msgspec.Raw = msgspec.Raw(b"")
    traits: msgspec.Raw = msgspec.Raw(b"")
    batch: msgspec.Raw = msgspec.Raw(b"")
    """Of a batch call: its events."""


class Product(msgspec.Struct, gc=False):
    """A product as the e-commerce spec names its fields; prices in the shop's currency."""

    product_id: str | int | float | None = None
    sku: str | int | float | None = None
    name: str | None = None
    category: str | None = None
    brand: str | None = None
    price: float | None = None
    quantity: float | None = None
    url: str | None = None
    image_url: str | None = None


class Properties(Product, gc=False):
    """What Headrace reads of the properties of any track or page call."""

    products: list[Product] | None = None
    content_id: str | int | float | None = None
    article_id: str | int | float | None = None
    title: str | None = None
    query: str | None = None
    order_id: str | int | float | None = None
    total: float | None = None
    revenue: float | None = None
    value: float | None = None
    path: str | None = None
    dwell_s: float | None = None
    time_on_page: float | None = None
    engagement_time_msec: float | None = None
    scroll: float | None = None
    scroll_depth: float | None = None
    percent_scrolled: float | None = None


class _Batch(msgspec.Struct, gc=False, rename="camel"):
    batch: list[msgspec.Raw]
    sent_at: msgspec.Raw = msgspec.Raw(b"")
    context: msgspec.Raw = msgspec.Raw(b"")
    user_id: msgspec.Raw = msgspec.Raw(b"")
    anonymous_id: msgspec.Raw = msgspec.Raw(b"")


decode_call = msgspec.json.Decoder(Call).decode
# Shops send prices as "12.50" and 12.5 alike: numbers in strings are taken (strict=False).
decode_properties = msgspec.json.Decoder(Properties, strict=False).decode
decode_consent = msgspec.json.Decoder(_Consent | None, strict=False).decode
_batch = msgspec.json.Decoder(_Batch)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NULL = b"null"

ACTIONS: dict[str, Action] = {
    # Segment E-commerce v2, all 28
    "products searched": Action.SEARCH,
    "product list viewed": Action.LIST_VIEW,
    "product list filtered": Action.LIST_VIEW,
    "promotion viewed": Action.PROMOTION,
    "promotion clicked": Action.PROMOTION,
    "product clicked": Action.CLICK,
    "product viewed": Action.VIEW,
    "product added": Action.CART_ADD,
    "product removed": Action.CART_REMOVE,
    "cart viewed": Action.CART_VIEW,
    "checkout started": Action.CHECKOUT,
    "checkout step viewed": Action.CHECKOUT,
    "checkout step completed": Action.CHECKOUT,
    "payment info entered": Action.CHECKOUT,
    "order completed": Action.ORDER,
    "order updated": Action.ORDER_UPDATE,
    "order refunded": Action.REFUND,
    "order cancelled": Action.ORDER_CANCEL,
    "coupon entered": Action.COUPON,
    "coupon applied": Action.COUPON,
    "coupon denied": Action.COUPON,
    "coupon removed": Action.COUPON,
    "product added to wishlist": Action.WISH,
    "product removed from wishlist": Action.UNWISH,
    "wishlist product added to cart": Action.CART_ADD,
    "product shared": Action.SHARE,
    "cart shared": Action.SHARE,
    "product reviewed": Action.REVIEW,
    # Segment email events
    "email delivered": Action.EMAIL_SENT,
    "email opened": Action.EMAIL_OPEN,
    "email link clicked": Action.EMAIL_CLICK,
    "email bounced": Action.EMAIL_FAIL,
    "email marked as spam": Action.UNSUBSCRIBE,
    "unsubscribed": Action.UNSUBSCRIBE,
    "subscribed": Action.SUBSCRIBE,
    # content and page leave
    "article viewed": Action.READ,
    "article read": Action.READ,
    "content viewed": Action.READ,
    "page left": Action.LEAVE,
    # Segment's account events
    "signed in": Action.LOGIN,
    "logged in": Action.LOGIN,
    "signed out": Action.LOGOUT,
    "logged out": Action.LOGOUT,
}
KNOWN_EVENT_NAMES = tuple(ACTIONS)
"""Every track name that means something to the fold (lower case); others are kept and counted."""

CALLS = {
    "page": Action.PAGE,
    "screen": Action.PAGE,
    "identify": Action.IDENTIFY,
    "group": Action.GROUP,
    "alias": Action.ALIAS,
}


def _read_whole(raw: bytes, refused: Refused) -> tuple[Call, list[Flaw]]:
    """A call that was refused, read without halves of characters. An id with one names nobody."""
    whole = without_halves(raw)
    if refused.kind != "invalid_json" or whole == raw:
        raise refused
    call, flaws = read_call(whole)
    if any("\ufffd" in str(each) for each in (call.anonymous_id, call.user_id, call.previous_id)):
        raise refused
    return call, [HALF, *flaws]


_IDS = ("$.anonymousId", "$.userId", "$.previousId")


def read_call(raw: bytes) -> tuple[Call, list[Flaw]]:
    """A call, and the fields of it that were wrong. Raises Refused where nobody could act on what is left:
    no JSON object, no type, a track call without its name, an alias or nobody left without a whole id."""
    try:
        return decode_call(raw), []
    except msgspec.ValidationError:
        call, flaws = mended(raw, Call, "$")
    except UNREADABLE as error:
        return _read_whole(raw, refusal_of(error, "$"))
    tracked = call.type in ("track", None)
    alias = call.type == "alias"
    nobody = call.anonymous_id is None and call.user_id is None
    for flaw in flaws:
        is_lost = not flaw.is_repaired and (
            flaw.path == "$.type"
            or (flaw.path == "$.event" and tracked)
            or (flaw.path in _IDS and (alias or nobody))
        )
        if is_lost:
            raise Refused(flaw.kind, flaw.path, flaw.expected, flaw.got)
    return call, flaws


MAX_BATCH_EVENTS = 20_000
MAX_BATCH_COMMON_BYTES = 32 * 1024 * 1024
"""What a batch call says once for all its events may take this much when each carries a copy."""


def split_batch(raw: bytes) -> list[bytes]:
    """The single events of a batch call (`{"batch": [...]}`), with the call's own sentAt, userId and
    anonymousId where an event has none, and its context under the event's own. Any other bytes
    come as they are, alone, and so does a call beyond the limits above: one dead letter."""
    if b'"batch"' not in raw:
        return [raw]
    try:
        call = _batch.decode(raw)
    except UNREADABLE:
        return [raw]
    if not 0 < len(call.batch) <= MAX_BATCH_EVENTS:  # none: a record is at least one event, accounted for
        return [raw]
    common = {
        name: value
        for name, value in (
            ("sentAt", call.sent_at),
            ("context", call.context),
            ("userId", call.user_id),
            ("anonymousId", call.anonymous_id),
        )
        if bytes(value) not in (b"", _NULL)
    }
    if not common:
        return [bytes(event) for event in call.batch]
    if len(call.batch) * sum(len(bytes(value)) for value in common.values()) > MAX_BATCH_COMMON_BYTES:
        return [raw]
    return [_with_defaults(bytes(event), common) for event in call.batch]


def with_message_id(event: bytes, message_id: str) -> bytes:
    """An event that has none with an id of its own, so that honest repeats are not duplicates; as it is
    where the name of a field that nobody reads is no UTF-8."""
    try:
        fields = _fields.decode(event)
    except UNREADABLE:
        return event
    return msgspec.json.encode({**fields, "messageId": message_id})


def _with_defaults(event: bytes, common: dict[str, msgspec.Raw]) -> bytes:
    try:
        fields = _fields.decode(event)
    except UNREADABLE:
        return event  # it becomes a dead letter of its own
    missing = {name: value for name, value in common.items() if bytes(fields.get(name, _NULL)) == _NULL}
    if "context" in common and "context" not in missing:
        try:
            both = {**_fields.decode(common["context"]), **_fields.decode(fields["context"])}
        except UNREADABLE:
            pass  # one of them is no object: the event's own is read, and told where it is the one
        else:
            missing["context"] = msgspec.Raw(msgspec.json.encode(both))
    return msgspec.json.encode({**fields, **missing}) if missing else event
