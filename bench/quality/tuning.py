"""Baselines at their best: what the literature leaves open is chosen on the end of the training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any, Final

import numpy as np

from bench.quality.baselines import Baseline, fill_popular, popular_rows
from bench.quality.score import hits
from bench.quality.trial import PlainEvents, Questions, Trial
from recsys.models.interactions import Interactions

Options = Mapping[str, Sequence[object]]
CURRENT: Final[Options] = {"bars_current": (False, True)}
"""Whether the item at hand is offered again."""
NEAREST: Final[Options] = {"m_recent": (500, 1_000, 2_500), "k": (100, 250, 500), **CURRENT}
_MAX_QUERIES: Final = 3_000
_HELD_OUT: Final = 0.1


def tuned(make: Callable[..., Any], train: Interactions, options: Options, **fixed: object) -> Baseline:
    """The baseline learned from all of `train`, with those attributes of `options` that answer best
    about its last tenth when the rest is known: by the mean of hit rate and reciprocal rank."""
    ended_s = train.at_s[train.session_starts[1:] - 1]
    before, after = train.split(float(np.quantile(ended_s, 1.0 - _HELD_OUT)))
    trial = held_out(before, after)
    baseline = make(train, **fixed)
    if not len(trial.questions) or not len(before):
        return baseline  # type: ignore[no-any-return]
    trying, best = make(before, **fixed), -1.0
    for values in product(*options.values()):
        choice = dict(zip(options, values, strict=True))
        found = _worth(_with(trying, choice), trial)
        if found > best:
            best = found
            _with(baseline, choice)
    return baseline  # type: ignore[no-any-return]


def held_out(before: Interactions, after: Interactions) -> Trial:
    """Every place of the sessions after, or a sample, as a question."""
    asked = np.flatnonzero(after.session[1:] == after.session[:-1])
    starts = after.session_starts[after.session[asked]]
    questions = Questions(
        walk=after.item,
        start=starts.astype(np.int64),
        stop=asked + 1,
        targets=after.item[asked + 1],
        target_starts=np.arange(len(asked) + 1),
        taken=np.zeros(len(asked), np.int64),
        at_ms=np.round(after.at_s[asked] * 1000).astype(np.int64),
        owner=after.session[asked].astype(np.int64),
        persons=[""] * len(asked),
    ).sampled(_MAX_QUERIES, seed=0)
    nothing = PlainEvents([], [], np.empty(0, np.int64))
    return Trial("held_out", before, [], {}, nothing, nothing, questions)


def _with(baseline: Any, choice: Mapping[str, object]) -> Baseline:
    for name, value in choice.items():
        setattr(baseline, name, value)
    return baseline  # type: ignore[no-any-return]


def _worth(baseline: Baseline, trial: Trial) -> float:
    questions = trial.questions
    rows = baseline.answer(trial, questions)
    fill_popular(rows, trial, questions, popular_rows(trial.train))
    is_hit = hits(rows, questions.targets, questions.target_starts)
    ranks = is_hit.argmax(axis=1) + 1
    return float(is_hit.any(axis=1).mean() + (is_hit.any(axis=1) / ranks).mean())
