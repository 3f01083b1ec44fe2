"""Segment calls made from words, and those found in what was given as JSON."""

import msgspec
import pytest

from server.calls import Details, Sender, call_of, calls_in

ANNA = Sender("web-anna", "", 1_772_359_200_000)


@pytest.mark.parametrize(
    ("verb", "words", "expected"),
    [
        ("view", ["P-1"], {"event": "Product Viewed", "properties": {"product_id": "P-1", "quantity": 2.0}}),
        ("search", ["two", "tents"], {"event": "Products Searched", "properties": {"query": "two tents"}}),
        ("read", ["article:a-1"], {"event": "Article Read", "properties": {"content_id": "a-1"}}),
        ("logout", [], {"event": "Signed Out", "properties": {}}),
    ],
)
def test_verbs_make_segment_calls(verb, words, expected):
    call = msgspec.json.decode(call_of(verb, words, ANNA, Details(quantity=2.0)))
    assert {name: call[name] for name in expected} == expected
    assert call["type"] == "track"
    assert call["anonymousId"] == "web-anna"
    assert call["timestamp"] == "2026-03-01T10:00:00.000+00:00"
    assert "userId" not in call


def test_a_login_names_the_customer():
    for words, sender in ((["c-1"], ANNA), ([], ANNA._replace(user_id="c-1"))):
        call = msgspec.json.decode(call_of("login", words, sender))
        assert (call["type"], call["anonymousId"], call["userId"]) == ("identify", "web-anna", "c-1")


def test_a_login_is_taken_back_by_an_alias_of_the_device_to_itself():
    call = msgspec.json.decode(call_of("undo-login", [], ANNA._replace(user_id="c-1")))
    assert (call["type"], call["previousId"], call["userId"]) == ("alias", "web-anna", "web-anna")
    assert "anonymousId" not in call
    with pytest.raises(ValueError, match="Expected the device whose login is taken back, as --as DEVICE"):
        call_of("undo-login", [], Sender("", "c-1", 0))


def test_json_may_be_one_call_many_lines_or_a_list():
    one = b'{"type": "page"}'
    assert calls_in(one) == [one]
    assert calls_in(b"[" + one + b", " + one + b"]") == [one, one]
    assert calls_in(one + b"\n\n" + one + b"\n") == [one, one]
    assert calls_in(b"not json") == [b"not json"]  # the server tells what is wrong with it
