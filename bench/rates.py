"""The highest rate that a server holds: found by bisection around an estimate of what it can do."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, sqrt
from typing import NamedTuple

from bench.load import Latencies
from bench.runner import say

GOAL_MS = 5.0
"""At p90."""
LEAST_DONE = 0.97
"""Of the requests due; beyond, the queue grows and the rate is not held."""
NEAR_CAPACITY = 0.75
"""The search begins at this share of what callers get who ask again at once."""
GROWTH = 1.25
FALL = 3.0
"""From a rate that is far beyond what is held: on a slow machine callers who ask again at once are answered
far more than calls within the goal."""
FINE = 1.05
"""The rate is refined until what is held and what is not are this close."""
TRIES = 2
HOPELESS = 4.0
"""A rate that is missed by less than so many times the goal is tried once more: something else may have had
the machine for a moment."""
LEAST_RATE = 2.0
LEAST_CALLS = 100
"""Of a step, that a p90 be one: steps at low rates are longer, at most LONGEST times."""
LONGEST = 4.0
MOST_STEPS = 20
"""Lengths of a step that a search takes: on a machine that is busy with others it ends with what it has
found by then."""
RUNS = 3
"""Of the longer ones at one rate; a rate that most of them hold is held, whatever disturbs one."""
LOWER = 0.95
"""What is tried next of a rate that they do not: as fine as the search."""
MOST_RUNS = 12
"""Lengths of a longer run that all of them take."""

Measure = Callable[[float, float], Latencies]
"""`measure(rate, seconds)`; rate 0: a closed loop."""


def is_held(found: Latencies) -> bool:
    return found.p90_ms < GOAL_MS and found.done_per_s >= LEAST_DONE * found.rate and not found.errors


class Found(NamedTuple):
    """What a search came to."""

    rate: float
    """The highest that was held for a step or longer; 0.0 if none of LEAST_RATE or more was."""
    closed_loop_per_s: float
    """What callers get who ask again at once: whatever is held, a server can do this much."""
    steps: list[Latencies]


def highest_rate(measure: Measure, step_s: float, ceiling: float) -> Found:
    """Search the highest rate held for `step_s` or longer."""
    steps: list[Latencies] = []
    left_s = MOST_STEPS * step_s

    def held(rate: float) -> bool:
        nonlocal left_s
        for _ in range(TRIES):
            seconds = _length_s(rate, step_s)
            left_s -= seconds
            found = _tried(measure, rate, seconds, steps)
            if is_held(found) or found.p90_ms > HOPELESS * GOAL_MS:
                return is_held(found)
        return False

    capacity = measure(0.0, step_s).done_per_s
    say(f"  {capacity:,.0f}/s answered to callers who ask again at once")
    low, high, rate = 0.0, inf, min(max(NEAR_CAPACITY * capacity, LEAST_RATE), ceiling)
    while rate >= LEAST_RATE and low < ceiling and high > FINE * low and left_s > 0:
        if held(rate):
            low, rate = rate, min(GROWTH * rate, ceiling)
        else:
            high, rate = rate, rate / FALL
        if low and high < inf:
            rate = sqrt(low * high)
    return Found(low, capacity, steps)


class Sustained(NamedTuple):
    """What came of the longer runs."""

    best: Latencies
    held: bool
    """Whether two of three runs at that rate held it. If not, `best` is the highest rate that any run
    held, and where none did the run with the lowest p90."""


def sustained(measure: Measure, rate: float, hold_s: float, steps: list[Latencies]) -> Sustained:
    """Longer runs at `rate`, and at lower ones until two of three hold or the time of MOST_RUNS is over: the
    worse of the two. Where nothing does, what `steps` and the runs have held counts. Adds each run to
    `steps`."""
    left_s = MOST_RUNS * hold_s
    while left_s > 0 and rate >= LEAST_RATE:
        good: list[Latencies] = []
        missed = 0
        while left_s > 0 and len(good) <= RUNS // 2 and missed <= RUNS // 2:
            seconds = _length_s(rate, hold_s)
            left_s -= seconds
            found = _tried(measure, rate, seconds, steps)
            if is_held(found):
                good.append(found)
            else:
                missed += 1
        if len(good) > RUNS // 2:
            return Sustained(max(good, key=lambda run: run.p90_ms), held=True)
        rate *= LOWER
    some = [found for found in steps if is_held(found)]
    if some:
        return Sustained(max(some, key=lambda run: run.rate), held=False)
    return Sustained(min(steps, key=lambda run: (run.errors, run.p90_ms)), held=False)


def _length_s(rate: float, seconds: float) -> float:
    return max(seconds, min(LEAST_CALLS / rate, LONGEST * seconds))


def _tried(measure: Measure, rate: float, seconds: float, steps: list[Latencies]) -> Latencies:
    found = measure(rate, seconds)
    steps.append(found)
    shown = f"p50 {found.p50_ms} p90 {found.p90_ms} p99 {found.p99_ms} ms, {found.errors} errors"
    say(f"  {rate:,.1f}/s for {seconds:.0f} s: {shown}")
    return found
