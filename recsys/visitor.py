"""The visitor stage: one device's events in order, who is behind it, and what goes on to whom.

While nobody is known behind a visitor, this stage keeps the whole profile. The first event that
names a customer emits *absorb* once, and from then on facts go to that customer. Events may come
`lateness_ms` after newer ones: the newest are kept, each with the state after it, and one that comes
out of order is put in its place and those behind it folded again; what that changes downstream is
sent as replaced or retracted facts. What comes later still is *late* and folded at the edge of what
has settled. Both are decided by the event and the log alone (`watermark_ms`, the highest receive
time up to the record), never by the clock or by who was read first: a replay decides the same.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

import msgspec

from recsys.events import Action, Arrival, DeadLetter, Event
from recsys.fold import NO_EFFECTS, Effect, SessionRules, apply, apply_late
from recsys.profile import PersonRecord, Profile, Standing, VisitorLink

VISITOR_STATE_VERSION = 1
MAX_TAIL = 500
"""Events kept for reordering; beyond, the oldest count as settled."""
MAX_MESSAGE_IDS = 1000
MESSAGE_ID_MS = 48 * 3_600_000
"""A message id is remembered this long, by the log's time, for the newest 1,000 of a visitor."""


Place = tuple[int, int, int, int]
"""Where an event is folded: (time, partition, offset, index). The time is when it happened; for a
late one, the time up to which everything had settled when it came."""


class Absorb(msgspec.Struct, frozen=True, array_like=True, tag="a"):
    """A visitor turned out to be a customer: the profile gathered until then."""

    profile: Profile


class Retract(msgspec.Struct, frozen=True, array_like=True, tag="r"):
    """The fact under this order key was never this customer's."""


class Happened(msgspec.Struct, frozen=True, array_like=True, tag="h"):
    """The customer did this."""

    event: Event


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
    body: Absorb | Happened | Retract

    def place(self, lateness_ms: int) -> tuple[int, int, int, int, int]:
        at_ms = max(self.at_ms, self.watermark_ms - lateness_ms)
        return (at_ms, self.partition, self.offset, self.index, self.step)


class View(msgspec.Struct, frozen=True, array_like=True):
    """What the stage knows between two events."""

    user_id: str | None = None
    profile: Profile = Profile()
    last_ms: int = 0
    session_ms: int = 0
    """Start of the device's session."""
    closed: bool = False
    """Whether that session ended with a logout: what comes next is a new one."""


class Accepted(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An event that counts: for archive, counters and tally. `person` is whose it is."""

    event: Event
    raw: bytes
    person: str
    session_ms: int
    late: bool
    effects: tuple[Effect, ...]


class Duplicate(msgspec.Struct, frozen=True, array_like=True, gc=False):
    event: Event


Fate = Accepted | Duplicate | DeadLetter


class _Settled(msgspec.Struct, frozen=True, array_like=True):
    """The state's bytes: the settled view, the events since, and the ids seen."""

    visitor: str
    view: View
    tail: tuple[Event, ...]
    ids: tuple[tuple[int, int, int], ...]
    standing: Standing
    event_ms: int


class _Step(msgspec.Struct, frozen=True, gc=False):
    """One event of the tail, the view after it and the facts it sent."""

    event: Event
    place: Place
    after: View
    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class StageRules:
    session: SessionRules = field(default_factory=SessionRules)
    lateness_ms: int = 60_000


class VisitorState:
    """State of one visitor; `take` is its only verb. Not shared between threads."""

    __slots__ = ("_base", "_event_ms", "_ids", "_positions", "_rules", "_steps", "visitor")

    def __init__(self, visitor: str, rules: StageRules) -> None:
        self.visitor = visitor
        self._rules = rules
        self._base = View()
        self._steps: list[_Step] = []
        self._ids: dict[int, tuple[int, int]] = {}
        self._positions: dict[int, int] = {}
        self._event_ms = 0

    @property
    def view(self) -> View:
        return self._steps[-1].after if self._steps else self._base

    def take(self, arrival: Arrival) -> tuple[Fate, Sequence[Fact]]:
        """Fold one event; returns what became of it, and the facts it sends or changes."""
        event = arrival.event
        partition, offset = event.position
        if offset > self._positions.get(partition, -1):
            self._positions[partition] = offset
        repeated = self._repeated(event, arrival.raw)
        if repeated is not None:
            return repeated, ()
        settled_ms = event.watermark_ms - self._rules.lateness_ms
        if self._steps and self._steps[0].place[0] < settled_ms:
            self._settle(settled_ms)
        at_ms = event.at_ms
        self._event_ms = max(self._event_ms, at_ms)
        late = at_ms < settled_ms
        place = (settled_ms if late else at_ms, partition, offset, event.index)
        person, session_ms, effects, facts = self._put(event, place)
        return Accepted(event, arrival.raw, person, session_ms, late, effects), facts

    def _put(self, event: Event, place: Place) -> tuple[str, int, tuple[Effect, ...], Sequence[Fact]]:
        """Fold an event in its place, and those behind it again."""
        steps = self._steps
        at = len(steps)
        if steps and place < steps[-1].place:
            at = bisect_left([step.place for step in steps], place)
        before = steps[at - 1].after if at else self._base
        step, effects = self._step(before, event, place)
        followers = steps[at:]
        steps[at:] = [step]
        facts: Sequence[Fact] = step.facts
        if followers:
            facts = [*step.facts, *self._again(step.after, followers)]
        if len(steps) > MAX_TAIL:
            self._base = steps[0].after
            del steps[0]
        person = _person_of(self.visitor, event.user_id or step.after.user_id or before.user_id)
        return person, step.after.session_ms, effects, facts

    def _again(self, view: View, followers: list[_Step]) -> list[Fact]:
        """Fold later events again behind a changed view; what that changes of their facts."""
        changes: list[Fact] = []
        for old in followers:
            new, _ = self._step(view, old.event, old.place)
            view = new.after
            self._steps.append(new)
            changes.extend(_difference(old.facts, new.facts))
        return changes

    def _step(self, before: View, event: Event, place: Place) -> tuple[_Step, tuple[Effect, ...]]:
        if place[0] > event.at_ms < before.last_ms:  # late, and newer events are folded already
            return self._late_step(before, event, place), NO_EFFECTS
        facts: tuple[Fact, ...] = ()
        user_id, profile = before.user_id, before.profile
        effects: tuple[Effect, ...] = NO_EFFECTS
        if event.user_id is not None and event.user_id != user_id:
            if user_id is None:
                facts = (self._fact(event.user_id, event, 0, Absorb(profile)),)
            # Another customer on the same device gets nothing of the one before.
            user_id, profile = event.user_id, Profile()
        if user_id is None:
            profile, effects = apply(profile, event, self._rules.session)
        else:
            facts += (self._fact(user_id, event, 1, Happened(event)),)
        closed = event.action is Action.LOGOUT
        known = None if closed else user_id
        session_ms = self._session_ms(before, event)
        last_ms = max(before.last_ms, event.at_ms)
        after = View(known, profile, last_ms, session_ms, closed)
        return _Step(event, place, after, facts), effects

    def _late_step(self, before: View, event: Event, place: Place) -> _Step:
        """A late event corrects totals. A late login tells who an unknown visitor is; it does not
        change who a known one is, and a late logout changes nothing either."""
        told = event.user_id or before.user_id
        if told is None:
            after = msgspec.structs.replace(before, profile=apply_late(before.profile, event))
            return _Step(event, place, after, ())
        facts: tuple[Fact, ...] = (self._fact(told, event, 1, Happened(event)),)
        after = before
        if before.user_id is None:
            facts = (self._fact(told, event, 0, Absorb(before.profile)), *facts)
            after = msgspec.structs.replace(before, user_id=told, profile=Profile())
        return _Step(event, place, after, facts)

    def _session_ms(self, before: View, event: Event) -> int:
        rules = self._rules.session
        at_ms = event.at_ms
        same = at_ms - before.last_ms <= rules.gap_ms and at_ms - before.session_ms < rules.cap_ms
        return before.session_ms if before.session_ms and same and not before.closed else at_ms

    def _fact(self, user_id: str, event: Event, step: int, body: Absorb | Happened) -> Fact:
        partition, offset = event.position
        return Fact(
            user_id, self.visitor, event.at_ms, partition, offset, event.index, step, event.watermark_ms, body
        )

    def _settle(self, before_ms: int) -> None:
        """Events older than the lateness allowed have found their place for good."""
        steps = self._steps
        settled = 0
        while settled < len(steps) and steps[settled].place[0] < before_ms:
            settled += 1
        if settled:
            self._base = steps[settled - 1].after
            del steps[:settled]

    def _repeated(self, event: Event, raw: bytes) -> Duplicate | DeadLetter | None:
        # The hash of the id keeps the state small; Python's own hash differs between processes.
        key = _hash(event.message_id)
        seen = self._ids.get(key)
        if seen is not None and event.watermark_ms - seen[1] <= MESSAGE_ID_MS:
            if seen[0] == event.body_crc:
                return Duplicate(event)
            return DeadLetter(
                "id_reused",
                "$.messageId",
                "an id of its own",
                f"`{event.message_id}`, used before by another message",
                raw,
                event.position,
                event.index,
                event.received_ms,
            )
        if seen is not None:  # the newest id stands last, so that the oldest is dropped first
            del self._ids[key]
        self._ids[key] = (event.body_crc, event.watermark_ms)
        if len(self._ids) > MAX_MESSAGE_IDS:
            del self._ids[next(iter(self._ids))]
        return None

    def record(self) -> VisitorLink:
        """What servers read."""
        view = self.view
        if view.user_id is not None:
            return VisitorLink(self.visitor, view.user_id, None)
        own = PersonRecord(f"a:{self.visitor}", view.profile, Standing.of(self._positions), self._event_ms)
        return VisitorLink(self.visitor, None, own)

    def encode(self) -> bytes:
        """One version byte, then msgpack. Ids past their time are left out."""
        newest = max((seen for _, seen in self._ids.values()), default=0)
        ids = tuple((k, crc, at) for k, (crc, at) in self._ids.items() if newest - at <= MESSAGE_ID_MS)
        tail = tuple(step.event for step in self._steps)
        settled = _Settled(self.visitor, self._base, tail, ids, Standing.of(self._positions), self._event_ms)
        return bytes((VISITOR_STATE_VERSION,)) + _encoder.encode(settled)

    @classmethod
    def decode(cls, data: bytes, rules: StageRules) -> VisitorState:
        """Raises ValueError for another version."""
        if data[:1] != bytes((VISITOR_STATE_VERSION,)):
            raise ValueError(f"Expected a visitor state of version {VISITOR_STATE_VERSION}, got {data[:1]!r}")
        settled = _decoder.decode(memoryview(data)[1:])
        state = cls(settled.visitor, rules)
        state._base = settled.view
        state._ids = {key: (crc, at) for key, crc, at in settled.ids}
        state._positions = dict(settled.standing.partitions)
        state._event_ms = settled.event_ms
        view = settled.view
        for event in settled.tail:
            at_ms = max(event.at_ms, event.watermark_ms - rules.lateness_ms)
            step, _ = state._step(view, event, (at_ms, *event.position, event.index))
            state._steps.append(step)
            view = step.after
        return state


def _person_of(visitor: str, user_id: str | None) -> str:
    return f"a:{visitor}" if user_id is None else f"u:{user_id}"


def _difference(old: tuple[Fact, ...], new: tuple[Fact, ...]) -> list[Fact]:
    """What must be told so that the facts are the new ones instead of the old ones."""
    if old == new:
        return []
    now = {(fact.user_id, fact.step): fact for fact in new}
    gone = [fact for fact in old if (fact.user_id, fact.step) not in now]
    told = {(fact.user_id, fact.step): fact for fact in old}
    changed = [fact for key, fact in now.items() if told.get(key) != fact]
    return [msgspec.structs.replace(fact, body=Retract()) for fact in gone] + changed


def _hash(message_id: str) -> int:
    digest = blake2b(message_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Settled)
