"""An event and a record of each kind with every field set, and what older versions told of them."""

from __future__ import annotations

import msgspec

from recsys.catalog import Item, PriceSince
from recsys.counters import After, ItemCounters
from recsys.events import Action, Consent, Event, Flaw, Line, Source
from recsys.ports import Position
from recsys.profile import Affinity, CartLine, Order, PersonRecord, Profile, Session, Standing, Touch
from recsys.progress import FlowProgress
from recsys.shown import Impression, ShownRecord

AT_MS = 1_760_000_000_123
AT_S = AT_MS // 1000


def an_event(offset: int, action: Action, user_id: str | None = None, later_ms: int = 0) -> Event:
    """With every field set."""
    return Event(
        position=Position(2, offset),
        index=1,
        at_ms=AT_MS + later_ms,
        received_ms=AT_MS + later_ms + 250,
        watermark_ms=AT_MS + later_ms + 300,
        message_id=f"m{offset}",
        body_crc=4_000_000_000,
        action=action,
        name="Product Viewed",
        visitor="v1",
        user_id=user_id,
        touchpoint="site",
        lines=(Line("tent", 2.0, 199.5, "Trail Tent", "Outdoor > Tents", "Pitch", "https://u", "https://i"),),
        query="zelt für zwei",
        category="Outdoor > Tents",
        order_id=f"o{offset}",
        value=399.0,
        dwell_s=12.5,
        scroll=0.75,
        source=Source("newsletter", "email", "spring", "https://r"),
        device="ios",
        path="/tents",
        consent=Consent(True, False),
        blocked_ids=1,
        group_id="club",
    )


PROFILE = Profile(
    first_ms=AT_MS,
    last_ms=AT_MS + 9000,
    session=Session(
        start_ms=AT_MS,
        last_ms=AT_MS + 9000,
        events=9,
        views=1,
        reads=2,
        lists=3,
        searches=4,
        cart_adds=5,
        checkouts=6,
        orders=7,
        dwell_s=12.5,
        queries=("zelt", "tent"),
        source=Source("newsletter", "email", "spring", "https://r"),
        device="ios",
        closed=True,
        category="Outdoor > Tents",
    ),
    touches=(Touch("tent", 1, AT_S, 12.5), Touch("article:12", 11, AT_S + 3)),
    cart=(CartLine("tent", 2.0, 199.5, AT_S), CartLine("pegs", 1.0, None, AT_S + 5)),
    cart_ms=AT_MS + 5000,
    orders=(Order("o1", AT_S, 399.0, ("tent", "pegs")), Order("o2", AT_S + 6, 5.5, (), True, AT_MS + 7000)),
    categories=(Affinity("Tents", 3.5, AT_S),),
    channels=(Affinity("email", 1.0, AT_S),),
    visitors=("v1", "v2"),
    sessions=3,
    events=40,
    order_count=1,
    order_value=399.0,
    personalization=True,
    email=False,
    consent_ms=AT_MS,
    group="club",
    late_events=2,
    blocked_ids=1,
    renamed="anna@new",
    renamed_ms=AT_MS + 8000,
    former=("anna@old",),
)
PROFILE_2 = msgspec.structs.replace(PROFILE, renamed="", renamed_ms=0, former=())
PROFILE_1 = msgspec.structs.replace(
    PROFILE_2, orders=tuple(msgspec.structs.replace(order, updated_ms=0) for order in PROFILE.orders)
)
PERSON = PersonRecord("u:anna", PROFILE, Standing(((0, 7), (2, 41))), AT_MS + 9000)
PERSON_2 = msgspec.structs.replace(PERSON, profile=PROFILE_2)
"""As a record of version 2 tells it: the customer has one name."""
PERSON_1 = msgspec.structs.replace(PERSON, profile=PROFILE_1)
"""As one of version 1 does: and no order was updated."""
ITEM = Item(
    id="article:12",
    type="article",
    title="Pitching a tent",
    description="In the wind",
    link="https://l",
    image_link="https://i",
    category=("Guides", "Camping"),
    brand="Headrace",
    price=12.5,
    sale_price=9.0,
    currency="EUR",
    available=False,
    group="g",
    published_ms=AT_MS,
    tags=("wind",),
    attributes={"color": "green"},
    fed=True,
    removed=True,
    changed_ms=AT_MS,
)
ITEM_WITH_HISTORY = msgspec.structs.replace(
    ITEM,
    stock=3,
    stock_ms=AT_MS,
    sale_end_ms=AT_MS + 5,
    prices=(PriceSince(AT_MS - 9, 12.5), PriceSince(AT_MS, 9.0)),
    back_ms=AT_MS,
)
COUNTERS_1 = ItemCounters(1.5, 0.25, 3.0, AT_S)
COUNTERS = ItemCounters(1.5, 0.25, 3.0, AT_S, 12.5, (After("p2", 3.5), After("p3", 1.25)), 2.25)
COUNTERS_3 = msgspec.structs.replace(COUNTERS, slow_surge=None)
PROGRESS = FlowProgress(
    partitions=((0, 7), (2, 41)),
    watermark_ms=AT_MS,
    written_ms=AT_MS + 1,
    accepted=40,
    duplicates=2,
    dead=3,
    late=4,
    blocked_ids=5,
    served=6,
    catalog=7,
    names=(("Product Viewed", 20), ("page", 7)),
    dead_kinds=(("invalid_json", 3),),
    effects=(("session_started", 9),),
    crowded=(("kiosk", 7),),
    flaws=((Flaw("wrong_type", "$.properties.total", "`float | null`", "`str`", True), 4),),
    step_ms=250,
    rules=1,
)


SHOWN = ShownRecord(
    "u:anna",
    (
        Impression("6f1f9a54-0b5e-4c4e-9d7c-2f6f0c8b5a11", "email.digest", AT_MS, ("p1", "article:12")),
        Impression("6f1f9a54-0b5e-4c4e-9d7c-2f6f0c8b5a12", "home.feed", AT_MS - 5, ()),
    ),
)
