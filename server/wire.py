"""Responses as bytes, joined by hand: what GetBlocks answers with.

Building protobuf objects for 20 items costs 250 us, more than deciding on them. Of an answer only
scores and reasons are new, so an item's facts are serialised once, when the catalogue changes, and
joined here with the rest. `tests/server/test_wire.py` reads everything back by the generated classes.

Wire format: https://protobuf.dev/programming-guides/encoding/. A field is a tag (number << 3 | type)
and a value; a text or message is preceded by its length. Default values are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from itertools import repeat
from operator import add
from struct import Struct
from typing import Protocol

import msgspec

from recsys.banner import BANNER_PREFIX, Banner
from recsys.block import Block, Change, Freshness, Lineup, Reason, Urgency
from recsys.catalog import Item, type_of
from recsys.known import Known
from recsys.picked import FLOAT32S, picked
from server.pb import headrace_pb2 as pb

_SHORT = 1 << 14
_float = Struct("<f").pack
_double = Struct("<d").pack
_int64 = Struct("<q").pack
_join = b"".join
_fields = msgspec.structs.astuple
_SCORE_BYTES = 5


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


class _Lengths(dict[int, bytes]):
    """Varints of all lengths, those of the long ones made anew. Asked in passing, without a call."""

    def __missing__(self, size: int) -> bytes:
        return _varint(size)


_LENGTHS = _Lengths(enumerate(_VARINTS))


_CONTINUED = tuple(bytes((number & 0x7F | 0x80, number >> 7 | 0x80)) for number in range(_SHORT))
"""14 bits with more behind them: a time of 41 bits is two of these and one of `_VARINTS`."""
_ITEM_HEADS = tuple(b"\x2a" + varint + b"\x15" for varint in _VARINTS[_SCORE_BYTES:])
"""What an item of `Block.items` begins with, by the size of all but its score: its tag and length, and the
tag of its score."""
MAX_PACK_BYTES = 1 << 20
_IN_PACK = b"\x0a"
"""The tag of `BlocksPack.responses`."""
_UNKNOWN_LAG = b"\x18" + _varint(2**64 - 1)
"""`Freshness.flow_lag_ms` of -1, which has ten bytes."""


def varint(number: int) -> bytes:
    if 0 <= number < _SHORT:
        return _VARINTS[number]
    if 0 < number < 1 << 28:
        return _CONTINUED[number & 0x3FFF] + _VARINTS[number >> 14]
    if 0 < number < 1 << 42:
        return _CONTINUED[number & 0x3FFF] + _CONTINUED[number >> 14 & 0x3FFF] + _VARINTS[number >> 28]
    return _varint(number & 0xFFFF_FFFF_FFFF_FFFF)  # negative ones as two's complement of 64 bits


def text_field(tag: bytes, text: str) -> bytes:
    """A text, "" as nothing. `tag` is of wire type 2, as in all that follow."""
    if not text:
        return b""
    encoded = text.encode()
    return tag + _LENGTHS[len(encoded)] + encoded


def message_field(tag: bytes, message: bytes) -> bytes:
    return tag + _LENGTHS[len(message)] + message


def _int_field(tag: bytes, number: int) -> bytes:
    return tag + varint(number) if number else b""


_MOST_TEXTS = 4096


def _few_texts(tag: bytes) -> Known[str, bytes]:
    """`text_field` of texts out of a small set (sources, placements, versions), made once."""
    return Known(partial(text_field, tag), _MOST_TEXTS)


_slots = _few_texts(b"\x12")
_sources, _events, _placements = _few_texts(b"\x1a"), _few_texts(b"\x1a"), _few_texts(b"\x1a")
_titles, _fallbacks, _versions = _few_texts(b"\x22"), _few_texts(b"\x32"), _few_texts(b"\x3a")
_stages = _few_texts(b"\x2a")


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


def banner_fields(banners: Mapping[str, Banner]) -> dict[str, bytes]:
    """`BlockItem.item` of each banner, by the id that it has in blocks."""
    fields = {}
    for name, banner in banners.items():
        message = pb.CatalogItem(
            id=BANNER_PREFIX + name,
            type=pb.ITEM_TYPE_BANNER,
            title=banner.title,
            url=banner.url,
            image_url=banner.image_url,
        )
        fields[BANNER_PREFIX + name] = message_field(b"\x0a", message.SerializeToString())
    return fields


@lru_cache(maxsize=_MOST_TEXTS)
def _why(reason: Reason) -> bytes:
    """`BlockItem.source` and `BlockItem.reason`, tags and lengths included. Made in one go; texts that are ""
    are told as such. What slots of a page say in the same words, or what everybody is told, is made once."""
    source, text, evidence_item, evidence_event, evidence_at_ms = _fields(reason)
    words, evidence = text.encode(), evidence_item.encode()
    told = _join(
        (
            b"\x0a",
            _LENGTHS[len(words)],
            words,
            b"\x12",
            _LENGTHS[len(evidence)],
            evidence,
            _events[evidence_event],
            b"\x21",
            _int64(evidence_at_ms),
        )
    )
    return _join((_sources[source], b"\x22", _LENGTHS[len(told)], told))


def _urgency(urgency: Urgency) -> bytes:
    """`BlockItem.urgency`, tag and length included."""
    message = pb.Urgency(stock=urgency.stock, sale_end_ms=urgency.sale_end_ms)
    return message_field(b"\x32", message.SerializeToString())


def _item_fields(items: Lineup, facts: Facts) -> bytes:
    """`Block.items`. This runs for every answer: what can be done for all items at once is."""
    if not items.ids:
        return b""
    abouts = facts.of(items.ids)
    whys = picked(items.whys, [_why(reason) for reason in items.told])
    if items.propensities or items.urgencies:
        whys = _with_chances(whys, items)
    count, sizes = len(abouts), list(map(add, map(len, abouts), map(len, whys)))
    try:
        heads = picked(sizes, _ITEM_HEADS)
    except IndexError:
        heads = tuple([b"\x2a%b\x15" % varint(size + _SCORE_BYTES) for size in sizes])
    pieces = [b""] * (4 * count)
    pieces[::4] = heads
    pieces[1::4] = _four_bytes_each(count).unpack(FLOAT32S[count].pack(*items.scores))
    pieces[2::4] = abouts
    pieces[3::4] = whys
    return _join(pieces)


def _with_chances(whys: Sequence[bytes], items: Lineup) -> tuple[bytes, ...]:
    """`whys` and behind each the propensity and urgency of its item, where there are any."""
    chances = items.propensities or repeat(1.0)
    urgencies = items.urgencies or repeat(None)
    return tuple(
        [
            _join(
                (
                    why,
                    b"" if chance == 1.0 else b"\x2d" + _float(chance),
                    b"" if urgency is None else _urgency(urgency),
                )
            )
            for why, chance, urgency in zip(whys, chances, urgencies)  # noqa: B905 (one may be endless)
        ]
    )


@lru_cache
def _four_bytes_each(count: int) -> Struct:
    """Takes packed floats apart, into the bytes of each."""
    return Struct("4s" * count)


def _change(change: Change) -> bytes:
    return (
        text_field(b"\x0a", change.item)
        + text_field(b"\x12", change.replaced_by)
        + text_field(b"\x1a", change.why)
    )


@lru_cache(maxsize=64)
def _freshness(freshness: Freshness) -> bytes:
    lag_ms = freshness.flow_lag_ms
    return (
        _int_field(b"\x08", freshness.event_at_ms)
        + _int_field(b"\x10", freshness.age_ms)
        + (_UNKNOWN_LAG if lag_ms == -1 else _int_field(b"\x18", lag_ms))
        + (b"\x20\x01" if freshness.reached else b"")
    )


class Facts(Protocol):
    def of(self, item_ids: Sequence[str], /) -> Sequence[bytes]:
        """`item_field` of each item, or `bare_item_field`."""
        ...


def block_message(block: Block, title: str, facts: Facts) -> bytes:
    """A `Block`."""
    message = _join(
        (
            text_field(b"\x0a", block.decision_id),
            _slots[block.slot],
            _placements[block.placement],
            _titles[title],
            _item_fields(block.items, facts),
            _fallbacks[block.fallback],
            _versions[block.model_version],
            message_field(b"\x42", _freshness(block.freshness)),
            _int_field(b"\x48", block.at_ms),
            text_field(b"\x52", block.next_cursor),
        )
    )
    if not block.changes:
        return message
    return message + _join([message_field(b"\x5a", _change(change)) for change in block.changes])


def bare_item_field(item_id: str) -> bytes:
    """`item_field` of an item of which nothing is known but its id."""
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


def packs_of(responses: Sequence[bytes]) -> Iterator[bytes]:
    """`BlocksPack`s of serialised responses, all of them in order."""
    pack: list[bytes] = []
    size = 0
    for response in responses:
        field = message_field(_IN_PACK, response)
        if pack and size + len(field) > MAX_PACK_BYTES:
            yield _join(pack)
            pack, size = [], 0
        pack.append(field)
        size += len(field)
    if pack:
        yield _join(pack)


def unpacked(pack: bytes) -> Iterator[memoryview]:
    """The responses of a `BlocksPack`, each behind its length as `varint` writes it: without its tag."""
    view, place = memoryview(pack), 0
    while place < len(pack):
        start = place + len(_IN_PACK)
        length = shift = 0
        place = start
        while True:
            byte = view[place]
            length |= (byte & 0x7F) << shift
            place, shift = place + 1, shift + 7
            if byte < 0x80:
                break
        place += length
        yield view[start:place]


@lru_cache(maxsize=4096)
def _intent_fields(tier: str, score: float, reasons: tuple[tuple[str, float], ...]) -> bytes:
    """`Person.intent_tier`, `intent_score` and `intent_reasons`: few differ."""
    parts = [text_field(b"\x12", tier)]
    if score:
        parts += (b"\x1d", _float(score))
    for words, points in reasons:
        parts.append(message_field(b"\x22", text_field(b"\x0a", words) + b"\x15" + _float(points)))
    return _join(parts)


def person_message(
    person: str, tier: str, score: float, reasons: Sequence[tuple[str, float]], stage: str, *, known: bool
) -> bytes:
    """A `Person`. `reasons`: (words, points)."""
    return _join(
        (
            text_field(b"\x0a", person),
            _intent_fields(tier, score, tuple(reasons)),
            _stages[stage],
            b"\x30\x01" if known else b"",
        )
    )
