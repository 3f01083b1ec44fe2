"""Calls as the collectors' libraries really send them, and a decoder to read them with."""

from __future__ import annotations

import json
from typing import Any

from recsys.catalog import CatalogChange
from recsys.decode import Decoder
from recsys.events import Arrival, DeadLetter, Event
from recsys.ports import Position, Record

RECEIVED_MS = 1_760_000_000_000  # 2025-10-09T08:53:20Z
POSITION = Position(3, 41)


def outcomes(
    call: object, *, key: str = "v1", received_ms: int = RECEIVED_MS, decoder: Decoder | None = None
) -> list[Arrival | DeadLetter | CatalogChange]:
    """What becomes of a record; `call`: bytes as they are, anything else as JSON."""
    raw = call if isinstance(call, bytes) else json.dumps(call).encode()
    return list((decoder or Decoder()).decode(Record(POSITION, key, raw, received_ms), received_ms))


def taken(call: object, **options: Any) -> Event:
    """The one event of a record that must be accepted."""
    (found,) = outcomes(call, **options)
    assert isinstance(found, Arrival), found
    return found.event


def flaws(call: object, **options: Any) -> list[str]:
    """What was wrong with an event that must be accepted all the same, and what became of it."""
    (found,) = outcomes(call, **options)
    assert isinstance(found, Arrival), found
    return [f"{flaw}, {'read' if flaw.is_repaired else 'left out'}" for flaw in found.flaws]


def refused(call: object, **options: Any) -> DeadLetter:
    """The one dead letter of a record that must not be."""
    (found,) = outcomes(call, **options)
    assert isinstance(found, DeadLetter), found
    return found


def track(name: str, properties: object = None, **fields: object) -> dict[str, object]:
    """The plainest track call."""
    call: dict[str, object] = {"type": "track", "event": name, "anonymousId": "v1", "messageId": "m1"}
    if properties is not None:
        call["properties"] = properties
    return {**call, **fields}


def analytics_js_page() -> dict[str, object]:
    """analytics.js 2.0, `analytics.page()`, as the browser sends it to /v1/p."""
    page = {
        "path": "/tents/trail-tent-2",
        "referrer": "https://www.example.com/search?q=tents",
        "search": "?utm_source=newsletter&utm_medium=email&utm_campaign=spring",
        "title": "Trail Tent 2",
        "url": "https://shop.example.com/tents/trail-tent-2?utm_source=newsletter",
    }
    return {
        "timestamp": "2025-10-09T08:53:18.123Z",
        "integrations": {"Segment.io": True},
        "type": "page",
        "properties": page,
        "name": None,
        "category": None,
        "context": {
            "page": page,
            "userAgent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
            "userAgentData": {"brands": [{"brand": "Chromium", "version": "141"}], "mobile": False},
            "locale": "en-GB",
            "timezone": "Europe/London",
            "campaign": {"source": "newsletter", "medium": "email", "name": "spring"},
            "library": {"name": "analytics.js", "version": "npm:next-1.70.0"},
        },
        "messageId": "ajs-next-1760000000-7f1d",
        "userId": None,
        "anonymousId": "8f0f6ec3-5dd0-4b1c-8d5c-2b3a4a8c0f00",
        "writeKey": "KEY",
        "sentAt": "2025-10-09T08:53:18.130Z",
        "_metadata": {"bundled": ["Segment.io"], "unbundled": [], "bundledIds": []},
    }


def segment_delivered() -> dict[str, object]:
    """The copy that Segment hands on to a destination: clock repaired, channel added."""
    return {
        "anonymousId": "507f191e810c19729de860ea",
        "channel": "client",
        "context": {
            "active": True,
            "app": {"name": "Shop", "version": "5.1.0", "build": "510"},
            "device": {"id": "B5372DB0-C21E", "manufacturer": "Apple", "model": "iPhone17,1", "type": "ios"},
            "ip": "203.0.113.9",
            "library": {"name": "analytics-ios", "version": "4.1.8"},
            "network": {"cellular": True, "carrier": "Telco", "wifi": False},
            "os": {"name": "iOS", "version": "18.5"},
            "screen": {"width": 402, "height": 874},
        },
        "event": "Product Added",
        "integrations": {},
        "messageId": "022bb90c-bbac-11e4-8dfc-aa07a5b093db",
        "originalTimestamp": "2025-10-09T11:53:17.000Z",
        "projectId": "p1",
        "properties": {"product_id": "tent-2", "sku": "TT2", "price": 199.0, "quantity": 2, "coupon": "MAY"},
        "receivedAt": "2025-10-09T08:53:19.500Z",
        "sentAt": "2025-10-09T11:53:19.000Z",
        "timestamp": "2025-10-09T08:53:17.500Z",
        "type": "track",
        "userId": "anna",
        "version": 2,
    }


def rudderstack_browser() -> dict[str, object]:
    """RudderStack's browser library behind its server, as a warehouse or Kafka destination gets it."""
    return {
        "rudderId": "c3e6a1b4-b7a4-4b7c-9c0d-1f4f1a2b3c4d",
        "channel": "web",
        "type": "track",
        "event": "Product List Viewed",
        "messageId": "1f0c1a2e-2b5d-4f0a-b5ad-1d2c3b4a5f6e",
        "anonymousId": "b8b3d3de-2f3a-4c8a-8a0b-5d2f1c3e4b5a",
        "userId": "",
        "originalTimestamp": "2025-10-09T08:53:10.250Z",
        "sentAt": "2025-10-09T08:53:10.250Z",
        "receivedAt": "2025-10-09T08:53:10.402Z",
        "timestamp": "2025-10-09T08:53:10.401Z",
        "request_ip": "203.0.113.9",
        "integrations": {"All": True},
        "context": {
            "app": {"name": "RudderLabs JavaScript SDK", "namespace": "com.rudderlabs.javascript"},
            "campaign": {},
            "library": {"name": "RudderLabs JavaScript SDK", "version": "3.11.0"},
            "locale": "de-DE",
            "page": {
                "path": "/tents",
                "referrer": "$direct",
                "initial_referrer": "$direct",
                "url": "https://x/t",
            },
            "screen": {"density": 2, "width": 1440, "height": 900, "innerWidth": 1440, "innerHeight": 789},
            "sessionId": 1760000000,
            "traits": {},
            "userAgent": "Mozilla/5.0",
        },
        "properties": {
            "list_id": "summer",
            "category": "Outdoor > Tents",
            "products": [
                {"product_id": "tent-1", "position": 1, "price": "99.90", "name": "Trail Tent 1"},
                {"product_id": 2, "position": 2, "price": 199, "name": "Trail Tent 2"},
            ],
        },
    }


def rudderstack_ios_screen() -> dict[str, object]:
    """A screen call of RudderStack's iOS library."""
    return {
        "type": "screen",
        "event": "Product Detail",
        "channel": "mobile",
        "messageId": "1760000000-4a1f",
        "anonymousId": "4a1f0c1a-2e2b",
        "userId": "anna",
        "originalTimestamp": "2025-10-09T08:53:15.000Z",
        "sentAt": "2025-10-09T08:53:16.000Z",
        "context": {
            "device": {"type": "iOS", "model": "iPhone", "name": "Anna's"},
            "traits": {"userId": "anna"},
        },
        "properties": {"name": "Product Detail", "automatic": True},
    }
