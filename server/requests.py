"""Requests, checked: wire messages -> what the server works on, or what is wrong with them.

Errors say where, what was expected and what came; the servicer turns them into INVALID_ARGUMENT.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

import msgspec

from recsys.block import Slot
from recsys.calls import SYSTEM_KEY
from recsys.cursor import decode_cursor
from recsys.events import (
    ARTICLE_PREFIX,
    BLOCKED_IDS,
    MAX_EVENT_BYTES,
    MAX_ID_BYTES,
    MAX_TEXT_CHARS,
    article_key,
)
from recsys.filters.expression import compile_filter
from recsys.filters.syntax import FilterError
from recsys.mend import UNREADABLE
from recsys.placement import Placement
from recsys.ports import Position
from recsys.segment import split_batch
from recsys.settings import ServerSettings
from server.pb import headrace_pb2 as pb

MAX_MESSAGE_BYTES = 16 << 20
"""Longer requests are refused by gRPC itself, before they are read."""
SAME_PERSON = "same_person"
"""The fallback of a block for somebody whom another rendering of the same mailing is for."""
PACK = 64
"""People of a bulk request who are looked up and decided together."""
MAX_EXCLUDED = 1000
"""Ids one slot may exclude."""
MAX_AGE = 150
MAX_EXPLAINED = 100
"""Ids one Explain may ask about besides what the block shows."""
MAX_CALL_BYTES = 512 * 1024
"""Longest batch call; Segment's own limit is 500 KB."""
KNOWN_BYTES = 200
MOST_KNOWN = 4096
MAX_TRACK_BYTES = 8 << 20
"""All events of one Track, with what batch calls add to each of theirs."""


class RequestError(ValueError):
    """A wrong request: the path of the field, what was expected there, and what came."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field


class Asker(msgspec.Struct, frozen=True, gc=False):
    """Whom blocks are for, as the request names them; None where it names nobody."""

    visitor: str | None
    user_id: str | None


class Caller(msgspec.Struct, frozen=True):
    """What the caller says about the request itself; kept with what was served."""

    request_id: str = ""
    context: dict[str, str] = {}
    """What was said of it, each as a text."""

    @property
    def market(self) -> str:
        return self.context.get("market", "")

    @property
    def addresses(self) -> tuple[str, ...]:
        """Of the page and of the referrer, those that are told."""
        if not self.context:
            return ()
        return tuple([text for name in ("page_url", "referrer") if (text := self.context.get(name))])

    @property
    def age(self) -> int:
        return int(self.context.get("age", 0))


class BlocksRequest(msgspec.Struct, frozen=True):
    """A checked GetBlocksRequest."""

    asker: Asker
    slots: tuple[Slot, ...]
    at_least_as_fresh: Position | None
    render_id: str
    caller: Caller


@dataclass(frozen=True, slots=True)
class BulkRequest:
    """A checked GetBlocksBulkRequest; its people are checked as their turn comes."""

    slots: tuple[Slot, ...]
    people: Sequence[pb.BulkPerson]
    caller: Caller
    campaign: str


def _wrong(field: str, expected: str, got: str) -> NoReturn:
    raise RequestError(field, f"Expected {expected}, got {got} - at `{field}`")


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _short(text: str, field: str) -> str:
    """The id `text`; at most MAX_ID_BYTES."""
    if len(text) * 4 > MAX_ID_BYTES and _size(text) > MAX_ID_BYTES:
        _wrong(field, f"at most {MAX_ID_BYTES} bytes", f"{_size(text)} bytes")
    return text


def _naming(text: str, field: str) -> str | None:
    """An id of a person as events are folded under it, None where it names nobody."""
    if not text:
        return None
    found = _short(text, field).strip()
    if found.lower() in BLOCKED_IDS:
        return None
    return found


def asker_of(anonymous_id: str, user_id: str, where: str = "") -> Asker:
    """Whom the ids name; `where` is the path before their names. Raises RequestError."""
    visitor = _naming(anonymous_id, f"{where}anonymous_id")
    if visitor is not None and visitor.startswith((SYSTEM_KEY, "user:")):
        _wrong(f"{where}anonymous_id", "an id not starting with `headrace:` or `user:`", f"`{visitor}`")
    return Asker(visitor, _naming(user_id, f"{where}user_id"))


class RequestChecks:
    """Checks requests against the placements and limits that are configured."""

    def __init__(self, placements: Mapping[str, Placement], limits: ServerSettings) -> None:
        self._placements = placements
        self._limits = limits
        self._names = ", ".join(sorted(placements))
        self._known: dict[bytes, Slot] = {}

    def blocks(self, message: pb.GetBlocksRequest) -> BlocksRequest:
        return BlocksRequest(
            asker_of(message.anonymous_id, message.user_id),
            self._slots(message.slots),
            _position(message.at_least_as_fresh),
            _short(message.render_id, "render_id"),
            _caller(message),
        )

    def bulk(self, message: pb.GetBlocksBulkRequest) -> BulkRequest:
        most = self._limits.max_bulk_people
        if len(message.people) > most:
            _wrong("people", f"at most {most}", str(len(message.people)))
        return BulkRequest(
            self._slots(message.slots),
            message.people,
            _caller(message),
            _short(message.campaign, "campaign"),
        )

    def explained(self, message: pb.ExplainRequest) -> list[str]:
        """The ids of items that are asked about."""
        if len(message.item_ids) > MAX_EXPLAINED:
            _wrong("item_ids", f"at most {MAX_EXPLAINED}", str(len(message.item_ids)))
        return [_short(item, f"item_ids[{index}]") for index, item in enumerate(message.item_ids)]

    def events(self, message: pb.TrackRequest) -> list[tuple[int, bytes]]:
        """Single events, batch calls taken apart, each with the index of its call."""
        most = self._limits.max_track_events
        if not 1 <= len(message.events) <= most:
            _wrong("events", f"1 to {most}", str(len(message.events)))
        events: list[tuple[int, bytes]] = []
        total_bytes = 0
        for call, raw in enumerate(message.events):
            if len(raw) > MAX_CALL_BYTES:
                _wrong(f"events[{call}]", f"at most {MAX_CALL_BYTES} bytes", f"{len(raw)} bytes")
            total_bytes += _bytes_apart(raw, call, most - len(events))
            if total_bytes > MAX_TRACK_BYTES:
                _wrong(
                    "events",
                    f"at most {MAX_TRACK_BYTES} bytes",
                    f"{total_bytes} bytes up to `events[{call}]`",
                )
            for single in split_batch(raw):
                _check_single(single, f"events[{call}]")
                events.append((call, single))
        if len(events) > most:
            _wrong("events", f"at most {most} events with those of batch calls", str(len(events)))
        return events

    def _slots(self, slots: Sequence[pb.Slot]) -> tuple[Slot, ...]:
        most = self._limits.max_slots
        if not 1 <= len(slots) <= most:
            _wrong("slots", f"1 to {most}", str(len(slots)))
        checked = tuple([self._known_slot(slot, index) for index, slot in enumerate(slots)])
        names: set[str] = set()
        for index, slot in enumerate(checked if len(checked) > 1 else ()):
            if slot.name in names:
                _wrong(f"slots[{index}].name", "a name of its own", f"`{slot.name}` again")
            names.add(slot.name)
        return checked

    def _known_slot(self, slot: pb.Slot, index: int) -> Slot:
        """The slot, checked. Pages ask for the same slots again and again: short ones are kept, by their
        bytes, at most MOST_KNOWN of them."""
        asked = slot.SerializeToString()
        known = self._known.get(asked)
        if known is None:
            known = self._slot(slot, f"slots[{index}]")
            if len(asked) <= KNOWN_BYTES:
                if len(self._known) >= MOST_KNOWN:
                    self._known.clear()
                self._known[asked] = known
        return known

    def _slot(self, slot: pb.Slot, where: str) -> Slot:
        placement = self._placements.get(slot.placement)
        if placement is None:
            _wrong(f"{where}.placement", f"one of {self._names}", f"`{slot.placement[:64]}`")
        if slot.limit > self._limits.max_limit:
            _wrong(f"{where}.limit", f"at most {self._limits.max_limit}", str(slot.limit))
        item = _item_id(slot, where)
        if placement.needs_item and item is None:
            _wrong(f"{where}.item_id", f"an item, which `{slot.placement}` needs", "nothing")
        return Slot(
            name=_short(slot.name, f"{where}.name") or slot.placement,
            placement=slot.placement,
            limit=slot.limit or placement.limit,
            item=item,
            exclude=_excluded(slot.exclude, where),
            seen=_seen(slot.cursor, where),
            filter=_filter(slot.filter, where),
        )


def _item_id(slot: pb.Slot, where: str) -> str | None:
    item = _short(slot.item_id, f"{where}.item_id").strip()
    if not item:
        return None
    if slot.item_type == pb.ITEM_TYPE_ARTICLE and not item.startswith(ARTICLE_PREFIX):
        return article_key(item)
    if slot.item_type not in (pb.ITEM_TYPE_UNSPECIFIED, pb.ITEM_TYPE_PRODUCT, pb.ITEM_TYPE_ARTICLE):
        _wrong(f"{where}.item_type", "an ItemType", str(slot.item_type))
    return item


def _filter(text: str, where: str) -> str:
    """The text of a filter that can be asked; what is compiled is kept for when it is."""
    if not text:
        return ""
    try:
        return compile_filter(text).text
    except FilterError as error:
        raise RequestError(f"{where}.filter", f"{error} of `{where}.filter`") from None


def _seen(cursor: str, where: str) -> tuple[str, ...]:
    """What the pages before have shown."""
    try:
        return decode_cursor(cursor)
    except ValueError:
        _wrong(f"{where}.cursor", "the `next_cursor` of a block", f"`{cursor[:32]}`")


def _excluded(ids: Collection[str], where: str) -> tuple[str, ...]:
    if not ids:
        return ()
    if len(ids) > MAX_EXCLUDED:
        _wrong(f"{where}.exclude", f"at most {MAX_EXCLUDED}", str(len(ids)))
    return tuple(_short(item, f"{where}.exclude[{index}]") for index, item in enumerate(ids))


def _position(text: str) -> Position | None:
    if not text:
        return None
    try:
        return Position.parse(text)
    except ValueError:
        _wrong("at_least_as_fresh", "a position that Track returned, like `3-1042`", f"`{text[:64]}`")


def _caller(message: pb.GetBlocksRequest | pb.GetBlocksBulkRequest) -> Caller:
    request_id = _short(message.request_id, "request_id")
    return Caller(request_id, _context(message.context) if message.HasField("context") else {})


def _context(context: pb.Context, where: str = "") -> dict[str, str]:
    """What is given of it; `where`: what it stands in."""
    given = {
        "market": context.market,
        "device": context.device,
        "referrer": context.referrer,
        "page_url": context.page_url,
    }
    for name, text in given.items():
        if len(text) * 4 > MAX_TEXT_CHARS and _size(text) > MAX_TEXT_CHARS:
            _wrong(f"{where}context.{name}", f"at most {MAX_TEXT_CHARS} bytes", f"{_size(text)} bytes")
    if context.age > MAX_AGE:
        _wrong(f"{where}context.age", f"at most {MAX_AGE}", str(context.age))
    given["age"] = str(context.age) if context.age else ""
    return {name: text for name, text in given.items() if text}


def context_message(caller: Caller) -> pb.Context:
    """As the caller gave it."""
    given = caller.context
    return pb.Context(
        market=given.get("market", ""),
        device=given.get("device", ""),
        referrer=given.get("referrer", ""),
        page_url=given.get("page_url", ""),
        age=caller.age,
    )


def render_of(person: pb.BulkPerson, index: int, caller: Caller) -> tuple[Asker, str, Caller]:
    """One person of a bulk request, the id of the rendering, and who asks: `caller`, for a person who is
    somewhere else."""
    where = f"people[{index}]."
    asker = asker_of(person.anonymous_id, person.user_id, where)
    if asker.visitor is None and asker.user_id is None:
        got = " and ".join(f"`{one}`" for one in (person.anonymous_id, person.user_id) if one) or "nothing"
        _wrong(f"people[{index}]", "an id that names somebody in one of the two", got)
    if not person.render_id:
        _wrong(f"{where}render_id", "an id of this rendering", "nothing")
    if person.HasField("context"):
        caller = Caller(caller.request_id, _context(person.context, where))
    return asker, _short(person.render_id, f"{where}render_id"), caller


def _check_single(raw: bytes, where: str) -> None:
    if len(raw) > MAX_EVENT_BYTES:
        _wrong(where, f"an event of at most {MAX_EVENT_BYTES} bytes", f"{len(raw)} bytes")
    if _batch_of(raw) is not None:
        _wrong(where, "single events in a batch call", "a batch call in a batch call")


class _Batch(msgspec.Struct, gc=False, rename="camel"):
    batch: list[msgspec.Raw]
    sent_at: msgspec.Raw = msgspec.Raw(b"")
    context: msgspec.Raw = msgspec.Raw(b"")
    user_id: msgspec.Raw = msgspec.Raw(b"")
    anonymous_id: msgspec.Raw = msgspec.Raw(b"")


_batch = msgspec.json.Decoder(_Batch)


def _batch_of(raw: bytes) -> _Batch | None:
    if b'"batch"' not in raw:
        return None
    try:
        return _batch.decode(raw)
    except UNREADABLE:
        return None  # broken, or a single event that says "batch" somewhere


def _bytes_apart(raw: bytes, call: int, most: int) -> int:
    """How large a call is when taken apart: every event of a batch call is given what the call
    says for all, so a small call may ask for gigabytes. Checked before that is done."""
    found = _batch_of(raw)
    if found is None:
        return len(raw)
    if not found.batch:
        _wrong(f"events[{call}].batch", "1 event or more", "none")
    if len(found.batch) > most:
        _wrong(f"events[{call}].batch", f"at most {most} events", str(len(found.batch)))
    common = (found.sent_at, found.context, found.user_id, found.anonymous_id)
    return len(raw) + sum(len(bytes(value)) for value in common) * len(found.batch)
