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

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from recsys.draft import Draft, DraftLink, DraftRecord, freeze
from recsys.events import Action, Arrival, DeadLetter, Event, Flaw
from recsys.facts import Absorb, Fact, Former, Happened, Renamed, Undone, difference
from recsys.fold import NO_EFFECTS, Effect, SessionRules, fold, fold_late
from recsys.logins import Login
from recsys.profile import PersonRecord, Profile, Standing, VisitorLink, encode_record
from recsys.seen import Entry, Seen, hash_of
from recsys.tail import Tail
from recsys.versioned import Versioned
from recsys.view import ANYBODY, View, look

VISITOR_STATE_VERSION = 6
"""2: the last item of the session. 3: profiles of version 2, and the customers
of the device. 4: profiles of version 3; a message id stands with the time it was received, not with the
log's. 5: the login that may be taken back. 6: message ids as they are, where they are short; the login
that was taken back. Older ones are read: without."""
MAX_TAIL = 500
"""Events kept for reordering; beyond, the oldest count as settled."""
LONG_TAIL = 64
"""Of so many events it is worth while to look which have settled."""
ALIAS = Action.ALIAS

Place = tuple[int, int, int, int]
"""Where an event is folded: (time, partition, offset, index). The time is when it happened; for a
late one, the time up to which everything had settled when it came."""


class Accepted(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An event that counts: for archive, counters and tally. `person` is whose it is."""

    event: Event
    raw: bytes
    person: str
    session_ms: int
    late: bool
    effects: tuple[Effect, ...]
    came_from: str = ""
    """The item that the visitor went on from to this event's, within the session; "" for none."""
    crowded: bool = False
    """It named one customer more than a device is believed: it is folded as nobody's."""
    flaws: tuple[Flaw, ...] = ()


class Duplicate(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A message that came before: counted, and changes nothing."""

    event: Event


Fate = Accepted | Duplicate | DeadLetter


class _Settled(msgspec.Struct, frozen=True, array_like=True):
    """The state's bytes: the settled view, the events since, and the ids seen."""

    visitor: str
    view: View
    tail: list[Event]
    ids: list[Entry]
    standing: Standing
    event_ms: int


class _Folded(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What came of one event in its place."""

    person: str
    """Whose it is: who is behind the visitor, as known before the event, with it or behind it."""
    session_ms: int
    effects: tuple[Effect, ...]
    facts: tuple[Fact, ...]
    came_from: str = ""
    crowded: bool = False


@dataclass(frozen=True, slots=True)
class StageRules:
    """What visitor and person stage go by; of the settings, in milliseconds."""

    session: SessionRules = field(default_factory=SessionRules)
    lateness_ms: int = 60_000
    max_customers: int = 20
    """So many customers are believed of one device; 0: any number."""
    undo_login_ms: int = 3 * 86_400_000
    """For so long a login may be taken back; 0: never."""


class VisitorState(Tail[View, Event, _Folded]):
    """State of one visitor; `take` is its only verb. Not shared between threads."""

    __slots__ = ("_event_ms", "_nobody", "_positions", "_rules", "_seen", "_watermark_ms", "visitor")

    def __init__(self, visitor: str, rules: StageRules, base: View | None = None) -> None:
        self.visitor = visitor
        self._nobody = f"a:{visitor}"
        self._rules = rules
        super().__init__(base or View(), View() if base is None else None)
        self._seen = Seen()
        self._positions: dict[int, int] = {}
        self._event_ms = 0
        self._watermark_ms = 0

    @property
    def view(self) -> View:
        """As it is now; changed by the next event."""
        return self.now

    @property
    def profile(self) -> Profile:
        """What is known while nobody is known behind the visitor."""
        return freeze(self.now.profile)

    def take(self, arrival: Arrival) -> tuple[Fate, Sequence[Fact]]:
        """Fold one event; returns what became of it, and the facts it sends or changes."""
        event = arrival.event
        partition, offset = event.position
        if offset > self._positions.get(partition, -1):
            self._positions[partition] = offset
        before = self._seen.add(event)
        if before is not None:
            return self._again(arrival, before), ()
        at_ms, watermark_ms = event.at_ms, event.watermark_ms
        settled_ms = watermark_ms - self._rules.lateness_ms
        self._watermark_ms = watermark_ms
        if at_ms > self._event_ms:  # noqa: PLR1730 (`max` costs ten times as much)
            self._event_ms = at_ms
        late = at_ms < settled_ms
        place = (settled_ms if late else at_ms, partition, offset, event.index)
        steps = self.steps
        if steps:
            newest = steps[-1].place
            if newest[0] < settled_ms:
                self.drop(len(steps))
            elif len(steps) > LONG_TAIL:
                self._shorten(settled_ms)
            if place < newest:
                return self._put(arrival, place, late)
        folded = self.append(place, event)
        return _accepted(arrival, folded, late), folded.facts

    def _put(self, arrival: Arrival, place: Place, late: bool) -> tuple[Fate, Sequence[Fact]]:
        """Fold an event in its place, and those behind it again; what that changes of their facts
        is told too."""
        at = self.index(place)
        before = [step.out for step in self.steps[at:]]
        folded, *after = self.replace(at, at, [(place, arrival.event)])
        facts = list(folded.facts)
        for old, new in zip(before, after, strict=True):
            facts += difference(old.facts, new.facts)
        return _accepted(arrival, folded, late), facts

    def _shorten(self, settled_ms: int) -> None:
        if self.steps[0].place[0] < settled_ms:
            self.settle_before(settled_ms)
        if len(self.steps) >= MAX_TAIL:
            self.drop(1)

    def fold_in(self, view: View, event: Event, place: tuple[int, ...]) -> _Folded:
        login = view.login
        if login is not None and place[0] - login.since_ms > self._rules.undo_login_ms:
            view.login = None
        if event.action is ALIAS:
            if self._is_rename(view, event):
                return self._renamed(view, event)
            if event.user_id == self.visitor:
                return self._undone(view, event)
        if place[0] > event.at_ms < view.last_ms:  # late, and newer events are folded already
            return self._fold_late(view, event, place)
        facts: tuple[Fact, ...] = ()
        effects = NO_EFFECTS
        before = named = view.user_id
        crowded = False
        told = event.user_id if event.user_id is None else view.named(event)
        if told is not None and told != before:
            crowded = not self._believed(view, told)
            named = None if crowded else told
            if named is not None:
                facts = (self._logged_in(view, named, event, place),)
            # Another customer on the same device gets nothing of the one before.
            if before is not None or named is not None:
                view.user_id, view.profile = named, Draft()
        if view.user_id is None:
            effects = fold(view.profile, event, self._rules.session)
        else:
            facts += (self._fact(view.user_id, event, 1, Happened(event)),)
        if view.login is not None:
            fold(view.login.profile, event, self._rules.session)
        came_from = look(view, event, self._rules.session)
        if view.closed:
            view.user_id = None
        person = self._nobody if named is None else f"u:{named}"
        return _Folded(person, view.session_ms, effects, facts, came_from, crowded)

    def _person(self, user_id: str | None) -> str:
        return self._nobody if user_id is None else f"u:{user_id}"

    def _is_rename(self, view: View, event: Event) -> bool:
        """Whether an alias is of a customer: nothing but aliases came under its previous id, so no
        device has it, or a device that calls itself by its user id."""
        return event.user_id is not None and (not view.last_ms or view.user_id == self.visitor)

    def _renamed(self, view: View, event: Event) -> _Folded:
        """Both customers are told of each other; what is known of either stays where it is. To be renamed
        to oneself takes a renaming back."""
        user_id, own = str(event.user_id), self.visitor
        if user_id == own:
            itself = self._fact(own, event, 2, Renamed(""))
            return _Folded(self._person(own), event.at_ms, NO_EFFECTS, (itself,))
        if not self._believed(view, user_id):
            return _Folded(self._nobody, event.at_ms, NO_EFFECTS, (), crowded=True)
        if not view.last_ms:
            view.user_id = user_id
        facts = (
            self._fact(user_id, event, 1, Happened(event)),
            self._fact(own, event, 2, Renamed(user_id)),
            self._fact(user_id, event, 3, Former(own)),
        )
        return _Folded(self._person(user_id), event.at_ms, NO_EFFECTS, facts)

    def _logged_in(self, view: View, user_id: str, event: Event, place: tuple[int, ...]) -> Fact:
        """What an unknown visitor did is the customer's; of a crowded device it is nobody's, and so is
        what was done as another customer."""
        gathered = view.profile if view.user_id is None else Draft()
        crowded = view.is_crowded(self._rules.max_customers)
        profile = Profile() if crowded else freeze(gathered)
        if not self._rules.undo_login_ms or self.visitor in (user_id, f"user:{user_id}"):
            view.login = None
            return self._fact(user_id, event, 0, Absorb(profile))
        if view.login is None or view.login.user_id != user_id:
            view.login = Login(user_id, place[0], gathered)
        return self._fact(user_id, event, 0, Absorb(profile, view.login.since_ms))

    def _undone(self, view: View, event: Event) -> _Folded:
        """The device is nobody's from now on; where that is still kept, as if the newest customer had never
        logged in."""
        login = view.login
        facts: tuple[Fact, ...] = ()
        if login is not None:
            facts = (self._fact(login.user_id, event, 2, Undone(login.since_ms)),)
            known = hash_of(login.user_id)
            view.customers = tuple([each for each in view.customers if each != known])
            view.profile, view.undone = login.profile, (known, event.at_ms)
        elif view.user_id is None:
            view.undone = ANYBODY, event.at_ms
        else:
            view.profile = Draft()
        view.user_id = view.login = None
        return _Folded(self._nobody, view.session_ms, NO_EFFECTS, facts)

    def _believed(self, view: View, user_id: str) -> bool:
        return view.believes(hash_of(user_id), self._rules.max_customers)

    def _fold_late(self, view: View, event: Event, place: tuple[int, ...]) -> _Folded:
        """A late event corrects totals. A late login tells who an unknown visitor is; it does not
        change who a known one is, and a late logout changes nothing either."""
        told = view.named(event) or view.user_id
        crowded = told not in (None, view.user_id) and not self._believed(view, told or "")
        person = self._nobody
        facts: tuple[Fact, ...] = ()
        if told is None or crowded:
            if view.user_id is None:
                fold_late(view.profile, event)
        else:
            person, facts = self._person(told), (self._fact(told, event, 1, Happened(event)),)
            if view.user_id is None:
                facts = (self._logged_in(view, told, event, place), *facts)
                view.user_id, view.profile = told, Draft()
        if view.login is not None:
            fold_late(view.login.profile, event)
        return _Folded(person, view.session_ms, NO_EFFECTS, facts, "", crowded)

    def _fact(
        self, user_id: str, event: Event, step: int, body: Absorb | Happened | Renamed | Former | Undone
    ) -> Fact:
        partition, offset = event.position
        return Fact(
            user_id, self.visitor, event.at_ms, partition, offset, event.index, step, event.watermark_ms, body
        )

    def _again(self, arrival: Arrival, crc: int) -> Duplicate | DeadLetter:
        """What becomes of an event whose message id came before, with a body of this CRC."""
        event = arrival.event
        if crc == event.body_crc:
            return Duplicate(event)
        return DeadLetter(
            "id_reused",
            "$.messageId",
            "an id of its own",
            f"`{event.message_id}`, used before by another message",
            arrival.raw,
            event.position,
            event.index,
            event.received_ms,
        )

    def record(self) -> VisitorLink:
        """What servers read."""
        user_id = self.view.user_id
        if user_id is not None:
            return VisitorLink(self.visitor, user_id, None)
        own = PersonRecord(self._nobody, self.profile, Standing.of(self._positions), self._event_ms)
        return VisitorLink(self.visitor, None, own)

    def encoded_record(self) -> bytes:
        """`encode_record(self.record())`, without the way by an immutable profile."""
        view = self.now
        if view.user_id is not None:
            return encode_record(VisitorLink(self.visitor, view.user_id, None))
        standing = Standing.of(self._positions)
        own = DraftRecord(self._nobody, view.profile, standing, self._event_ms)
        return encode_record(DraftLink(self.visitor, None, own))

    def settle(self, watermark_ms: int = 0) -> None:
        """Events older than the lateness allowed have found their place for good.

        `watermark_ms`: the log's, as far as it was read; at least that of the visitor's own events is
        taken."""
        self.settle_before(max(watermark_ms, self._watermark_ms) - self._rules.lateness_ms)

    def encode(self) -> bytes:
        """See `Versioned`."""
        self.settle()
        tail = [step.entry for step in self.steps] if self.steps else []
        standing = Standing.of(self._positions)
        settled = _Settled(self.visitor, self.base, tail, self._seen.entries(), standing, self._event_ms)
        return _bytes.encode(settled)

    @classmethod
    def decode(cls, data: bytes, rules: StageRules) -> VisitorState:
        """Raises ValueError for another version."""
        settled = _bytes.decode(data)
        state = cls(settled.visitor, rules, settled.view)
        state._seen = Seen.of(settled.ids)
        state._positions = dict(settled.standing.partitions)
        state._event_ms = settled.event_ms
        for event in settled.tail:
            settled_ms = event.watermark_ms - rules.lateness_ms
            state._watermark_ms = max(state._watermark_ms, event.watermark_ms)
            state.append((max(event.at_ms, settled_ms), *event.position, event.index), event)
        return state


def _accepted(arrival: Arrival, folded: _Folded, late: bool) -> Accepted:
    return Accepted(
        arrival.event,
        arrival.raw,
        folded.person,
        folded.session_ms,
        late,
        folded.effects,
        folded.came_from,
        folded.crowded,
        arrival.flaws,
    )


_bytes = Versioned("a visitor state", VISITOR_STATE_VERSION, _Settled)
