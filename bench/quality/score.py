"""What answers are worth: hit rate, reciprocal rank, recall, NDCG, coverage and popularity at 20."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from bench.quality.trial import Trial
from recsys.models.arrays import Rows
from recsys.models.evaluation import bootstrap_intervals

AT: Final = 20
"""The length of an answer."""


class Answers(NamedTuple):
    """What a contestant said: rows int32[q, AT], the best first, -1 behind the last; and how long it
    took for each question, in processor microseconds."""

    rows: Rows
    us_per_decision: float


def score(trial: Trial, answers: Answers, seed: int = 0) -> dict[str, float]:
    """The figures of a contestant, shares from 0 to 1.

    hr20, hr5: some target is among the first so many. mrr20: mean of 1 / the rank of the first one.
    recall20: the share of the targets found; ndcg20: with the gain of a target 1/log2(1 + rank), and
    the best order's as 1 (He et al., "LightGCN", 2020; with one target recall20 is hr20). coverage: the
    share of the items that anybody was shown. popularity: how often an item shown occurs in the
    training, the most popular one's as 1 (Ludewig and Jannach 2018). low and high: the 95 % bootstrap
    interval, in which sessions are drawn.
    """
    questions, rows = trial.questions, answers.rows
    wanted = np.diff(questions.target_starts)
    is_hit = hits(rows, questions.targets, questions.target_starts)
    first = np.where(is_hit.any(axis=1), is_hit.argmax(axis=1) + 1, 0)
    figures = {
        "hr20": (first > 0).astype(float),
        "mrr20": np.where(first > 0, 1.0 / np.maximum(first, 1), 0.0),
        "hr5": ((first > 0) & (first <= 5)).astype(float),
        "ndcg20": ndcg(is_hit, wanted),
        "recall20": is_hit.sum(axis=1) / np.maximum(wanted, 1),
    }
    names = [*figures]
    intervals = dict(
        zip(names, bootstrap_intervals(np.stack([*figures.values()]), questions.owner, seed), strict=True)
    )
    found: dict[str, float] = {}
    for name, values in figures.items():
        found[name] = float(values.mean()) if len(values) else 0.0
        if name in ("hr20", "mrr20", "ndcg20", "recall20"):
            found[f"{name}_low"], found[f"{name}_high"] = intervals[name]
    shown = rows[(rows >= 0) & (rows < trial.train.n_items)]
    counts = np.bincount(trial.train.item, minlength=trial.train.n_items)
    found["coverage"] = len(np.unique(shown)) / max(trial.train.n_items, 1)
    found["popularity"] = float((counts[shown] / max(counts.max(initial=1), 1)).mean()) if len(shown) else 0.0
    found["us_per_decision"] = answers.us_per_decision
    return found


def hits(rows: Rows, targets: Rows, target_starts: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """bool[q, k]: where rows int32[q, k] are among their question's targets. Unknown ones (-1) never
    are."""
    question = np.repeat(np.arange(len(rows)), np.diff(target_starts))
    known = targets >= 0
    width = int(max(rows.max(initial=0), targets.max(initial=0))) + 1
    wanted = question[known] * width + targets[known]
    given = np.arange(len(rows))[:, None] * width + rows
    return np.isin(given, wanted) & (rows >= 0)


def ndcg(is_hit: npt.NDArray[np.bool_], wanted: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """float64[q]: normalised discounted cumulative gain of hits bool[q, k], of `wanted` int64[q] there
    were to be found."""
    k = is_hit.shape[1]
    gains = 1.0 / np.log2(np.arange(2, k + 2))
    best = np.concatenate(([1.0], np.cumsum(gains)))
    return np.asarray((is_hit * gains).sum(axis=1) / best[np.clip(wanted, 0, k)])
