"""The stateful stages: thin shells that give the pure states of `recsys` to Bytewax.

A state lives in memory while its key is active and in Bytewax's snapshots from then on. A key
without events for `idle_s` is written to a record of its own in the state store and leaves
memory and snapshots; its next event fetches it from there. A replay after a crash may read the
record again, never a newer record than its snapshot, because `idle_s` is many snapshots long.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta, timezone
from itertools import chain
from typing import Any, Generic, Protocol, TypeVar

from bytewax.operators import StatefulBatchLogic

from flows.source import Read
from flows.steps import Decoded, Kept, Told, Visited, shown
from recsys.catalog import encode_item
from recsys.counters import encode_counters
from recsys.decode import Decoder
from recsys.events import Arrival, DeadLetter
from recsys.facts import Fact
from recsys.item import ItemState, Mention, News
from recsys.keys import FLOW_KEY, counter_key, idle_key, item_key, person_key, shown_key, visitor_key
from recsys.person import PersonState
from recsys.ports import Record
from recsys.progress import encode_progress
from recsys.shown import ShownRecord, decode_shown, encode_shown, remembered
from recsys.tally import Count, TallyState
from recsys.visitor import Accepted, Duplicate, StageRules, VisitorState


class _State(Protocol):
    def encode(self) -> bytes: ...


S = TypeVar("S", bound=_State)
V = TypeVar("V")
W = TypeVar("W")

LOOKED_S = 1.0
"""Keys that are new within so long are looked at together."""
Fetch = Callable[[str], "bytes | None"]
"""A record of the state by its key."""


class Heard(threading.local):
    """How far the log has come, as the keys of one stage have heard of it on one worker.

    Each worker has its own, because another one may be ahead. When an epoch ends, what comes later to
    any of the worker's keys was later in the log than all that came to any of them."""

    watermark_ms = 0


class Stage(StatefulBatchLogic["list[V]", W, bytes], Generic[V, W, S]):
    """One key's state between Bytewax and the pure core. Subclasses name its kind and its fold."""

    kind: str

    def __init__(self, stages: Stages, snapshot: bytes | None) -> None:
        self._stages = stages
        self._snapshot = snapshot
        self._state: S | None = None
        self._touched_s = time.monotonic()
        self._look_at = stages.look_at()

    def key_of(self, value: V) -> str:
        raise AssertionError("a stage names its key")

    def new(self, key: str) -> S:
        raise AssertionError("a stage makes its state")

    def decode(self, data: bytes) -> S:
        raise AssertionError("a stage reads its state")

    def fold(self, state: S, values: Iterable[V]) -> W:
        raise AssertionError("a stage folds")

    def settle(self, state: S) -> None:
        """Called before a snapshot, when every event of the epoch has arrived."""

    def state_for(self, key: str) -> S:
        if self._state is None:
            data = self._snapshot
            if data is None and self._stages.parked:
                data = self._stages.fetch(idle_key(self.kind, key))
            self._state = self.decode(data) if data is not None else self.new(key)
            self._snapshot = None
        return self._state

    def on_batch(self, values: list[list[V]]) -> tuple[Iterable[W], bool]:
        self._touched_s = time.monotonic()
        state = self.state_for(self.key_of(values[0][0]))
        one = values[0] if len(values) == 1 else chain.from_iterable(values)
        return (self.fold(state, one),), StatefulBatchLogic.RETAIN

    def on_notify(self) -> tuple[Iterable[Any], bool]:
        idle_s = self._stages.idle.total_seconds()
        quiet_s = time.monotonic() - self._touched_s
        if quiet_s < idle_s:
            self._look_at = _now() + timedelta(seconds=idle_s - quiet_s)
            return (), StatefulBatchLogic.RETAIN
        data = self.snapshot()
        key = self._key(data)
        self._stages.parked = True
        return (self.parting(((idle_key(self.kind, key), data),)),), StatefulBatchLogic.DISCARD

    def parting(self, records: tuple[tuple[str, bytes], ...]) -> W:
        raise AssertionError("a stage tells what it is when it leaves")

    def _key(self, data: bytes) -> str:
        raise AssertionError("a stage tells its key")

    def notify_at(self) -> datetime | None:
        return self._look_at

    def snapshot(self) -> bytes:
        if self._state is not None:
            self.settle(self._state)
            # Kept as bytes from here on: most keys are not touched again before they idle away.
            self._snapshot = self._state.encode()
            self._state = None
        assert self._snapshot is not None
        return self._snapshot


def _now() -> datetime:
    return datetime.now(timezone.utc)


class VisitorStage(Stage[Arrival, Visited, VisitorState]):
    """Events of one device -> what became of each, and facts for customers (`recsys.visitor`)."""

    kind = "v"
    parting = staticmethod(Visited)

    def key_of(self, value: Arrival) -> str:
        return value.event.visitor

    def new(self, key: str) -> VisitorState:
        return VisitorState(key, self._stages.rules)

    def decode(self, data: bytes) -> VisitorState:
        return VisitorState.decode(data, self._stages.rules)

    def _key(self, data: bytes) -> str:
        return self.decode(data).visitor

    def settle(self, state: VisitorState) -> None:
        state.settle(self._stages.visitors_heard.watermark_ms)

    def fold(self, state: VisitorState, values: Iterable[Arrival]) -> Visited:
        accepted: list[Accepted] = []
        others: list[Duplicate | DeadLetter] = []
        facts: list[Fact] = []
        for arrival in values:
            fate, told = state.take(arrival)
            if type(fate) is Accepted:
                accepted.append(fate)
            else:
                others.append(fate)
            if told:
                facts += told
        watermark_ms = arrival.event.watermark_ms
        heard = self._stages.visitors_heard
        if watermark_ms > heard.watermark_ms:  # noqa: PLR1730 (what is a thread's own is dear to set)
            heard.watermark_ms = watermark_ms
        record = (visitor_key(state.visitor), state.encoded_record())
        return Visited((record,), accepted, others, facts)


class PersonStage(Stage[Fact, Told, PersonState]):
    """Facts of one customer, from all devices -> the profile (`recsys.person`)."""

    kind = "p"
    parting = staticmethod(Told)

    def key_of(self, value: Fact) -> str:
        return value.user_id

    def new(self, key: str) -> PersonState:
        return PersonState(key, self._stages.rules)

    def decode(self, data: bytes) -> PersonState:
        return PersonState.decode(data, self._stages.rules)

    def _key(self, data: bytes) -> str:
        return self.decode(data).user_id

    def settle(self, state: PersonState) -> None:
        state.settle(self._stages.people_heard.watermark_ms)

    def fold(self, state: PersonState, values: Iterable[Fact]) -> Told:
        lateness_ms = self._stages.rules.lateness_ms
        # Several devices' facts come one device after the other: in order, few are folded twice.
        facts = sorted(values, key=lambda fact: fact.place(lateness_ms))
        effects = [effect for fact in facts for effect in state.take(fact)]
        heard = self._stages.people_heard
        heard.watermark_ms = max(heard.watermark_ms, *[fact.watermark_ms for fact in facts])
        return Told(((person_key(state.user_id), state.encoded_record()),), effects)


class ItemStage(Stage[News, Kept, ItemState]):
    """News of one item -> catalogue record and counters (`recsys.item`)."""

    kind = "i"
    parting = staticmethod(Kept)

    def key_of(self, value: News) -> str:
        return value.line.item if isinstance(value, Mention) else value.item_id

    def new(self, key: str) -> ItemState:
        return ItemState(key)

    def decode(self, data: bytes) -> ItemState:
        return ItemState.decode(data)

    def _key(self, data: bytes) -> str:
        return self.decode(data).item_id

    def fold(self, state: ItemState, values: Iterable[News]) -> Kept:
        item, counters = state.item, state.counters
        state.take(*values)
        records: tuple[tuple[str, bytes], ...] = ()
        if state.item is not None and state.item is not item:
            records = ((item_key(state.item_id), encode_item(state.item)),)
        if state.counters is not counters:
            records += ((counter_key(state.item_id), encode_counters(state.counters)),)
        return Kept(records)


class ShownState:
    """What one person was shown; `record` is what the state keeps of it, and the snapshot too."""

    def __init__(self, record: ShownRecord) -> None:
        self.record = record

    def encode(self) -> bytes:
        return encode_shown(self.record)


class ShownStage(Stage[ShownRecord, Kept, ShownState]):
    """Blocks one person was shown -> the newest of them (`recsys.shown`)."""

    kind = "x"
    parting = staticmethod(Kept)

    def key_of(self, value: ShownRecord) -> str:
        return value.person

    def new(self, key: str) -> ShownState:
        return ShownState(ShownRecord(key))

    def decode(self, data: bytes) -> ShownState:
        return ShownState(decode_shown(data))

    def _key(self, data: bytes) -> str:
        return self.decode(data).record.person

    def fold(self, state: ShownState, values: Iterable[ShownRecord]) -> Kept:
        before = state.record
        newest = remembered(before.impressions, *(value.impressions for value in values))
        state.record = ShownRecord(before.person, newest)
        return Kept(((shown_key(before.person), state.encode()),))


class TallyStage(StatefulBatchLogic[Count, Kept, bytes]):
    """One key for the whole flow: what became of every event, and a heartbeat."""

    HEARTBEAT = timedelta(seconds=1)

    def __init__(self, snapshot: bytes | None, step_ms: Callable[[], int]) -> None:
        self._state = TallyState.decode(snapshot) if snapshot is not None else TallyState()
        self._step_ms = step_ms
        self._beat_at = _now() + self.HEARTBEAT

    def on_batch(self, values: list[Count]) -> tuple[Iterable[Kept], bool]:
        for count in values:
            self._state.take(count)
        return (self._save(),), StatefulBatchLogic.RETAIN

    def on_notify(self) -> tuple[Iterable[Kept], bool]:
        self._beat_at = _now() + self.HEARTBEAT
        return (self._save(),), StatefulBatchLogic.RETAIN

    def on_eof(self) -> tuple[Iterable[Kept], bool]:
        return (self._save(),), StatefulBatchLogic.RETAIN

    def notify_at(self) -> datetime | None:
        return self._beat_at

    def snapshot(self) -> bytes:
        return self._state.encode()

    def _save(self) -> Kept:
        progress = self._state.progress(time.time_ns() // 1_000_000, self._step_ms())
        return Kept(((FLOW_KEY, encode_progress(progress)),))


class Stages:
    """What the dataflow needs of the core: rules, a decoder, where idle states are kept, and how far
    the log has come."""

    def __init__(
        self,
        rules: StageRules,
        decoder: Decoder,
        fetch: Fetch,
        idle_s: float,
        counting: frozenset[str] = frozenset(),
        step_ms: Callable[[], int] = lambda: 0,
        *,
        parked: bool = True,
    ) -> None:
        """`counting`: the placements whose blocks are remembered of those who were shown them;
        `step_ms`: how long the longest step of late took; `parked`: whether the state store may hold
        idle states from before."""
        self.rules = rules
        self._counting = counting
        self.fetch = fetch
        self.parked = parked
        """Whether a key that is new here may have an idle state, which costs a reading of the store."""
        self.idle = timedelta(seconds=idle_s)
        self._look_at, self._looked_s = _now() + self.idle, time.monotonic()
        self.visitors_heard, self.people_heard = Heard(), Heard()
        self._decoder = decoder
        self._step_ms = step_ms

    def look_at(self) -> datetime:
        """When to look whether a key that is new now has become idle; a second early at the most."""
        now_s = time.monotonic()
        if now_s - self._looked_s > LOOKED_S:
            self._look_at, self._looked_s = _now() + self.idle, now_s
        return self._look_at

    def decode(self, reads: list[Read]) -> list[Decoded]:
        return [self._decoded(*read) for read in reads]

    def _decoded(self, records: list[Record], watermark_ms: int, passed: dict[int, int]) -> Decoded:
        """Decodes a read and sorts what comes out by where it goes."""
        read = self._decoder.read(records, watermark_ms)
        visits: dict[str, list[Arrival]] = {}
        for arrival in read.arrivals:
            visitor = arrival.event.visitor
            if visitor in visits:
                visits[visitor].append(arrival)
            else:
                visits[visitor] = [arrival]
        return Decoded(visits, read.changes, read.served, read.dead, passed)

    def shown_in(self, batch: list[Decoded]) -> Iterable[tuple[str, list[ShownRecord]]]:
        return shown(batch, self._counting)

    def visitor(self, snapshot: bytes | None) -> VisitorStage:
        return VisitorStage(self, snapshot)

    def person(self, snapshot: bytes | None) -> PersonStage:
        return PersonStage(self, snapshot)

    def item(self, snapshot: bytes | None) -> ItemStage:
        return ItemStage(self, snapshot)

    def shown(self, snapshot: bytes | None) -> ShownStage:
        return ShownStage(self, snapshot)

    def tally(self, snapshot: bytes | None) -> TallyStage:
        return TallyStage(snapshot, self._step_ms)
