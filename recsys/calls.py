"""What a call says besides its times and properties: what it is, whom it is about, where from, what it
allows. Each is worked out of few texts that come again and again: `recsys.decode` keeps the answers.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TypeAlias
from zlib import crc32

import msgspec

from recsys.events import BLOCKED_IDS, MAX_TEXT_CHARS, Action, Consent, Source
from recsys.mend import UNREADABLE
from recsys.properties import id_of
from recsys.refusal import refusal_of, refuse
from recsys.segment import ACTIONS, CALLS, decode_consent

SYSTEM_KEY = "headrace:"
"""Starts the keys of Headrace's own records."""
MAX_DEVICE_CHARS = 32
MAX_SOURCE_CHARS = 100
MAX_REFERRER_CHARS = 200
NAMING = frozenset((Action.IDENTIFY, Action.ALIAS))
"""Calls that are about ids: an empty one in them is a broken tracker's."""

Id: TypeAlias = "str | int | float | None"
"""An id as it was sent."""
Visit: TypeAlias = "tuple[str | None, str | None, str | None, str | None]"
"""Source, medium and name of the campaign, and the referrer."""
Identity: TypeAlias = "tuple[str, str | None, int, bytes]"
"""Visitor, user id, how many ids named nobody, and the two ids as bytes."""


class Meaning(msgspec.Struct, frozen=True, gc=False):
    """What a call is."""

    action: Action
    name: str
    crc: int
    """The name's CRC-32."""
    consent: Consent | None = None
    """What it says by being what it is."""


def meaning_of(call: str | None, event: str | None, name: str | None, *, served: bool = False) -> Meaning:
    """Of a call's type, event and name. Raises Refused without them. `served`: it tells of a block that
    Headrace has served."""
    action, known_as = _named(call, event, name, served)
    consent = None
    if action is Action.SUBSCRIBE or action is Action.UNSUBSCRIBE:
        consent = Consent(email=action is Action.SUBSCRIBE)
    return Meaning(action, known_as, crc32(f"{known_as}\0".encode("utf-8", "surrogatepass")), consent)


def _named(call: str | None, event: str | None, name: str | None, served: bool) -> tuple[Action, str]:
    if call == "track" or (call is None and event is not None):
        if not event:
            refuse("missing_field", "$.event", "a name", "nothing")
        known_as = event[:MAX_TEXT_CHARS]
        return Action.SERVED if served else _action_of(known_as), known_as
    if call is None:
        refuse("missing_field", "$.type", "one of track, page, screen, identify, alias, group", "nothing")
    action = CALLS.get(call)
    if action is None:
        refuse("wrong_type", "$.type", "one of track, page, screen, identify, alias, group", f"`{call[:64]}`")
    # RudderStack's mobile libraries send a screen's name as `event`.
    return action, (name or event or call)[:MAX_TEXT_CHARS]


@lru_cache(maxsize=10_000)
def _action_of(name: str) -> Action:
    """Names come as "Product Viewed" and "product_viewed" alike."""
    return ACTIONS.get(name.lower().replace("_", " ").strip(), Action.OTHER)


def identity_of(anonymous_id: Id, user: Id, action: Action = Action.OTHER) -> Identity:
    """Whom a call of that action is about; for an alias its previous id stands for the anonymous one, as it
    is folded under the id it renames. Raises Refused for nobody, and for ids that are too long.

    Events without an anonymous id (a till, a server) have a visitor of their own, `user:<id>`, known from
    the start.
    """
    blocked = 0
    path = "$.previousId" if action is Action.ALIAS else "$.anonymousId"
    visitor = id_of(anonymous_id, path)
    user_id = id_of(user, "$.userId")
    if visitor is not None and visitor.lower() in BLOCKED_IDS:
        blocked += visitor != "" or action in NAMING
        visitor = None
    if user_id is not None and user_id.lower() in BLOCKED_IDS:
        # RudderStack says "" on every event of an unknown visitor: that is no broken tracker.
        blocked += user_id != "" or action in NAMING
        user_id = None
    if visitor is None:
        if user_id is None:
            got = "ids that name nobody" if blocked else "nothing"
            refuse("no_identity", "$.anonymousId", "an anonymousId or a userId", got)
        visitor = f"user:{user_id}"
    elif visitor.startswith((SYSTEM_KEY, "user:")):
        expected = "an id not starting with `headrace:` or `user:`"
        refuse("no_identity", "$.anonymousId", expected, f"`{visitor}`")
    return visitor, user_id, blocked, f"{visitor}\0{user_id}".encode("utf-8", "surrogatepass")


def source_of(visit: Visit) -> Source | None:
    """Where a visit came from, None where nothing says."""
    source, medium, name, referrer = visit
    if source or medium or name:
        return Source(
            (source or "")[:MAX_SOURCE_CHARS],
            (medium or "")[:MAX_SOURCE_CHARS],
            (name or "")[:MAX_SOURCE_CHARS],
            (referrer or "")[:MAX_REFERRER_CHARS],
        )
    return Source("", "", "", referrer[:MAX_TEXT_CHARS]) if referrer else None


def device_of(kind: str | None) -> str:
    """A device's kind as it is kept."""
    return (kind or "")[:MAX_DEVICE_CHARS]


def consent_of(raw: bytes, personalization: frozenset[str], email: frozenset[str]) -> Consent | None:
    """What a context's consent says of the categories (lower case) that stand for each question. Raises
    Refused where it cannot be read."""
    try:
        given = decode_consent(raw)
    except UNREADABLE as error:
        raise refusal_of(error, "$.context.consent") from None
    preferences = given.category_preferences if given is not None else None
    said = {name.lower(): yes for name, yes in (preferences or {}).items()}
    consent = Consent(_all_given(said, personalization), _all_given(said, email))
    return None if consent == Consent() else consent


def _all_given(said: dict[str, bool | None], categories: frozenset[str]) -> bool | None:
    answers = [given for name, given in said.items() if name in categories]
    return all(answers) if answers else None
