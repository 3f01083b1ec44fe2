"""What pages notice of a new model, and of a flood of catalogue changes: latencies before and meanwhile.

A server of its own on a copy of the made shop, under an even load: calm; with a new bundle published
in the midst of it; and while the flow, played here, changes the price of one item after the other.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from threading import Event, Thread
from typing import NamedTuple

import msgspec

from bench.load import Latencies
from bench.runner import say
from recsys.catalog import Item, decode_item, encode_item
from recsys.keys import ITEM_PREFIX, ITEMS_JOURNAL, item_key
from recsys.models.current import current_version
from recsys.models.publish import set_current
from recsys.open import open_store
from recsys.ports import ProfileStore

FLOOD_PER_S = 2000
FLOOD_TICK_S = 0.1
PUBLISH_AFTER_S = 2.0


class Phase(NamedTuple):
    phase: str
    rate: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    errors: int
    done_per_s: float


Measure = Callable[[float, float], Latencies]


def phases(home: Path, state: str, measure: Measure, rate: float, seconds: float) -> list[Phase]:
    """Load of `rate` for `seconds` each: calm, swap, flood. `home` is the shop of the server that
    `measure` asks, and `state` its URL."""
    found = [_told("calm", measure(rate, seconds))]
    with _meanwhile(lambda stopping: _publish_again(home / "bundles", stopping)):
        found.append(_told("swap", measure(rate, seconds)))
    with _meanwhile(lambda stopping: _flood(state, stopping)):
        found.append(_told("flood", measure(rate, seconds)))
    return found


def _told(phase: str, found: Latencies) -> Phase:
    say(f"  {phase}: p50 {found.p50_ms} p99 {found.p99_ms} ms, {found.errors} errors")
    return Phase(phase, found.rate, found.p50_ms, found.p99_ms, found.p999_ms, found.errors, found.done_per_s)


@contextmanager
def _meanwhile(work: Callable[[Event], None]) -> Iterator[None]:
    stopping = Event()
    thread = Thread(target=work, args=(stopping,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


def _publish_again(bundles: Path, stopping: Event) -> None:
    """The bundle once more under another name, as if it had been trained anew."""
    version = current_version(bundles)
    if version is None:
        return
    again = f"{version}-again"
    shutil.copytree(bundles / version, bundles / again)
    stopping.wait(PUBLISH_AFTER_S)
    set_current(bundles, again)


def _flood(state: str, stopping: Event) -> None:
    """Item after item gets another price, as the flow would tell it."""
    store = open_store(state)
    try:
        items = [decode_item(value) for _, value in store.scan(ITEM_PREFIX)]
        many = int(FLOOD_PER_S * FLOOD_TICK_S)
        turn = cycle(range(0, len(items), many))
        while not stopping.wait(FLOOD_TICK_S):
            start = next(turn)
            _change(store, items[start : start + many])
    finally:
        store.close()


def _change(store: ProfileStore, items: list[Item]) -> None:
    price = 1.0 + time.time() % 100
    records = {item_key(item.id): encode_item(msgspec.structs.replace(item, price=price)) for item in items}
    store.put_many(records)
    store.journal(ITEMS_JOURNAL, list(records))
