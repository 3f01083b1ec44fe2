"""A decoder knows what it has read before: that must never show in what it answers."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

import recsys.decode
import recsys.properties
from recsys.decode import Decoder
from recsys.events import Action
from recsys.known import Known
from tests.recsys.wire import outcomes

IDS: Any = st.sampled_from(["v1", " v1", "null", "", 1, 1.0, True, None, "user:v1", "1", "x" * 300])
NAMES = st.sampled_from(["Product Viewed", "product_viewed", "Cart Viewed", "Article Read", "", None])
PROPERTIES = st.sampled_from(
    [
        {},
        None,
        {"product_id": "tent", "price": "12.50"},
        {"products": []},
        {"products": [{"product_id": "x" * 300}]},
        {"content_id": "12", "title": "Knots"},
        {"order_id": "y" * 300},
        {"price": []},
    ]
)
CONTEXTS = st.sampled_from(
    [
        {},
        None,
        {"campaign": {"source": "a", "medium": "email"}},
        {"campaign": {"medium": "cpc"}, "page": {"referrer": "https://r"}},
        {"device": {"type": "ios"}, "channel": "client"},
        {"consent": {"categoryPreferences": {"personalization": False}}},
        {"consent": 5},
    ]
)
CALLS = st.fixed_dictionaries(
    {"type": st.sampled_from(["track", "page", "identify", "alias", None])},
    optional={
        "event": NAMES,
        "name": NAMES,
        "anonymousId": IDS,
        "previousId": IDS,
        "userId": IDS,
        "messageId": IDS,
        "properties": PROPERTIES,
        "traits": PROPERTIES,
        "context": CONTEXTS,
    },
)
KEYS = st.sampled_from(["v1", "headrace:served:v1"])


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(CALLS, KEYS), max_size=12))
def test_what_came_before_changes_no_answer(calls: list[tuple[dict[str, object], str]]) -> None:
    decoder = Decoder()
    for call, key in calls:
        assert outcomes(call, key=key, decoder=decoder) == outcomes(call, key=key)


def test_what_is_known_is_bounded(monkeypatch: Any) -> None:
    monkeypatch.setattr(recsys.properties, "MAX_CACHED", 10)
    monkeypatch.setattr(recsys.decode, "MAX_CACHED", 10)
    monkeypatch.setattr(recsys.decode, "MAX_CACHED_CONSENTS", 10)
    decoder = Decoder()
    for number in range(100):
        call = {
            "type": "page",
            "name": f"page {number}",
            "anonymousId": f"v{number}",
            "properties": {"path": f"/{number}"},
            "context": {
                "campaign": {"source": f"s{number}"},
                "device": {"type": f"d{number}"},
                "consent": {"categoryPreferences": {f"c{number}": True}},
            },
        }
        outcomes(call, decoder=decoder)
        outcomes({**call, "type": "track", "event": f"event {number}"}, decoder=decoder)
    known = [each for each in vars(decoder).values() if isinstance(each, Known)]
    assert len(known) == 6
    assert all(0 < len(each) <= 10 for each in (*known, decoder._told[Action.PAGE]))


def test_long_texts_are_not_kept() -> None:
    decoder = Decoder()
    long = "x" * 201
    call = {
        "type": "page",
        "name": long,
        "anonymousId": "v1",
        "properties": {"path": "/" + 5 * long},
        "context": {"campaign": {"source": long}, "device": {"type": long}, "consent": {long: 1}},
    }
    outcomes(call, decoder=decoder)
    outcomes({**call, "type": "track", "event": long}, decoder=decoder)
    known = [each for each in vars(decoder).values() if isinstance(each, Known)]
    assert sum(map(len, (*known, decoder._told[Action.PAGE]))) == 1  # the visitor
    assert not decoder.touchpoints.by_event
