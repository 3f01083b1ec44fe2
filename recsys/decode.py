"""Raw bytes of the log -> `Event`, or a `DeadLetter` that says where, what was expected, what came.

The wire format is Segment-spec JSON as Segment, RudderStack and analytics.js send it: track, page,
screen, identify, alias and group calls, one a record or a batch call of many. Records whose key
starts with `headrace:` are Headrace's own: catalogue changes and blocks served.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timezone
from functools import lru_cache
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
    Arrival,
    Consent,
    DeadLetter,
    Event,
    Line,
    Source,
    article_key,
)
from recsys.ports import Position, Record
from recsys.segment import (
    ACTIONS,
    CALLS,
    NO_PROPERTIES,
    UNREADABLE,
    Call,
    Context,
    Product,
    Properties,
    decode_call,
    decode_consent,
    decode_properties,
    split_batch,
)
from recsys.touchpoints import Touchpoints

SYSTEM_KEY = "headrace:"
CATALOG_KEY = "headrace:catalog:"
SERVED_KEY = "headrace:served:"
MADE_ID = "raw:"
"""Starts a message id made from the bytes of an event that came without."""

MAX_CACHED_CONSENTS = 1000
MAX_URL_CHARS = 2000
"""Longer links are dropped: cut off they would lead nowhere."""
MAX_AMOUNT = 1e12
"""Prices and values beyond this, infinite ones and NaN are taken as not given."""

_WITH_TRAITS = frozenset((Action.IDENTIFY, Action.GROUP))
_NAMING = frozenset((Action.IDENTIFY, Action.ALIAS))
_OPAQUE = frozenset((Action.OTHER, Action.PAGE, Action.ALIAS))
_NO_ITEM = BLOCKED_IDS - {"0", "-1", "id", "email", "guest", "true", "false"}


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
            self._one(record, index, raw, watermark_ms) for index, raw in enumerate(split_batch(record.value))
        ]

    def problem(self, raw: bytes, received_ms: int) -> DeadLetter | None:
        """The dead letter this single raw event would become, for an edge that answers at once."""
        record = Record(Position(0, 0), "", raw, received_ms)
        found = self._one(record, 0, raw, received_ms)
        return found if isinstance(found, DeadLetter) else None

    def _catalog(self, record: Record) -> CatalogChange | DeadLetter:
        try:
            return decode_change(record.value, record.position, record.received_ms)
        except UNREADABLE as error:
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
            wire = decode_call(raw)
        except UNREADABLE as error:
            raise _refusal_of(error, "$") from None
        action, name = _meaning(wire, record.key)
        properties = NO_PROPERTIES
        body: bytes | msgspec.Raw = wire.properties
        if action in _WITH_TRAITS:
            body = wire.traits
        elif body:
            try:
                properties = decode_properties(body)
            except UNREADABLE as error:
                # What Headrace does not read is not refused for its shape.
                if action not in _OPAQUE and bytes(body) != b"null":
                    raise _refusal_of(error, "$.properties") from None
        visitor, user_id, blocked = _identity(wire, action)
        at_ms, received_ms = _times(wire, record.received_ms)
        context = wire.context
        source = _source(context) if context is not None else None
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
            self.touchpoints.of(name, source.medium if source is not None else "", _channel(wire)),
            _lines(properties, action) if properties is not NO_PROPERTIES else (),
            _text(properties.query),
            _text(properties.category) if action is Action.LIST_VIEW else None,
            None if order_id is None else _id(order_id, "$.properties.order_id"),
            _value(properties, action),
            _dwell_s(properties),
            _scroll(properties),
            source,
            (context.device.type or "")[:32] if context is not None and context.device is not None else None,
            _path(properties, context),
            self._consent(action, context),
            blocked,
            _id(wire.group_id, "$.groupId"),
        )

    def _consent(self, action: Action, context: Context | None) -> Consent | None:
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
            given = decode_consent(raw)
        except UNREADABLE as error:
            raise _refusal_of(error, "$.context.consent") from None
        preferences = given.category_preferences if given is not None else None
        said = {name.lower(): yes for name, yes in (preferences or {}).items()}
        consent = Consent(_all_given(said, self._personalization), _all_given(said, self._email))
        return None if consent == Consent() else consent


def _all_given(said: dict[str, bool], categories: frozenset[str]) -> bool | None:
    answers = [given for name, given in said.items() if name in categories]
    return all(answers) if answers else None


def visitor_of(raw: bytes) -> str:
    """The visitor a raw event will be folded under, "" where it names nobody or is broken: the
    key that picks its partition."""
    try:
        wire = decode_call(raw)
        return _identity(wire, CALLS.get(wire.type or "", Action.OTHER))[0]
    except (*UNREADABLE, _Refused):
        return ""


def _refuse(kind: str, path: str, expected: str, got: str) -> NoReturn:
    raise _Refused(kind, path, expected, got)


def _dead(refused: _Refused, record: Record, index: int, raw: bytes) -> DeadLetter:
    return DeadLetter(
        refused.kind,
        refused.path,
        refused.expected,
        refused.got,
        raw,
        record.position,
        index,
        record.received_ms,
    )


_EXPECTED = re.compile(
    r"^Expected (?P<expected>.+?)(?:, got (?P<got>.+?))?(?: - at `(?P<path>.+)`)?$", re.DOTALL
)
_MISSING = re.compile(r"^Object missing required field `(?P<name>.+?)`")


def _refusal_of(error: Exception, root: str) -> _Refused:
    """msgspec's own message, taken apart. `root` replaces its `$`."""
    if isinstance(error, RecursionError):
        return _Refused("too_large", root, "some hundred levels of nesting at most", "more")
    text = str(error)
    if not isinstance(error, msgspec.ValidationError):
        return _Refused("invalid_json", root, "JSON in UTF-8", text)
    found = _EXPECTED.match(text)
    if found is None:
        where = re.search(r" - at `(.+)`$", text)
        path = root + where[1][1:] if where else root
        missing = _MISSING.match(text)
        if missing is not None:
            return _Refused("missing_field", f"{path}.{missing['name']}", "a value", "nothing")
        return _Refused("wrong_type", path, "a valid value", text.split(" - at `", maxsplit=1)[0])
    path = (found["path"] or "$").replace("$", root, 1)
    return _Refused("wrong_type", path, found["expected"], found["got"] or "something else")


@lru_cache(maxsize=10_000)
def _action_of(name: str) -> Action:
    """Names come as "Product Viewed" and "product_viewed" alike."""
    return ACTIONS.get(name.lower().replace("_", " ").strip(), Action.OTHER)


def _meaning(wire: Call, key: str) -> tuple[Action, str]:
    call = wire.type
    if call == "track" or (call is None and wire.event is not None):
        if not wire.event:
            _refuse("missing_field", "$.event", "a name", "nothing")
        name = wire.event[:MAX_TEXT_CHARS]
        if key.startswith(SERVED_KEY):
            return Action.SERVED, name
        return _action_of(name), name
    if call is None:
        _refuse("missing_field", "$.type", "one of track, page, screen, identify, alias, group", "nothing")
    action = CALLS.get(call)
    if action is None:
        _refuse(
            "wrong_type", "$.type", "one of track, page, screen, identify, alias, group", f"`{call[:64]}`"
        )
    # RudderStack's mobile libraries send a screen's name as `event`.
    return action, (wire.name or wire.event or call)[:MAX_TEXT_CHARS]


def _identity(wire: Call, action: Action) -> tuple[str, str | None, int]:
    """visitor, user id, and how many ids were ignored because they name nobody.

    An alias is folded under the id it renames. Events without an anonymous id (a till, a server)
    have a visitor of their own, `user:<id>`, known from the start.
    """
    blocked = 0
    if action is Action.ALIAS:
        visitor = _id(wire.previous_id, "$.previousId")
    else:
        visitor = _id(wire.anonymous_id, "$.anonymousId")
    user_id = _id(wire.user_id, "$.userId") if wire.user_id is not None else None
    if visitor is not None and visitor.lower() in BLOCKED_IDS:
        blocked += visitor != "" or action in _NAMING
        visitor = None
    if user_id is not None and user_id.lower() in BLOCKED_IDS:
        # RudderStack says "" on every event of an unknown visitor: that is no broken tracker.
        blocked += user_id != "" or action in _NAMING
        user_id = None
    if visitor is None:
        if user_id is None:
            got = "ids that name nobody" if blocked else "nothing"
            _refuse("no_identity", "$.anonymousId", "an anonymousId or a userId", got)
        visitor = f"user:{user_id}"
    elif visitor.startswith((SYSTEM_KEY, "user:")):
        _refuse(
            "no_identity", "$.anonymousId", "an id not starting with `headrace:` or `user:`", f"`{visitor}`"
        )
    return visitor, user_id, blocked


def _id(value: str | float | None, path: str) -> str | None:
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
        _refuse("too_long", path, f"an id of at most {MAX_ID_BYTES} bytes", f"{size} bytes")
    return text


def _message_id(wire: Call, raw: bytes) -> str:
    given = _id(wire.message_id, "$.messageId")
    # Without an id the same bytes are the same message: what a producer's blind retry sends.
    return given or MADE_ID + blake2b(raw, digest_size=12).hexdigest()


_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MAX_MS = 1 << 62
"""Beyond any clock, and still an int64."""


def _ms(value: datetime | float) -> int:
    """Epoch milliseconds, rounded down. A time without a zone is UTC."""
    if isinstance(value, datetime):
        since = (value if value.tzinfo is not None else value.replace(tzinfo=timezone.utc)) - _EPOCH
        # In whole numbers: a float of seconds loses a millisecond now and then.
        return since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000
    # Epoch seconds or milliseconds: seconds reach 1e11 only in the year 5138.
    scaled = value * 1000 if abs(value) < 1e11 else value
    return int(min(max(scaled, -_MAX_MS), _MAX_MS))


def _times(wire: Call, log_received_ms: int) -> tuple[int, int]:
    """at, received in epoch ms.

    A device's clock may be wrong, but it is as wrong when sending as when the event happened:
    at = received - (sent - original). Where a collector already did that, a `timestamp` stands
    beside `originalTimestamp`, differs from it, and is right. Nothing lies in the future.
    """
    received_ms = log_received_ms
    if wire.received_at is not None:
        received_ms = max(min(received_ms, _ms(wire.received_at)), 0)
    stamp, original = wire.timestamp, wire.original_timestamp
    if original is None:
        original = stamp
    if original is None:
        return received_ms, received_ms
    if stamp is not None and stamp != original:
        at_ms = _ms(stamp)
    elif wire.sent_at is None:
        at_ms = _ms(original)
    else:
        at_ms = received_ms - max(_ms(wire.sent_at) - _ms(original), 0)
    return max(min(at_ms, received_ms), 0), received_ms


def _text(value: str | None) -> str | None:
    return value[:MAX_TEXT_CHARS] if value else None


def _link(value: str | None) -> str | None:
    return value if value and len(value) <= MAX_URL_CHARS else None


def _amount(value: float | None) -> float | None:
    return value if value is not None and -MAX_AMOUNT < value < MAX_AMOUNT else None


def _line(product: Product, path: str) -> Line | None:
    item = _id(product.sku if product.product_id in (None, "") else product.product_id, path)
    if not item or item.lower() in _NO_ITEM:
        return None
    quantity = product.quantity
    return Line(
        item,
        1.0 if quantity is None or not 0 < quantity < 1e6 else quantity,
        _amount(product.price),
        _text(product.name),
        _text(product.category),
        _text(product.brand),
        _link(product.url),
        _link(product.image_url),
    )


def _lines(properties: Properties, action: Action) -> tuple[Line, ...]:
    if action is Action.READ or _is_article(properties):
        return _article_lines(properties)
    if properties.products:
        if len(properties.products) > MAX_LINES:
            _refuse(
                "too_long", "$.properties.products", f"at most {MAX_LINES}", f"{len(properties.products)}"
            )
        found = (
            _line(product, f"$.properties.products[{index}].product_id")
            for index, product in enumerate(properties.products)
        )
        return tuple(line for line in found if line is not None)
    line = _line(properties, "$.properties.product_id")
    return (line,) if line is not None else ()


def _is_article(properties: Properties) -> bool:
    """Whether an event that may be about either names content and no product."""
    if properties.content_id is None and properties.article_id is None:
        return False
    return properties.product_id is None and properties.sku is None and not properties.products


def _article_lines(properties: Properties) -> tuple[Line, ...]:
    named = "content_id" if properties.content_id is not None else "article_id"
    item = _id(getattr(properties, named), f"$.properties.{named}")
    if not item or item.lower() in _NO_ITEM:
        return ()
    title = _text(properties.title) or _text(properties.name)
    return (
        Line(article_key(item), name=title, category=_text(properties.category), url=_link(properties.url)),
    )


def _value(properties: Properties, action: Action) -> float | None:
    for value in (properties.total, properties.revenue, properties.value):
        if value is not None and -MAX_AMOUNT < value < MAX_AMOUNT:
            return value
    # "products": [] is a cart that was looked at and is empty; no list at all says nothing.
    return 0.0 if action is Action.CART_VIEW and properties.products == [] else None


def _dwell_s(properties: Properties) -> float | None:
    if properties.engagement_time_msec is not None:
        seconds = _amount(properties.engagement_time_msec / 1000)
    else:
        seconds = _amount(properties.dwell_s if properties.dwell_s is not None else properties.time_on_page)
    # A tab left open overnight is not attention: half an hour at most, as the session gap.
    return None if seconds is None else min(max(seconds, 0.0), 1800.0)


def _scroll(properties: Properties) -> float | None:
    for value in (properties.scroll, properties.scroll_depth, properties.percent_scrolled):
        if value is not None and -MAX_AMOUNT < value < MAX_AMOUNT:
            return min(max(value / 100 if value > 1 else value, 0.0), 1.0)
    return None


def _source(context: Context | None) -> Source | None:
    if context is None:
        return None
    referrer = (context.page.referrer or "") if context.page else ""
    campaign = context.campaign
    if campaign is None or not (campaign.source or campaign.medium or campaign.name):
        return Source("", "", "", referrer[:MAX_TEXT_CHARS]) if referrer else None
    return Source(
        (campaign.source or "")[:100],
        (campaign.medium or "")[:100],
        (campaign.name or "")[:100],
        referrer[:200],
    )


def _channel(wire: Call) -> str:
    """Where the call came from. Segment marks every call of a library `client`, and its mobile
    libraries name themselves by the device only."""
    context = wire.context
    said = wire.channel or (context.channel if context is not None else None)
    if said and said != "client":
        return said
    if context is not None and context.device is not None and context.device.type in ("ios", "android"):
        return "mobile"
    return wire.type or ""


def _path(properties: Properties, context: Context | None) -> str | None:
    path = properties.path or (context.page.path if context and context.page else None)
    return _text(path)
