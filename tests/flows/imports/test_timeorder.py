from __future__ import annotations

import random

from flows.imports.source import RowProblem
from flows.imports.timeorder import MAX_RUNS, TimedRow, in_time_order


def sort(rows, run_bytes):
    entries = list(rows)
    keys = [entry.key for entry in entries if isinstance(entry, TimedRow)]
    return list(in_time_order(lambda: iter(entries), lambda: iter(keys), run_bytes))


def test_runs_on_disk_are_merged_and_equal_keys_stay_as_they_came():
    rng = random.Random(3)
    rows = [TimedRow((rng.randrange(50), rng.randrange(2)), line, b"x" * 20) for line in range(1000)]
    expected = sorted(rows, key=lambda row: row.key)
    # Three rows a run: more runs than are merged at once.
    assert len(rows) / 3 > 2 * MAX_RUNS
    assert sort(rows, 600) == expected
    assert sort(rows, 10**9) == expected


def test_ordered_rows_are_passed_on_untouched():
    rows = [TimedRow((at,), at, ("a", "b")) for at in (1, 2, 2, 3)]
    found = sort(rows, 1)
    assert all(one is other for one, other in zip(found, rows, strict=True))


def test_problems_are_never_lost():
    rows = [TimedRow((2,), 1, b""), RowProblem(2, "x", "y", "z"), TimedRow((1,), 3, b"")]
    assert {type(entry) for entry in sort(rows, 1)} == {TimedRow, RowProblem}
    assert len(sort(rows, 1)) == 3
