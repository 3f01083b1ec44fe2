"""serving: the highest rate of GetBlocks that one server process on one core holds at p90 < 5 ms.

A shop of 50k items, 500k sessions and 1 M profiles (`bench.dataset`); each request asks for blocks of
a person drawn at random, all of them in an open session. Load is open-loop (`bench.load`), from
processes on another core. The rate is found by steps and refined; its latencies are those of a longer
run at it. `stages_us` is measured in-process, on the same data, by `bench.stages`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec

from bench.dataset import Sizes, prepared
from bench.load import Latencies, step
from bench.runner import cores, present, report, run_alone, running, say
from bench.system import HOST, argument_of, cpu_s, server_settings
from recsys.settings import SessionSettings, Settings, load_settings

GOAL_MS = 5.0
"""At p90."""
LEAST_DONE = 0.97
"""Of the requests due; beyond, the queue grows and the rate is not held."""
FIRST_RATE = 50.0
GROWTH = 2.0
FINE = 1.05
"""The rate is refined until what is held and what is not are this close."""
ANSWER_BYTES = 3000
FEED = "home.feed"
PLACEMENTS = (FEED, "home.hero", "cart.cross_sell", "email.digest")

Measure = Callable[[float, float], Latencies]
"""`measure(rate, seconds)`."""


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


def is_held(found: Latencies) -> bool:
    return found.p90_ms < GOAL_MS and found.done_per_s >= LEAST_DONE * found.rate and not found.errors


def highest_rate(measure: Measure, step_s: float, ceiling: float) -> tuple[float, list[Latencies]]:
    """The highest rate held for `step_s`, 0.0 if none is, and all steps on the way."""
    steps: list[Latencies] = []

    def held(rate: float) -> bool:
        found = measure(rate, step_s)
        steps.append(found)
        shown = f"p50 {found.p50_ms} p90 {found.p90_ms} p99 {found.p99_ms} ms, {found.errors} errors"
        say(f"  {rate:,.0f}/s: {shown}")
        return is_held(found)

    low, high = 0.0, FIRST_RATE
    while high < ceiling and held(high):
        low, high = high, high * GROWTH
    high = min(high, ceiling)
    while low and high / low > FINE:
        middle = (low + high) / 2
        low, high = (middle, high) if held(middle) else (low, middle)
    return low, steps


def sustained(measure: Measure, rate: float, hold_s: float) -> Latencies:
    """A longer run at `rate`, or at the next lower one that is held."""
    while True:
        found = measure(rate, hold_s)
        if is_held(found) or rate < FIRST_RATE:
            return found
        rate /= FINE


def measure_with(address: str, asked: argparse.Namespace, slots: list[dict[str, Any]]) -> Measure:
    warm_s = min(1.0, asked.step_s / 4)
    argument = {"slots": slots, "profiles": asked.profiles, "seed": asked.seed, "warm_s": warm_s}
    _, other_core = cores()

    def measure(rate: float, seconds: float) -> Latencies:
        return step(address, {**argument, "rate": rate, "seconds": seconds}, asked.generators, other_core)

    return measure


def generator_ceiling(asked: argparse.Namespace, slots: list[dict[str, Any]]) -> float:
    """Requests a second that the generator sends to a server that does nothing."""
    core, _ = cores()
    with running("bench.load:trivial_server", {"answer_bytes": ANSWER_BYTES * len(slots)}, core) as told:
        return measure_with(f"{HOST}:{told['port']}", asked, slots)(0.0, asked.step_s).done_per_s


def cpu_of_a_request(pid: int, measure: Measure, rate: float, seconds: float) -> float | None:
    """Processor microseconds of the server for each request, all of its threads together, at a rate
    that it holds with ease."""
    before_s, found = cpu_s(pid), measure(rate, seconds)
    after_s = cpu_s(pid)
    if before_s is None or after_s is None or not found.answered:
        return None
    return round((after_s - before_s) / found.answered * 1e6)


def measured(asked: argparse.Namespace, data: Path, home: Path) -> dict[str, Any]:
    core, _ = cores()
    slots, settings = slots_of(asked.slots, asked.limit), settings_of(data, home)
    ceiling = generator_ceiling(asked, slots)
    say(f"generator: {ceiling:,.0f} requests/s against a server that does nothing")
    about = {"home": str(data), "slots": slots, "profiles": asked.profiles, "seed": asked.seed}
    stages = run_alone("bench.stages:stages", {**about, "requests": asked.stage_requests}, core).answer
    with ExitStack() as stack:
        told = stack.enter_context(running("bench.system:server", argument_of(settings, home), core))
        measure = measure_with(f"{HOST}:{told['port']}", asked, slots)
        measure(FIRST_RATE, asked.step_s)  # warms up: kernels, pages of the state, branches
        rate, steps = highest_rate(measure, asked.step_s, ceiling)
        best = sustained(measure, rate, asked.hold_s) if rate else steps[0]
        cpu_us = cpu_of_a_request(told["pid"], measure, best.rate / 2, asked.step_s)
    return {
        "requests_per_s": best.done_per_s if is_held(best) else 0.0,
        "p50_ms": best.p50_ms,
        "p90_ms": best.p90_ms,
        "p99_ms": best.p99_ms,
        "p999_ms": best.p999_ms,
        "stages_us": stages,
        "server_cpu_us": cpu_us,
        "generator_ceiling_per_s": ceiling,
        "fewest_items": best.fewest_items,
        "steps": [found._asdict() for found in steps],
    }


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="headrace bench serving", description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=Sizes().items)
    parser.add_argument("--sessions", type=int, default=Sizes().sessions)
    parser.add_argument("--profiles", type=int, default=Sizes().profiles)
    parser.add_argument("--slots", type=int, default=1, help="slots of a request")
    parser.add_argument("--limit", type=int, default=20, help="items of a slot")
    parser.add_argument("--step-s", type=float, default=5.0, help="length of a step of the search")
    parser.add_argument("--hold-s", type=float, default=20.0, help="length of the run that is reported")
    parser.add_argument("--generators", type=int, default=1, help="processes that make the load")
    parser.add_argument("--stage-requests", type=int, default=3000)
    parser.add_argument("--cache", type=Path, help="keep the made shop here, and use it again")
    parser.add_argument("--seed", type=int, default=Sizes().seed)
    parser.add_argument("--json", action="store_true", help="one JSON object, last on standard output")
    asked = parser.parse_args(argv)
    sizes = Sizes(asked.items, asked.sessions, asked.profiles, asked.seed)
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as scratch:
        data = prepared(asked.cache if asked.cache is not None else Path(scratch), sizes)
        home = Path(scratch) / "home"
        home.mkdir()
        found = measured(asked, data, home)
    load = (
        f"open loop, Poisson arrivals, {asked.slots} slot(s) of {asked.limit} items; one server process on"
        f" one core, {asked.generators} generator process(es) on another; the highest rate with"
        f" p90 < {GOAL_MS:g} ms"
    )
    size = {**sizes._asdict(), "slots": asked.slots, "limit": asked.limit}
    present(report("serving", size, load, found), asked.json)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
