"""The benchmarks run at tiny sizes and print what they promise; what they compute from is checked by
known answers. How fast anything is, is not asked here."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from bench.dataset import COMPLETE, Sizes, prepared
from bench.freshness import WARM_S, Ids, Job, Seen, figures, jobs
from bench.load import Latencies, arrivals
from bench.rates import FINE, GROWTH, LOWER, MOST_RUNS, highest_rate, is_held, sustained
from bench.runner import BenchFailed, percentiles, run_alone

ROOT = Path(__file__).parents[2]
COMMON = {"bench", "at", "sizes", "load", "hardware", "versions"}


def ran(name: str, *arguments: str) -> dict[str, object]:
    """The report of a benchmark run as a command."""
    done = subprocess.run(
        [sys.executable, "-m", f"bench.{name}", *arguments, "--json"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    (line,) = done.stdout.splitlines()
    report = json.loads(line)
    assert report.keys() > COMMON
    assert report["bench"] == name
    assert report["versions"]["python"].startswith("3.")
    return report


@pytest.fixture
def ga4_file(tmp_path):
    """Twenty visitors who look at two things each, in the columns of ga4-merch-2020."""
    path = tmp_path / "events.csv"
    header = "ts_us,user_id,session_id,event,item,price,qty,tx,page,dev,country,medium,source"
    with path.open("w", newline="") as file:
        rows = csv.DictWriter(file, header.split(","), restval="")
        rows.writeheader()
        for number in range(40):
            at_us = (1_606_000_000 + 10 * number) * 1_000_000
            view = {"event": "view", "item": f"Mug {number % 7}", "price": "8.5", "dev": "mobile"}
            rows.writerow({"ts_us": at_us, "user_id": f"{number % 20}.1", "session_id": "1", **view})
    return path


@pytest.mark.slow
def test_flow_prints_a_row_for_each_contestant_and_data_set(ga4_file):
    report = ran("flow", "--events", "1500", "--ga4", str(ga4_file))
    rows = {(row["name"], row["data"]): row for row in report["rows"]}
    names = ("headrace", "bytewax_window", "floor")
    assert set(rows) == {(name, data) for name in names for data in ("shop", "ga4")}
    assert all(row["events_per_s"] > 0 and row["peak_mb"] > 10 for row in rows.values())
    assert {rows[name, "shop"]["events"] for name in names} == {1500}
    assert {rows[name, "ga4"]["events"] for name in names} == {40}
    assert report["profile_bytes"]["ga4"]["profiles"] == 20
    for data in ("shop", "ga4"):
        assert 20 < report["profile_bytes"][data]["p50"] <= report["profile_bytes"][data]["p99"]


@pytest.mark.slow
def test_serving_prints_rate_latencies_and_stages_and_keeps_its_data(tmp_path):
    cache = tmp_path / "cache"
    sizes = ("--items", "200", "--sessions", "1500", "--profiles", "500")
    short = ("--step-s", "0.3", "--hold-s", "0.3", "--stage-requests", "20", "--cache", str(cache))
    report = ran("serving", *sizes, *short, "--slots", "2", "--limit", "5")
    assert report.keys() > {
        "requests_per_s",
        "p50_ms",
        "p90_ms",
        "p99_ms",
        "p999_ms",
        "page_calls_per_s",
        "closed_loop_per_s",
        "page_closed_loop_per_s",
        "held",
        "page_held",
        "blocks_per_s",
        "empty_server_per_s",
        "ordinary_empty_server_per_s",
        "empty",
    }
    assert {"read", "candidates", "ranker.weigh", "score", "rank", "mix", "decide", "serialise"} < set(
        report["stages_us"]
    )
    assert all(stage["p50"] <= stage["p99"] for stage in report["stages_us"].values())
    assert report["fewest_items"] == 2 * 5
    assert report["page_fewest_items"] == 4 * 10
    assert report["server_cpu_us"] is None or report["server_cpu_us"] > 0
    assert report["sizes"]["profiles"] == 500

    (made,) = cache.iterdir()
    made_at = (made / COMPLETE).stat().st_mtime_ns
    assert prepared(cache, Sizes(200, 1500, 500)) == made
    assert (made / COMPLETE).stat().st_mtime_ns == made_at


@pytest.mark.slow
def test_freshness_times_probes_through_flow_and_server():
    sizes = ("--history", "2000", "--products", "150", "--seconds", "2")
    report = ran("freshness", *sizes, "--events-per-s", "20", "--requests-per-s", "20", "--probes", "10")
    assert 0 < report["p50_ms"] <= report["p99_ms"] <= report["max_ms"]
    assert report["probes"] > report["not_reached"]
    assert report["failed"] == 0


class Holds:
    """A server that holds up to `limit` requests a second, but for the runs whose numbers are `noisy`."""

    def __init__(self, limit: float, noisy: frozenset[int] = frozenset()) -> None:
        self.limit, self.noisy, self.runs = limit, noisy, 0

    def __call__(self, rate: float, seconds: float) -> Latencies:
        if not rate:
            return latencies(1.2 * self.limit)
        self.runs += 1
        return latencies(rate, p90_ms=4.0 if rate <= self.limit and self.runs not in self.noisy else 9.0)


@pytest.mark.parametrize(
    ("limit", "near"), [(3.0, GROWTH), (11.0, GROWTH), (730.0, FINE), (9_000.0, FINE)]
)  # at low rates a step takes long, and time is up sooner
def test_search_finds_the_rate_that_a_server_holds(limit, near):
    rate, closed_loop_per_s, steps = highest_rate(Holds(limit), 1.0, ceiling=10_000)
    assert limit / near <= rate <= limit
    assert rate in [step.rate for step in steps]
    assert closed_loop_per_s == 1.2 * limit
    assert len(steps) < 16


def test_search_goes_far_below_what_callers_get_who_ask_again_at_once():
    class Slow(Holds):
        def __call__(self, rate, seconds):
            assert not rate or rate * seconds >= 16 * 2.0  # a p90 of a handful of calls is none
            return super().__call__(rate, seconds) if rate else latencies(199.0)

    rate = highest_rate(Slow(6.0), 4.0, ceiling=10_000).rate
    assert 6.0 / 1.1 <= rate <= 6.0


@pytest.mark.parametrize("noisy", range(1, 6))
def test_search_is_not_misled_by_one_noisy_step(noisy):
    rate = highest_rate(Holds(730.0, frozenset([noisy])), 1.0, ceiling=10_000).rate
    assert 730 / FINE <= rate <= 730


def test_search_ends_at_the_ceiling_and_at_nothing():
    assert highest_rate(Holds(730.0), 1.0, ceiling=500).rate == 500
    assert highest_rate(Holds(1.0), 1.0, ceiling=10_000).rate == 0.0


def test_a_rate_that_breaks_in_the_longer_runs_gives_way_to_a_lower_one():
    steps = []
    found = sustained(Holds(600.0), 650, 1.0, steps)
    assert found.held
    assert 600 * LOWER <= found.best.rate <= 600
    assert len(steps) <= MOST_RUNS


@pytest.mark.parametrize("noisy", range(1, 4))
def test_a_longer_run_that_is_disturbed_is_not_the_end_of_a_rate(noisy):
    found = sustained(Holds(730.0, frozenset([noisy])), 700, 1.0, [])
    assert (found.best.rate, found.held) == (700, True)


def test_where_no_longer_run_holds_a_step_that_did_is_told_as_what_it_is():
    steps = [latencies(100.0), latencies(300.0), latencies(500.0)._replace(p90_ms=9.0)]
    found = sustained(Holds(1.0), 400, 1.0, steps)
    assert (found.best.rate, found.held) == (300.0, False)
    assert len(steps) == 3 + MOST_RUNS
    assert not is_held(sustained(Holds(1.0), 0.0, 1.0, [latencies(9.0)._replace(errors=1)]).best)


def test_where_no_run_holds_anything_the_one_with_the_lowest_p90_is_told():
    steps = [
        latencies(rate)._replace(p90_ms=p90_ms) for rate, p90_ms in ((300.0, 90.0), (40.0, 5.5), (3.0, 8.0))
    ]
    found = sustained(Holds(1.0), 0.0, 1.0, steps)
    assert (found.best.rate, found.best.p90_ms, found.held) == (40.0, 5.5, False)


@pytest.mark.parametrize(
    "changed", [{"p90_ms": 5.0}, {"errors": 1}, {"done_per_s": 90.0}], ids=["slow", "errors", "behind"]
)
def test_a_rate_is_not_held_when_answers_are_slow_missing_or_behind(changed):
    assert is_held(latencies(100.0))
    assert not is_held(latencies(100.0)._replace(**changed))


def test_arrivals_are_as_many_as_the_rate_says_at_random_times():
    due_s = arrivals(np.random.default_rng(1), 200.0, 5.0, 15.0)
    assert len(due_s) == 2000
    assert due_s == sorted(due_s)
    assert 5.0 <= due_s[0] < due_s[-1] <= 15.0
    gaps_s = np.diff(due_s)
    assert gaps_s.std() == pytest.approx(gaps_s.mean(), rel=0.1)  # as of exponential gaps


def test_percentiles_are_values_that_were_measured():
    values = [float(number) for number in range(100, 0, -1)]
    assert percentiles(values, 0.5, 0.99, 1.0) == [50.0, 99.0, 100.0]
    assert percentiles([3.0], 0.5, 0.999) == [3.0, 3.0]
    assert percentiles([], 0.5) == [0.0]


def test_jobs_have_the_rates_asked_for_and_are_the_same_for_the_same_seed():
    def planned():
        asked = Namespace(seed=3, seconds=200.0, events_per_s=100.0, requests_per_s=60.0, probes=25.0)
        return jobs(asked, ((Ids(f"web-{number}"), b"{}") for number in range(100_000)))

    once = planned()
    span_s = 200 + WARM_S
    assert sum(job.raw is not None for job in once) / span_s == pytest.approx(100, rel=0.05)
    assert sum(job.is_probe for job in once) / span_s == pytest.approx(25, rel=0.1)
    assert sum(job.is_probe or job.raw is None for job in once) / span_s == pytest.approx(60, rel=0.05)
    assert [job.due_s for job in once] == sorted(job.due_s for job in once)
    assert once == planned()


def test_freshness_counts_apart_what_was_not_reached_or_failed():
    def seen(due_s, took_ms, **more):
        return Seen(Job(due_s, Ids("web-1"), b"{}", is_probe=True), took_ms, 1.0, **{"reached": True, **more})

    late = WARM_S + 1
    found = figures(
        [
            seen(WARM_S - 1, 900.0),
            seen(late, 10.0),
            seen(late, 20.0),
            seen(late, 250.0, reached=False),
            seen(late, 0.0, reached=False, failed=True),
        ]
    )
    assert (found["p50_ms"], found["max_ms"]) == (10.0, 20.0)
    assert (found["probes"], found["not_reached"], found["failed"]) == (3, 1, 1)


def test_a_contestant_that_dies_is_told():
    with pytest.raises(BenchFailed, match=r"^Expected an answer of `bench.runner:nothing`, got exit code 1$"):
        run_alone("bench.runner:nothing", {})


def latencies(rate: float, p90_ms: float = 4.0) -> Latencies:
    return Latencies(rate, rate, 1.0, p90_ms, 2 * p90_ms, 3 * p90_ms, answered=99, errors=0, fewest_items=20)
