"""Responses as bytes, joined by hand: what GetBlocks answers with.

Building protobuf objects for 20 items costs 250 us, more than deciding on them. Of an answer only
scores and reasons are new, so an item's facts are serialised once, when the catalogue changes, and
joined here with the rest. `tests/server/test_wire.py` reads everything back by the generated classes.

Wire format: https://protobuf.dev/programming-guides/encoding/. A field is a tag (number << 3 | type)
and a value; a text or message is preceded by its length. Default values are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from struct import Struct
from typing import Protocol

from recsys.block import Block, BlockItem, Freshness, Reason, Urgency
from recsys.catalog import Item, type_of
from server.pb import headrace_pb2 as pb

_SHORT = 1 << 14
_float = Struct("<f").pack
_double = Struct("<d").pack
_int64 = Struct("<q").pack


def _varint(number: int) -> bytes:
    """`number` in 0..2**64-1, seven bits a byte, the lowest first."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


_VARINTS = tuple(_varint(number) for number in range(_SHORT))
"""Lengths are small: nearly every varint of an answer is one of these."""


def varint(number: int) -> bytes:
    if 0 <= number < _SHORT:
        return _VARINTS[number]
    return _varint(number & 0xFFFF_FFFF_FFFF_FFFF)  # negative ones as two's complement of 64 bits


def text_field(tag: bytes, text: str) -> bytes:
    """A text, "" as nothing. `tag` is of wire type 2, as in all that follow."""
    if not text:
        return b""
    encoded = text.encode()
    return tag + varint(len(encoded)) + encoded


def message_field(tag: bytes, message: bytes) -> bytes:
    return tag + varint(len(message)) + message


def _int_field(tag: bytes, number: int) -> bytes:
    return tag + varint(number) if number else b""


_texts = lru_cache(maxsize=4096)(text_field)
"""For texts out of a small set: sources, placements, event names, versions."""


def item_field(item: Item) -> bytes:
    """`BlockItem.item`, tag and length included. Made once each time the item changes."""
    message = pb.CatalogItem(
        id=item.id,
        type=pb.ITEM_TYPE_ARTICLE if item.type == "article" else pb.ITEM_TYPE_PRODUCT,
        title=item.title,
        url=item.link,
        image_url=item.image_link,
        price=item.price_now,
        currency=item.currency,
        brand=item.brand,
        category=item.category,
        full_price=item.price if item.sale_price is not None else None,
    )
    return message_field(b"\x0a", message.SerializeToString())


def _why(reason: Reason) -> bytes:
    """`BlockItem.source` and `BlockItem.reason`, tags and lengths included."""
    told = b"".join(
        (
            text_field(b"\x0a", reason.text),
            text_field(b"\x12", reason.evidence_item),
            _texts(b"\x1a", reason.evidence_event),
            b"\x21",
            _int64(reason.evidence_at_ms),
        )
    )
    return _texts(b"\x1a", reason.source) + message_field(b"\x22", told)


def _urgency(urgency: Urgency) -> bytes:
    """`BlockItem.urgency`, tag and length included."""
    message = pb.Urgency(stock=urgency.stock, sale_end_ms=urgency.sale_end_ms)
    return message_field(b"\x32", message.SerializeToString())


def _item_fields(items: Sequence[BlockItem], facts: Facts) -> list[bytes]:
    """`Block.items` in pieces. Runs for every item of every answer; the reason is made once for all
    items that share it, and nothing of Python is called for lengths that are in the table."""
    reasons: dict[int, bytes] = {}
    pieces: list[bytes] = []
    for item in items:
        reason = item.reason
        why = reasons.get(id(reason))
        if why is None:
            why = reasons[id(reason)] = _why(reason)
        about = facts.get(item.item) or _bare(item.item)
        chance = b"" if item.propensity == 1.0 else b"\x2d" + _float(item.propensity)
        if item.urgency is not None:
            chance += _urgency(item.urgency)
        size = len(about) + len(why) + len(chance) + 5  # and the score with its tag
        length = _VARINTS[size] if size < _SHORT else _varint(size)
        pieces += (b"\x2a", length, about, b"\x15", _float(item.score), why, chance)
    return pieces


def _freshness(freshness: Freshness) -> bytes:
    return (
        _int_field(b"\x08", freshness.event_at_ms)
        + _int_field(b"\x10", freshness.age_ms)
        + _int_field(b"\x18", freshness.flow_lag_ms)
        + (b"\x20\x01" if freshness.reached else b"")
    )


class Facts(Protocol):
    """`item_field` of items, by id."""

    def get(self, item_id: str, /) -> bytes | None: ...


def block_message(block: Block, title: str, facts: Facts) -> bytes:
    """A `Block`. An item without facts shows its id."""
    parts = [
        text_field(b"\x0a", block.decision_id),
        text_field(b"\x12", block.slot),
        _texts(b"\x1a", block.placement),
        _texts(b"\x22", title),
    ]
    parts += _item_fields(block.items, facts)
    parts += (
        _texts(b"\x32", block.fallback),
        _texts(b"\x3a", block.model_version),
        message_field(b"\x42", _freshness(block.freshness)),
        _int_field(b"\x48", block.at_ms),
        text_field(b"\x52", block.next_cursor),
    )
    return b"".join(parts)


def _bare(item_id: str) -> bytes:
    return item_field(Item(item_id, type_of(item_id)))


def response_message(
    blocks: Sequence[bytes], person: bytes, server_ms: float, request_id: str, render_id: str
) -> bytes:
    """A `GetBlocksResponse` of serialised blocks and person."""
    parts = [message_field(b"\x0a", block) for block in blocks]
    parts += (
        message_field(b"\x12", person),
        b"\x19",
        _double(server_ms),
        text_field(b"\x22", request_id),
        text_field(b"\x2a", render_id),
    )
    return b"".join(parts)


def person_message(
    person: str, tier: str, score: float, reasons: Sequence[tuple[str, float]], stage: str, *, known: bool
) -> bytes:
    """A `Person`. `reasons`: (words, points)."""
    parts = [text_field(b"\x0a", person), _texts(b"\x12", tier)]
    if score:
        parts += (b"\x1d", _float(score))
    for words, points in reasons:
        reason = text_field(b"\x0a", words) + b"\x15" + _float(points)
        parts.append(message_field(b"\x22", reason))
    parts += (_texts(b"\x2a", stage), b"\x30\x01" if known else b"")
    return b"".join(parts)
