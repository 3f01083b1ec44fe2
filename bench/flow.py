"""flow: how fast the write path catches up with a log, beside a session window and a bare loop.

    headrace         the whole flow: one worker, recovery and every sink on
    bytewax_window   Bytewax's own session window on the same decoded events (see bench.window)
    floor            the log read and decoded, nothing kept

Each runs alone in a process pinned to one core. The clock starts when everything is imported and
stops when the flow has closed its sinks; `cpu_s` is what the process used of the core meanwhile.
`profile_bytes` is the size of the records that hold a profile (persons, and visitors nobody is known
behind) in the state afterwards.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from bench.runner import (
    ROOT,
    Contestant,
    Ticker,
    Took,
    cores,
    percentiles,
    present,
    report,
    run_alone,
    say,
    timed,
)
from bench.shop import Shop
from flows.imports.ga4 import read_ga4
from flows.imports.source import RowProblem
from flows.run import decoder_of, run
from recsys.keys import PERSON_PREFIX, VISITOR_PREFIX
from recsys.open import open_log, open_store
from recsys.ports import NewRecord
from recsys.profile import decode_link
from recsys.settings import Settings, load_settings

CONTESTANTS = (
    Contestant("headrace", "bench.flow:headrace"),
    Contestant("bytewax_window", "bench.window:bytewax_window", max_events=50_000),
    Contestant("floor", "bench.flow:floor"),
)
START_MS = 1_767_225_600_000
"""Midnight UTC: the shop's visitors keep daylight hours."""
VISITORS_PER_DAY = 2000
DAYS = 3650
BATCH = 5000
GA4_FILE = Path("ga4-merch-2020") / "events.csv.gz"


class Data(NamedTuple):
    """Events in a log, in the order in which they were received."""

    name: str
    log: str
    """URL."""
    events: int


def settings_of(home: Path, log: str) -> Settings:
    """All defaults, on a log that other homes read too."""
    return msgspec.structs.replace(load_settings(home), log=log)


def headrace(argument: dict[str, Any]) -> Took:
    """The whole flow."""
    settings = settings_of(Path(argument["home"]), argument["log"])
    return timed(lambda: run(settings, to_end=True))


def floor(argument: dict[str, Any]) -> Took:
    """Reading and decoding alone."""
    settings = settings_of(Path(argument["home"]), argument["log"])
    return timed(lambda: read_and_decode(settings))


def read_and_decode(settings: Settings) -> None:
    decode = decoder_of(settings).decode
    log = open_log(settings.log)
    reader = log.reader()
    while records := reader.read(settings.flow.batch):
        for record in records:
            decode(record, record.received_ms)
    reader.close()
    log.close()


def shop_events(events: int, seed: int) -> Iterator[NewRecord]:
    """The first so many events of the simulated shop, late and duplicate ones among them."""
    made = Shop(seed).events(START_MS, DAYS, VISITORS_PER_DAY)
    return (NewRecord(event.key, event.raw, event.received_ms) for event in islice(made, events))


def ga4_events(path: Path) -> Iterator[NewRecord]:
    return (entry for entry in read_ga4(path) if not isinstance(entry, RowProblem))


def filled(folder: Path, name: str, records: Iterable[NewRecord], total: int = 0) -> Data:
    """A log of its own with these records."""
    log_url = f"sqlite:///{folder.absolute()}/{name}.db"
    log, ticker, made = open_log(log_url), Ticker(f"{name}: events into the log", total), 0
    waiting = iter(records)
    while batch := list(islice(waiting, BATCH)):
        log.append(batch)
        made += len(batch)
        ticker(made)
    log.close()
    ticker.done(made)
    return Data(name, log_url, made)


def head(data: Data, folder: Path, events: int) -> Data:
    """The first events of a log, as a log."""
    log = open_log(data.log)
    reader = log.reader()
    read: Callable[[], Any] = lambda: reader.read(BATCH)  # noqa: E731
    records = (
        NewRecord(record.key, record.value, record.received_ms)
        for batch in iter(read, [])
        for record in batch
    )
    try:
        return filled(folder, f"{data.name}-first-{events}", islice(records, events))._replace(name=data.name)
    finally:
        reader.close()
        log.close()


def profile_bytes(settings: Settings) -> list[int]:
    """The size of each record in the state that holds a profile."""
    store = open_store(settings.state)
    try:
        persons = [len(value) for _, value in store.scan(PERSON_PREFIX)]
        links = (value for _, value in store.scan(VISITOR_PREFIX))
        return persons + [len(value) for value in links if decode_link(value).record is not None]
    finally:
        store.close()


def ga4_default() -> Path | None:
    """Where the Google Merchandise Store's events are on this machine, if they are."""
    given = os.environ.get("HEADRACE_DATA")
    path = (Path(given) if given else ROOT.parent / "shared" / "data") / GA4_FILE
    return path if path.is_file() else None


def measure(data: Data, folder: Path) -> tuple[list[dict[str, object]], list[int]]:
    """A row for each contestant, and the sizes of the profiles that Headrace kept."""
    rows, sizes = [], []
    core, _ = cores()
    for contestant in CONTESTANTS:
        few = contestant.max_events is not None and contestant.max_events < data.events
        given = head(data, folder, contestant.max_events or 0) if few else data
        with tempfile.TemporaryDirectory(dir=folder) as home:
            took, peak_mb = run_alone(contestant.target, {"home": home, "log": given.log}, core)
            if contestant.name == "headrace":
                sizes = profile_bytes(settings_of(Path(home), given.log))
        seconds, cpu_s = Took(*took)
        rate = round(given.events / seconds)
        say(f"{contestant.name} on {data.name}: {given.events:,} events, {rate:,}/s, {peak_mb:,} MB")
        row = {"name": contestant.name, "data": data.name, "events_per_s": rate, "peak_mb": peak_mb}
        rows.append({**row, "events": given.events, "seconds": round(seconds, 2), "cpu_s": round(cpu_s, 2)})
    return rows, sizes


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="headrace bench flow", description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=1_000_000, help="simulated events")
    parser.add_argument("--ga4", type=Path, default=ga4_default(), help="events.csv.gz of ga4-merch-2020")
    parser.add_argument("--no-ga4", action="store_true", help="the simulated shop only")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", action="store_true", help="one JSON object, last on standard output")
    asked = parser.parse_args(argv)
    found: dict[str, Any] = {"rows": [], "profile_bytes": {}}
    sizes = {"seed": asked.seed}
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as scratch:
        folder = Path(scratch)
        made: list[Callable[[], Data]] = [
            lambda: filled(folder, "shop", shop_events(asked.events, asked.seed), asked.events)
        ]
        if asked.no_ga4 or asked.ga4 is None:
            say("ga4: left out; give its events.csv.gz as --ga4 or its parent folder in HEADRACE_DATA")
        else:
            made.append(lambda: filled(folder, "ga4", ga4_events(asked.ga4)))
        for make in made:
            data = make()
            rows, profiles = measure(data, folder)
            p50, p99 = percentiles(profiles, 0.5, 0.99, digits=0)
            found["rows"] += rows
            found["profile_bytes"][data.name] = {"p50": p50, "p99": p99, "profiles": len(profiles)}
            sizes[f"{data.name}_events"] = data.events
    load = "catch-up from an empty state, one worker on one core, recovery and every sink on"
    present(report("flow", sizes, load, found), asked.json)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
