"""freshness: how soon an event changes blocks, through the running embedded system.

A flow and a server, each a process of its own, on a home with the simulated shop's history and a
bundle trained on it. Into it go events and requests for blocks at the rates asked for, at random
times (Poisson). Some of the events are probes: the page that tracked it asks at once for a block
`at_least_as_fresh` as the receipt, and the time from when Track was due to that answer is what is
reported. Answers that did not include the event are counted as `not_reached`, not timed.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from random import Random
from threading import Thread
from typing import Any, NamedTuple

import msgspec
from rich.console import Console

from bench.flow import BATCH
from bench.runner import BenchFailed, Ticker, percentiles, present, report, run_alone, running, say
from bench.shop import Shop, SimEvent
from bench.system import HOST, argument_of, server_settings
from flows.imports.append import import_catalog
from flows.imports.feeds import read_feed
from flows.training import train_home
from recsys.open import open_log
from recsys.ports import NewRecord
from recsys.settings import Settings, load_settings
from server.client import CallFailed, Client

PLACEMENT = "home.feed"
THREADS = 48
DEADLINE_S = 2.0
WARM_S = 3.0
"""Before the first event that counts."""
READY_S = 60.0
VISITORS_PER_DAY = 1000
DAY_MS = 86_400_000


class Ids(msgspec.Struct, frozen=True, rename="camel"):
    """Whom an event is about, as the page that sends it knows."""

    anonymous_id: str = ""
    user_id: str = ""


class Job(NamedTuple):
    """Something to do at its time, in seconds from the start."""

    due_s: float
    ids: Ids
    raw: bytes | None
    """The event to track; None for a request alone."""
    is_probe: bool


class Seen(NamedTuple):
    """What came of a job."""

    job: Job
    took_ms: float
    track_ms: float
    reached: bool
    failed: bool = False


def events_after(shop: Shop, start_ms: int, skip: int) -> Iterator[tuple[Ids, bytes]]:
    """The shop's events behind the first `skip`. Their times are a plan's; the decoder's clock
    repair makes them of now."""
    stream = shop.events(start_ms, 3650, VISITORS_PER_DAY, late=0.0, duplicates=0.0)
    for event in islice(stream, skip, None):
        ids = msgspec.json.decode(event.raw, type=Ids)
        if ids.anonymous_id:  # mails have no page that could ask
            yield ids, event.raw


def jobs(asked: argparse.Namespace, stream: Iterator[tuple[Ids, bytes]]) -> list[Job]:
    """All jobs of the run in the order of time. Requests that are no probes ask for visitors who
    have just sent something, as pages do."""
    random = Random(asked.seed)
    until_s = WARM_S + asked.seconds
    planned: list[Job] = []
    newest = Ids("web-first")
    share = asked.probes / max(asked.events_per_s, 1e-9)
    streams = ((asked.events_per_s, True), (asked.requests_per_s - asked.probes, False))
    due = sorted(
        (due_s, is_event) for rate, is_event in streams for due_s in _arrivals(random, rate, until_s)
    )
    for due_s, is_event in due:
        if is_event:
            newest, raw = next(stream)
            planned.append(Job(due_s, newest, raw, random.random() < share))
        else:
            planned.append(Job(due_s, newest, None, is_probe=False))
    return planned


def _arrivals(random: Random, rate: float, until_s: float) -> Iterator[float]:
    due_s = 0.0
    while rate > 0 and (due_s := due_s + random.expovariate(rate)) < until_s:
        yield due_s


class Load:
    """Does the jobs when they are due, each late one at once."""

    def __init__(self, client: Client, planned: list[Job]) -> None:
        self.seen: list[Seen] = []
        self._client = client
        self._planned = planned
        self._next = itertools.count()

    def run(self) -> None:
        started_s = time.perf_counter() + 0.1
        threads = [Thread(target=self._work, args=(started_s,)) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        ticker = Ticker("freshness: jobs done", len(self._planned))
        for thread in threads:
            while thread.is_alive():
                thread.join(1.0)
                ticker(len(self.seen))

    def _work(self, started_s: float) -> None:
        while (index := next(self._next)) < len(self._planned):
            job = self._planned[index]
            time.sleep(max(started_s + job.due_s - time.perf_counter(), 0.0))
            self.seen.append(self._do(job, started_s + job.due_s))

    def _do(self, job: Job, due_s: float) -> Seen:
        track_ms, reached, position = 0.0, True, ""
        try:
            if job.raw is not None:
                position = self._client.track([job.raw], deadline_s=DEADLINE_S).receipts[0].position
                track_ms = (time.perf_counter() - due_s) * 1000
            if job.raw is None or job.is_probe:
                reached = self._asked(job, position if job.is_probe else "")
        except CallFailed:
            return Seen(job, 0.0, track_ms, reached=False, failed=True)
        return Seen(job, (time.perf_counter() - due_s) * 1000, track_ms, reached)

    def _asked(self, job: Job, position: str) -> bool:
        """Whether the blocks include the event at `position`."""
        answer = self._client.blocks(
            [PLACEMENT],
            anonymous_id=job.ids.anonymous_id,
            user_id=job.ids.user_id,
            after=position,
            deadline_s=DEADLINE_S,
        )
        return all(block.freshness.reached for block in answer.blocks)


def prepare(home: Path, shop: Shop, start_ms: int, history: int) -> Settings:
    """A home with the shop's catalogue and its first events, folded and trained on."""
    settings = msgspec.structs.replace(load_settings(home), server=server_settings())
    log = open_log(settings.log)
    shop.write_feed(home / "feed.tsv")
    import_catalog(log, read_feed(home / "feed.tsv"), clock=time.time)
    ticker, made = Ticker("history: events into the log", history), 0
    stream: Iterator[SimEvent] = islice(shop.events(start_ms, 3650, VISITORS_PER_DAY), history)
    while batch := list(islice(stream, BATCH)):
        log.append([NewRecord(event.key, event.raw, event.received_ms) for event in batch])
        made += len(batch)
        ticker(made)
    log.close()
    say("freshness: the flow catches up, then training")
    run_alone("bench.system:catch_up", argument_of(settings, home))
    train_home(settings, Console(stderr=True), force=True)
    return settings


def wait_until_fresh(client: Client, stream: Iterator[tuple[Ids, bytes]]) -> None:
    """Until the flow takes what is tracked now. Raises BenchFailed."""
    until_s = time.monotonic() + READY_S
    for ids, raw in stream:
        position = client.track([raw]).receipts[0].position
        answer = client.blocks(
            [PLACEMENT], anonymous_id=ids.anonymous_id, user_id=ids.user_id, after=position
        )
        if answer.blocks[0].freshness.reached:
            return
        if time.monotonic() > until_s:
            break
    raise BenchFailed(f"Expected a flow that takes new events within {READY_S:g} s, got none")


def figures(seen: list[Seen]) -> dict[str, Any]:
    counted = [one for one in seen if one.job.due_s >= WARM_S]
    good = [one for one in counted if not one.failed]
    probes = [one for one in good if one.job.is_probe]
    reached = [one.took_ms for one in probes if one.reached]
    tracked = [one.track_ms for one in good if one.job.raw is not None]
    asked = [one.took_ms for one in good if one.job.raw is None]
    p50, p99, most = percentiles(reached, 0.5, 0.99, 1.0)
    return {
        "p50_ms": p50,
        "p99_ms": p99,
        "max_ms": most,
        "probes": len(probes),
        "not_reached": len(probes) - len(reached),
        "failed": len(counted) - len(good),
        "track_ms": dict(zip(("p50", "p99"), percentiles(tracked, 0.5, 0.99), strict=True)),
        "blocks_ms": dict(zip(("p50", "p99"), percentiles(asked, 0.5, 0.99), strict=True)),
    }


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="headrace bench freshness", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--events-per-s", type=float, default=100.0)
    parser.add_argument("--requests-per-s", type=float, default=100.0, help="those of the probes among them")
    parser.add_argument("--probes", type=float, default=25.0, help="a second, among the events and requests")
    parser.add_argument("--history", type=int, default=50_000, help="events before the run")
    parser.add_argument("--products", type=int, default=800)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", action="store_true", help="one JSON object, last on standard output")
    asked = parser.parse_args(argv)
    if asked.probes > min(asked.events_per_s, asked.requests_per_s):
        parser.error("Expected no more probes than events and requests")
    shop = Shop(asked.seed, products=asked.products)
    days = -(-asked.history // (VISITORS_PER_DAY * 5))
    start_ms = (time.time_ns() // 1_000_000 // DAY_MS - days - 1) * DAY_MS
    sys.setswitchinterval(0.0005)
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as scratch, ExitStack() as stack:
        home = Path(scratch)
        settings = prepare(home, shop, start_ms, asked.history)
        stack.enter_context(running("bench.system:flow", argument_of(settings, home)))
        told = stack.enter_context(running("bench.system:server", argument_of(settings, home)))
        client = stack.enter_context(Client(f"{HOST}:{told['port']}"))
        stream = events_after(shop, start_ms, asked.history)
        wait_until_fresh(client, stream)
        load = Load(client, jobs(asked, stream))
        load.run()
    sizes = {
        "history_events": asked.history,
        "products": asked.products,
        "seconds": asked.seconds,
        "seed": asked.seed,
    }
    text = (
        f"{asked.events_per_s:g} events/s tracked and {asked.requests_per_s:g} requests/s of {PLACEMENT},"
        f" Poisson, {asked.probes:g}/s of each a probe; flow, server and client on the same cores, unpinned"
    )
    present(report("freshness", sizes, text, figures(load.seen)), asked.json)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
