"""Raw bytes of the log -> `Event`, or a `DeadLetter` that says where, what was expected, what came.

The wire format is Segment-spec JSON as Segment, RudderStack and analytics.js send it: track, page,
screen, identify, alias and group calls, one a record or a batch call of many. Records whose key
starts with `headrace:` are Headrace's own: catalogue changes and blocks served.

What comes again and again (properties, ids, names, consents) is checked once and then known.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import TypeVar
from zlib import crc32

from recsys.catalog import CatalogChange, decode_change
from recsys.clock import times
from recsys.events import (
    BLOCKED_IDS,
    MAX_EVENT_BYTES,
    MAX_ID_BYTES,
    MAX_TEXT_CHARS,
    Action,
    Arrival,
    Consent,
    DeadLetter,
    Event,
    Flaw,
    Source,
    each_once,
)
from recsys.mend import UNREADABLE
from recsys.ports import Record
from recsys.properties import NOTHING, PropertiesReader, id_of, optional_id, text_of
from recsys.refusal import Refused, refusal_of, refuse
from recsys.segment import (
    ACTIONS,
    CALLS,
    Call,
    Context,
    decode_call,
    decode_consent,
    read_call,
    split_batch,
)
from recsys.touchpoints import Touchpoints

SYSTEM_KEY = "headrace:"
CATALOG_KEY = "headrace:catalog:"
SERVED_KEY = "headrace:served:"
MADE_ID = "raw:"
"""Starts a message id made from the bytes of an event that came without."""

MAX_CACHED_CONSENTS = 1000
MAX_CACHED = 20_000
"""Names, ids and sources known; beyond, they are read anew."""
MAX_CACHED_CHARS = 200
MAX_DEVICE_CHARS = 32

ALIAS, PAGE, SERVED = Action.ALIAS, Action.PAGE, Action.SERVED
SUBSCRIBE, UNSUBSCRIBE = Action.SUBSCRIBE, Action.UNSUBSCRIBE
_WITH_TRAITS = frozenset((Action.IDENTIFY, Action.GROUP))
_NAMING = frozenset((Action.IDENTIFY, Action.ALIAS))
_CONSENTING = frozenset((SUBSCRIBE, UNSUBSCRIBE))

_Meaning = tuple[Action, str, int]
"""What an event is, its name, and the name's CRC-32."""
_Identity = tuple[str, "str | None", int, bytes]
"""Visitor, user id, how many ids named nobody, and the two ids as bytes."""
_K = TypeVar("_K")
_V = TypeVar("_V")


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
        self._personalization = frozenset(name.lower() for name in personalization_categories)
        self._email = frozenset(name.lower() for name in email_categories)
        self._consents: dict[bytes, Consent | None] = {}
        self._properties = PropertiesReader()
        self._names: dict[object, _Meaning] = {}
        self._people: dict[object, _Identity] = {}
        self._sources: dict[object, Source] = {}

    def decode(self, record: Record, watermark_ms: int) -> Sequence[Arrival | DeadLetter | CatalogChange]:
        """Every event of one record. A block served (`SERVED_KEY`) comes as an event of action
        SERVED: it is archived and indexed, and never folded into a profile."""
        _, key, raw, _ = record
        if key.startswith(SYSTEM_KEY) and key.startswith(CATALOG_KEY):
            return (self._catalog(record),)
        if len(raw) <= MAX_EVENT_BYTES:
            try:
                wire = decode_call(raw)
                if not wire.batch:
                    return (self._arrival(wire, record, 0, raw, watermark_ms),)
            except (*UNREADABLE, Refused):
                pass  # the second reading tells
        return [self._one(record, index, event, watermark_ms) for index, event in enumerate(split_batch(raw))]

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
            return self._arrival(wire, record, index, raw, watermark_ms, each_once(flaws))
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
    ) -> Arrival:
        action, name, name_crc = self._meaning(wire, record.key)
        body, told = wire.properties, NOTHING
        if action in _WITH_TRAITS:
            body = wire.traits
        elif body:
            told = self._properties.read(body, action)
        visitor, user_id, blocked, ids = self._identity(wire, action)
        at_ms, received_ms = times(wire, record.received_ms)
        context, path, source, device = wire.context, told.path, None, None
        channel = wire.channel
        if context is not None:
            source = self._source(context)
            if context.device is not None:
                device = _cut(context.device.type or "", MAX_DEVICE_CHARS)
            if path is None and context.page is not None:
                path = text_of(context.page.path)
            channel = channel or context.channel
        if not channel or channel == "client":
            channel = _own_channel(wire, device)
        message_id = _message_id(wire, raw)
        if told.refused is not None:
            raise Refused(*told.refused)
        # By position: named arguments cost as much as all the rest of this function.
        event = Event(
            record.position,
            index,
            at_ms,
            received_ms,
            watermark_ms,
            message_id,
            crc32(body, crc32(ids, name_crc)),
            action,
            name,
            visitor,
            user_id,
            self.touchpoints.of(name, source.medium if source is not None else "", channel),
            told.lines,
            told.query,
            told.category,
            told.order_id,
            told.value,
            told.dwell_s,
            told.scroll,
            source,
            device,
            path,
            self._consent(action, context) if context is not None or action in _CONSENTING else None,
            blocked,
            None if wire.group_id is None else id_of(wire.group_id, "$.groupId"),
        )
        return Arrival(event, raw, flaws + told.flaws if told.flaws else flaws)

    def _meaning(self, wire: Call, key: str) -> _Meaning:
        call = wire.type
        said: object = wire.event if call == "track" else (call, wire.name or wire.event)
        is_own = key.startswith(SYSTEM_KEY)
        known = None if is_own else self._names.get(said)
        if known is None:
            action, name = _meaning(wire, key)
            known = (action, name, crc32(f"{name}\0".encode("utf-8", "surrogatepass")))
            if call is not None and len(name) <= MAX_CACHED_CHARS and not is_own:
                _keep(self._names, said, known)
        return known

    def _identity(self, wire: Call, action: Action) -> _Identity:
        given, user = wire.anonymous_id, wire.user_id
        said: object = given if user is None else (given, user)
        if action is not ALIAS:
            known = self._people.get(said)
            if known is not None:
                return known
        visitor, user_id, blocked = _identity(wire, action)
        ids = f"{visitor}\0{user_id}".encode("utf-8", "surrogatepass")
        found = (visitor, user_id, blocked, ids)
        # Texts only (1 and 1.0 are one key), and only ids whose worth does not depend on the action.
        plain = type(given) is str and given == visitor and action is not ALIAS
        if plain and (user is None or (type(user) is str and user_id is not None)):
            _keep(self._people, said, found)
        return found

    def _source(self, context: Context) -> Source | None:
        referrer = context.page.referrer if context.page is not None else None
        campaign = context.campaign
        said: str | tuple[str | None, ...]
        if campaign is not None:
            said = (campaign.source, campaign.medium, campaign.name, referrer)
        elif referrer:
            said = referrer
        else:
            return None
        known = self._sources.get(said)
        if known is None:
            known = _source(context)
            if known is not None and sum([len(text) for text in said if text]) <= MAX_CACHED_CHARS:
                _keep(self._sources, said, known)
        return known

    def _consent(self, action: Action, context: Context | None) -> Consent | None:
        if action is UNSUBSCRIBE:
            return Consent(email=False)
        if action is SUBSCRIBE:
            return Consent(email=True)
        if context is None or not context.consent:
            return None
        raw = bytes(context.consent)
        try:
            return self._consents[raw]
        except KeyError:
            if len(self._consents) >= MAX_CACHED_CONSENTS:
                self._consents.clear()
            consent = self._consents[raw] = self._consent_of(raw)
            return consent

    def _consent_of(self, raw: bytes) -> Consent | None:
        try:
            given = decode_consent(raw)
        except UNREADABLE as error:
            raise refusal_of(error, "$.context.consent") from None
        preferences = given.category_preferences if given is not None else None
        said = {name.lower(): yes for name, yes in (preferences or {}).items()}
        consent = Consent(_all_given(said, self._personalization), _all_given(said, self._email))
        return None if consent == Consent() else consent


def _all_given(said: dict[str, bool], categories: frozenset[str]) -> bool | None:
    answers = [given for name, given in said.items() if name in categories]
    return all(answers) if answers else None


def visitor_of(raw: bytes) -> str:
    """The visitor a raw event will be folded under, "" where it names nobody or is broken: the
    key that picks its partition."""
    try:
        wire, _ = read_call(raw)
        return _identity(wire, CALLS.get(wire.type or "", Action.OTHER))[0]
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


@lru_cache(maxsize=10_000)
def _action_of(name: str) -> Action:
    """Names come as "Product Viewed" and "product_viewed" alike."""
    return ACTIONS.get(name.lower().replace("_", " ").strip(), Action.OTHER)


def _meaning(wire: Call, key: str) -> tuple[Action, str]:
    call = wire.type
    if call == "track" or (call is None and wire.event is not None):
        if not wire.event:
            refuse("missing_field", "$.event", "a name", "nothing")
        name = wire.event[:MAX_TEXT_CHARS]
        if key.startswith(SERVED_KEY):
            return SERVED, name
        return _action_of(name), name
    if call is None:
        refuse("missing_field", "$.type", "one of track, page, screen, identify, alias, group", "nothing")
    action = CALLS.get(call)
    if action is None:
        refuse("wrong_type", "$.type", "one of track, page, screen, identify, alias, group", f"`{call[:64]}`")
    # RudderStack's mobile libraries send a screen's name as `event`.
    return action, (wire.name or wire.event or call)[:MAX_TEXT_CHARS]


def _identity(wire: Call, action: Action) -> tuple[str, str | None, int]:
    """visitor, user id, and how many ids were ignored because they name nobody.

    An alias is folded under the id it renames. Events without an anonymous id (a till, a server)
    have a visitor of their own, `user:<id>`, known from the start.
    """
    blocked = 0
    if action is ALIAS:
        visitor = id_of(wire.previous_id, "$.previousId")
    else:
        visitor = id_of(wire.anonymous_id, "$.anonymousId")
    user_id = id_of(wire.user_id, "$.userId") if wire.user_id is not None else None
    if visitor is not None and visitor.lower() in BLOCKED_IDS:
        blocked += visitor != "" or action in _NAMING
        visitor = None
    if user_id is not None and user_id.lower() in BLOCKED_IDS:
        # RudderStack says "" on every event of an unknown visitor: that is no broken tracker.
        blocked += user_id != "" or action in _NAMING
        user_id = None
    if visitor is None:
        if user_id is None:
            got = "ids that name nobody" if blocked else "nothing"
            refuse("no_identity", "$.anonymousId", "an anonymousId or a userId", got)
        visitor = f"user:{user_id}"
    elif visitor.startswith((SYSTEM_KEY, "user:")):
        refuse(
            "no_identity", "$.anonymousId", "an id not starting with `headrace:` or `user:`", f"`{visitor}`"
        )
    return visitor, user_id, blocked


def _message_id(wire: Call, raw: bytes) -> str:
    given = wire.message_id
    if type(given) is not str or len(given) > MAX_ID_BYTES // 4:
        given = id_of(given, "$.messageId")
    else:
        given = given.strip()
    # Without an id the same bytes are the same message: what a producer's blind retry sends.
    return given or MADE_ID + blake2b(raw, digest_size=12).hexdigest()


def _leave_out(wire: Call, flaws: list[Flaw]) -> None:
    """The ids that are too long, and that an event can do without."""
    wire.message_id = optional_id(wire.message_id, "$.messageId", flaws)
    wire.group_id = optional_id(wire.group_id, "$.groupId", flaws)


def _source(context: Context | None) -> Source | None:
    if context is None:
        return None
    referrer = (context.page.referrer or "") if context.page else ""
    campaign = context.campaign
    if campaign is None or not (campaign.source or campaign.medium or campaign.name):
        return Source("", "", "", referrer[:MAX_TEXT_CHARS]) if referrer else None
    return Source(
        (campaign.source or "")[:100],
        (campaign.medium or "")[:100],
        (campaign.name or "")[:100],
        referrer[:200],
    )


def _own_channel(wire: Call, device: str | None) -> str:
    """Where the call came from, where nothing says. Segment marks every call of a library `client`,
    and its mobile libraries name themselves by the device only."""
    return "mobile" if device in ("ios", "android") else wire.type or ""


def _cut(text: str, chars: int) -> str:
    return text if len(text) <= chars else text[:chars]


def _keep(known: dict[_K, _V], key: _K, value: _V) -> None:
    if len(known) >= MAX_CACHED:
        known.clear()
    known[key] = value
