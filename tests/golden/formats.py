"""Every format that Headrace keeps, with a value that uses all of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from recsys.catalog import Item, PriceSince, decode_item, encode_item
from recsys.counters import After, ItemCounters, decode_counters, encode_counters
from recsys.events import Action, Arrival, Consent, Event, Flaw, Line, Source
from recsys.facts import Absorb, Fact, Former, Happened, Renamed, Undone
from recsys.item import ItemState
from recsys.person import PersonState
from recsys.ports import Position
from recsys.profile import (
    Affinity,
    CartLine,
    Order,
    PersonRecord,
    Profile,
    Session,
    Standing,
    Touch,
    VisitorLink,
    decode_link,
    decode_person,
    encode_record,
)
from recsys.progress import FlowProgress, decode_progress, encode_progress
from recsys.seen import Seen, hash_of
from recsys.shown import Impression, ShownRecord, decode_shown, encode_shown
from recsys.visitor import StageRules, VisitorState

FOLDER = Path(__file__).parent
AT_MS = 1_760_000_000_123
AT_S = AT_MS // 1000
RULES = StageRules()


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
COUNTERS = ItemCounters(1.5, 0.25, 3.0, AT_S, 12.5, (After("p2", 3.5), After("p3", 1.25)))
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


def a_visitor_state() -> VisitorState:
    """A settled part with a login and one that was taken back, a tail that logs in, and message ids."""
    state = _with_a_login()
    state.settle()
    state.base.undone = state.view.undone = (7, AT_MS)
    return state


def _with_a_login() -> VisitorState:
    return _visitor_state(
        an_event(5, Action.IDENTIFY, "ben", later_ms=-90_000), an_event(6, Action.LOGOUT, later_ms=-80_000)
    )


def _visitor_state(*first: Event) -> VisitorState:
    state = VisitorState("v1", RULES)
    for event in (
        *first,
        an_event(1, Action.VIEW),
        an_event(2, Action.CART_ADD, later_ms=70_000),
        an_event(3, Action.IDENTIFY, "anna", later_ms=140_000),
        an_event(4, Action.LOGOUT, later_ms=141_000),
    ):
        state.take(Arrival(event, b"{}"))
    return state


def a_visitor_state_of_version_5() -> VisitorState:
    """Every id was kept by its hash, and nothing of logins that were taken back."""
    return _with_hashes(_with_a_login())


def _with_hashes(state: VisitorState, later_ms: int = 0) -> VisitorState:
    entries = [
        (hash_of(str(key)), crc, received_ms + later_ms) for key, crc, received_ms in state._seen.entries()
    ]
    state._seen = Seen.of(entries)
    return state


def a_visitor_state_of_version_4(later_ms: int = 0) -> VisitorState:
    """The same, and the settled part has no login that could be taken back."""
    return _with_hashes(_visitor_state(), later_ms)


def a_visitor_state_of_version_3() -> VisitorState:
    """The same; ids were kept with the log's time, which `an_event` makes 50 ms later."""
    return a_visitor_state_of_version_4(later_ms=50)


def a_visitor_state_of_version_2() -> VisitorState:
    """And without the customers of the device."""
    state = a_visitor_state_of_version_3()
    state.settle()
    state.base.customers = ()
    return state


def a_visitor_state_of_version_1() -> VisitorState:
    """Nor with the last item."""
    state = a_visitor_state_of_version_2()
    state.base.last_item = state.view.last_item = ""
    return state


def a_person_state(
    profile: Profile = PROFILE_2, *newer: tuple[int, Absorb | Renamed | Former | Undone]
) -> PersonState:
    """A settled part and a tail with facts of all kinds; `newer`: those that version 2 had not."""
    state = PersonState("anna", RULES)
    facts: list[tuple[int, Absorb | Happened | Renamed | Former | Undone]] = [
        (0, Absorb(profile)),
        (70_000, Happened(an_event(2, Action.ORDER, "anna", 70_000))),
        (140_000, Absorb(profile)),
        (141_000, Happened(an_event(4, Action.VIEW, "anna", 141_000))),
    ]
    for later_ms, body in sorted((*facts, *newer), key=lambda fact: fact[0]):
        at_ms = AT_MS + later_ms
        state.take(Fact("anna", "v1", at_ms, 2, later_ms, 0, 1, at_ms, body))
    state.settle()
    return state


def an_item_state() -> ItemState:
    state = ItemState(ITEM.id)
    state.item, state.counters = ITEM, COUNTERS
    return state


@dataclass(frozen=True)
class Format:
    """One persisted format: today's bytes of `value`, and what any version's bytes mean."""

    name: str
    version: int
    what: str
    """As the refusal of an unknown version calls it."""
    encode: Callable[[], bytes]
    decode: Callable[[bytes], object]
    value: object
    before: dict[int, object] = field(default_factory=dict)
    """What the bytes of older versions mean, where that is less."""

    def path(self, version: int) -> Path:
        return FOLDER / f"{self.name}_v{version}.bin"


def _of_visitor(state: VisitorState) -> object:
    state.settle()
    events = [step.entry for step in state.steps]
    return (state.visitor, state.view, state.base, events, state._seen.entries(), state.record())


def _of_person(state: PersonState) -> object:
    facts = [step.entry for step in state.steps]
    return (state.user_id, state.base, facts, state._watermark_ms, state.record())


def _of_item(state: ItemState) -> object:
    return (state.item_id, state.item, state.counters)


def _formats() -> list[Format]:
    anonymous, known = VisitorLink("v1", None, PERSON), VisitorLink("v1", "anna", None)
    visitor, item = a_visitor_state(), an_item_state()
    names = ((1, Renamed("anna@old")), (139_000, Former("anna@older")), (142_000, Renamed("anna@new")))
    logins = ((2, Absorb(PROFILE_2, AT_MS + 2)), (143_000, Undone(AT_MS + 2)))
    person = a_person_state(PROFILE_2, *names, *logins)
    return [
        Format(
            "person_record",
            3,
            "a profile record",
            lambda: encode_record(PERSON),
            decode_person,
            PERSON,
            {1: PERSON_1, 2: PERSON_2},
        ),
        Format(
            "visitor_link",
            3,
            "a profile record",
            lambda: encode_record(anonymous),
            decode_link,
            anonymous,
            {1: VisitorLink("v1", None, PERSON_1), 2: VisitorLink("v1", None, PERSON_2)},
        ),
        Format("visitor_link_known", 3, "a profile record", lambda: encode_record(known), decode_link, known),
        Format(
            "visitor_state",
            6,
            "a visitor state",
            visitor.encode,
            lambda data: _of_visitor(VisitorState.decode(data, RULES)),
            _of_visitor(visitor),
            {
                1: _of_visitor(a_visitor_state_of_version_1()),
                2: _of_visitor(a_visitor_state_of_version_2()),
                3: _of_visitor(a_visitor_state_of_version_3()),
                4: _of_visitor(a_visitor_state_of_version_4()),
                5: _of_visitor(a_visitor_state_of_version_5()),
            },
        ),
        Format(
            "person_state",
            4,
            "a person state",
            person.encode,
            lambda data: _of_person(PersonState.decode(data, RULES)),
            _of_person(person),
            {
                1: _of_person(a_person_state(PROFILE_1)),
                2: _of_person(a_person_state()),
                3: _of_person(a_person_state(PROFILE_2, *names)),
            },
        ),
        Format(
            "item_state",
            2,
            "an item state",
            item.encode,
            lambda data: _of_item(ItemState.decode(data)),
            _of_item(item),
            {1: (item.item_id, item.item, COUNTERS_1)},
        ),
        Format(
            "item_record_with_history",
            1,
            "an item record",
            lambda: encode_item(ITEM_WITH_HISTORY),
            decode_item,
            ITEM_WITH_HISTORY,
        ),
        Format("item_record", 1, "an item record", lambda: encode_item(ITEM), decode_item, ITEM),
        Format(
            "counters",
            2,
            "a counter record",
            lambda: encode_counters(COUNTERS),
            decode_counters,
            COUNTERS,
            {1: COUNTERS_1},
        ),
        Format(
            "progress",
            4,
            "a progress record",
            lambda: encode_progress(PROGRESS),
            decode_progress,
            PROGRESS,
            {
                1: msgspec.structs.replace(PROGRESS, crowded=(), flaws=(), step_ms=0, rules=0),
                2: msgspec.structs.replace(PROGRESS, flaws=(), step_ms=0, rules=0),
                3: msgspec.structs.replace(PROGRESS, rules=0),
            },
        ),
        Format("shown", 1, "a record of what was shown", lambda: encode_shown(SHOWN), decode_shown, SHOWN),
    ]


FORMATS = _formats()
