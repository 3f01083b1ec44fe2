"""What becomes of bytes that are no event: one dead letter each, that says where and why, and never more."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys.catalog import CatalogChange
from recsys.decode import Decoder, visitor_of
from recsys.events import MAX_EVENT_BYTES, Arrival, DeadLetter
from recsys.ports import Position, Record
from recsys.segment import KNOWN_EVENT_NAMES, split_batch
from tests.recsys.wire import POSITION, RECEIVED_MS, analytics_js_page, outcomes, refused, taken, track

INVALID = "invalid_json: Expected JSON in UTF-8, "
CALLS = "one of track, page, screen, identify, alias, group"
PROPERTIES = {
    "order_id": "o", "revenue": 12.5, "products": [{"product_id": "t", "price": "12,5", "quantity": 1}],
    "product_id": "t", "price": 9, "name": "T\u00e9nt",
}  # fmt: skip


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", INVALID + "got Input data was truncated - at `$`"),
        (b'{"a":', INVALID + "got Input data was truncated - at `$`"),
        (
            b"hello",
            INVALID + "got JSON is malformed: invalid character (byte 0) - at `$`",
        ),
        (b"7", "wrong_type: Expected `object`, got `int` - at `$`"),
        (b"[]", "wrong_type: Expected `object`, got `array` - at `$`"),
        (b"{}", f"missing_field: Expected {CALLS}, got nothing - at `$.type`"),
        (b'{"type":"delete"}', f"wrong_type: Expected {CALLS}, got `delete` - at `$.type`"),
        (b'{"type":7}', f"wrong_type: Expected {CALLS}, got `7` - at `$.type`"),
        (b'{"type":[]}', "wrong_type: Expected `str | null`, got `array` - at `$.type`"),
        (b'{"type":"track","event":{}}', "wrong_type: Expected `str | null`, got `object` - at `$.event`"),
        (b'{"type":"track"}', "missing_field: Expected a name, got nothing - at `$.event`"),
        (b'{"type":"track","event":""}', "missing_field: Expected a name, got nothing - at `$.event`"),
        (
            b'{"type":"page","userId":true}',
            "wrong_type: Expected `int | float | str | null`, got `bool` - at `$.userId`",
        ),
    ],
)
def test_a_dead_letter_says_where_what_was_expected_and_what_came(raw: bytes, message: str) -> None:
    letter = refused(raw)
    assert str(letter) == message
    assert (letter.raw, letter.position, letter.index) == (raw, POSITION, 0)
    assert letter.received_ms == RECEIVED_MS


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ([], "Expected `object`, got `array` - at `$.properties`"),
        (
            {"product_id": ["a"]},
            "Expected `int | float | str | null`, got `array` - at `$.properties.product_id`",
        ),
        ({"products": {}}, "Expected `array | null`, got `object` - at `$.properties.products`"),
        ({"products": [{}, None]}, "Expected `object`, got `null` - at `$.properties.products[1]`"),
    ],
)
def test_a_view_that_names_no_item_because_of_its_shape(properties: object, message: str) -> None:
    assert str(refused(track("Product Viewed", properties))) == f"wrong_type: {message}"


@pytest.mark.parametrize(
    ("name", "properties", "path"),
    [
        ("Order Completed", [], "$.properties"),
        ("Order Refunded", {"order_id": []}, "$.properties.order_id"),
        ("Order Updated", {"order_id": {}}, "$.properties.order_id"),
        ("Order Cancelled", {"order_id": "x" * 300}, "$.properties.order_id"),
        ("Order Refunded", {"order_id": "o1", "total": "most of it"}, "$.properties.total"),
        ("Article Read", {"content_id": True}, "$.properties.content_id"),
    ],
)
def test_what_nobody_could_act_on_is_refused(name: str, properties: object, path: str) -> None:
    assert refused(track(name, properties)).path == path


def test_an_event_may_be_as_large_as_allowed() -> None:
    def sized(size: int) -> bytes:
        raw = json.dumps(track("Product Viewed", {"x": ""})).encode()
        return raw.replace(b'"x": ""', b'"x": "' + b"x" * (size - len(raw)) + b'"')

    assert len(sized(MAX_EVENT_BYTES)) == MAX_EVENT_BYTES
    taken(sized(MAX_EVENT_BYTES))
    assert str(refused(sized(MAX_EVENT_BYTES + 1))) == (
        "too_large: Expected at most 262144 bytes, got 262145 bytes - at `$`"
    )


@pytest.mark.parametrize("where", ['"other":', '"properties":', '"context":{"x":', '"batch":'])
@pytest.mark.parametrize(("start", "end"), [("[", "]"), ('{"a":', "}")])
@pytest.mark.parametrize("closed", [True, False])
def test_endless_nesting_is_refused(where: str, start: str, end: str, closed: bool) -> None:
    nested = start * 20_000 + ("1" + end * 20_000 if closed else "")
    raw = f'{{"type":"track","event":"Product Viewed","userId":"a",{where}{nested}}}'.encode()
    letter = refused(raw)
    assert str(letter) == "too_large: Expected some hundred levels of nesting at most, got more - at `$`"
    assert visitor_of(raw) == ""


@pytest.mark.parametrize(
    "bad", [b"\xff", b"\xed\xa0\x80", b"\xc3", b"\\ud800", b"\\udc00x", b"\\ud800\\u0041"]
)
def test_text_that_is_no_utf8_is_refused(bad: bytes) -> None:
    raw = b'{"type":"track","event":"Product Viewed","anonymousId":"a' + bad + b'"}'
    assert refused(raw).kind == "invalid_json"
    assert visitor_of(raw) == ""


@pytest.mark.parametrize(
    "field",
    [
        b'"timestamp":"2026\xff"',
        b'"properties":{"product_id":"t","price":"12\xa0EUR"}',
        b'"properties":{"product_id":"t","products":[{"product_id":"t","price":"1\xff"}]}',
    ],
)
def test_a_number_or_a_time_that_is_no_utf8_is_refused(field: bytes) -> None:
    raw = b'{"type":"track","event":"Product Viewed","anonymousId":"a",' + field + b"}"
    assert refused(raw).kind == "invalid_json"
    (letter,) = [one for one in outcomes(b'{"batch":[' + raw + b"]}") if isinstance(one, DeadLetter)]
    assert letter.kind == "invalid_json"


@settings(max_examples=300)
@given(
    call=st.sampled_from([
        analytics_js_page(), *(track(name, PROPERTIES) for name in ("Order Completed", "Product Viewed")),
        {"type": "identify", "userId": "u", "anonymousId": "v", "traits": {"email": "a@b.example"}},
        {"batch": [track("Cart Viewed", PROPERTIES)], "sentAt": "2026-01-01T00:00:00Z"},
    ]),
    place=st.floats(0, 1, exclude_max=True),
    new=st.binary(max_size=3),
)  # fmt: skip
def test_whatever_bytes_come_each_event_is_taken_or_refused(call: object, place: float, new: bytes) -> None:
    raw = json.dumps(call).encode()
    at = int(place * len(raw))
    raw = raw[:at] + new + raw[at + 1 :]
    for one in outcomes(raw):
        assert isinstance(one, Arrival | DeadLetter)
    visitor_of(raw)


def test_bytes_that_nobody_reads_stay_as_they_are() -> None:
    assert taken(b'{"type":"page","userId":"a","other":"\xff"}').user_id == "a"


# Catalogue changes


def change(body: object) -> list[Any]:
    return outcomes(body, key="headrace:catalog:tent")


def test_a_catalogue_change_comes_through() -> None:
    (found,) = change({"op": "patch", "id": "tent", "item": {"price": 9}})
    assert found == CatalogChange(POSITION, RECEIVED_MS, "patch", "tent", b'{"price": 9}')


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            {"op": "sell", "id": "a"},
            "wrong_type: Expected a valid value, got Invalid enum value 'sell' - at `$.op`",
        ),
        ({"id": "a"}, "missing_field: Expected a value, got nothing - at `$.op`"),
        ({"op": "remove"}, "missing_field: Expected a value, got nothing - at `$.id`"),
        ({"op": "upsert", "id": "a"}, "missing_field: Expected a value, got nothing - at `$.item.id`"),
        ({"op": "remove", "id": ""}, "wrong_type: Expected an id of 1 to 200 bytes, got 0 bytes - at `$.id`"),
        (
            {"op": "remove", "id": "é" * 110},
            "wrong_type: Expected an id of 1 to 200 bytes, got 220 bytes - at `$.id`",
        ),
        (
            {"op": "upsert", "id": "a", "item": {"id": "a", "price": "9"}},
            "wrong_type: Expected `float | null`, got `str` - at `$.item.price`",
        ),
        (
            {"op": "patch", "id": "a", "item": {"category": "Tents"}},
            "wrong_type: Expected `array`, got `str` - at `$.item.category`",
        ),
        (
            {"op": "patch", "id": "a", "item": {"price": -5}},
            "wrong_type: Expected 0 to 1000000000, got -5.0 - at `$.item.price`",
        ),
        (
            {"op": "upsert", "id": "a", "item": {"id": "a", "title": "x" * 501}},
            "wrong_type: Expected at most 500 characters, got 501 - at `$.item.title`",
        ),
        (
            {"op": "patch", "id": "a", "item": {"category": ["x"] * 33}},
            "wrong_type: Expected at most 32, got 33 - at `$.item.category`",
        ),
        (
            {"op": "patch", "id": "a", "item": {"attributes": {"color": "x" * 501}}},
            "wrong_type: Expected at most 500 characters, got 501 - at `$.item.attributes[...]`",
        ),
        ({"op": "patch", "id": "a", "item": []}, "wrong_type: Expected `object`, got `array` - at `$.item`"),
    ],
)
def test_a_wrong_change_says_where(body: dict[str, object], message: str) -> None:
    (letter,) = change(body)
    assert isinstance(letter, DeadLetter)
    assert str(letter) == message
    assert letter.raw == json.dumps(body).encode()


@pytest.mark.parametrize("raw", [b"", b"\xff", b'{"op":"remove","id":"\xff"}', b"[" * 20_000])
def test_a_broken_change_is_a_dead_letter(raw: bytes) -> None:
    (letter,) = change(raw)
    assert isinstance(letter, DeadLetter)


# Whatever comes

_ids = st.one_of(st.none(), st.text(max_size=5), st.integers(), st.floats(allow_nan=False), st.booleans())
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
_named = st.sampled_from(
    [
        "product_id",
        "sku",
        "price",
        "quantity",
        "products",
        "total",
        "value",
        "content_id",
        "order_id",
        "dwell_s",
    ]
)
_properties = st.dictionaries(
    _named, _json | st.sampled_from(["NaN", "-inf", "1e308", "12.5", ""]), max_size=4
)
_calls = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["track", "page", "screen", "identify", "alias", "group"]) | _json,
        "event": st.sampled_from(KNOWN_EVENT_NAMES) | _json,
        "anonymousId": _ids,
        "userId": _ids,
        "previousId": _ids,
        "groupId": _ids,
        "messageId": _ids,
        "timestamp": _json | st.datetimes().map(lambda at: at.isoformat()),
        "sentAt": _json | st.datetimes().map(lambda at: at.isoformat()),
        "context": _json | st.fixed_dictionaries({"consent": _json, "campaign": _json}),
        "properties": _json
        | _properties
        | st.fixed_dictionaries({"products": st.lists(_properties, max_size=3)}),
    },
)
_keys = st.sampled_from(["v1", "", "headrace:served:d1", "headrace:catalog:tent"])


def _is_accounted_for(raw: bytes, key: str) -> None:
    found = Decoder().decode(Record(Position(0, 7), key, raw, RECEIVED_MS), RECEIVED_MS)
    if key == "headrace:catalog:tent":
        (one,) = found
        assert isinstance(one, CatalogChange | DeadLetter)
        return
    singles = split_batch(raw)
    assert len(found) == len(singles) >= 1
    for index, (one, single) in enumerate(zip(found, singles, strict=True)):
        assert isinstance(one, Arrival | DeadLetter)
        assert one.raw == single
        (alone,) = Decoder().decode(Record(Position(0, 7), key, single, RECEIVED_MS), RECEIVED_MS)
        if isinstance(one, DeadLetter):
            assert isinstance(alone, DeadLetter)
            assert (str(alone), one.index) == (str(one), index)
        else:
            assert isinstance(alone, Arrival)
            assert alone.flaws == one.flaws
            assert one.event.index == index
            assert one.event.visitor == visitor_of(single) != ""
            one.event.visitor.encode()  # a key of the state


@settings(max_examples=300)
@given(st.binary(max_size=60), _keys)
def test_any_bytes_are_accounted_for(raw: bytes, key: str) -> None:
    _is_accounted_for(raw, key)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(_calls, _keys)
def test_any_call_is_accounted_for(call: dict[str, object], key: str) -> None:
    _is_accounted_for(json.dumps(call).encode(), key)


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(_calls | _json, max_size=4), _calls, st.sampled_from(["", "headrace:served:d1"]))
def test_any_batch_is_accounted_for(batch: list[object], shared: dict[str, object], key: str) -> None:
    _is_accounted_for(json.dumps({**shared, "batch": batch}).encode(), key)


@settings(max_examples=300)
@given(st.data())
def test_a_damaged_call_is_accounted_for(data: st.DataObject) -> None:
    raw = bytearray(json.dumps({"batch": [track("Product Viewed", {"products": [{"sku": "é"}]})]}).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    _is_accounted_for(bytes(raw), "v1")
