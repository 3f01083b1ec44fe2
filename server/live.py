"""What a server knows besides people: catalogue, counters, model, and how far the flow is.

One thread keeps the shelf up to date and alone writes to it; another maps new bundles in. Requests
take `live.shelf` once and read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from threading import Event, Thread
from typing import TypeVar

import msgspec
import structlog

from recsys.catalog import Item, decode_item
from recsys.counters import ItemCounters, decode_counters
from recsys.keys import COUNTER_PREFIX, ITEM_PREFIX, ITEMS_JOURNAL
from recsys.models.bundle import Bundle, Pace, load
from recsys.models.current import BundleBroken, current_version
from recsys.pipeline.shelf import Shelf
from recsys.ports import EventLog, JournalTrimmed, LogUnavailable, ProfileStore, StoreUnavailable
from recsys.progress import FlowProgress, progress_in
from server.flowlag import FlowLag
from server.metrics import Metrics, ModelNote
from server.wire import item_field

log = structlog.get_logger("server.live")

CHUNK = 1000
"""Records of the catalogue that are read at once before there are requests."""
CHANGES_AT_ONCE = 64
"""Of the journal: to look up more in one go would be felt by the requests beside it."""
CHANGES_A_TICK = 20_000
"""Most of the journal that is read before the flow's progress is looked at again."""
RETRY_BROKEN_S = 30.0
SAY_EVERY_S = 2.0
SAY_FAILURE_EVERY_S = 30.0

SLICE_S = 0.00025
"""Processor time of what is worked through between two breaths."""
BREATH_S = 0.0005
"""Without them a request would wait for the interpreter behind each of its kernels."""

Change = Item | tuple[str, ItemCounters]
_T = TypeVar("_T")


def _paced(work: Iterable[_T]) -> Iterator[_T]:
    """The same, with breaths in which requests have the interpreter to themselves."""
    # The thread's own time: on a busy machine it would else do one change a breath, and fall behind.
    slice_ends_s = time.thread_time() + SLICE_S
    for one in work:
        yield one
        if time.thread_time() >= slice_ends_s:
            time.sleep(BREATH_S)
            slice_ends_s = time.thread_time() + SLICE_S


class Catalogue:
    """Items and counters in the state, read whole and then followed by the journal."""

    def __init__(self, store: ProfileStore) -> None:
        self._store = store
        self._cursor = ""

    def read_all(self) -> Iterator[Change]:
        """Everything; `follow` goes on from there. Raises StoreUnavailable."""
        # The cursor first: what changes during the scan is read again.
        cursor = self._store.journal_end(ITEMS_JOURNAL)
        said_s = time.monotonic()
        records = 0
        for prefix in (ITEM_PREFIX, COUNTER_PREFIX):
            for chunk in _chunks(self._store.scan(prefix)):
                yield from _changes(chunk)
                records += len(chunk)
                if time.monotonic() - said_s > SAY_EVERY_S:
                    said_s = time.monotonic()
                    log.info("catalogue_loading", records=records)
        self._cursor = cursor

    def follow(self) -> Iterator[Change]:
        """What changed since. Raises StoreUnavailable; then what was not handed out comes again."""
        for _ in range(CHANGES_A_TICK // CHANGES_AT_ONCE):
            try:
                entries, cursor = self._store.journal_after(ITEMS_JOURNAL, self._cursor, CHANGES_AT_ONCE)
            except JournalTrimmed:
                log.info("journal_trimmed")
                yield from self.read_all()
                return
            keys = list(dict.fromkeys(entries))
            values = self._store.get_many(keys)
            yield from _changes(
                [(key, value) for key, value in zip(keys, values, strict=True) if value is not None]
            )
            self._cursor = cursor
            if len(entries) < CHANGES_AT_ONCE:
                return


def _chunks(records: Iterable[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    iterator = iter(records)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk


def _changes(records: Sequence[tuple[str, bytes]]) -> Iterator[Change]:
    for key, value in records:
        try:
            if key.startswith(ITEM_PREFIX):
                yield decode_item(value)
            elif key.startswith(COUNTER_PREFIX):
                yield key.removeprefix(COUNTER_PREFIX), decode_counters(value)
        except (ValueError, msgspec.DecodeError) as error:  # noqa: PERF203 (one bad record hides no other)
            log.error("record_unreadable", key=key, error=str(error))


class BundleWatch:
    """Looks for a new bundle and maps it in."""

    def __init__(self, bundles: Path, metrics: Metrics) -> None:
        self.version = ""
        """Of the newest bundle loaded."""
        self._bundles = bundles
        self._metrics = metrics
        self._broken = ""
        self._broken_at_s = 0.0

    def look(self, now_s: float, pace: Pace = iter) -> Bundle | None:
        """A bundle that is new; None: there is none, or it is broken, which is logged and counted,
        and tried again after RETRY_BROKEN_S. `now_s` is of the monotonic clock; `pace`: see `load`."""
        try:
            version = current_version(self._bundles) or ""
        except (BundleBroken, OSError) as error:
            self._refuse("unknown", error, now_s)
            return None
        if version in ("", self.version) or self._is_refused(version, now_s):
            return None
        try:
            bundle = load(self._bundles / version, checksums=True, pace=pace)
        except (BundleBroken, OSError) as error:
            self._refuse(version, error, now_s)
            return None
        self.version = version
        self._metrics.bundles.labels("loaded").inc()
        log.info("bundle_loaded", version=version, items=bundle.n_items)
        return bundle

    def _is_refused(self, version: str, now_s: float) -> bool:
        return version == self._broken and now_s - self._broken_at_s < RETRY_BROKEN_S

    def _refuse(self, version: str, error: Exception, now_s: float) -> None:
        if self._is_refused(version, now_s):
            return
        self._broken, self._broken_at_s = version, now_s
        self._metrics.bundles.labels("broken").inc()
        log.error("bundle_broken", version=version, serving=self.version, error=str(error))


class Live:
    """The shelf and the flow's lag, kept up to date from `start` to `stop`.

    `on_loaded` is called once, when the catalogue has been read.
    """

    def __init__(
        self,
        store: ProfileStore,
        event_log: EventLog,
        bundles: BundleWatch,
        metrics: Metrics,
        note: ModelNote,
        refresh_s: float,
        now_ms: Callable[[], int],
        on_loaded: Callable[[], None],
    ) -> None:
        self.shelf: Shelf | None = None
        """None until the catalogue has been read."""
        self.flow = FlowLag()
        self._store = store
        self._event_log = event_log
        self._catalogue = Catalogue(store)
        self._bundles = bundles
        self._metrics = metrics
        self._note = note
        self._refresh_s = refresh_s
        self._now_ms = now_ms
        self._on_loaded = on_loaded
        self._next_bundle: Bundle | None = None
        self._said_s: dict[str, float] = {}
        self._stopping = Event()
        self._threads = (
            Thread(target=self._keep, args=(self.refresh,), name="refresh", daemon=True),
            Thread(target=self._keep, args=(self.look_for_bundle,), name="bundle-watch", daemon=True),
        )

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()
        self._metrics.sum_up()

    @property
    def model_version(self) -> str:
        shelf = self.shelf
        return shelf.bundle.version if shelf is not None and shelf.bundle is not None else ""

    def refresh(self) -> None:
        """One look at catalogue, bundle and flow; each alone may be out of reach."""
        try:
            if self.shelf is None:
                self._load()
            else:
                self._follow(self.shelf)
        except StoreUnavailable as error:
            self._failed("catalogue", error)
        try:
            self._see_flow()
        except (StoreUnavailable, LogUnavailable) as error:
            self._failed("flow", error)
        self._metrics.sum_up()

    def look_for_bundle(self) -> None:
        """Load a new bundle, if there is one, for the next refresh to swap in."""
        if self.shelf is not None and self._next_bundle is None:
            self._next_bundle = self._bundles.look(time.monotonic(), _paced)

    def _keep(self, step: Callable[[], None]) -> None:
        while not self._stopping.is_set():
            try:
                step()
            except Exception:
                # The thread must outlive whatever this is: a server that never refreshes lies.
                log.exception("refresh_failed")
                self._metrics.refresh_failures.labels("unexpected").inc()
            self._stopping.wait(self._refresh_s)

    def _load(self) -> None:
        items: dict[str, Item] = {}
        counters: dict[str, ItemCounters] = {}
        for change in self._catalogue.read_all():
            if isinstance(change, Item):
                items[change.id] = change
            else:
                counters[change[0]] = change[1]
        bundle = self._bundles.look(time.monotonic())
        now_s = self._now_ms() // 1000
        self._put(Shelf.build(items.values(), bundle, counters, now_s, item_field))
        log.info("catalogue_loaded", items=len(items))
        self._on_loaded()

    def _follow(self, shelf: Shelf) -> None:
        rows = len(shelf.columns.items)
        for change in _paced(self._catalogue.follow()):
            if isinstance(change, Item):
                shelf.upsert(change)
            else:
                shelf.count(*change)
        shelf.turn_sales(self._now_ms())
        bundle = self._next_bundle
        if bundle is not None:
            self._put(shelf.with_bundle(bundle, _paced))
            self._next_bundle = None  # only now: the other thread brings the next one when there is none
        elif len(shelf.columns.items) != rows:
            self._put(shelf)

    def _put(self, shelf: Shelf) -> None:
        self.shelf = shelf
        self._note.write(self.model_version)
        self._metrics.items.set(sum(item is not None for item in shelf.columns.items))

    def _see_flow(self) -> None:
        progress: FlowProgress | None = None
        try:
            progress = progress_in(self._store)
        except (ValueError, msgspec.DecodeError) as error:
            self._failed("flow", error)
        lag_ms = self.flow.see(progress, self._event_log.end(), self._now_ms())
        self._metrics.flow_lag_s.set(lag_ms / 1000 if lag_ms >= 0 else -1)
        self._metrics.flow_step_s.set(progress.step_ms / 1000 if progress is not None else 0)

    def _failed(self, what: str, error: Exception) -> None:
        self._metrics.refresh_failures.labels(what).inc()
        now_s = time.monotonic()
        if now_s - self._said_s.get(what, -SAY_FAILURE_EVERY_S) >= SAY_FAILURE_EVERY_S:
            self._said_s[what] = now_s
            log.warning("refresh_failed", of=what, error=str(error))
