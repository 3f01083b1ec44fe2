"""A home on disk with a log full of the simulated shop's events, and a flow run on it."""

from __future__ import annotations

import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

from bench.shop import Shop
from recsys.open import open_log, open_store
from recsys.ports import NewRecord
from recsys.progress import FlowProgress, progress_in
from recsys.settings import Settings, load_settings

START_MS = 1_760_000_000_000
FLOW = """
import sys
from pathlib import Path
from flows.run import run
from recsys.settings import load_settings
environ = dict(word.split("=") for word in sys.argv[4:])
run(load_settings(Path(sys.argv[1]), environ=environ), to_end=sys.argv[2] == "end", workers=int(sys.argv[3]))
"""


def filled(home: Path, events: int, seed: int = 7, broken: float = 0.01) -> Settings:
    """A home whose log holds this many events of the shop: late, twice, broken ones among them."""
    settings = load_settings(home)
    append(settings, events, seed, broken)
    return settings


def append(settings: Settings, events: int, seed: int, broken: float = 0.0, skip: int = 0) -> None:
    shop = Shop(seed=seed, products=150, articles=10)
    made = shop.events(START_MS, 30, 150, broken=broken, late=0.03, duplicates=0.02)
    log = open_log(settings.log)
    wanted = islice(made, skip, skip + events)
    while batch := list(islice(wanted, 500)):
        log.append([NewRecord(event.key, event.raw, event.received_ms) for event in batch])
    log.close()


def start_flow(home: Path, until: str = "end", workers: int = 1, **flow: float) -> subprocess.Popen[bytes]:
    """A flow in a process of its own, with short snapshots; `flow` are settings of that section."""
    given = [f"HEADRACE_FLOW__{name.upper()}={value}" for name, value in {"snapshot_s": 0.3, **flow}.items()]
    return subprocess.Popen([sys.executable, "-c", FLOW, str(home), until, str(workers), *given])


def taken(settings: Settings) -> FlowProgress:
    """How far the flow says it is."""
    store = open_store(settings.state)
    try:
        return progress_in(store) or FlowProgress()
    finally:
        store.close()


def wait_for_records(settings: Settings, count: int, within_s: float = 60.0) -> None:
    """Until the flow has taken this many records."""
    until = time.monotonic() + within_s
    while sum(offset + 1 for _, offset in taken(settings).partitions) < count:
        if time.monotonic() > until:
            raise AssertionError(f"Expected {count} records taken, got {taken(settings).partitions}")
        time.sleep(0.02)
