"""What each call means: names, identity, products and everything else the fold reads."""

from __future__ import annotations

import pytest

from recsys.decode import Decoder
from recsys.events import Action, Line, Source
from recsys.segment import KNOWN_EVENT_NAMES
from recsys.touchpoints import DEFAULT_TOUCHPOINTS, Rule, Touchpoint, Touchpoints
from tests.recsys.wire import (
    POSITION,
    RECEIVED_MS,
    analytics_js_page,
    flaws,
    outcomes,
    refused,
    rudderstack_browser,
    rudderstack_ios_screen,
    segment_delivered,
    taken,
    track,
)

ECOMMERCE_V2 = {
    "Products Searched": (Action.SEARCH, "site"),
    "Product List Viewed": (Action.LIST_VIEW, "site"),
    "Product List Filtered": (Action.LIST_VIEW, "site"),
    "Promotion Viewed": (Action.PROMOTION, "site"),
    "Promotion Clicked": (Action.PROMOTION, "site"),
    "Product Clicked": (Action.CLICK, "site"),
    "Product Viewed": (Action.VIEW, "site"),
    "Product Added": (Action.CART_ADD, "site.cart"),
    "Product Removed": (Action.CART_REMOVE, "site.cart"),
    "Cart Viewed": (Action.CART_VIEW, "site.cart"),
    "Checkout Started": (Action.CHECKOUT, "site.checkout"),
    "Checkout Step Viewed": (Action.CHECKOUT, "site.checkout"),
    "Checkout Step Completed": (Action.CHECKOUT, "site.checkout"),
    "Payment Info Entered": (Action.CHECKOUT, "site.checkout"),
    "Order Completed": (Action.ORDER, "site.order"),
    "Order Updated": (Action.ORDER_UPDATE, "service.order"),
    "Order Refunded": (Action.REFUND, "service.order"),
    "Order Cancelled": (Action.ORDER_CANCEL, "service.order"),
    "Coupon Entered": (Action.COUPON, "site.checkout"),
    "Coupon Applied": (Action.COUPON, "site.checkout"),
    "Coupon Denied": (Action.COUPON, "site.checkout"),
    "Coupon Removed": (Action.COUPON, "site.checkout"),
    "Product Added to Wishlist": (Action.WISH, "site"),
    "Product Removed from Wishlist": (Action.UNWISH, "site"),
    "Wishlist Product Added to Cart": (Action.CART_ADD, "site.cart"),
    "Product Shared": (Action.SHARE, "site"),
    "Cart Shared": (Action.SHARE, "site.cart"),
    "Product Reviewed": (Action.REVIEW, "site.review"),
}
OTHERS = {
    "Email Delivered": (Action.EMAIL_SENT, "email"),
    "Email Opened": (Action.EMAIL_OPEN, "email"),
    "Email Link Clicked": (Action.EMAIL_CLICK, "email"),
    "Email Bounced": (Action.EMAIL_FAIL, "email"),
    "Email Marked as Spam": (Action.UNSUBSCRIBE, "email"),
    "Unsubscribed": (Action.UNSUBSCRIBE, "email"),
    "Subscribed": (Action.SUBSCRIBE, "email"),
    "Article Viewed": (Action.READ, "site.article"),
    "Article Read": (Action.READ, "site.article"),
    "Content Viewed": (Action.READ, "site.article"),
    "Page Left": (Action.LEAVE, "site"),
    "Signed In": (Action.LOGIN, "site"),
    "Logged In": (Action.LOGIN, "site"),
    "Signed Out": (Action.LOGOUT, "site"),
    "Logged Out": (Action.LOGOUT, "site"),
}
KNOWN = {**ECOMMERCE_V2, **OTHERS}


def test_the_tables_above_name_every_event_that_means_something() -> None:
    assert len(ECOMMERCE_V2) == 28
    assert {name.lower() for name in KNOWN} == set(KNOWN_EVENT_NAMES)


@pytest.mark.parametrize("name", KNOWN)
def test_a_known_name_in_title_lower_and_snake_case(name: str) -> None:
    action, touchpoint = KNOWN[name]
    for spelled in (name, name.lower(), name.lower().replace(" ", "_"), f" {name} "):
        event = taken(track(spelled))
        assert (event.action, event.touchpoint, event.name) == (action, touchpoint, spelled)


@pytest.mark.parametrize(
    ("kind", "action"),
    [
        ("page", Action.PAGE),
        ("screen", Action.PAGE),
        ("identify", Action.IDENTIFY),
        ("group", Action.GROUP),
    ],
)
def test_the_other_calls(kind: str, action: Action) -> None:
    event = taken(
        {"type": kind, "anonymousId": "v1", "userId": "anna", "groupId": "club", "traits": {"a": 1}}
    )
    assert (event.action, event.name, event.visitor, event.user_id) == (action, kind, "v1", "anna")


def test_a_group_call_names_its_group() -> None:
    assert taken({"type": "group", "userId": "anna", "groupId": 1042}).group_id == "1042"


def test_an_alias_is_folded_under_the_id_it_renames() -> None:
    event = taken({"type": "alias", "previousId": "v1", "userId": "anna", "anonymousId": "v2"})
    assert (event.action, event.visitor, event.user_id) == (Action.ALIAS, "v1", "anna")


def test_an_unknown_name_is_kept_whatever_its_properties_look_like() -> None:
    odd = {"value": "a lot", "products": "none", "price": {"from": 3}, "path": 7, "query": ["a"]}
    event = taken(track("Video Played", odd))
    assert (event.action, event.name, event.lines, event.value) == (Action.OTHER, "Video Played", (), None)
    assert taken(track("Video Played", [1, 2])).action is Action.OTHER
    assert taken(track("Video Played", {"product_id": "tent", "price": 5})).lines == (Line("tent", price=5),)


def test_a_track_call_may_leave_out_its_type() -> None:
    call = track("Product Viewed")
    del call["type"]
    assert taken(call).action is Action.VIEW


def test_a_long_name_is_cut() -> None:
    assert taken(track("é" * 1000)).name == "é" * 500


# As the libraries send them


def test_a_page_call_of_analytics_js() -> None:
    event = taken(analytics_js_page())
    assert event.visitor == "8f0f6ec3-5dd0-4b1c-8d5c-2b3a4a8c0f00"
    assert event.user_id is None
    assert (event.action, event.name, event.path) == (Action.PAGE, "page", "/tents/trail-tent-2")
    assert event.source == Source("newsletter", "email", "spring", "https://www.example.com/search?q=tents")
    assert event.touchpoint == "email"
    assert event.at_ms == RECEIVED_MS - 7  # the browser sent it 7 ms after it happened
    assert event.lines == ()


def test_a_copy_that_segment_delivers() -> None:
    event = taken(segment_delivered())
    assert (event.visitor, event.user_id, event.action) == (
        "507f191e810c19729de860ea",
        "anna",
        Action.CART_ADD,
    )
    assert event.received_ms == RECEIVED_MS - 500
    assert event.at_ms == RECEIVED_MS - 2500  # `timestamp`, which Segment has repaired already
    assert event.lines == (Line("tent-2", 2.0, 199.0),)
    assert (event.device, event.message_id) == ("ios", "022bb90c-bbac-11e4-8dfc-aa07a5b093db")


def test_a_call_of_rudderstack_in_a_browser() -> None:
    event = taken(rudderstack_browser())
    assert (event.action, event.category, event.path) == (Action.LIST_VIEW, "Outdoor > Tents", "/tents")
    assert event.lines == (
        Line("tent-1", 1.0, 99.9, "Trail Tent 1"),
        Line("2", 1.0, 199.0, "Trail Tent 2"),
    )
    assert event.user_id is None
    assert event.blocked_ids == 0  # it says userId "" on every event of an unknown visitor
    assert event.source == Source("", "", "", "$direct")
    assert event.at_ms == RECEIVED_MS - 9_599


def test_a_screen_of_rudderstack_on_ios() -> None:
    event = taken(rudderstack_ios_screen())
    assert (event.action, event.name, event.touchpoint) == (Action.PAGE, "Product Detail", "app")
    assert event.at_ms == RECEIVED_MS - 1000


@pytest.mark.parametrize(
    ("fields", "touchpoint"),
    [
        ({}, "site"),
        ({"channel": "mobile"}, "app"),
        ({"context": {"channel": "mobile"}}, "app"),
        ({"channel": "client", "context": {"device": {"type": "android"}}}, "app"),
        ({"context": {"device": {"type": "mobile"}}}, "site"),  # a browser on a phone
        ({"channel": "pos"}, "store"),
        ({"channel": "call_center"}, "call_center"),
        ({"context": {"campaign": {"medium": "CPC"}}}, "paid_search"),
        ({"context": {"campaign": {"medium": "unheard of"}}}, "site"),
    ],
)
def test_where_it_happened_makes_the_touchpoint(fields: dict[str, object], touchpoint: str) -> None:
    assert taken(track("Product Viewed", **fields)).touchpoint == touchpoint
    assert touchpoint in DEFAULT_TOUCHPOINTS


def test_a_screen_delivered_by_segment_is_the_app() -> None:
    assert taken({"type": "screen", "anonymousId": "v1", "channel": "client"}).touchpoint == "app"


def test_touchpoints_are_the_shops_own() -> None:
    own = Touchpoints({"kiosk": Touchpoint("store")}, (Rule("kiosk", channel="kiosk"),))
    assert taken(track("Product Viewed", channel="kiosk"), decoder=Decoder(own)).touchpoint == "kiosk"


# Products, articles, amounts


def test_prices_and_quantities_may_be_strings() -> None:
    line = taken(track("Product Added", {"product_id": 1042, "price": "12.50", "quantity": "3"})).lines[0]
    assert line == Line("1042", 3.0, 12.5)


@pytest.mark.parametrize("number", ["NaN", "inf", "-Infinity", 1e300, "1e13"])
def test_amounts_that_are_none_are_taken_as_not_given(number: object) -> None:
    properties = {"product_id": "tent", "price": number, "quantity": number, "total": number, "value": number}
    event = taken(track("Order Completed", {**properties, "dwell_s": number, "scroll": number}))
    assert event.lines == (Line("tent", 1.0, None),)
    assert (event.value, event.dwell_s, event.scroll) == (None, None, None)


def test_a_price_below_nothing_is_taken_as_not_given() -> None:
    assert taken(track("Product Viewed", {"product_id": "a", "price": -5})).lines == (Line("a"),)


@pytest.mark.parametrize("quantity", [0, -2, 1e9, None])
def test_a_quantity_that_is_none_is_one(quantity: object) -> None:
    assert taken(track("Product Added", {"product_id": "a", "quantity": quantity})).lines[0].quantity == 1.0


def test_an_id_of_digits_stays_the_text_it_is() -> None:
    assert taken(track("Product Viewed", {"product_id": "00123"})).lines[0].item == "00123"
    assert taken(track("Product Viewed", {"product_id": 123.0})).lines[0].item == "123"
    assert taken(track("Product Viewed", anonymousId=123.0)).visitor == "123"


def test_a_product_without_an_id_goes_by_its_sku() -> None:
    for missing in ({}, {"product_id": None}, {"product_id": ""}):
        assert taken(track("Product Viewed", {**missing, "sku": "TT2"})).lines == (Line("TT2"),)
    assert taken(track("Product Viewed", {"name": "Tent"})).lines == ()


@pytest.mark.parametrize("item", ["", "null", "undefined", "None", "NaN"])
def test_an_item_id_that_names_nothing_is_no_line(item: str) -> None:
    assert taken(track("Product Viewed", {"product_id": item})).lines == ()
    assert taken(track("Article Viewed", {"content_id": item})).lines == ()
    products = [{"product_id": item}, {"product_id": "tent"}]
    assert taken(track("Order Completed", {"products": products})).lines == (Line("tent"),)


@pytest.mark.parametrize("item", ["0", "guest", "email", "true"])
def test_what_names_nobody_may_name_a_product(item: str) -> None:
    assert taken(track("Product Viewed", {"product_id": item})).lines == (Line(item),)


def test_articles_have_ids_of_their_own() -> None:
    properties = {"content_id": 12, "title": "Pitching", "category": "Guides", "url": "https://x/12"}
    for name in ("Article Viewed", "Product Clicked", "Page Left"):
        line = taken(track(name, properties)).lines[0]
        assert line == Line("article:12", name="Pitching", category="Guides", url="https://x/12")
    assert taken(track("Article Read", {"article_id": "a"})).lines[0].item == "article:a"
    assert taken(track("Article Read", {"product_id": "tent"})).lines == ()


def test_a_product_with_a_content_id_stays_a_product() -> None:
    properties = {"product_id": "tent", "content_id": "landing-7"}
    assert taken(track("Product Viewed", properties)).lines == (Line("tent"),)


def test_long_texts_are_cut_and_long_links_dropped() -> None:
    properties = {"product_id": "a", "name": "n" * 600, "url": "u" * 3000, "image_url": "https://i"}
    line = taken(track("Product Viewed", properties)).lines[0]
    assert (line.name, line.url, line.image) == ("n" * 500, None, "https://i")


def test_two_hundred_and_fifty_products_are_the_most() -> None:
    products = [{"product_id": f"p{n}"} for n in range(251)]
    assert flaws(track("Cart Viewed", {"products": products[:250]})) == []
    call = track("Cart Viewed", {"products": products})
    assert [line.item for line in taken(call).lines] == [f"p{n}" for n in range(250)]
    assert flaws(call) == ["too_long: Expected at most 250, got 251 - at `$.properties.products`, left out"]


@pytest.mark.parametrize(
    ("properties", "value"),
    [
        ({"total": 30, "revenue": 25, "value": 20}, 30.0),
        ({"revenue": "25", "value": 20}, 25.0),
        ({"value": 0}, 0.0),
        ({}, None),
    ],
)
def test_the_value_of_an_order(properties: dict[str, object], value: float | None) -> None:
    assert taken(track("Order Completed", properties)).value == value


def test_a_cart_that_was_looked_at_and_is_empty_is_worth_nothing() -> None:
    assert taken(track("Cart Viewed", {"products": []})).value == 0.0
    assert taken(track("Cart Viewed", {"cart_id": "c"})).value is None


@pytest.mark.parametrize(
    ("properties", "dwell_s", "scroll"),
    [
        ({"dwell_s": 12.5, "scroll": 0.4}, 12.5, 0.4),
        ({"time_on_page": 90_000, "scroll_depth": 40}, 1800.0, 0.4),
        ({"engagement_time_msec": 1500, "dwell_s": 9, "percent_scrolled": 250}, 1.5, 1.0),
        ({"dwell_s": -3, "scroll": -1}, 0.0, 0.0),
        ({}, None, None),
    ],
)
def test_dwell_and_scroll(properties: dict[str, object], dwell_s: float | None, scroll: float | None) -> None:
    event = taken(track("Page Left", properties))
    assert (event.dwell_s, event.scroll) == (dwell_s, scroll)


def test_null_is_the_same_as_left_out() -> None:
    nulls = dict.fromkeys(("properties", "traits", "context", "timestamp", "sentAt", "userId", "channel"))
    event = taken(track("Product Viewed", **nulls))
    assert (event.lines, event.user_id, event.consent, event.at_ms) == ((), None, None, RECEIVED_MS)
    context = dict.fromkeys(("page", "campaign", "device", "consent", "channel"))
    assert taken(track("Product Viewed", {}, context=context)).source is None


# Batch calls


def test_a_batch_is_its_events_in_order_with_what_they_share() -> None:
    batch = {
        "batch": [
            track("Product Viewed", {"product_id": "a"}, timestamp="2025-10-09T08:00:00Z"),
            track("Product Added", {"product_id": "b"}, context={"page": {"path": "/b"}}, sentAt=None),
            {"type": "identify", "userId": "anna", "sentAt": "2025-10-09T08:00:00Z"},
        ],
        "sentAt": "2025-10-09T08:00:10Z",
        "context": {"page": {"path": "/all"}, "device": {"type": "ios"}},
        "writeKey": "KEY",
    }
    found = [out.event for out in outcomes(batch)]  # type: ignore[union-attr]
    assert [(event.index, event.action) for event in found] == [
        (0, Action.VIEW),
        (1, Action.CART_ADD),
        (2, Action.IDENTIFY),
    ]
    assert [event.position for event in found] == [POSITION] * 3
    assert [event.path for event in found] == ["/all", "/b", "/all"]
    assert [event.device for event in found] == ["ios", "ios", "ios"]
    assert found[0].at_ms == RECEIVED_MS - 10_000


def test_one_bad_event_of_a_batch_leaves_the_others_alone() -> None:
    out = outcomes({"batch": [track("Product Viewed"), 7, {"type": "page"}, track("Product Viewed")]})
    assert [type(one).__name__ for one in out] == ["Arrival", "DeadLetter", "DeadLetter", "Arrival"]
    assert [getattr(one, "index", None) for one in out[1:3]] == [1, 2]
    assert out[1].raw == b"7"  # type: ignore[union-attr]


def test_an_empty_batch_is_accounted_for() -> None:
    assert refused({"batch": []}).kind == "missing_field"


def test_a_batch_that_blows_up_is_one_dead_letter() -> None:
    shared = {"page": {"path": "/" + "x" * 200_000}}
    assert refused({"batch": [{}] * 1000, "context": shared}).raw.startswith(b'{"batch"')
    assert len(outcomes({"batch": [1] * 20_000})) == 20_000
    assert refused({"batch": [1] * 20_001}).kind == "missing_field"


def test_an_event_that_only_speaks_of_a_batch_is_one_event() -> None:
    call = track("Product Viewed", {"product_id": "tent", "batch": [1, 2]})
    assert taken(call).lines == (Line("tent"),)


# Headrace's own records


def test_a_block_served_comes_as_an_event() -> None:
    call = track("Block Served", {"products": [{"product_id": "tent"}]})
    assert taken(call, key="headrace:served:d1").action is Action.SERVED
    assert taken(call, key="v1").action is Action.OTHER


@pytest.mark.parametrize("call", ["identify", "group"])
@pytest.mark.parametrize(
    "traits", [[], "abc", 5, {"name": 5, "products": [{"product_id": "t"}], "query": "tents", "order_id": 7}]
)
def test_traits_tell_nothing_of_what_happened(call: str, traits: object) -> None:
    event = taken({"type": call, "anonymousId": "v1", "userId": "anna", "groupId": "g", "traits": traits})
    assert event.user_id == "anna"
    assert (event.lines, event.query, event.order_id) == ((), None, None)
    assert not flaws({"type": call, "anonymousId": "v1", "userId": "anna", "groupId": "g", "traits": traits})
