"""What was served, as the event that the log has of it and as the claim that the state has.

A served event is Segment-spec JSON like any other, under a key of its own (`SERVED_KEY`): the flow
archives it and files it under its decision id, and folds it into no profile.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Sequence
from datetime import datetime, timezone
from functools import lru_cache
from threading import Lock
from zlib import decompress

import msgspec

from recsys.block import Block, BlockItem, Change, Freshness, Lineup, Reason, Slot
from recsys.decode import SERVED_KEY
from recsys.events import MAX_EVENT_BYTES
from recsys.ports import NewRecord
from server.requests import Asker, Caller

MARK_BYTES = 8
"""Random ones, by which a server knows its own claim."""
RECENT_DECISIONS = 10_000
"""Blocks a process remembers for Explain until the flow has filed them."""


class Served(msgspec.Struct, frozen=True, gc=False):
    """A block, and to whom and for what it was served."""

    block: Block
    asker: Asker
    person: str
    caller: Caller
    render_id: str = ""
    message: bytes = b""
    """The block as it went over the wire; kept, in a claim, where it must be repeated byte for byte."""
    asked: Slot | None = None
    """What it answers: with it the decision can be taken again. None for one written before 0.3."""
    beside: tuple[str, ...] = ()
    """Decision ids of the blocks above it in the request, and of those that stood there before: it repeats
    none of their items."""
    without_consent: bool = False
    """Whether nothing known of the person was used, because they said so."""
    pack: str = ""
    """Those who were decided together in bulk: they are logged together; see `server.logged`."""
    encoded: bytes = b""
    """What `encode_served` made of it, where that has been done."""


class _NamedItem(msgspec.Struct, frozen=True):
    """An item as it was written until 0.1: still read, no more written."""

    id: str
    position: int
    score: float
    source: str
    reason: str
    evidence_item_id: str = ""
    evidence_event: str = ""
    evidence_at_ms: int = 0

    def item(self) -> BlockItem:
        evidence = (self.evidence_item_id, self.evidence_event, self.evidence_at_ms)
        return BlockItem(self.id, self.score, Reason(self.source, self.reason, *evidence))


class _Freshness(msgspec.Struct, frozen=True):
    event_at_ms: int
    age_ms: int
    flow_lag_ms: int
    reached: bool


class _Asked(msgspec.Struct, frozen=True, omit_defaults=True):
    """Of a Slot what the event does not say already."""

    limit: int
    item: str | None = None
    exclude: tuple[str, ...] = ()
    filter: str = ""
    seen: tuple[str, ...] = ()

    @classmethod
    def of(cls, slot: Slot) -> _Asked:
        return cls(slot.limit, slot.item, slot.exclude, slot.filter, slot.seen)

    def slot(self, name: str, placement: str) -> Slot:
        return Slot(
            name=name,
            placement=placement,
            limit=self.limit,
            item=self.item,
            exclude=self.exclude,
            filter=self.filter,
            seen=self.seen,
        )


class _Properties(msgspec.Struct, frozen=True, omit_defaults=True):
    decision_id: str
    placement: str
    slot: str
    items: Lineup
    """In columns, best first: `ids`, `scores`, the reasons `told`, each once and as an array (source, words,
    evidence, its event, its time), `whys`, for each item the place of its reason among them, and
    `propensities` and `urgencies` where there are any."""
    freshness: _Freshness
    at_ms: int
    fallback: str = ""
    model_version: str = ""
    person: str = ""
    request_id: str = ""
    render_id: str = ""
    market: str = ""
    device: str = ""
    referrer: str = ""
    page_url: str = ""
    age: str = ""
    message: str = ""
    """Until 0.3: base64 of the deflated `Served.message`. Since then claims have it; see `claim_of`."""
    changes: tuple[Change, ...] = ()
    asked: _Asked | None = None
    beside: tuple[str, ...] = ()
    without_consent: bool = False
    pack: str = ""


class _ServedEvent(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    type: str
    event: str
    message_id: str
    timestamp: datetime
    properties: _Properties
    anonymous_id: str | None = None
    user_id: str | None = None


class _ReadProperties(_Properties, frozen=True):
    """As they were written by any version."""

    items: msgspec.Raw  # type: ignore[assignment]


class _ReadEvent(_ServedEvent, frozen=True, rename="camel"):
    properties: _ReadProperties


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_ReadEvent)
_lineup = msgspec.json.Decoder(Lineup)
_items = msgspec.json.Decoder(tuple[BlockItem, ...])
_named_items = msgspec.json.Decoder(tuple[_NamedItem, ...])
_NOBODY = "nobody:"


def encode_served(served: Served) -> bytes:
    """The event, at most MAX_EVENT_BYTES: beyond, what was asked is left out."""
    encoded = _encoder.encode(_event(served))
    if len(encoded) <= MAX_EVENT_BYTES:
        return encoded
    return _encoder.encode(_event(msgspec.structs.replace(served, asked=None)))


def claim_of(served: Served, mark: bytes) -> bytes:
    """What the state keeps of a rendering: the event, and behind a zero byte, which JSON never has, the
    exact message. Deflated and in the log as well it was two thirds of the work around a decision.

    `mark`, of MARK_BYTES: tells it from a claim of the same block that somebody else decided in the same
    millisecond. It stands behind another zero byte, with which no message begins."""
    return b"%b\0\0%b%b" % (served.encoded or encode_served(served), mark, served.message)


def mark_of(claim: bytes) -> bytes:
    """The mark of a claim; b"" for one that was made before they had any."""
    return _parts_of(claim)[1]


def _parts_of(claim: bytes) -> tuple[bytes, bytes, bytes]:
    """Event, mark and message; b"" for what there is not."""
    event, _, behind = claim.partition(b"\0")
    cut = 1 + MARK_BYTES if behind.startswith(b"\0") else 0
    return event, behind[1:cut], behind[cut:]


def _event(served: Served) -> _ServedEvent:
    block, asker, caller = served.block, served.asker, served.caller
    visitor = asker.visitor
    if visitor is None and asker.user_id is None:
        visitor = _NOBODY + block.decision_id[:8]  # an event must name somebody, even a block for nobody
    freshness = block.freshness
    # By place: to find twenty fields by name takes three times as long.
    properties = _Properties(
        block.decision_id,
        block.placement,
        block.slot,
        block.items,
        _Freshness(freshness.event_at_ms, freshness.age_ms, freshness.flow_lag_ms, freshness.reached),
        block.at_ms,
        block.fallback,
        block.model_version,
        served.person,
        caller.request_id,
        served.render_id,
        changes=block.changes,
        asked=_Asked.of(served.asked) if served.asked is not None else None,
        beside=served.beside,
        without_consent=served.without_consent,
        pack=served.pack,
        **caller.context,
    )
    at = _in_utc(block.at_ms)
    return _ServedEvent("track", "Block Served", block.decision_id, at, properties, visitor, asker.user_id)


@lru_cache(maxsize=16)
def _in_utc(at_ms: int) -> datetime:
    """The blocks of a request, and of the people of a mailing who are decided together, have one time."""
    return datetime.fromtimestamp(at_ms / 1000, timezone.utc)


def decode_served(encoded: bytes) -> Served:
    """What `encode_served` or `claim_of` wrote. Raises msgspec.DecodeError or ValueError."""
    written, _, message = _parts_of(encoded)
    event = _decoder.decode(written)
    given = event.properties
    fresh = given.freshness
    block = Block(
        decision_id=given.decision_id,
        slot=given.slot,
        placement=given.placement,
        items=_lineup_in(bytes(given.items)),
        fallback=given.fallback,
        model_version=given.model_version,
        freshness=Freshness(fresh.event_at_ms, fresh.age_ms, fresh.flow_lag_ms, fresh.reached),
        at_ms=given.at_ms,
        changes=given.changes,
    )
    visitor = event.anonymous_id
    if visitor is not None and visitor.startswith(_NOBODY):
        visitor = None
    names = ("market", "device", "referrer", "page_url", "age")
    context = {name: text for name in names if (text := getattr(given, name))}
    return Served(
        block,
        Asker(visitor, event.user_id),
        given.person,
        Caller(given.request_id, context),
        given.render_id,
        decompress(b64decode(given.message)) if given.message else message,
        given.asked.slot(given.slot, given.placement) if given.asked is not None else None,
        given.beside,
        given.without_consent,
        given.pack,
    )


def _lineup_in(items: bytes) -> Lineup:
    """The items of an event: in columns, or as 0.3 wrote them, an array each, or 0.1, with their fields
    named."""
    if items.startswith(b"{"):
        return _lineup.decode(items)
    if items.startswith(b"[{"):
        return Lineup.of(named.item() for named in _named_items.decode(items))
    return Lineup.of(_items.decode(items))


def record_of(served: Served, received_ms: int) -> NewRecord:
    """The log record: by visitor where there is one, so that it lies beside the visitor's events."""
    key = served.asker.visitor or served.asker.user_id or ""
    return NewRecord(SERVED_KEY + key, served.encoded or encode_served(served), received_ms)


class RecentDecisions:
    """The newest blocks of this process by decision id: at most `bound`. Thread-safe."""

    def __init__(self, bound: int = RECENT_DECISIONS) -> None:
        self._bound = bound
        self._lock = Lock()
        self._served: dict[str, Served] = {}

    def add(self, served: Sequence[Served]) -> None:
        with self._lock:
            for one in served:
                self._served[one.block.decision_id] = one
            while len(self._served) > self._bound:
                del self._served[next(iter(self._served))]

    def get(self, decision_id: str) -> Served | None:
        return self._served.get(decision_id)
