"""Segment calls from a few words: `view P-0102` -> the JSON that a shop's tracker would send."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import BinaryIO, NamedTuple
from uuid import uuid4

import msgspec

from recsys.events import ARTICLE_PREFIX


class Sender(NamedTuple):
    """Whose event it is, and when it happens (epoch ms)."""

    anonymous_id: str
    user_id: str
    at_ms: int


class Details(NamedTuple):
    quantity: float | None = None
    price: float | None = None


Fields = dict[str, object]


def call_of(verb: str, words: Sequence[str], sender: Sender, details: Details = Details()) -> bytes:
    """One Segment call. Raises ValueError for a verb or for words that cannot be one."""
    make = _VERBS.get(verb)
    if make is None:
        raise ValueError(f"Expected JSON, a file, or one of {', '.join(VERBS)}, got `{verb[:60]}`")
    if verb == "login" and not words and sender.user_id:
        words = [sender.user_id]
    kind, body = make(list(words), details)
    at = datetime.fromtimestamp(sender.at_ms / 1000, timezone.utc).isoformat(timespec="milliseconds")
    ids = {"anonymousId": sender.anonymous_id, "userId": sender.user_id}
    if kind == "identify" and words:
        ids["userId"] = words[0]
    if kind == "alias":  # of the device's id to itself
        if not sender.anonymous_id:
            raise ValueError("Expected the device whose login is taken back, as --as DEVICE, got none")
        ids = {"previousId": sender.anonymous_id, "userId": sender.anonymous_id}
    return msgspec.json.encode(
        {
            "type": kind,
            "messageId": f"cli-{uuid4()}",
            **{name: text for name, text in ids.items() if text},
            "timestamp": at,
            "context": {"library": {"name": "headrace-cli"}},
            **body,
        }
    )


def _track(event: str, properties: Fields) -> tuple[str, Fields]:
    return "track", {"event": event, "properties": properties}


def _product(event: str) -> Callable[[list[str], Details], tuple[str, Fields]]:
    def make(words: list[str], details: Details) -> tuple[str, Fields]:
        properties: Fields = {"product_id": _one(words, "a product's id")}
        return _track(event, properties | _given(details))

    return make


def _given(details: Details) -> Fields:
    return {name: value for name, value in details._asdict().items() if value is not None}


def _read(words: list[str], _details: Details) -> tuple[str, Fields]:
    return _track("Article Read", {"content_id": _one(words, "an article's id").removeprefix(ARTICLE_PREFIX)})


def _search(words: list[str], _details: Details) -> tuple[str, Fields]:
    if not words:
        raise ValueError("Expected what to search for, got nothing")
    return _track("Products Searched", {"query": " ".join(words)})


def _order(words: list[str], details: Details) -> tuple[str, Fields]:
    if not words:
        raise ValueError("Expected the ids of the products ordered, got nothing")
    products = [{"product_id": word} | _given(details) for word in words]
    return _track("Order Completed", {"order_id": f"cli-{uuid4()}", "products": products})


def _page(words: list[str], _details: Details) -> tuple[str, Fields]:
    path = _one(words or ["/"], "a page's path")
    return "page", {"name": path, "properties": {"path": path}}


def _login(words: list[str], _details: Details) -> tuple[str, Fields]:
    _one(words, "a user id")
    return "identify", {"traits": {}}


def _undo_login(_words: list[str], _details: Details) -> tuple[str, Fields]:
    return "alias", {}


def _logout(_words: list[str], _details: Details) -> tuple[str, Fields]:
    return _track("Signed Out", {})


def _one(words: list[str], what: str) -> str:
    if len(words) != 1:
        got = f"`{' '.join(words)[:60]}`" if words else "nothing"
        raise ValueError(f"Expected {what}, got {got}")
    return words[0]


_VERBS: dict[str, Callable[[list[str], Details], tuple[str, Fields]]] = {
    "view": _product("Product Viewed"),
    "click": _product("Product Clicked"),
    "add": _product("Product Added"),
    "remove": _product("Product Removed"),
    "wish": _product("Product Added to Wishlist"),
    "order": _order,
    "read": _read,
    "search": _search,
    "page": _page,
    "login": _login,
    "undo-login": _undo_login,
    "logout": _logout,
}
VERBS = tuple(_VERBS)


def events_of(words: Sequence[str], sender: Sender, details: Details, stdin: BinaryIO) -> list[bytes]:
    """What `headrace track` was told to send: JSON, a file of it, `-` for standard input, or a verb
    with its words. Raises ValueError and OSError."""
    first = words[0]
    if len(words) == 1 and (calls := _calls_as_they_are(first, stdin)) is not None:
        if sender.anonymous_id or sender.user_id:
            raise ValueError("Expected --as or --user with a verb, got them with JSON, which says who it was")
        return calls
    wrong = []
    try:
        call = call_of(first, words[1:], sender, details)
    except ValueError as error:
        wrong.append(str(error))
    if first in VERBS and not (sender.anonymous_id or sender.user_id):
        wrong.append("Expected --as DEVICE or --user CUSTOMER, got neither")
    if wrong:
        raise ValueError("; ".join(wrong))
    return [call]


def _calls_as_they_are(word: str, stdin: BinaryIO) -> list[bytes] | None:
    """The calls that a word is or names; None for a verb."""
    if word == "-":
        return _some(calls_in(stdin.read()), "standard input")
    if word.lstrip()[:1] in ("{", "["):
        return _some(calls_in(word.encode()), "the argument")
    if word not in VERBS and Path(word).is_file():
        return _some(calls_in(Path(word).read_bytes()), word)
    return None


def _some(calls: list[bytes], where: str) -> list[bytes]:
    if not calls:
        raise ValueError(f"Expected events, got nothing - in `{where}`")
    return calls


def calls_in(text: bytes) -> list[bytes]:
    """The calls of a text: one JSON value, or one on each line. Nothing is checked further; the
    server says what is wrong with each."""
    try:
        value = msgspec.json.decode(text, type=msgspec.Raw)
    except msgspec.DecodeError:
        return [line.strip() for line in text.splitlines() if line.strip()]
    body = bytes(value).strip()
    if body[:1] == b"[":
        return [bytes(call) for call in msgspec.json.decode(body, type=list[msgspec.Raw])]
    return [body]
