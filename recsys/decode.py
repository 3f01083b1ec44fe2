"""Raw bytes of the log -> `Event`, or a `DeadLetter` that says where, what was expected, what came.

The wire format is Segment-spec JSON as Segment, RudderStack and analytics.js send it: track, page,
screen, identify, alias and group calls, one a record or a batch call of many. Records whose key
starts with `headrace:` are Headrace's own: catalogue changes and blocks served.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timezone
from hashlib import blake2b
from typing import NoReturn
from zlib import crc32

import msgspec

from recsys.catalog import CatalogChange, decode_change
from recsys.events import (
    BLOCKED_IDS,
    MAX_EVENT_BYTES,
    MAX_ID_BYTES,
    MAX_LINES,
    MAX_TEXT_CHARS,
    Action,
    Consent,
    Arrival,
    DeadLetter,
    Event,
    Line,
    Source,
    article_key,
)
from recsys.ports import Position, Record
from recsys.touchpoints import Touchpoints

SYSTEM_KEY = "headrace:"
CATALOG_KEY = "headrace:catalog:"
SERVED_KEY = "headrace:served:"

MAX_CACHED_CONSENTS = 1000
_NO_ITEM = BLOCKED_IDS - {"0", "-1", "id", "email", "guest", "true", "false"}



class _Page(msgspec.Struct, gc=False):
    path: str | None = None
    url: str | None = None
    referrer: str | None = None
    title: str | None = None


class _Campaign(msgspec.Struct, gc=False):
    source: str | None = None
    medium: str | None = None
    name: str | None = None


class _Device(msgspec.Struct, gc=False):
    type: str | None = None


class _Consent(msgspec.Struct, gc=False, rename="camel"):
    category_preferences: dict[str, bool] = {}


class _Context(msgspec.Struct, gc=False):
    page: _Page | None = None
    campaign: _Campaign | None = None
    device: _Device | None = None
    consent: msgspec.Raw = msgspec.Raw(b"")
    """Kept as bytes: a shop's visitors say one of a few things, over and over."""
    channel: str | None = None


class _Wire(msgspec.Struct, gc=False, rename="camel"):
    """What every call has in common. `properties` and `traits` stay bytes: their digest tells a
    retry from another message under the same id, and each is decoded only where it is read."""

    type: str | None = None
    event: str | None = None
    name: str | None = None
    message_id: str | int | None = None
    anonymous_id: str | int | float | None = None
    user_id: str | int | float | None = None
    previous_id: str | int | float | None = None
    group_id: str | int | float | None = None
    timestamp: datetime | int | float | None = None
    original_timestamp: datetime | int | float | None = None
    sent_at: datetime | int | float | None = None
    received_at: datetime | int | float | None = None
    channel: str | None = None
    context: _Context | None = None
    properties: msgspec.Raw = msgspec.Raw(b"")
    traits: msgspec.Raw = msgspec.Raw(b"")


class _Product(msgspec.Struct, gc=False):
    product_id: str | int | None = None
    sku: str | int | None = None
    name: str | None = None
    category: str | None = None
    brand: str | None = None
    price: float | None = None
    quantity: float | None = None
    url: str | None = None
    image_url: str | None = None


class _Properties(_Product, gc=False):
    products: list[_Product] | None = None
    content_id: str | int | None = None
    article_id: str | int | None = None
    title: str | None = None
    query: str | None = None
    order_id: str | int | None = None
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


_wire = msgspec.json.Decoder(_Wire)
# Shops send prices as "12.50" and 12.5 alike: numbers in strings are taken (strict=False).
_properties = msgspec.json.Decoder(_Properties, strict=False)
_consent = msgspec.json.Decoder(_Consent | None)
_batch = msgspec.json.Decoder(_Batch)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])

_NO_PROPERTIES = _Properties()

_ACTIONS: dict[str, Action] = {
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
KNOWN_EVENT_NAMES = tuple(_ACTIONS)
"""Every track name that means something to the fold (lower case); others are kept and counted."""

_CALLS = {
    "page": Action.PAGE,
    "screen": Action.PAGE,
    "identify": Action.IDENTIFY,
    "group": Action.GROUP,
    "alias": Action.ALIAS,
}


class _Refused(Exception):
    def __init__(self, kind: str, path: str, expected: str, got: str) -> None:
        super().__init__(kind)
        self.kind, self.path, self.expected, self.got = kind, path, expected, got


class Decoder:
    """Decodes log records. Holds only configuration; the same record gives the same answer."""

    def __init__(
        self,
        touchpoints: Touchpoints | None = None,
        personalization_categories: tuple[str, ...] = ("personalization", "advertising"),
        email_categories: tuple[str, ...] = ("email",),
    ) -> None:
        self.touchpoints = touchpoints or Touchpoints()
        self._personalization = frozenset(name.lower() for name in personalization_categories)
        self._email = frozenset(name.lower() for name in email_categories)
        self._consents: dict[bytes, Consent | None] = {}

    def decode(self, record: Record, watermark_ms: int) -> Sequence[Arrival | DeadLetter | CatalogChange]:
        """Every event of one record. A block served (`SERVED_KEY`) comes as an event of action
        SERVED: it is archived and indexed, and never folded into a profile."""
        if record.key.startswith(CATALOG_KEY):
            return (self._catalog(record),)
        if b'"batch"' not in record.value:
            return (self._one(record, 0, record.value, watermark_ms),)
        return [
            self._one(record, index, raw, watermark_ms)
            for index, raw in enumerate(split_batch(record.value))
        ]

    def problem(self, raw: bytes, received_ms: int) -> DeadLetter | None:
        """The dead letter this single raw event would become, for an edge that answers at once."""
        record = Record(Position(0, 0), "", raw, received_ms)
        found = self._one(record, 0, raw, received_ms)
        return found if isinstance(found, DeadLetter) else None

    def _catalog(self, record: Record) -> CatalogChange | DeadLetter:
        try:
            return decode_change(record.value, record.position, record.received_ms)
        except msgspec.DecodeError as error:
            refused = _refusal_of(error, "$")
            return _dead(refused, record, 0, record.value)

    def _one(self, record: Record, index: int, raw: bytes, watermark_ms: int) -> Arrival | DeadLetter:
        try:
            if len(raw) > MAX_EVENT_BYTES:
                _refuse("too_large", "$", f"at most {MAX_EVENT_BYTES} bytes", f"{len(raw)} bytes")
            return Arrival(self._event(record, index, raw, watermark_ms), raw)
        except _Refused as refused:
            return _dead(refused, record, index, raw)

    def _event(self, record: Record, index: int, raw: bytes, watermark_ms: int) -> Event:
        try:
            wire = _wire.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _refusal_of(error, "$") from None
        action, name = _meaning(wire, record.key)
        properties = _NO_PROPERTIES
        body: bytes | msgspec.Raw = wire.properties
        if action is Action.IDENTIFY:
            body = wire.traits
        elif body:
            try:
                properties = _properties.decode(body)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise _refusal_of(error, "$.properties") from None
        visitor, user_id, blocked = _identity(wire, action)
        at_ms, received_ms = _times(wire, record.received_ms)
        context = wire.context
        source = _source(context) if context is not None else None
        channel = wire.channel or (context.channel if context is not None else None) or wire.type or ""
        order_id = properties.order_id
        # By position: named arguments cost as much as all the rest of this function.
        return Event(
            record.position,
            index,
            at_ms,
            received_ms,
            watermark_ms,
            _message_id(wire, raw),
            crc32(body, crc32(f"{name}\0{visitor}\0{user_id}".encode("utf-8", "surrogatepass"))),
            action,
            name,
            visitor,
            user_id,
            self.touchpoints.of(name, source.medium if source is not None else "", channel),
            _lines(properties, action) if properties is not _NO_PROPERTIES else (),
            _text(properties.query),
            _text(properties.category) if action is Action.LIST_VIEW else None,
            None if order_id is None else _id(order_id, "$.properties.order_id"),
            _value(properties),
            _dwell_s(properties),
            _scroll(properties),
            source,
            context.device.type if context is not None and context.device is not None else None,
            _path(properties, context),
            self._consent(action, context),
            blocked,
        )

    def _consent(self, action: Action, context: _Context | None) -> Consent | None:
        if action is Action.UNSUBSCRIBE:
            return Consent(email=False)
        if action is Action.SUBSCRIBE:
            return Consent(email=True)
        if context is None or not context.consent:
            return None
        raw = bytes(context.consent)
        if raw not in self._consents:
            if len(self._consents) >= MAX_CACHED_CONSENTS:
                self._consents.clear()
            self._consents[raw] = self._consent_of(raw)
        return self._consents[raw]

    def _consent_of(self, raw: bytes) -> Consent | None:
        try:
            given = _consent.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _refusal_of(error, "$.context.consent") from None
        said = {name.lower(): yes for name, yes in given.category_preferences.items()} if given is not None else {}
        consent = Consent(_all_given(said, self._personalization), _all_given(said, self._email))
        return None if consent == Consent() else consent


def _all_given(said: dict[str, bool], categories: frozenset[str]) -> bool | None:
    answers = [given for name, given in said.items() if name in categories]
    return all(answers) if answers else None


def split_batch(raw: bytes) -> list[bytes]:
    """The single events of a batch call (`{"batch": [...]}`), with the call's own sentAt, context,
    userId and anonymousId where an event has none; any other bytes as they are, alone."""
    if b'"batch"' not in raw[:MAX_EVENT_BYTES]:
        return [raw]
    try:
        call = _batch.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return [raw]
    common = {
        name: value
        for name, value in (
            ("sentAt", call.sent_at),
            ("context", call.context),
            ("userId", call.user_id),
            ("anonymousId", call.anonymous_id),
        )
        if bytes(value) not in (b"", b"null")
    }
    if not common:
        return [bytes(event) for event in call.batch]
    return [_with_defaults(bytes(event), common) for event in call.batch]


def _with_defaults(event: bytes, common: dict[str, msgspec.Raw]) -> bytes:
    try:
        fields = _fields.decode(event)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return event  # it becomes a dead letter of its own
    missing = {name: value for name, value in common.items() if name not in fields}
    return msgspec.json.encode({**fields, **missing}) if missing else event


def visitor_of(raw: bytes) -> str:
    """The visitor a raw event will be folded under, "" where it names nobody or is broken: the
    key that picks its partition."""
    try:
        wire = _wire.decode(raw)
        return _identity(wire, _CALLS.get(wire.type or "", Action.OTHER))[0]
    except (msgspec.DecodeError, UnicodeDecodeError, _Refused):
        return ""


def _refuse(kind: str, path: str, expected: str, got: str) -> NoReturn:
    raise _Refused(kind, path, expected, got)


def _dead(refused: _Refused, record: Record, index: int, raw: bytes) -> DeadLetter:
    return DeadLetter(
        refused.kind, refused.path, refused.expected, refused.got, raw, record.position, index, record.received_ms
    )


_EXPECTED = re.compile(r"^Expected (?P<expected>.+?)(?:, got (?P<got>.+?))?(?: - at `(?P<path>.+)`)?$", re.DOTALL)


def _refusal_of(error: Exception, root: str) -> _Refused:
    """msgspec's own message, taken apart. `root` replaces its `$`."""
    text = str(error)
    if not isinstance(error, msgspec.ValidationError):
        return _Refused("invalid_json", root, "JSON in UTF-8", text)
    found = _EXPECTED.match(text)
    if found is None:
        where = re.search(r" - at `(.+)`$", text)
        path = root + where[1][1:] if where else root
        return _Refused("wrong_type", path, "a valid value", text.split(" - at `")[0])
    path = (found["path"] or "$").replace("$", root, 1)
    return _Refused("wrong_type", path, found["expected"], found["got"] or "something else")


def _meaning(wire: _Wire, key: str) -> tuple[Action, str]:
    call = wire.type
    if call == "track" or (call is None and wire.event is not None):
        if not wire.event:
            _refuse("missing_field", "$.event", "a name", "nothing")
        name = wire.event[:MAX_TEXT_CHARS]
        if key.startswith(SERVED_KEY):
            return Action.SERVED, name
        return _ACTIONS.get(name.lower().replace("_", " ").strip(), Action.OTHER), name
    if call is None:
        _refuse("missing_field", "$.type", "one of track, page, screen, identify, alias, group", "nothing")
    action = _CALLS.get(call)
    if action is None:
        _refuse("wrong_type", "$.type", "one of track, page, screen, identify, alias, group", f"`{call[:64]}`")
    return action, (wire.name or call)[:MAX_TEXT_CHARS]


def _identity(wire: _Wire, action: Action) -> tuple[str, str | None, int]:
    """visitor, user id, and how many ids were ignored because they name nobody.

    An alias is folded under the id it renames. Events without an anonymous id (a till, a server)
    have a visitor of their own, `user:<id>`, known from the start.
    """
    blocked = 0
    visitor = _id(wire.previous_id if action is Action.ALIAS else wire.anonymous_id, "$.anonymousId")
    user_id = _id(wire.user_id, "$.userId") if wire.user_id is not None else None
    if visitor is not None and visitor.lower() in BLOCKED_IDS:
        visitor, blocked = None, blocked + 1
    if user_id is not None and user_id.lower() in BLOCKED_IDS:
        user_id, blocked = None, blocked + 1
    if visitor is None:
        if user_id is None:
            got = "ids that name nobody" if blocked else "nothing"
            _refuse("no_identity", "$.anonymousId", "an anonymousId or a userId", got)
        visitor = f"user:{user_id}"
    elif visitor.startswith((SYSTEM_KEY, "user:")):
        _refuse("no_identity", "$.anonymousId", "an id not starting with `headrace:` or `user:`", f"`{visitor}`")
    return visitor, user_id, blocked


def _id(value: str | int | float | None, path: str) -> str | None:
    if value is None:
        return None
    text = value.strip() if isinstance(value, str) else repr(value)
    if 4 * len(text) <= MAX_ID_BYTES:  # no need to count bytes
        return text
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_ID_BYTES:
        _refuse("too_long", path, f"an id of at most {MAX_ID_BYTES} bytes", f"{size} bytes")
    return text


def _message_id(wire: _Wire, raw: bytes) -> str:
    given = _id(wire.message_id, "$.messageId")
    # Without an id the same bytes are the same message: what a producer's blind retry sends.
    return given or "raw:" + blake2b(raw, digest_size=12).hexdigest()


def _ms(value: datetime | int | float) -> int:
    if isinstance(value, datetime):
        aware = value if value.tzinfo is not None else value.replace(tzinfo=timezone.utc)
        return int(aware.timestamp() * 1000)
    # Epoch seconds or milliseconds: seconds reach 1e11 only in the year 5138.
    return int(value * 1000) if abs(value) < 1e11 else int(value)


def _times(wire: _Wire, log_received_ms: int) -> tuple[int, int]:
    """at, received in epoch ms.

    A device's clock may be wrong, but it is as wrong when sending as when the event happened:
    at = received - (sent - original). Where a collector already did that, a `timestamp` stands
    beside `originalTimestamp`, differs from it, and is right. Nothing lies in the future.
    """
    received_ms = log_received_ms
    if wire.received_at is not None:
        received_ms = min(received_ms, _ms(wire.received_at))
    original = wire.original_timestamp if wire.original_timestamp is not None else wire.timestamp
    if wire.timestamp is not None and wire.timestamp != original:
        at_ms = _ms(wire.timestamp)
    else:
        if original is None:
            at_ms = received_ms
        elif wire.sent_at is None:
            at_ms = _ms(original)
        else:
            at_ms = received_ms - max(_ms(wire.sent_at) - _ms(original), 0)
    return max(min(at_ms, received_ms), 0), received_ms


def _text(value: str | None) -> str | None:
    return value[:MAX_TEXT_CHARS] if value else None


def _line(product: _Product, path: str) -> Line | None:
    item = _id(product.product_id if product.product_id is not None else product.sku, path)
    if not item or item.lower() in _NO_ITEM:
        return None
    quantity = product.quantity
    return Line(
        item,
        1.0 if quantity is None or not 0 <= quantity < 1e6 else quantity,
        product.price,
        _text(product.name),
        _text(product.category),
        _text(product.brand),
        product.url,
        product.image_url,
    )


def _lines(properties: _Properties, action: Action) -> tuple[Line, ...]:
    if action is Action.READ or properties.content_id is not None or properties.article_id is not None:
        content = properties.content_id if properties.content_id is not None else properties.article_id
        item = _id(content, "$.properties.content_id")
        if item is None:
            return ()
        title = _text(properties.title) or _text(properties.name)
        return (Line(article_key(item), name=title, category=_text(properties.category), url=properties.url),)
    if properties.products:
        if len(properties.products) > MAX_LINES:
            _refuse("too_long", "$.properties.products", f"at most {MAX_LINES}", f"{len(properties.products)}")
        found = (
            _line(product, f"$.properties.products[{index}].product_id")
            for index, product in enumerate(properties.products)
        )
        return tuple(line for line in found if line is not None)
    line = _line(properties, "$.properties.product_id")
    return (line,) if line is not None else ()


def _value(properties: _Properties) -> float | None:
    for value in (properties.total, properties.revenue, properties.value):
        if value is not None:
            return value
    return None


def _dwell_s(properties: _Properties) -> float | None:
    if properties.engagement_time_msec is not None:
        seconds: float | None = properties.engagement_time_msec / 1000
    else:
        seconds = properties.dwell_s if properties.dwell_s is not None else properties.time_on_page
    # A tab left open overnight is not attention: half an hour at most, as the session gap.
    return None if seconds is None else min(max(seconds, 0.0), 1800.0)


def _scroll(properties: _Properties) -> float | None:
    for value in (properties.scroll, properties.scroll_depth, properties.percent_scrolled):
        if value is not None:
            return min(max(value / 100 if value > 1 else value, 0.0), 1.0)
    return None


def _source(context: _Context | None) -> Source | None:
    if context is None:
        return None
    referrer = (context.page.referrer or "") if context.page else ""
    campaign = context.campaign
    if campaign is None:
        return Source("", "", "", referrer[:MAX_TEXT_CHARS]) if referrer else None
    return Source(
        (campaign.source or "")[:100], (campaign.medium or "")[:100], (campaign.name or "")[:100], referrer[:200]
    )


def _path(properties: _Properties, context: _Context | None) -> str | None:
    path = properties.path or (context.page.path if context and context.page else None)
    return _text(path)
