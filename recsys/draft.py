"""A profile at work: the same fields as `Profile`, changed in place while events are folded in.

Making a new profile for every event costs more than the fold itself. Its bytes are a profile's, so
it is stored without being frozen first.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import astuple, replace

from recsys.events import Source
from recsys.profile import Affinity, CartLine, Order, Profile, Session, Standing, Touch


class DraftSession(msgspec.Struct, array_like=True, gc=False):
    """See `Session`."""

    start_ms: int
    last_ms: int
    events: int = 0
    views: int = 0
    reads: int = 0
    lists: int = 0
    searches: int = 0
    cart_adds: int = 0
    checkouts: int = 0
    orders: int = 0
    dwell_s: float = 0.0
    queries: tuple[str, ...] = ()
    source: Source | None = None
    device: str = ""
    closed: bool = False
    category: str = ""


class Draft(msgspec.Struct, array_like=True, gc=False):
    """See `Profile`. Only what changes with most events is a list."""

    first_ms: int = 0
    last_ms: int = 0
    session: DraftSession | None = None
    touches: list[Touch] = []
    cart: tuple[CartLine, ...] = ()
    cart_ms: int = 0
    orders: tuple[Order, ...] = ()
    categories: list[Affinity] = []
    channels: list[Affinity] = []
    visitors: tuple[str, ...] = ()
    sessions: int = 0
    events: int = 0
    order_count: int = 0
    order_value: float = 0.0
    personalization: bool | None = None
    email: bool | None = None
    consent_ms: int = 0
    group: str = ""
    late_events: int = 0
    blocked_ids: int = 0
    renamed: str = ""
    renamed_ms: int = 0
    former: tuple[str, ...] = ()

    def copy(self) -> Draft:
        """One that changes on its own."""
        other = replace(self)
        if other.session is not None:
            other.session = replace(other.session)
        other.touches = other.touches.copy()
        other.categories = other.categories.copy()
        other.channels = other.channels.copy()
        return other


class DraftRecord(msgspec.Struct, frozen=True, array_like=True):
    """The bytes of a `PersonRecord`."""

    person: str
    profile: Draft
    standing: Standing
    event_ms: int


class DraftLink(msgspec.Struct, frozen=True, array_like=True):
    """The bytes of a `VisitorLink`."""

    visitor: str
    user_id: str | None
    record: DraftRecord | None


def thaw(profile: Profile) -> Draft:
    """A draft of a profile, which stays as it is."""
    fields = list(astuple(profile))
    session = profile.session
    fields[_SESSION] = DraftSession(*astuple(session)) if session is not None else None
    for index in _LISTS:
        fields[index] = list(fields[index])
    return Draft(*fields)


def freeze(draft: Draft) -> Profile:
    """The profile that a draft stands for, as it is now."""
    fields = list(astuple(draft))
    session = draft.session
    fields[_SESSION] = Session(*astuple(session)) if session is not None else None
    for index in _LISTS:
        fields[index] = tuple(fields[index])
    return Profile(*fields)


# By place, not by name: named fields cost five times as much, and a login needs them several times.
_SESSION = Profile.__struct_fields__.index("session")
_LISTS = tuple(Profile.__struct_fields__.index(name) for name in ("touches", "categories", "channels"))
