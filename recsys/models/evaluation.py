"""Next-item evaluation: from the beginning of a session to the item that came next."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
import numpy.typing as npt

from recsys.models.arrays import Rows
from recsys.models.interactions import Interactions
from recsys.models.progress import Progress, silent

Recommend = Callable[[Rows], Rows]
"""From the session so far, int32[h] with the oldest first, to item rows, the best first."""

_BOOTSTRAP_SAMPLES = 1000


class Metrics(msgspec.Struct, frozen=True):
    """Shares of queries, 0 to 1. A target that is not recommended, known or not, counts 0."""

    hit_rate_at_20: float
    """The target is among the first `at` (20 unless asked otherwise)."""
    mrr_at_20: float
    """Mean of 1/rank of the target among the first `at`, else 0."""
    hit_rate_at_5: float
    coverage: float
    """Share of the catalogue that was recommended at least once among the first `at`."""
    hit_rate_low: float
    hit_rate_high: float
    """95 % bootstrap interval of the hit rate; sessions, not queries, are drawn."""
    mrr_low: float
    mrr_high: float
    queries: int
    sessions: int
    at: int = 20


def next_item(
    recommend: Recommend,
    test: Interactions,
    *,
    at: int = 20,
    max_queries: int = 20_000,
    seed: int = 0,
    target_differs: bool = False,
    progress: Progress = silent,
) -> Metrics:
    """Ask `recommend` for each place in each test session, over the whole catalogue.

    Beyond `max_queries` whole sessions are drawn by `seed`. With `target_differs` a place whose
    item is the one before it is no query (a view and then a cart of the same item).
    """
    ranks: list[int] = []
    owners: list[int] = []
    recommended = np.zeros(test.n_items, bool)
    sessions = np.random.default_rng(seed).permutation(test.n_sessions)
    for owner, session in enumerate(sessions):
        if len(ranks) >= max_queries:
            break
        rows = test.item[test.session_starts[session] : test.session_starts[session + 1]]
        for place in range(1, len(rows)):
            if target_differs and rows[place] == rows[place - 1]:
                continue
            answer = recommend(rows[:place])[:at]
            recommended[answer] = True
            found = np.flatnonzero(answer == rows[place])
            ranks.append(int(found[0]) + 1 if len(found) else 0)
            owners.append(owner)
        progress("evaluate", min(1.0, len(ranks) / max_queries))
    coverage = float(np.count_nonzero(recommended)) / max(test.n_items, 1)
    return _metrics(np.array(ranks, np.int64), np.array(owners, np.int64), coverage, at=at, seed=seed)


def _metrics(
    ranks: npt.NDArray[np.int64], owners: npt.NDArray[np.int64], coverage: float, *, at: int, seed: int
) -> Metrics:
    """ranks int64[q]: 1 is first, 0 a miss; owners int64[q]: the session of each query."""
    hits = ranks > 0
    reciprocal = np.where(hits, 1.0 / np.maximum(ranks, 1), 0.0)
    intervals = bootstrap_intervals(np.stack((hits.astype(np.float64), reciprocal)), owners, seed)
    (hit_low, hit_high), (mrr_low, mrr_high) = intervals
    n_queries = max(len(ranks), 1)
    return Metrics(
        hit_rate_at_20=float(hits.sum()) / n_queries,
        mrr_at_20=float(reciprocal.sum()) / n_queries,
        hit_rate_at_5=float(np.count_nonzero(hits & (ranks <= 5))) / n_queries,
        coverage=coverage,
        hit_rate_low=hit_low,
        hit_rate_high=hit_high,
        mrr_low=mrr_low,
        mrr_high=mrr_high,
        queries=len(ranks),
        sessions=len(np.unique(owners)),
        at=at,
    )


def bootstrap_intervals(
    values: npt.NDArray[np.float64], owner: npt.NDArray[np.int64], seed: int = 0
) -> list[tuple[float, float]]:
    """The 95 % bootstrap interval of the mean of each row of values float64[r, q]. owner int64[q] says
    whose each column is: owners, not columns, are drawn, for questions of one session are alike."""
    if not len(owner):
        return [(0.0, 0.0) for _ in values]
    _, place = np.unique(owner, return_inverse=True)
    counts = np.bincount(place)
    sums = np.stack([np.bincount(place, row) for row in values] + [counts.astype(np.float64)], axis=1)
    generator = np.random.default_rng(seed)
    means = np.empty((_BOOTSTRAP_SAMPLES, len(values)))
    for sample in range(_BOOTSTRAP_SAMPLES):
        times_drawn = np.bincount(generator.integers(0, len(counts), len(counts)), minlength=len(counts))
        *totals, drawn = times_drawn @ sums
        means[sample] = np.array(totals) / drawn
    low, high = np.quantile(means, (0.025, 0.975), axis=0)
    return list(zip(low.tolist(), high.tolist(), strict=True))
