"""Who an event is about, what they consent to, and when two messages are one."""

from __future__ import annotations

import json

import pytest

from recsys.decode import Decoder, visitor_of
from recsys.events import BLOCKED_IDS, Consent
from tests.recsys.wire import (
    analytics_js_page,
    flaws,
    refused,
    rudderstack_browser,
    segment_delivered,
    taken,
    track,
)


@pytest.mark.parametrize("blocked", sorted(BLOCKED_IDS))
def test_an_id_that_names_nobody_is_ignored_and_counted(blocked: str) -> None:
    for spelled in (blocked, blocked.upper(), f" {blocked} "):
        event = taken({"type": "identify", "anonymousId": "v1", "userId": spelled})
        assert (event.visitor, event.user_id, event.blocked_ids) == ("v1", None, 1)
        event = taken({"type": "identify", "anonymousId": spelled, "userId": "anna"})
        assert (event.visitor, event.user_id, event.blocked_ids) == ("user:anna", "anna", 1)
        assert str(refused({"type": "identify", "anonymousId": spelled, "userId": spelled})) == (
            "no_identity: Expected an anonymousId or a userId, got ids that name nobody - at `$.anonymousId`"
        )


@pytest.mark.parametrize("number", [0, -1, 0.0, -1.0])
def test_numbers_that_name_nobody(number: float) -> None:
    assert taken({"type": "identify", "anonymousId": "v1", "userId": number}).blocked_ids == 1


@pytest.mark.parametrize(("given", "visitor"), [(7, "7"), (7.5, "7.5"), (" v1 ", "v1"), ("Zoë", "Zoë")])
def test_ids_may_be_numbers(given: object, visitor: str) -> None:
    assert taken(track("Product Viewed", anonymousId=given)).visitor == visitor


def test_who_has_no_device_has_a_visitor_of_their_own() -> None:
    event = taken({"type": "track", "event": "Order Completed", "userId": "anna"})
    assert (event.visitor, event.user_id, event.blocked_ids) == ("user:anna", "anna", 0)


def test_nobody_at_all() -> None:
    letter = refused({"type": "track", "event": "Product Viewed"})
    assert str(letter) == "no_identity: Expected an anonymousId or a userId, got nothing - at `$.anonymousId`"


@pytest.mark.parametrize("visitor", ["headrace:catalog:x", "user:anna"])
def test_headraces_own_names_are_nobodys(visitor: str) -> None:
    assert str(refused(track("Product Viewed", anonymousId=visitor))) == (
        "no_identity: Expected an id not starting with `headrace:` or `user:`, "
        f"got `{visitor}` - at `$.anonymousId`"
    )


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"anonymousId": "é" * 101}, "$.anonymousId"),
        ({"userId": "x" * 202}, "$.userId"),
        ({"properties": {"product_id": "é" * 101}}, "$.properties.product_id"),
        ({"properties": {"products": [{}, {"sku": "é" * 101}]}}, "$.properties.products[1].product_id"),
        ({"properties": {"article_id": "é" * 101}}, "$.properties.article_id"),
    ],
)
def test_ids_are_measured_in_bytes(fields: dict[str, object], path: str) -> None:
    assert str(refused(track("Product Viewed", **fields))) == (
        f"too_long: Expected an id of at most 200 bytes, got 202 bytes - at `{path}`"
    )


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"properties": {"sku": "a"}, "messageId": "漢" * 67 + "x"}, "$.messageId"),
        ({"properties": {"sku": "a"}, "groupId": "x" * 202}, "$.groupId"),
        (
            {"properties": {"products": [{"sku": "a"}, {"sku": "é" * 101}]}},
            "$.properties.products[1].product_id",
        ),
        ({"properties": {"product_id": "a", "order_id": "é" * 101}}, "$.properties.order_id"),
    ],
)
def test_an_id_that_the_event_can_do_without_is_left_out(fields: dict[str, object], path: str) -> None:
    assert flaws(track("Product Viewed", **fields)) == [
        f"too_long: Expected an id of at most 200 bytes, got 202 bytes - at `{path}`, left out"
    ]


@pytest.mark.parametrize("field", ["anonymousId", "userId"])
@pytest.mark.parametrize("wrong", [True, {"id": 5}, ["a"]])
def test_an_id_of_another_shape_is_left_out_where_the_other_one_tells(field: str, wrong: object) -> None:
    call = track("Signed Up", **{"anonymousId": "v1", "userId": "anna", field: wrong})
    event = taken(call)
    assert (event.visitor, event.user_id) == (("v1", None) if field == "userId" else ("user:anna", "anna"))
    assert [flaw.rpartition("`$.")[2] for flaw in flaws(call)] == [f"{field}`, left out"]
    alone = {"type": "page", field: wrong}
    assert (refused(alone).kind, refused(alone).path) == ("wrong_type", f"$.{field}")


@pytest.mark.parametrize("field", ["previousId", "userId"])
def test_an_alias_needs_both_of_its_ids(field: str) -> None:
    call = {"type": "alias", "previousId": "v1", "userId": "anna", field: ["x"]}
    assert (refused(call).kind, refused(call).path) == ("wrong_type", f"$.{field}")


def test_an_id_may_be_as_long_as_allowed() -> None:
    for text in ("x" * 200, "é" * 100, "漢" * 66):
        assert taken(track("Product Viewed", {"product_id": text}, anonymousId=text)).visitor == text


def test_the_partition_is_picked_by_who_the_event_is_folded_under() -> None:
    calls: list[object] = [
        analytics_js_page(),
        segment_delivered(),
        rudderstack_browser(),
        {"type": "alias", "previousId": "v1", "userId": "anna", "anonymousId": "v2"},
        {"event": "Product Viewed", "userId": 7},
        track("Product Viewed", anonymousId="undefined", userId="anna"),
    ]
    for call in calls:
        assert visitor_of(json.dumps(call).encode()) == taken(call).visitor
    for broken in (b"", b"{", b"[]", b'{"type":"track"}', b'{"anonymousId":"user:x"}', b"\xff", b"[" * 10**5):
        assert visitor_of(broken) == ""


# Consent


@pytest.mark.parametrize(
    ("preferences", "consent"),
    [
        ({"Advertising": True, "Personalization": True}, Consent(True, None)),
        ({"Advertising": True, "personalization": False}, Consent(False, None)),
        ({"Advertising": False}, Consent(False, None)),
        ({"Email": True, "Analytics": False}, Consent(None, True)),
        ({"Analytics": True}, None),
        ({}, None),
        (None, None),
    ],
)
def test_consent_comes_with_the_event(preferences: object, consent: Consent | None) -> None:
    decoder = Decoder()
    call = track("Product Viewed", context={"consent": {"categoryPreferences": preferences}})
    for _ in range(2):  # a second time from the cache
        assert taken(call, decoder=decoder).consent == consent


def test_unsubscribing_is_consent_about_email() -> None:
    assert taken(track("Unsubscribed")).consent == Consent(None, False)
    assert taken(track("Email Marked as Spam")).consent == Consent(None, False)
    assert taken(track("Subscribed")).consent == Consent(None, True)


def test_consent_of_another_shape_is_refused_every_time() -> None:
    decoder = Decoder()
    call = track("Product Viewed", context={"consent": {"categoryPreferences": {"Advertising": "yes"}}})
    for _ in range(2):
        assert str(refused(call, decoder=decoder)) == (
            "wrong_type: Expected `bool | null`, got `str` - at `$.context.consent.categoryPreferences[...]`"
        )


def test_consent_may_be_text_and_null_says_nothing() -> None:
    preferences = {"Advertising": "false", "Email": 1, "Personalization": None}
    call = track("Product Viewed", context={"consent": {"categoryPreferences": preferences}})
    assert taken(call).consent == Consent(False, True)


# One message, told twice


def test_a_retry_is_the_same_message_and_another_body_is_not() -> None:
    call = track("Product Viewed", {"product_id": "tent"}, sentAt="2025-10-09T08:00:00Z")
    first = taken(call)
    again = taken({**call, "sentAt": "2025-10-09T09:00:00Z", "receivedAt": "2025-10-09T08:30:00Z"})
    assert (again.message_id, again.body_crc) == (first.message_id, first.body_crc)
    for other in (
        {"properties": {"product_id": "pegs"}},
        {"event": "Product Added"},
        {"anonymousId": "v2"},
        {"userId": "anna"},
    ):
        assert taken({**call, **other}).body_crc != first.body_crc
    traits = {"type": "identify", "anonymousId": "v1", "messageId": "m"}
    assert taken({**traits, "traits": {"a": 1}}).body_crc != taken({**traits, "traits": {"a": 2}}).body_crc


def test_a_message_without_an_id_is_known_by_its_bytes() -> None:
    call = track("Product Viewed")
    del call["messageId"]
    first = taken(call).message_id
    assert first.startswith("raw:")
    assert taken(call).message_id == first
    assert taken({**call, "anonymousId": "v2"}).message_id != first
    assert taken({**call, "messageId": 17}).message_id == "17"
