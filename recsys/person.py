"""The person stage: everything known of one customer, from all their devices, in order.

Facts come from the visitor stages of several devices. Each has a place; the same place again
replaces what was there. A fact is put in its place and those behind it are folded again. When a
fact has settled is said by `settle`, which the flow calls at its snapshots: then every event of
the log up to there has arrived, from every worker.
"""

from __future__ import annotations

from bisect import bisect_left

import msgspec

from recsys.fold import NO_EFFECTS, Effect, apply, apply_late
from recsys.merge import absorb, with_device
from recsys.profile import PersonRecord, Profile, Standing
from recsys.visitor import Absorb, Fact, Happened, Retract, StageRules

PERSON_STATE_VERSION = 1
MAX_TAIL = 2000
"""Facts kept for reordering; beyond, the oldest count as settled."""


class _Step(msgspec.Struct, frozen=True, gc=False):
    fact: Fact
    place: tuple[int, int, int, int, int]
    after: Profile


class _Settled(msgspec.Struct, frozen=True, array_like=True):
    user_id: str
    profile: Profile
    tail: tuple[Fact, ...]
    standing: Standing
    event_ms: int
    watermark_ms: int


class PersonState:
    """State of one customer; `take` and `settle` are its verbs. Not shared between threads."""

    __slots__ = ("_base", "_event_ms", "_positions", "_rules", "_steps", "_watermark_ms", "user_id")

    def __init__(self, user_id: str, rules: StageRules) -> None:
        self.user_id = user_id
        self._rules = rules
        self._base = Profile()
        self._steps: list[_Step] = []
        self._positions: dict[int, int] = {}
        self._event_ms = 0
        self._watermark_ms = 0

    @property
    def profile(self) -> Profile:
        return self._steps[-1].after if self._steps else self._base

    def take(self, fact: Fact) -> tuple[Effect, ...]:
        """Fold one fact."""
        if fact.offset > self._positions.get(fact.partition, -1):
            self._positions[fact.partition] = fact.offset
        self._watermark_ms = max(self._watermark_ms, fact.watermark_ms)
        steps, place = self._steps, fact.place(self._rules.lateness_ms)
        at = len(steps)
        if steps and place <= steps[-1].place:
            at = bisect_left([step.place for step in steps], place)
        behind = at + (at < len(steps) and steps[at].place == place)
        profile = steps[at - 1].after if at else self._base
        followers = steps[behind:]
        del steps[at:]
        effects = NO_EFFECTS
        if not isinstance(fact.body, Retract):
            self._event_ms = max(self._event_ms, fact.at_ms)
            profile, effects = self._fold(profile, fact)
            steps.append(_Step(fact, place, profile))
        self._again(profile, followers)
        if len(steps) > MAX_TAIL:
            self._base = steps[0].after
            del steps[0]
        return effects

    def _again(self, profile: Profile, followers: list[_Step]) -> None:
        for step in followers:
            profile, _ = self._fold(profile, step.fact)
            self._steps.append(_Step(step.fact, step.place, profile))

    def _fold(self, profile: Profile, fact: Fact) -> tuple[Profile, tuple[Effect, ...]]:
        body = fact.body
        if isinstance(body, Absorb):
            return with_visitor(absorb(profile, body.profile), fact.visitor), NO_EFFECTS
        assert isinstance(body, Happened)
        if fact.at_ms < fact.watermark_ms - self._rules.lateness_ms and fact.at_ms < profile.last_ms:
            return with_visitor(apply_late(profile, body.event), fact.visitor), NO_EFFECTS
        profile, effects = apply(profile, body.event, self._rules.session)
        return with_visitor(profile, fact.visitor), effects

    def settle(self) -> None:
        """Facts older than the lateness allowed have found their place for good."""
        limit_ms = self._watermark_ms - self._rules.lateness_ms
        steps = self._steps
        settled = 0
        while settled < len(steps) and steps[settled].place[0] < limit_ms:
            settled += 1
        if settled:
            self._base = steps[settled - 1].after
            del steps[:settled]

    def record(self) -> PersonRecord:
        """What servers read."""
        return PersonRecord(f"u:{self.user_id}", self.profile, Standing.of(self._positions), self._event_ms)

    def encode(self) -> bytes:
        """One version byte, then msgpack."""
        tail = tuple(step.fact for step in self._steps)
        standing = Standing.of(self._positions)
        settled = _Settled(self.user_id, self._base, tail, standing, self._event_ms, self._watermark_ms)
        return bytes((PERSON_STATE_VERSION,)) + _encoder.encode(settled)

    @classmethod
    def decode(cls, data: bytes, rules: StageRules) -> PersonState:
        """Raises ValueError for another version."""
        if data[:1] != bytes((PERSON_STATE_VERSION,)):
            raise ValueError(f"Expected a person state of version {PERSON_STATE_VERSION}, got {data[:1]!r}")
        settled = _decoder.decode(memoryview(data)[1:])
        state = cls(settled.user_id, rules)
        state._base = settled.profile
        state._positions = dict(settled.standing.partitions)
        state._event_ms = settled.event_ms
        state._watermark_ms = settled.watermark_ms
        state._again(
            settled.profile,
            [_Step(fact, fact.place(rules.lateness_ms), settled.profile) for fact in settled.tail],
        )
        return state


def with_visitor(profile: Profile, visitor: str) -> Profile:
    """The profile with one more device. `user:` visitors are tills and servers, not devices."""
    if visitor in profile.visitors or visitor.startswith("user:"):
        return profile
    return msgspec.structs.replace(profile, visitors=with_device(profile.visitors, visitor))


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Settled)
