"""serving: the highest rate of GetBlocks that one server process on one core holds at p90 < 5 ms.

A shop of 50k items, 500k sessions and 1 M profiles (`bench.dataset`); each request asks for blocks of
a person drawn at random, all of them in an open session. Load is open-loop (`bench.load`), from
processes on another core. The rate is found by bisection (`bench.rates`); its latencies are those of
longer runs at it, two of three of which must hold (`held`); `empty` are those of a server that does nothing,
at that rate: what is the load's own and gRPC's. The same is done for page calls of 4 slots
of 10 items. `stages_us` is measured in-process, on the same data, by `bench.stages`. `upheaval` are the
latencies at half the rate while a new model comes, and while the catalogue is flooded with changes
(`bench.upheaval`).
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from bench.dataset import Sizes, prepared
from bench.generators import Generators, generators
from bench.load import Latencies
from bench.rates import GOAL_MS, Measure, highest_rate, is_held, sustained
from bench.runner import cores, present, report, run_alone, running, say
from bench.system import HOST, argument_of, cpu_s, server_settings
from bench.upheaval import FLOOD_PER_S, phases
from recsys.settings import SessionSettings, Settings, load_settings

ANSWER_BYTES_A_BLOCK = 3000
PAGE = (4, 10)
"""Slots of a page call, and items of each."""
FEED = "home.feed"
PLACEMENTS = (FEED, "home.hero", "cart.cross_sell", "email.digest")


def slots_of(count: int, limit: int) -> list[dict[str, Any]]:
    """`count` slots of different placements, the feed first."""
    return [
        {"name": f"slot-{place}", "placement": PLACEMENTS[place % len(PLACEMENTS)], "limit": limit}
        for place in range(count)
    ]


def settings_of(data: Path, home: Path) -> Settings:
    """Defaults on the made shop, with a log of its own. The gap of sessions is a year: profiles are
    made once, and each asker shall be in an open session."""
    year_s = 365 * 86_400
    made = load_settings(data)
    return msgspec.structs.replace(
        made,
        log=load_settings(home).log,
        session=SessionSettings(gap_s=year_s, cap_s=year_s),
        server=server_settings(),
    )


def measure_with(
    load: Generators, address: str, asked: argparse.Namespace, slots: list[dict[str, Any]]
) -> Measure:
    warm_s = min(1.0, asked.step_s / 4)
    argument = {"slots": slots, "profiles": asked.profiles, "seed": asked.seed, "warm_s": warm_s}

    def measure(rate: float, seconds: float) -> Latencies:
        return load.step(address, {**argument, "rate": rate, "seconds": seconds})

    return measure


def empty_server(
    load: Generators,
    asked: argparse.Namespace,
    slots: list[dict[str, Any]],
    rate: float = 0.0,
    *,
    lane: bool = True,
) -> Latencies:
    """What a server answers which does nothing; at `rate` 0 to callers who ask again at once."""
    core, _ = cores()
    argument = {"answer_bytes": ANSWER_BYTES_A_BLOCK * len(slots), "lane": lane}
    with running("bench.load:empty_server", argument, core) as told:
        return measure_with(load, f"{HOST}:{told['port']}", asked, slots)(rate, asked.step_s)


def cpu_of_a_request(pid: int, measure: Measure, rate: float, seconds: float) -> float | None:
    """Processor microseconds of the server for each request, all of its threads together, at a rate
    that it holds with ease; None where that took less than the system's clock of it tells."""
    before_s, found = cpu_s(pid), measure(rate, seconds)
    after_s = cpu_s(pid)
    if before_s is None or after_s is None or after_s == before_s or not found.answered:
        return None
    return round((after_s - before_s) / found.answered * 1e6)


class Held(NamedTuple):
    """What a server holds of one kind of call."""

    best: Latencies
    """Of the longer runs at the highest rate."""
    is_sure: bool
    """Whether most of them held it."""
    cpu_us: float | None
    """Of the server for each call, at half of that rate."""
    closed_loop_per_s: float
    """What callers get who ask again at once."""
    steps: list[Latencies]

    @property
    def calls_per_s(self) -> float:
        """0: no run at all has held any rate."""
        return self.best.done_per_s if is_held(self.best) else 0.0


def held(
    load: Generators,
    told: dict[str, Any],
    asked: argparse.Namespace,
    slots: list[dict[str, Any]],
    ceiling: float,
) -> Held:
    """Search the highest rate of calls for `slots` on the server that `told` its port and pid."""
    say(f"{len(slots)} slot(s) of {slots[0]['limit']} items a call")
    measure = measure_with(load, f"{HOST}:{told['port']}", asked, slots)
    measure(0.0, asked.step_s)  # warms up: kernels, pages of the state, branches
    rate, closed_loop_per_s, steps = highest_rate(measure, asked.step_s, ceiling)
    best, is_sure = sustained(measure, rate, asked.hold_s, steps)
    cpu_us = cpu_of_a_request(told["pid"], measure, best.rate / 2, asked.step_s)
    return Held(best, is_sure, cpu_us, closed_loop_per_s, steps)


def upheaval(
    load: Generators,
    asked: argparse.Namespace,
    data: Path,
    home: Path,
    slots: list[dict[str, Any]],
    rate: float,
) -> list[dict[str, Any]]:
    """Latencies at `rate` while the model and the catalogue change, on a copy of the data."""
    say(f"a new model, and {FLOOD_PER_S} catalogue changes a second, at {rate:,.0f}/s")
    copy = home / "changing"
    shutil.copytree(data, copy)
    settings = settings_of(copy, home)
    core, _ = cores()
    with running("bench.system:server", argument_of(settings, home), core) as told:
        measure = measure_with(load, f"{HOST}:{told['port']}", asked, slots)
        measure(0.0, asked.step_s)
        found = phases(copy, settings.state, measure, rate, asked.hold_s)
    shutil.rmtree(copy)
    return [phase._asdict() for phase in found]


def measured(load: Generators, asked: argparse.Namespace, data: Path, home: Path) -> dict[str, Any]:
    core, _ = cores()
    slots, page, settings = slots_of(asked.slots, asked.limit), slots_of(*PAGE), settings_of(data, home)
    empty = empty_server(load, asked, slots)
    empty_per_s, ordinary_per_s = empty.done_per_s, empty_server(load, asked, slots, lane=False).done_per_s
    say(f"a server that does nothing: {empty_per_s:,.0f}/s, {ordinary_per_s:,.0f}/s the ordinary way")
    about = {"home": str(data), "slots": slots, "profiles": asked.profiles, "seed": asked.seed}
    stages = run_alone("bench.stages:stages", {**about, "requests": asked.stage_requests}, core).answer
    with running("bench.system:server", argument_of(settings, home), core) as told:
        one = held(load, told, asked, slots, empty_per_s)
        whole = held(load, told, asked, page, empty_per_s)
    best = one.best
    rate = best.rate / 2
    return {
        "requests_per_s": one.calls_per_s,
        "held": one.is_sure,
        "p50_ms": best.p50_ms,
        "p90_ms": best.p90_ms,
        "p99_ms": best.p99_ms,
        "p999_ms": best.p999_ms,
        "page_calls_per_s": whole.calls_per_s,
        "page_held": whole.is_sure,
        "blocks_per_s": round(whole.calls_per_s * len(page), 1),
        "page_p90_ms": whole.best.p90_ms,
        "page_p90_at_per_s": whole.best.rate,
        "closed_loop_per_s": one.closed_loop_per_s,
        "page_closed_loop_per_s": whole.closed_loop_per_s,
        "stages_us": stages,
        "upheaval": [] if asked.calm else upheaval(load, asked, data, home, slots, rate),
        "server_cpu_us": one.cpu_us,
        "page_server_cpu_us": whole.cpu_us,
        "empty_server_per_s": empty_per_s,
        "ordinary_empty_server_per_s": ordinary_per_s,
        "generator_cpu_us": empty.generator_cpu_us,
        "empty": empty_server(load, asked, slots, best.rate)._asdict(),
        "fewest_items": best.fewest_items,
        "page_fewest_items": whole.best.fewest_items,
        "steps": [found._asdict() for found in one.steps],
        "page_steps": [found._asdict() for found in whole.steps],
    }


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="headrace bench serving", description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=Sizes().items)
    parser.add_argument("--sessions", type=int, default=Sizes().sessions)
    parser.add_argument("--profiles", type=int, default=Sizes().profiles)
    parser.add_argument("--slots", type=int, default=1, help="slots of a request")
    parser.add_argument("--limit", type=int, default=20, help="items of a slot")
    parser.add_argument("--step-s", type=float, default=4.0, help="length of a step of the search")
    parser.add_argument("--hold-s", type=float, default=8.0, help="length of each run that may be reported")
    parser.add_argument("--generators", type=int, default=1, help="processes that make the load")
    parser.add_argument("--stage-requests", type=int, default=3000)
    parser.add_argument("--cache", type=Path, help="keep the made shop here, and use it again")
    parser.add_argument("--seed", type=int, default=Sizes().seed)
    parser.add_argument("--calm", action="store_true", help="leave out a new model and a flood of changes")
    parser.add_argument("--json", action="store_true", help="one JSON object, last on standard output")
    asked = parser.parse_args(argv)
    sizes = Sizes(asked.items, asked.sessions, asked.profiles, asked.seed)
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as scratch:
        data = prepared(asked.cache if asked.cache is not None else Path(scratch), sizes)
        home = Path(scratch) / "home"
        home.mkdir()
        _, other_core = cores()
        with generators(asked.generators, other_core) as load:
            found = measured(load, asked, data, home)
    about = (
        f"open loop, Poisson arrivals, {asked.slots} slot(s) of {asked.limit} items; one server process on"
        f" one core, {asked.generators} generator process(es) on another; the highest rate with"
        f" p90 < {GOAL_MS:g} ms; page calls: {PAGE[0]} slots of {PAGE[1]} items"
    )
    size = {**sizes._asdict(), "slots": asked.slots, "limit": asked.limit}
    present(report("serving", size, about, found), asked.json)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
