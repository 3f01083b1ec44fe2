"""What the visitor stage tells the person stage: facts, each in its place."""

from __future__ import annotations

import msgspec

from recsys.events import Event
from recsys.profile import Profile


class Absorb(msgspec.Struct, frozen=True, array_like=True, tag="a"):
    """A visitor turned out to be a customer: the profile gathered until then."""

    profile: Profile
    since_ms: int = 0
    """The login by which this may be taken back: see `recsys.logins.Login`; 0: it may not."""


class Undone(msgspec.Struct, frozen=True, array_like=True, tag="u"):
    """The device's login since that time was none: what it has told since is not this customer's."""

    since_ms: int


class Retract(msgspec.Struct, frozen=True, array_like=True, tag="r"):
    """The fact under this order key was never this customer's."""


class Happened(msgspec.Struct, frozen=True, array_like=True, tag="h"):
    """The customer did this."""

    event: Event


class Renamed(msgspec.Struct, frozen=True, array_like=True, tag="n"):
    """The customer goes by another user id from now on; by this one again where it is ""."""

    to: str


class Former(msgspec.Struct, frozen=True, array_like=True, tag="f"):
    """Another user id was renamed to the customer's."""

    user_id: str


class Fact(msgspec.Struct, frozen=True, array_like=True):
    """What a visitor tells a customer. Its place is its identity: the same place again replaces
    what was there."""

    user_id: str
    visitor: str
    at_ms: int
    partition: int
    offset: int
    index: int
    step: int
    watermark_ms: int
    body: Absorb | Happened | Retract | Renamed | Former | Undone

    def place(self, lateness_ms: int) -> tuple[int, int, int, int, int]:
        at_ms = max(self.at_ms, self.watermark_ms - lateness_ms)
        return (at_ms, self.partition, self.offset, self.index, self.step)


def difference(old: tuple[Fact, ...], new: tuple[Fact, ...]) -> list[Fact]:
    """What must be told so that the facts are the new ones instead of the old ones."""
    if old == new:
        return []
    now = {(fact.user_id, fact.step): fact for fact in new}
    gone = [fact for fact in old if (fact.user_id, fact.step) not in now]
    told = {(fact.user_id, fact.step): fact for fact in old}
    changed = [fact for key, fact in now.items() if told.get(key) != fact]
    return [msgspec.structs.replace(fact, body=Retract()) for fact in gone] + changed
