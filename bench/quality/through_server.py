"""The same questions asked of a real server over gRPC: every item must be the one that the replay shows.

The server runs in this process on a port of its own, its clock set to the time of each question. What
it knows comes the way it comes in service: for GA4 the records go to a log and through the flow; for
the other formats, which have no events, the replay's profiles and items are written to the state.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import msgspec
from prometheus_client import CollectorRegistry

from bench.quality.replayed import excluded_of, replayed
from bench.quality.score import AT
from bench.quality.trial import Trial
from bench.runner import running
from bench.system import HOST, argument_of
from recsys.catalog import Item, encode_item
from recsys.counters import ItemCounters, encode_counters
from recsys.events import Event, article_key
from recsys.item import mentions_of
from recsys.keys import ITEMS_JOURNAL, counter_key, item_key, visitor_key
from recsys.models.bundle import Models, TrainingRange, load_current
from recsys.models.publish import Draft
from recsys.open import open_log, open_store
from recsys.pipeline.replay import FEED, Replay
from recsys.placement import Placement
from recsys.ports import EventLog, NewRecord, ProfileStore
from recsys.profile import PersonRecord, Standing, VisitorLink, encode_record
from recsys.progress import progress_in
from recsys.settings import ServerSettings, Settings, load_settings
from recsys.train import Progress
from server.client import Client
from server.metrics import Metrics
from server.pb import headrace_pb2 as pb
from server.requests import MAX_EXCLUDED
from server.running import RunningServer

PLACEMENT: Final = "bench.feed"
DEADLINE_S: Final = 30.0
FLOW_S: Final = 120.0
"""The longest that the flow may take for what happened between two questions."""
SETTLED_S: Final = 0.1
"""When the flow says that it is past a position, whatever that changed is in the state after this."""
_BATCH: Final = 5_000
_NEVER_MS: Final = 7 * 86_400_000


class Difference(NamedTuple):
    number: int
    visitor: str
    offline: list[str]
    online: list[str]


class Compared(NamedTuple):
    asked: int
    not_asked: int
    """Questions that bar more items than a request may name."""
    differences: list[Difference]


class State(Protocol):
    """How what has happened gets to the state that the server reads."""

    def bring(self, replay: Replay, number: int) -> None:
        """All that had happened when question `number` was asked."""
        ...


def compare(
    trial: Trial, models: Models, home: Path, records: Sequence[Sequence[NewRecord]], progress: Progress
) -> Compared:
    """Ask every question of the trial both ways. `home`: an empty folder to keep everything in.
    `records`: those of the log before the test, and for each of the trial's events those that tell it;
    none for formats without."""
    settings = settings_of(home)
    publish(models, settings)
    bundle = load_current(Path(settings.bundles))
    assert bundle is not None
    differences, not_asked, n_questions = [], 0, len(trial.questions)
    with ExitStack() as stack:
        log = stack.enter_context(closing(open_log(settings.log)))
        store = stack.enter_context(closing(open_store(settings.state)))
        state: State
        if records:
            stack.enter_context(running("bench.system:flow", argument_of(settings, home)))
            state = ByFlow(trial, log, store, records)
        else:
            state = ByHand(trial, store)
        clock = Clock(round(float(trial.train.at_s.max(initial=0.0)) * 1000))
        server = stack.enter_context(served(settings, log, store, clock))
        for asked in replayed(trial, bundle):
            progress("ask through the server", asked.number + 1, n_questions)
            if len(excluded_of(trial, asked.number)) > MAX_EXCLUDED:
                not_asked += 1
                continue
            state.bring(asked.replay, asked.number)
            clock.now_ms = int(trial.questions.at_ms[asked.number])
            offline = [asked.replay.item_id(row) for row in asked.rows.tolist()]
            online = server.items(trial, asked.number)
            if online != offline:
                visitor = trial.questions.persons[asked.number]
                differences.append(Difference(asked.number, visitor, offline, online))
    return Compared(n_questions - not_asked, not_asked, differences)


def settings_of(home: Path) -> Settings:
    """Defaults, with a place for what is asked, and a catalogue that is read when it is said."""
    server = ServerSettings(host=HOST, port=0, metrics_port=0, refresh_ms=_NEVER_MS)
    placement: dict[str, Placement] = {PLACEMENT: FEED}
    return msgspec.structs.replace(load_settings(home), server=server, placements=placement)


def publish(models: Models, settings: Settings) -> None:
    with Draft(Path(settings.bundles)) as draft:
        draft.write(models, headrace="bench", created_at_ms=0, training=TrainingRange(), evaluation={})
        draft.publish()


class Clock:
    """The server's time, which stands until it is set."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms


class Server(NamedTuple):
    running: RunningServer
    client: Client

    def items(self, trial: Trial, number: int) -> list[str]:
        """The answer to a question, by ids."""
        self.running.live.refresh()
        excluded = excluded_of(trial, number)
        slot = pb.Slot(placement=PLACEMENT, limit=AT, exclude=excluded)
        visitor = trial.questions.persons[number]
        answer = self.client.blocks([slot], anonymous_id=visitor, deadline_s=DEADLINE_S)
        return [id_of(shown.item) for shown in answer.blocks[0].items]


def id_of(item: Any) -> str:
    """As it is called inside."""
    return article_key(item.id) if item.type == pb.ITEM_TYPE_ARTICLE else str(item.id)


@contextmanager
def served(settings: Settings, log: EventLog, store: ProfileStore, clock: Clock) -> Iterator[Server]:
    server = RunningServer(settings, log, store, Metrics(CollectorRegistry()), now_ms=clock)
    port = server.start(0)
    try:
        if not server.loaded.wait(DEADLINE_S):
            raise TimeoutError(f"Expected a catalogue within {DEADLINE_S:g} s, got none")
        with Client(f"{HOST}:{port}") as client:
            yield Server(server, client)
    finally:
        server.stop(grace_s=2, drain_s=2)


class ByHand:
    """Writes what the flow would have written: items and counters that changed, and the asker."""

    def __init__(self, trial: Trial, store: ProfileStore) -> None:
        self._store = store
        self._questions = trial.questions
        self._events: Iterator[Event] = iter(trial.events)
        self._taken = 0
        records = {item_key(item.id): encode_item(item) for item in trial.catalogue}
        records |= {counter_key(item_id): encode_counters(of) for item_id, of in trial.counters.items()}
        for start in range(0, len(keys := list(records)), _BATCH):
            store.put_many({key: records[key] for key in keys[start : start + _BATCH]})

    def bring(self, replay: Replay, number: int) -> None:
        changed: dict[str, bytes] = {}
        while self._taken < self._questions.taken[number]:
            self._taken += 1
            for item_id, _ in mentions_of(next(self._events)):
                item, counters = replay.item(item_id)
                changed |= records_of(item_id, item, counters)
        visitor = self._questions.persons[number]
        profile = replay.profile(visitor)
        if profile is not None:
            record = PersonRecord(f"a:{visitor}", profile, Standing(), profile.last_ms)
            link = VisitorLink(visitor, None, record)
            self._store.put_many({visitor_key(visitor): encode_record(link)})
        if changed:
            self._store.put_many(changed)
            self._store.journal(ITEMS_JOURNAL, list(changed))


def records_of(item_id: str, item: Item | None, counters: ItemCounters) -> dict[str, bytes]:
    found = {counter_key(item_id): encode_counters(counters)}
    return found if item is None else {item_key(item_id): encode_item(item), **found}


class ByFlow:
    """Appends the records to the log, and waits for the flow to have taken them."""

    def __init__(
        self, trial: Trial, log: EventLog, store: ProfileStore, records: Sequence[Sequence[NewRecord]]
    ) -> None:
        self._log, self._store = log, store
        self._questions = trial.questions
        self._records = records
        self._taken = 0
        for start in range(0, len(records[0]), _BATCH):
            log.append(records[0][start : start + _BATCH])
        self._wait()

    def bring(self, replay: Replay, number: int) -> None:
        until = int(self._questions.taken[number])
        fresh = [record for told in self._records[1 + self._taken : 1 + until] for record in told]
        self._taken = until
        if fresh:
            self._log.append(fresh)
            self._wait()

    def _wait(self) -> None:
        until_s = time.monotonic() + FLOW_S
        while time.monotonic() < until_s:
            progress = progress_in(self._store)
            if progress is not None and progress.covers(self._log.end()):
                time.sleep(SETTLED_S)
                return
            time.sleep(0.005)
        raise TimeoutError(f"Expected the flow at the log's end within {FLOW_S:g} s, got no further")
