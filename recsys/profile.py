"""The profile: what is known of one person, small, bounded and immutable.

A profile is replaced, never changed, so the flow keeps earlier ones at no cost and a server may
hand one to any thread. Its bytes carry a version; `tests/golden` keeps one file a version.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from recsys.events import Source
from recsys.versioned import Versioned

PROFILE_VERSION = 3
"""2: when an order was updated. 3: other names of a customer. Older records are read: with orders as they
were placed, and no other names."""

MAX_TOUCHES = 60
MAX_CART_LINES = 30
MAX_ORDERS = 12
MAX_ORDER_ITEMS = 20
MAX_AFFINITIES = 12
MAX_QUERIES = 4
MAX_DEVICES = 12
MAX_FORMER = 11
"""Former names kept of a customer, the first: who renames ever more customers to one is a bot."""


class Touch(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Something done with an item."""

    item: str
    action: int
    """An `Action`, kept as int: msgpack writes it in one byte."""
    at_s: int
    """Epoch seconds."""
    dwell_s: float = 0.0


class CartLine(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An item in the cart."""

    item: str
    quantity: float
    price: float | None
    at_s: int
    """When the line was last changed, epoch seconds."""


class Order(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An order as it was last told; `value` is in the shop's currency."""

    order_id: str
    at_s: int
    """When it was placed, or first heard of, epoch seconds."""
    value: float
    items: tuple[str, ...]
    refunded: bool = False
    updated_ms: int = 0
    """When the shop last said anew what it holds; 0: never, it is as it was placed."""


class Affinity(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A weight that halves every `recsys.leanings.HALF_LIFE_S` seconds, as it stood at `at_s`."""

    name: str
    weight: float
    at_s: int


class Session(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The newest session; whether it is still open is a question of the time of asking."""

    start_ms: int
    last_ms: int
    events: int = 0
    views: int = 0
    reads: int = 0
    lists: int = 0
    searches: int = 0
    cart_adds: int = 0
    checkouts: int = 0
    orders: int = 0
    dwell_s: float = 0.0
    queries: tuple[str, ...] = ()
    source: Source | None = None
    device: str = ""
    closed: bool = False
    """Ended by a logout rather than by time."""
    category: str = ""
    """The category of the newest item or list."""


class Profile(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One person: a customer if known, else a visitor."""

    first_ms: int = 0
    last_ms: int = 0
    session: Session | None = None
    touches: tuple[Touch, ...] = ()
    """Newest last, across sessions; those since `session.start_ms` are the session's own."""
    cart: tuple[CartLine, ...] = ()
    cart_ms: int = 0
    """When the cart was last changed."""
    orders: tuple[Order, ...] = ()
    categories: tuple[Affinity, ...] = ()
    channels: tuple[Affinity, ...] = ()
    visitors: tuple[str, ...] = ()
    """Devices known of a customer, oldest first."""
    sessions: int = 0
    events: int = 0
    order_count: int = 0
    order_value: float = 0.0
    personalization: bool | None = None
    """Consent as last said; None: never said."""
    email: bool | None = None
    consent_ms: int = 0
    group: str = ""
    late_events: int = 0
    blocked_ids: int = 0
    renamed: str = ""
    """The user id that this customer goes by now; "" for this one. See `recsys.names`."""
    renamed_ms: int = 0
    former: tuple[str, ...] = ()
    """The user ids that were renamed to this one."""


class Standing(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How far the log is in a record: partition and offset of the newest applied events."""

    partitions: tuple[tuple[int, int], ...] = ()

    def covers(self, partition: int, offset: int) -> bool:
        """Whether the record knows of the event at this place of the log, or of a later one."""
        return any(p == partition and o >= offset for p, o in self.partitions)

    @classmethod
    def of(cls, offsets: Mapping[int, int]) -> Standing:
        placed = tuple(offsets.items())
        return cls(placed if len(placed) == 1 else tuple(sorted(placed)))


class PersonRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What the state keeps under a person's key, and servers read."""

    person: str
    """`u:<user id>` or `a:<visitor>`."""
    profile: Profile
    standing: Standing
    event_ms: int
    """When the newest applied event happened: the age of the state."""


class VisitorLink(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What the state keeps under a visitor's key: who that is."""

    visitor: str
    user_id: str | None
    record: PersonRecord | None
    """The visitor's own profile while nobody is known behind it."""


_person = Versioned("a profile record", PROFILE_VERSION, PersonRecord)
_link = Versioned("a profile record", PROFILE_VERSION, VisitorLink)

encode_record = _person.encode
"""The bytes of a `PersonRecord`, a `VisitorLink`, or a draft of one."""
decode_person = _person.decode
decode_link = _link.decode
