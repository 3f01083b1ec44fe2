"""Events: what happened, in the words of the Segment spec, checked and repaired.

`Event` is what the rest of Headrace works on. `recsys.decode` makes it from the JSON that
collectors send; the raw bytes travel along, so nothing a shop sent is lost.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import IntEnum

import msgspec

from recsys.ports import Position

MAX_EVENT_BYTES = 256 * 1024
"""Longer raw events become dead letters (Segment itself refuses more than 32 KB)."""
MAX_ID_BYTES = 200
"""Limit of an id in UTF-8 bytes: visitor, customer, message, item."""
MAX_TEXT_CHARS = 500
"""Longer names, queries and categories are cut to this: they are labels, not content."""
MAX_LINES = 250
"""Most products one event may carry."""


class Action(IntEnum):
    """What an event means to the fold. Stored in profiles and archive: append, never renumber."""

    # An enum's own hash is a Python function: too slow for sets and tables asked for every event.
    __hash__ = int.__hash__

    OTHER = 0
    VIEW = 1
    CLICK = 2
    CART_ADD = 3
    CART_REMOVE = 4
    CART_VIEW = 5
    CHECKOUT = 6
    ORDER = 7
    REFUND = 8
    SEARCH = 9
    LIST_VIEW = 10
    READ = 11
    WISH = 12
    UNWISH = 13
    PROMOTION = 14
    COUPON = 15
    SHARE = 16
    REVIEW = 17
    EMAIL_SENT = 18
    EMAIL_OPEN = 19
    EMAIL_CLICK = 20
    EMAIL_FAIL = 21
    UNSUBSCRIBE = 22
    PAGE = 23
    LEAVE = 24
    LOGIN = 25
    LOGOUT = 26
    ORDER_UPDATE = 27
    ORDER_CANCEL = 28
    IDENTIFY = 29
    GROUP = 30
    ALIAS = 31
    CATALOG = 32  # never stored: catalogue changes are no events of people
    SERVED = 33
    SUBSCRIBE = 34


ITEM_ACTIONS = frozenset((Action.VIEW, Action.CLICK, Action.CART_ADD, Action.ORDER, Action.READ, Action.WISH))
"""Actions that say a person cares for an item: they enter the history, in this order of weight."""

BLOCKED_IDS = frozenset(
    (
        "",
        "-1",
        "0",
        "00000000-0000-0000-0000-000000000000",
        "[object object]",
        "anonymous",
        "anonymousid",
        "anonymous_id",
        "distinct_id",
        "distinctid",
        "email",
        "false",
        "guest",
        "id",
        "nan",
        "nil",
        "none",
        "not_authenticated",
        "null",
        "true",
        "undefined",
        "unknown",
        "user_id",
        "userid",
    )
)
"""Ids that broken trackers send for everybody (lower case): they name nobody (posthog#5527)."""


class Line(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One product or article an event is about."""

    item: str
    quantity: float = 1.0
    price: float | None = None
    name: str | None = None
    category: str | None = None
    brand: str | None = None
    url: str | None = None
    image: str | None = None


class Source(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where a visit came from."""

    source: str
    medium: str
    campaign: str = ""
    referrer: str = ""


class Consent(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What an event says of consent; None means that it says nothing."""

    personalization: bool | None = None
    email: bool | None = None


class Event(msgspec.Struct, frozen=True, gc=False):
    """One accepted event. Times are epoch milliseconds, repaired and never in the future."""

    position: Position
    index: int
    """Place inside a batch call kept as one log record; 0 for a record of one event."""
    at_ms: int
    received_ms: int
    watermark_ms: int
    """The highest `received_ms` the log had shown up to this record: decides what is late."""
    message_id: str
    body_crc: int
    """Tells a repeated message from another one under the same id."""
    action: Action
    name: str
    """The event's name as sent ("Product Viewed"), or the call's type for page, identify, ..."""
    visitor: str
    user_id: str | None
    touchpoint: str
    lines: tuple[Line, ...] = ()
    query: str | None = None
    category: str | None = None
    order_id: str | None = None
    value: float | None = None
    dwell_s: float | None = None
    scroll: float | None = None
    source: Source | None = None
    device: str | None = None
    path: str | None = None
    consent: Consent | None = None
    blocked_ids: int = 0
    """How many ids were ignored because they name nobody."""
    group_id: str | None = None
    """What a group call puts the person in."""


_INDEX = re.compile(r"\[[0-9]+\]")


class Flaw(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A field of an accepted event that was not what the spec says. It was read by plain rules
    (`recsys.mend`), or left out."""

    kind: str
    """wrong_type or too_long."""
    path: str
    expected: str
    got: str
    is_repaired: bool = False

    def counted(self) -> Flaw:
        """As it is counted: by where it stands in events like this one, which a list's index and the
        size of what is too long would tell apart without end."""
        got = "more" if self.kind == "too_long" else self.got
        return Flaw(self.kind, _INDEX.sub("[*]", self.path), self.expected, got, self.is_repaired)

    def __str__(self) -> str:
        return f"{self.kind}: Expected {self.expected}, got {self.got} - at `{self.path}`"


def each_once(flaws: Iterable[Flaw]) -> tuple[Flaw, ...]:
    """Of flaws that count as one, the first."""
    first: dict[Flaw, Flaw] = {}
    for flaw in flaws:
        first.setdefault(flaw.counted(), flaw)
    return tuple(first.values())


class Arrival(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An event with the bytes it came in: these go to the archive and no further."""

    event: Event
    raw: bytes
    flaws: tuple[Flaw, ...] = ()


class DeadLetter(msgspec.Struct, frozen=True, gc=False):
    """An event that could not be taken, with where, what was expected, what came, and all of it."""

    kind: str
    """invalid_json, wrong_type, missing_field, no_identity, too_large, too_long or id_reused."""
    path: str
    expected: str
    got: str
    raw: bytes
    position: Position
    index: int
    received_ms: int

    def __str__(self) -> str:
        return f"{self.kind}: Expected {self.expected}, got {self.got} - at `{self.path}`"


ARTICLE_PREFIX = "article:"


def article_key(content_id: str) -> str:
    """The item id of an article: its own namespace, so that article 12 is not product 12."""
    return f"{ARTICLE_PREFIX}{content_id}"
