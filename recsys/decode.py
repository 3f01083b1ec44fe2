"""Raw bytes of the log -> `Event`, or a `DeadLetter` that says where, what was expected, what came.

The wire format is Segment-spec JSON as Segment, RudderStack and analytics.js send it: track, page,
screen, identify, alias and group calls, one a record or a batch call of many. Records whose key
starts with `headrace:` are Headrace's own: catalogue changes and blocks served.

Nearly every event is as the spec says and much like others: it is decoded once, strictly, and what
comes again and again (properties, ids, names, consents) is looked up. Whatever is refused there is
read again, field by field, which tells what is wrong and mends what can be.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple
from zlib import crc32

from msgspec import Raw

from recsys.calls import (
    NAMING,
    SYSTEM_KEY,
    Id,
    Identity,
    Meaning,
    Visit,
    consent_of,
    device_of,
    identity_of,
    meaning_of,
    source_of,
)
from recsys.catalog import CatalogChange, decode_change
from recsys.clock import times
from recsys.events import (
    MAX_EVENT_BYTES,
    MAX_ID_BYTES,
    Action,
    Arrival,
    Consent,
    DeadLetter,
    Event,
    Flaw,
    Source,
    each_once,
)
from recsys.known import Known
from recsys.mend import UNREADABLE
from recsys.ports import Record
from recsys.properties import NO_PROPERTIES, NOTHING, id_of, optional_id, tables, text_of
from recsys.refusal import Refused, refusal_of, refuse
from recsys.segment import CALLS, Call, decode_call, read_call, split_batch
from recsys.touchpoints import Touchpoints

CATALOG_KEY = "headrace:catalog:"
SERVED_KEY = "headrace:served:"
MADE_ID = "raw:"
"""Starts a message id made from the bytes of an event that came without."""

MAX_CACHED = 20_000
"""Names, ids and sources known; beyond, they are read anew."""
MAX_CACHED_CONSENTS = 1000
MAX_CACHED_CHARS = 200

ALIAS, SERVED = Action.ALIAS, Action.SERVED
_WITH_TRAITS = frozenset((Action.IDENTIFY, Action.GROUP))
_MOBILE = frozenset(("ios", "android"))


class Read(NamedTuple):
    """What records hold, each kind in the log's order."""

    arrivals: list[Arrival]
    changes: list[CatalogChange]
    served: list[Arrival]
    dead: list[DeadLetter]

    def add(self, one: Arrival | DeadLetter | CatalogChange) -> None:
        """Put it where it belongs."""
        if isinstance(one, CatalogChange):
            self.changes.append(one)
        elif isinstance(one, DeadLetter):
            self.dead.append(one)
        elif one.event.action is SERVED:
            self.served.append(one)
        else:
            self.arrivals.append(one)


class Decoder:
    """Decodes log records. Holds configuration, and what it has read before, within bounds; the same
    record gives the same answer, whatever came before it."""

    def __init__(
        self,
        touchpoints: Touchpoints | None = None,
        personalization_categories: tuple[str, ...] = ("personalization", "advertising"),
        email_categories: tuple[str, ...] = ("email",),
    ) -> None:
        self.touchpoints = touchpoints or Touchpoints()
        asked = tuple(
            frozenset(name.lower() for name in names)
            for names in (personalization_categories, email_categories)
        )
        self._tracked: Known[str | None, Meaning] = Known(
            lambda event: meaning_of("track", event, None),
            MAX_CACHED,
            lambda _, meaning: _is_short(meaning.name),
        )
        self._called: Known[tuple[str | None, str | None, str | None], Meaning] = Known(
            lambda said: meaning_of(*said), MAX_CACHED, lambda said, _: _is_short(*said)
        )
        self._people: Known[tuple[Id, Id], Identity] = Known(
            lambda ids: identity_of(*ids), MAX_CACHED, _are_texts
        )
        self._sources: Known[Visit, Source | None] = Known(
            source_of, MAX_CACHED, lambda visit, _: _is_short(*visit)
        )
        self._devices: Known[str | None, str] = Known(device_of, MAX_CACHED, lambda kind, _: _is_short(kind))
        self._consents: Known[bytes, Consent | None] = Known(
            lambda raw: consent_of(raw, *asked),
            MAX_CACHED_CONSENTS,
            lambda raw, _: len(raw) <= MAX_CACHED_CHARS,
        )
        self._newest_consent: tuple[Raw, Consent | None] = (Raw(b""), None)
        """Of the newest event that said something of it, as sent and as read."""
        self._told = tables()

    def decode(self, record: Record, watermark_ms: int) -> Sequence[Arrival | DeadLetter | CatalogChange]:
        """Every event of one record. A block served (`SERVED_KEY`) comes as an event of action
        SERVED: it is archived and indexed, and never folded into a profile."""
        arrival = self._plain(record, watermark_ms)
        return (arrival,) if arrival is not None else self._whatever(record, watermark_ms)

    def read(self, records: Sequence[Record], watermark_ms: int) -> Read:
        """Every event of many records; `watermark_ms`: that before them. It rises by each of them."""
        read = Read([], [], [], [])
        for record in records:
            received_ms = record[3]
            if received_ms > watermark_ms:  # noqa: PLR1730 (`max` costs ten times as much)
                watermark_ms = received_ms
            arrival = self._plain(record, watermark_ms)
            if arrival is not None:
                read.arrivals.append(arrival)
            else:
                for one in self._whatever(record, watermark_ms):
                    read.add(one)
        return read

    def _plain(self, record: Record, watermark_ms: int) -> Arrival | None:
        """The event of a record that holds one as the spec says, None for any other."""
        _, key, raw, _ = record
        # `in` first: a call costs three times as much, and hardly any key has it anywhere.
        if len(raw) > MAX_EVENT_BYTES or (SYSTEM_KEY in key and key.startswith(SYSTEM_KEY)):
            return None
        try:
            wire = decode_call(raw)
            return None if wire.batch else self._arrival(wire, record, 0, raw, watermark_ms)
        except (*UNREADABLE, Refused):
            return None

    def _whatever(self, record: Record, watermark_ms: int) -> Sequence[Arrival | DeadLetter | CatalogChange]:
        """What any record holds."""
        if record.key.startswith(CATALOG_KEY):
            return (self._catalog(record),)
        events = enumerate(split_batch(record.value))
        return [self._one(record, index, event, watermark_ms) for index, event in events]

    def _catalog(self, record: Record) -> CatalogChange | DeadLetter:
        try:
            return decode_change(record.value, record.position, record.received_ms)
        except UNREADABLE as error:
            refused = refusal_of(error, "$")
            return _dead(refused, record, 0, record.value)

    def _one(self, record: Record, index: int, raw: bytes, watermark_ms: int) -> Arrival | DeadLetter:
        try:
            if len(raw) > MAX_EVENT_BYTES:
                refuse("too_large", "$", f"at most {MAX_EVENT_BYTES} bytes", f"{len(raw)} bytes")
            wire, flaws = read_call(raw)
            _leave_out(wire, flaws)
            served = record.key.startswith(SERVED_KEY)
            return self._arrival(wire, record, index, raw, watermark_ms, each_once(flaws), served)
        except Refused as refused:
            return _dead(refused, record, index, raw)

    def _arrival(
        self,
        wire: Call,
        record: Record,
        index: int,
        raw: bytes,
        watermark_ms: int,
        flaws: tuple[Flaw, ...] = (),
        served: bool = False,
    ) -> Arrival:
        # The hottest code of the flow: looked up in place, for a call costs more than what it would do.
        call, user = wire.type, wire.user_id
        if served:
            meaning = meaning_of(call, wire.event, wire.name, served=True)
        elif call == "track":
            meaning = self._tracked[wire.event]
        else:
            meaning = self._called[call, wire.event, wire.name]
        action, name = meaning.action, meaning.name
        if action in _WITH_TRAITS:
            body, told = bytes(wire.traits), NOTHING  # they tell of the person, not of what happened
        else:
            body = bytes(wire.properties)
            told = self._told[action][body or NO_PROPERTIES]
        if action in NAMING:
            named = wire.previous_id if action is ALIAS else wire.anonymous_id
            visitor, user_id, blocked, ids = identity_of(named, user, action)
        else:
            visitor, user_id, blocked, ids = self._people[wire.anonymous_id, user]
        at_ms, received_ms = times(wire, record.received_ms)
        message_id = wire.message_id
        if type(message_id) is str and len(message_id) <= MAX_ID_BYTES // 4:  # no need to count bytes
            message_id = message_id.strip()
        else:
            message_id = id_of(message_id, "$.messageId")
        if told.refused is not None:
            raise Refused(*told.refused)
        source, device, medium, path, consent = None, None, "", told.path, meaning.consent
        context, channel = wire.context, wire.channel
        if context is not None:
            page, campaign = context.page, context.campaign
            referrer = None
            if page is not None:
                referrer, path = page.referrer, path or text_of(page.path)
            if campaign is not None:
                source = self._sources[campaign.source, campaign.medium, campaign.name, referrer]
            elif referrer:
                source = self._sources[None, None, None, referrer]
            if source is not None:
                medium = source.medium
            if context.device is not None:
                device = self._devices[context.device.type]
            if consent is None and context.consent:
                said, consent = self._newest_consent
                if context.consent != said:  # nine of ten say what the one before said
                    consent = self._consents[bytes(context.consent)]
                    self._newest_consent = (context.consent, consent)
            channel = channel or context.channel
        if not channel or channel == "client":
            # Segment marks every call of a library so, and its mobile libraries name themselves by the
            # device only.
            channel = "mobile" if device in _MOBILE else call or ""
        event = Event(  # by position: named arguments cost as much as all the rest
            record.position, index, at_ms, received_ms, watermark_ms, message_id or _made_id(raw),
            crc32(body, crc32(ids, meaning.crc)), action, name, visitor, user_id,
            self.touchpoints.by_event[name, medium, channel], told.lines, told.query, told.category,
            told.order_id, told.value, told.dwell_s, told.scroll, source, device, path, consent, blocked,
            None if wire.group_id is None else id_of(wire.group_id, "$.groupId"),
        )  # fmt: skip
        return Arrival(event, raw, flaws + told.flaws if told.flaws else flaws)


def visitor_of(raw: bytes) -> str:
    """The visitor a raw event will be folded under, "" where it names nobody or is broken: the
    key that picks its partition."""
    try:
        wire, _ = read_call(raw)
        action = CALLS.get(wire.type or "", Action.OTHER)
        named = wire.previous_id if action is ALIAS else wire.anonymous_id
        return identity_of(named, wire.user_id, action)[0]
    except Refused:
        return ""


def _dead(refused: Refused, record: Record, index: int, raw: bytes) -> DeadLetter:
    return DeadLetter(
        refused.kind,
        refused.path,
        refused.expected,
        refused.got,
        raw,
        record.position,
        index,
        record.received_ms,
    )


def _made_id(raw: bytes) -> str:
    """Of an event without an id: the same bytes are the same message, as a producer's blind retry sends."""
    return MADE_ID + blake2b(raw, digest_size=12).hexdigest()


def _leave_out(wire: Call, flaws: list[Flaw]) -> None:
    """The ids that are too long, and that an event can do without."""
    wire.message_id = optional_id(wire.message_id, "$.messageId", flaws)
    wire.group_id = optional_id(wire.group_id, "$.groupId", flaws)


def _is_short(*texts: str | None) -> bool:
    return sum([len(text) for text in texts if text]) <= MAX_CACHED_CHARS


def _are_texts(ids: tuple[Id, Id], _: Identity) -> bool:
    """Whether both ids were sent as texts: 1, 1.0 and True would be one question."""
    anonymous_id, user = ids
    return (anonymous_id is None or type(anonymous_id) is str) and (user is None or type(user) is str)
