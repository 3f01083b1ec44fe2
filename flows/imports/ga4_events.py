"""What both GA4 formats have in common: names, placeholders, times and message ids."""

from __future__ import annotations

import html
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from hashlib import blake2b
from urllib.parse import urlsplit

import msgspec

from recsys.decode import visitor_of
from recsys.ports import NewRecord

SEGMENT_NAMES = {
    "view_item": "Product Viewed",
    "view_item_list": "Product List Viewed",
    "select_item": "Product Clicked",
    "add_to_cart": "Product Added",
    "remove_from_cart": "Product Removed",
    "view_cart": "Cart Viewed",
    "begin_checkout": "Checkout Started",
    "add_shipping_info": "Checkout Step Completed",
    "add_payment_info": "Payment Info Entered",
    "purchase": "Order Completed",
    "refund": "Order Refunded",
    "view_promotion": "Promotion Viewed",
    "select_promotion": "Promotion Clicked",
    "add_to_wishlist": "Product Added to Wishlist",
    "search": "Products Searched",
    "view_search_results": "Products Searched",
    "login": "Signed In",
    "user_engagement": "Page Left",
    "scroll": "Page Scrolled",
    # the flattened CSV's own
    "view": "Product Viewed",
    "category_view": "Product List Viewed",
}
"""GA4's event names in Segment's words; all others keep their own."""

PLACEHOLDERS = frozenset(("", "(not set)", "(data deleted)", "<Other>", "<obfuscated>", "(not provided)"))
"""What GA4 writes where it knows or tells nothing."""

MAX_US = 253_402_300_800_000_000
"""The year 10000: no datetime reaches further."""

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_encoder = msgspec.json.Encoder()


@lru_cache(maxsize=8192)
def known(text: str | None) -> str | None:
    """The text without HTML entities and doubled blanks (the same item must not exist twice), or
    None where it is a placeholder."""
    if text is None:
        return None
    if "&" in text:
        text = html.unescape(text)
    text = " ".join(text.split())
    return None if text in PLACEHOLDERS else text


def number_of(text: str) -> float | str:
    """The number, or the text as it came: the decoder tells what is wrong with it."""
    try:
        return float(text)
    except ValueError:
        return text


def category_path(parts: list[str]) -> str | None:
    """ "Lifestyle > Bags" from the parts, the root first."""
    named = [part for part in (known(part) for part in parts) if part]
    if named == ["Uncategorized Items"]:
        return None
    return " > ".join(named) or None


@lru_cache(maxsize=4096)
def page_of(url: str) -> Mapping[str, str]:
    """`context.page` of an address; shared between calls, not to be changed."""
    try:
        return {"url": url, "path": urlsplit(url).path or "/"}
    except ValueError:
        return {"url": url}


class MessageIds:
    """Ids by content: the same export gives the same ids. Of rows that are alike in everything the
    first, second, ... differ by number; they share their microsecond, so only one is remembered."""

    def __init__(self) -> None:
        self._at_us = -1
        self._seen: dict[str, int] = {}

    def next(self, at_us: int, content: bytes) -> str:
        """The message id of a row with this `content` at this time (epoch microseconds)."""
        if at_us != self._at_us:
            self._at_us, self._seen = at_us, {}
        digest = blake2b(b"%d\0%b" % (at_us, content), digest_size=12).hexdigest()
        number = self._seen.get(digest, 0)
        self._seen[digest] = number + 1
        return f"ga4:{digest}:{number}"


def record_of(call: dict[str, object], at_us: int) -> NewRecord:
    """The log record of a call that happened at `at_us` (epoch microseconds); times are kept in
    whole milliseconds."""
    at_ms = at_us // 1000
    call["timestamp"] = _EPOCH + timedelta(milliseconds=at_ms)
    return NewRecord(_visitor(call.get("anonymousId"), call.get("userId")), _encoder.encode(call), at_ms)


@lru_cache(maxsize=65_536)
def _visitor(anonymous_id: object, user_id: object) -> str:
    return visitor_of(_encoder.encode({"type": "track", "anonymousId": anonymous_id, "userId": user_id}))
