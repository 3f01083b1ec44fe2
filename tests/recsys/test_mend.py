"""One wrong field does not cost the event: it is read by plain rules or left out, and told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.decode import Decoder, visitor_of
from recsys.events import Action, Arrival, Flaw, Line, each_once
from recsys.mend import number_in, without_halves
from tests.recsys.wire import flaws, outcomes, refused, taken, track

NUMBER, TEXT = "wrong_type: Expected `float | null`", "wrong_type: Expected `str | null`"
OBJECT = "wrong_type: Expected `object | null`"


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1,234.50", 1234.5),
        ("1.234,50", 1234.5),
        ("1 234,50", 1234.5),
        ("1\u00a0234.50", 1234.5),
        ("CHF 1'234.50", 1234.5),
        ("1,234,567", 1_234_567.0),
        ("1.234.567", 1_234_567.0),
        ("1,234", 1234.0),
        ("1.234", 1.234),
        ("12,5", 12.5),
        ("0,500", 0.5),
        ("$12", 12.0),
        (" 12.50 € ", 12.5),
        ("12.50 EUR", 12.5),
        ("-3", -3.0),
        ("1,23,4", None),
        ("1.234,50,0", None),
        ("12 kg", None),
        ("two", None),
        ("", None),
        ("EUR", None),
        ("1" * 41, None),
    ],
)
def test_a_number_in_a_text(text: str, number: float | None) -> None:
    assert number_in(text) == number


@given(st.floats(min_value=-1e9, max_value=1e9).map(lambda value: round(value, 2)))
def test_however_thousands_are_parted(value: float) -> None:
    english = f"{value:,.2f}"
    continental = english.translate(str.maketrans(",.", ".,"))
    spaced = english.replace(",", " ")
    assert number_in(english) == number_in(continental) == number_in(spaced) == value


def test_an_order_survives_its_wrong_fields() -> None:
    products = [
        None,
        {"product_id": "tent", "name": 5, "price": "€ 1.234,50", "quantity": []},
        {"product_id": "pegs", "price": "12.50"},
    ]
    call = track(
        "Order Completed", {"order_id": "o1", "total": "1,247.00", "coupon": 7, "products": products}
    )
    event = taken(call)
    assert (event.action, event.order_id, event.value) == (Action.ORDER, "o1", 1247.0)
    assert event.lines == (Line("tent", 1.0, 1234.5, "5"), Line("pegs", 1.0, 12.5))
    assert flaws(call) == [
        "wrong_type: Expected `object`, got `null` - at `$.properties.products[0]`, left out",
        f"{TEXT}, got `int` - at `$.properties.products[1].name`, read",
        f"{NUMBER}, got `str` - at `$.properties.products[1].price`, read",
        f"{NUMBER}, got `array` - at `$.properties.products[1].quantity`, left out",
        f"{NUMBER}, got `str` - at `$.properties.total`, read",
    ]


@pytest.mark.parametrize(
    ("call", "wrong"),
    [
        ({"context": {"page": {"path": 1}}}, f"{TEXT}, got `int` - at `$.context.page.path`, read"),
        (
            {"context": {"page": 1}},
            f"{OBJECT}, got `int` - at `$.context.page`, left out",
        ),
        ({"context": []}, f"{OBJECT}, got `array` - at `$.context`, left out"),
        ({"channel": {}}, f"{TEXT}, got `object` - at `$.channel`, left out"),
        ({"name": True}, f"{TEXT}, got `bool` - at `$.name`, left out"),
    ],
)
def test_a_wrong_field_of_the_call(call: dict[str, object], wrong: str) -> None:
    call = {"type": "page", "anonymousId": "v1", **call}
    assert taken(call).visitor == "v1"
    assert flaws(call) == [wrong]


def test_a_number_too_large_for_any_field_is_left_out() -> None:
    raw = b'{"type":"page","userId":"a","timestamp":1e400}'
    assert flaws(raw) == [
        "wrong_type: Expected a valid value, got Number out of range - at `$.timestamp`, left out"
    ]


def test_a_null_among_the_products_is_no_empty_cart() -> None:
    event = taken(track("Cart Viewed", {"products": [None]}))
    assert (event.lines, event.value) == ((), None)


def test_products_of_another_shape_say_nothing_of_the_cart() -> None:
    assert taken(track("Cart Viewed", {"products": {}})).value is None


def test_properties_of_events_without_a_spec_have_no_wrong_fields() -> None:
    odd = {"product_id": "tent", "value": "a lot", "price": {"from": 3}, "query": ["a"]}
    assert taken(track("Video Played", odd)).lines == (Line("tent"),)
    assert flaws(track("Video Played", odd)) == []


def test_an_event_of_a_batch_is_mended_for_itself() -> None:
    batch = {"batch": [track("Product Viewed", {"product_id": "a", "price": "$5"}), track("Video Played")]}
    found = [out for out in outcomes(batch) if isinstance(out, Arrival)]
    assert [len(out.flaws) for out in found] == [1, 0]


def test_a_context_of_the_batch_that_is_none_leaves_the_events_their_own() -> None:
    own = track("Product Viewed", {"product_id": "a"}, context={"page": {"path": "/a"}})
    (found,) = outcomes({"batch": [own], "context": 5, "userId": "anna"})
    assert isinstance(found, Arrival)
    assert (found.event.path, found.event.user_id) == ("/a", "anna")


def test_the_same_flaw_is_told_once_an_event() -> None:
    products = [{"product_id": f"p{n}", "price": []} for n in range(250)]
    assert len(flaws(track("Cart Viewed", {"products": products}))) == 1
    first, second = (Flaw("too_long", f"$.products[{n}].sku", "less", f"{n} bytes") for n in (300, 400))
    assert each_once([first, second]) == (first,)


_WRONG = st.sampled_from([5, True, [], {}, ["a"], {"a": 1}, "$12", "abc", None])
_FIELDS = st.sampled_from(
    ["name", "price", "total", "revenue", "value", "quantity", "query", "category", "brand", "scroll", "url"]
)


@settings(max_examples=200)
@given(st.dictionaries(_FIELDS, _WRONG, max_size=5), st.lists(st.dictionaries(_FIELDS, _WRONG), max_size=3))
def test_whatever_else_is_wrong_an_order_is_one(
    fields: dict[str, Any], products: list[dict[str, Any]]
) -> None:
    named = [{"product_id": f"p{n}", **product} for n, product in enumerate(products)]
    call = track("Order Completed", {"order_id": "o1", "products": [*named, None], **fields})
    event = taken(call)
    assert event.order_id == "o1"
    assert [line.item for line in event.lines] == [each["product_id"] for each in named]
    # What is wrong with one field does not show in the others.
    for field, wrong in fields.items():
        alone = taken(track("Order Completed", {"order_id": "o1", field: wrong}))
        if field not in ("total", "revenue", "value"):
            assert getattr(alone, field, None) == getattr(event, field, None)


def test_the_same_flaws_come_from_the_cache() -> None:
    decoder = Decoder()
    call = json.dumps(track("Product Viewed", {"product_id": "a", "price": "$5"})).encode()
    assert flaws(call, decoder=decoder) == flaws(call, decoder=decoder) != []


@pytest.mark.parametrize("half", [rb"\ud83d", rb"\uDE00", rb"\ud83d\u0041"])
def test_half_an_emoji_costs_no_event(half: bytes) -> None:
    call = (
        b'{"type":"track","event":"Product Viewed","anonymousId":"v1",%b"properties":'
        b'{"product_id":"a","name":"%b"}}'
    )
    told = "invalid_json: Expected whole characters, got half of a surrogate pair - at `$`, read"
    for raw in (call % (b"", b"Tent " + half), call % (b'"channel":"%b",' % half, b"Tent " + half)):
        assert taken(raw).lines[0].name == "Tent \ufffd" + ("A" if half.endswith(b"41") else "")
        assert visitor_of(raw) == "v1"
        assert told in flaws(raw)
    assert refused(call.replace(b"v1", b"v" + half) % (b"", b"Tent")).kind == "invalid_json"


def test_whole_emoji_and_backslashes_stay_as_they_are() -> None:
    raw = rb'{"a":"\ud83d\ude00 \\ud83d \u00e9"}'
    assert without_halves(raw) == raw


@pytest.mark.parametrize(
    ("name", "properties", "field"),
    [
        ("Product Viewed", {"productId": "P-1"}, "product_id` - a product"),
        ("Product Added", None, "product_id` - a product"),
        ("Article Viewed", {"title": "Tents"}, "content_id` - an article"),
    ],
)
def test_an_event_about_an_item_that_names_none_is_told(name: str, properties: object, field: str) -> None:
    path, _, what = field.partition("` - ")
    (wrong,) = flaws(track(name, properties))
    assert wrong == (
        f"missing_field: Expected the id of {what}, got nothing - at `$.properties.{path}`, left out"
    )
    assert not flaws(track("Page Left", properties))
