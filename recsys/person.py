"""The person stage: everything known of one customer, from all their devices, in order.

Facts come from the visitor stages of several devices. Each has a place; the same place again
replaces what was there. A fact is put in its place and those behind it are folded again. When a
fact has settled is said by `settle`, which the flow calls at its snapshots: then every event of
the log up to there has arrived, from every worker.
"""

from __future__ import annotations

import msgspec

from recsys.draft import Draft, DraftRecord, freeze, thaw
from recsys.events import Action
from recsys.facts import Absorb, Fact, Former, Happened, Renamed, Retract, Undone
from recsys.fold import NO_EFFECTS, Effect, fold, fold_late
from recsys.logins import Customer, Without
from recsys.merge import absorb, with_device
from recsys.profile import MAX_FORMER, PersonRecord, Profile, Standing, encode_record
from recsys.tail import Tail
from recsys.versioned import Versioned
from recsys.visitor import StageRules

PERSON_STATE_VERSION = 4
"""2: profiles of version 2. 3: of version 3. 4: logins that may be taken back. Older ones are
read: without."""
MAX_TAIL = 2000
"""Facts kept for reordering; beyond, the oldest count as settled."""

Place = tuple[int, ...]
"""See `Fact.place`."""


class _Settled(msgspec.Struct, frozen=True, array_like=True):
    user_id: str
    profile: Draft
    tail: list[Fact]
    standing: Standing
    event_ms: int
    watermark_ms: int
    without: list[Without] = []


class PersonState(Tail[Customer, Fact, tuple[Effect, ...]]):
    """State of one customer; `take` and `settle` are its verbs. Not shared between threads."""

    __slots__ = ("_event_ms", "_positions", "_rules", "_watermark_ms", "user_id")

    def __init__(self, user_id: str, rules: StageRules, base: Customer | None = None) -> None:
        self.user_id = user_id
        self._rules = rules
        super().__init__(base or Customer(), Customer() if base is None else None)
        self._positions: dict[int, int] = {}
        self._event_ms = 0
        self._watermark_ms = 0

    @property
    def profile(self) -> Profile:
        return freeze(self.now.profile)

    def take(self, fact: Fact) -> tuple[Effect, ...]:
        """Fold one fact."""
        if fact.offset > self._positions.get(fact.partition, -1):
            self._positions[fact.partition] = fact.offset
        self._watermark_ms = max(self._watermark_ms, fact.watermark_ms)
        place = fact.place(self._rules.lateness_ms)
        is_news = not isinstance(fact.body, Retract)
        if is_news:
            self._event_ms = max(self._event_ms, fact.at_ms)
        if len(self.steps) >= MAX_TAIL:
            self.drop(1)
        steps = self.steps
        if is_news and (not steps or place > steps[-1].place):
            return self.append(place, fact)
        at = self.index(place)
        behind = at + (at < len(steps) and steps[at].place == place)
        effects = self.replace(at, behind, [(place, fact)] if is_news else [])
        return effects[0] if is_news else NO_EFFECTS

    def fold_in(self, customer: Customer, fact: Fact, place: Place) -> tuple[Effect, ...]:
        body = fact.body
        if customer.without:
            customer.forget_before(place[0] - self._rules.undo_login_ms)
            for each in customer.without:
                if each.visitor != fact.visitor:
                    self._fold(each.profile, fact, place)
        if isinstance(body, Absorb) and body.since_ms:
            customer.log_in(fact.visitor, body.since_ms)
        elif isinstance(body, Undone):
            customer.undo(fact.visitor, body.since_ms)
            return NO_EFFECTS
        return self._fold(customer.profile, fact, place)

    def _fold(self, draft: Draft, fact: Fact, place: Place) -> tuple[Effect, ...]:
        body, effects = fact.body, NO_EFFECTS
        if isinstance(body, Absorb):
            absorbed = thaw(absorb(freeze(draft), body.profile))
            for name in Draft.__struct_fields__:
                setattr(draft, name, getattr(absorbed, name))
        elif isinstance(body, Happened):
            if place[0] > fact.at_ms < draft.last_ms:  # late, and newer facts are folded already
                fold_late(draft, body.event)
            else:
                effects = fold(draft, body.event, self._rules.session)
        elif isinstance(body, Renamed):
            if fact.at_ms >= draft.renamed_ms:  # the newest word counts, whenever it comes
                draft.renamed, draft.renamed_ms = body.to, fact.at_ms
        elif isinstance(body, Former) and body.user_id not in draft.former:
            draft.former = (*draft.former, body.user_id)[:MAX_FORMER]
        if not _knows(draft.visitors, fact.visitor) and not _is_name(body):
            draft.visitors = with_device(draft.visitors, fact.visitor)
        return effects

    def settle(self, watermark_ms: int = 0) -> None:
        """Facts older than the lateness allowed have found their place for good.

        `watermark_ms`: the log's, up to where every fact has arrived; at least that of the facts
        themselves is taken."""
        self.settle_before(max(watermark_ms, self._watermark_ms) - self._rules.lateness_ms)

    def record(self) -> PersonRecord:
        """What servers read."""
        return PersonRecord(f"u:{self.user_id}", self.profile, Standing.of(self._positions), self._event_ms)

    def encoded_record(self) -> bytes:
        """`encode_record(self.record())`, without the way by an immutable profile."""
        standing = Standing.of(self._positions)
        return encode_record(DraftRecord(f"u:{self.user_id}", self.now.profile, standing, self._event_ms))

    def encode(self) -> bytes:
        """See `Versioned`."""
        tail = [step.entry for step in self.steps]
        standing = Standing.of(self._positions)
        base, watermark_ms = self.base, self._watermark_ms
        return _bytes.encode(
            _Settled(self.user_id, base.profile, tail, standing, self._event_ms, watermark_ms, base.without)
        )

    @classmethod
    def decode(cls, data: bytes, rules: StageRules) -> PersonState:
        """Raises ValueError for another version."""
        settled = _bytes.decode(data)
        state = cls(settled.user_id, rules, Customer(settled.profile, settled.without))
        state._positions = dict(settled.standing.partitions)
        state._event_ms = settled.event_ms
        state._watermark_ms = settled.watermark_ms
        for fact in settled.tail:
            state.append(fact.place(rules.lateness_ms), fact)
        return state


def _is_name(body: object) -> bool:
    """Whether a fact is about a customer's names: it comes from no device, if there is none of that id."""
    return isinstance(body, Renamed | Former) or (
        isinstance(body, Happened) and body.event.action is Action.ALIAS
    )


def _knows(visitors: tuple[str, ...], visitor: str) -> bool:
    """Whether nothing is to be added: `user:` visitors are tills and servers, not devices."""
    return visitor in visitors or visitor.startswith("user:")


_bytes = Versioned("a person state", PERSON_STATE_VERSION, _Settled)
