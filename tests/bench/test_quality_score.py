"""Metrics against values worked out by hand, and baselines on data with a known answer."""

from __future__ import annotations

from math import log2

import numpy as np
import pytest

from bench.quality import kernels
from bench.quality.baselines import (
    ItemKnn,
    Neighbours,
    Popular,
    RecentPopular,
    Rules,
    fill_popular,
    popular_rows,
)
from bench.quality.formats import interactions_of
from bench.quality.score import AT, Answers, hits, ndcg, score
from bench.quality.trial import PlainEvents, Questions, Trial
from bench.quality.tuning import CURRENT, tuned
from recsys.models.evaluation import bootstrap_intervals

NOTHING = PlainEvents([], [], np.empty(0, np.int64))


def trained(sessions, n_items):
    rows = np.array([row for session in sessions for row in session], np.int64)
    session = np.repeat(np.arange(len(sessions)), [len(session) for session in sessions])
    at_ms = 1_600_000_000_000 + 60_000 * np.arange(len(rows))
    return interactions_of(session, rows, [f"i{row}" for row in range(n_items)], at_ms)


def trial_of(train, sessions, targets, **bars):
    """Each session asks for its targets."""
    lengths, wanted = [len(session) for session in sessions], [len(of) for of in targets]
    stops = np.cumsum(lengths).astype(np.int64)
    questions = Questions(
        walk=np.array([row for session in sessions for row in session], np.int32),
        start=stops - lengths,
        stop=stops,
        targets=np.array([row for of in targets for row in of], np.int32),
        target_starts=np.cumsum([0, *wanted]).astype(np.int64),
        taken=np.arange(len(sessions)),
        at_ms=np.zeros(len(sessions), np.int64),
        owner=np.arange(len(sessions)) // 2,
        persons=[f"visitor-{number}" for number in range(len(sessions))],
    )
    live = np.array([session[-1] if session else -1 for session in sessions], np.int32)
    return Trial("tsv", train, [], {}, NOTHING, NOTHING, questions, **{"live": live, **bars})


def padded(*answers):
    rows = np.full((len(answers), AT), -1, np.int32)
    for number, answer in enumerate(answers):
        rows[number, : len(answer)] = answer
    return rows


def first(rows, k):
    return [row for row in rows[:k].tolist() if row >= 0]


def test_a_target_counts_by_its_rank():
    train = trained([[0, 1], [0, 2], [0, 3]], 8)
    trial = trial_of(train, [[0], [0], [0], [0]], [[1], [2], [7], [-1]])
    rows = padded([1, 2], [5, 4, 3, 1, 0, 2], [0], [0])
    found = score(trial, Answers(rows, 12.5))
    assert found["hr20"] == pytest.approx(2 / 4)
    assert found["hr5"] == pytest.approx(1 / 4)
    assert found["mrr20"] == pytest.approx((1 + 1 / 6) / 4)
    assert found["ndcg20"] == pytest.approx((1 + 1 / log2(7)) / 4)
    assert found["recall20"] == found["hr20"]
    assert found["coverage"] == pytest.approx(6 / 8)
    # 0 occurs three times and is shown three times; 1, 2, 3 occur once; 4 and 5 never.
    assert found["popularity"] == pytest.approx((3 * 1 + 5 * 1 / 3 + 0 + 0) / 10)
    assert found["us_per_decision"] == 12.5


def test_recall_and_ndcg_of_several_targets():
    train = trained([[0, 1]], 40)
    trial = trial_of(train, [[0], [1]], [[1, 2, 3], list(range(5, 35))])
    rows = padded([9, 1, 8, 3], [*range(5, 20)])
    found = score(trial, Answers(rows, 0.0))
    gains = [1 / log2(rank + 1) for rank in range(1, 21)]
    assert found["recall20"] == pytest.approx((2 / 3 + 15 / 30) / 2)
    # No answer of twenty can hold thirty: the best order is that of twenty hits.
    assert found["ndcg20"] == pytest.approx(
        ((gains[1] + gains[3]) / sum(gains[:3]) + sum(gains[:15]) / sum(gains)) / 2
    )
    assert found["mrr20"] == pytest.approx((1 / 2 + 1) / 2)


def test_what_is_missing_is_never_a_hit():
    rows = padded([3], [])
    assert not hits(rows, np.array([-1, -1], np.int32), np.array([0, 1, 2])).any()
    assert ndcg(np.zeros((1, AT), bool), np.array([0])).tolist() == [0.0]


def test_the_interval_draws_sessions_and_not_questions():
    """A thousand questions of two sessions say no more than two numbers."""
    values = np.repeat([[0.0, 1.0]], 500, axis=1)
    owner = np.tile([0, 1], 500)
    assert bootstrap_intervals(np.repeat([0.0, 1.0], 500)[None], np.repeat([0, 1], 500))[0] == (0.0, 1.0)
    low, high = bootstrap_intervals(values.reshape(1, -1), np.arange(1000), seed=3)[0]
    assert 0.4 < low < 0.5 < high < 0.6
    assert bootstrap_intervals(values.reshape(1, -1), owner) != [(low, high)]
    assert bootstrap_intervals(np.empty((2, 0)), np.empty(0, np.int64)) == [(0.0, 0.0), (0.0, 0.0)]


CHECKERBOARD = [[0, 2, 4], [2, 4, 0], [4, 0, 2], [1, 3, 5], [3, 5, 1], [5, 1, 3]] * 4
"""Even items go with even ones, in a circle, odd with odd."""


@pytest.mark.parametrize("by_place", [False, True], ids=["s_knn", "vmis_knn"])
def test_neighbours_know_the_colour_of_the_board(by_place):
    train = trained(CHECKERBOARD, 6)
    trial = trial_of(train, [[0, 2], [5]], [[4], [1]], bars_current=True)
    rows = Neighbours(train, by_place=by_place).answer(trial, trial.questions)
    assert set(first(rows[0], AT)) == {0, 4}
    assert set(first(rows[1], AT)) == {1, 3}


@pytest.mark.parametrize(("by_place", "told"), [(False, [0]), (True, [])], ids=["s_knn", "vmis_knn"])
def test_an_item_of_every_session_is_counted_once(monkeypatch, by_place, told):
    """Its idf is 0. Uncompiled, as there an index beyond an array is told."""
    monkeypatch.setattr(kernels, "neighbour_answers", kernels.neighbour_answers.py_func)
    train = trained([[0, 0]] * 5, 1)
    trial = trial_of(train, [[0]], [[0]])
    assert first(Neighbours(train, by_place=by_place).answer(trial, trial.questions)[0], AT) == told


def test_neighbours_look_at_the_newest_sessions_only():
    train = trained([[0, 1]] * 5 + [[0, 2]] * 3, 3)
    trial = trial_of(train, [[0]], [[2]], bars_current=True)
    baseline = Neighbours(train, by_place=False)
    assert first(baseline.answer(trial, trial.questions)[0], AT) == [1, 2]
    baseline.m_recent = 3
    assert first(baseline.answer(trial, trial.questions)[0], AT) == [2]


def test_rules_weigh_the_gap_and_markov_sees_the_next_item_only():
    train = trained([[0, 1, 2], [0, 1, 3], [0, 3]], 4)
    trial = trial_of(train, [[0]], [[1]])
    assert first(Rules(train, 10).answer(trial, trial.questions)[0], AT) == [1, 3, 2]  # 2, 1.5, 0.5
    assert first(Rules(train, 1).answer(trial, trial.questions)[0], AT) == [1, 3]


def test_own_items_stand_before_the_rules_newest_first():
    train = trained([[0, 1], [2, 3]], 5)
    rules = Rules(train, 10, recent_first=True)
    walk = [[4, 2, 4, 0]]
    assert first(rules.answer(of := trial_of(train, walk, [[1]]), of.questions)[0], AT) == [0, 4, 2, 1]
    barred = trial_of(train, walk, [[1]], bars_current=True)
    assert first(rules.answer(barred, barred.questions)[0], AT) == [4, 2, 1]


def test_popular_fills_what_others_leave_and_shows_nothing_barred():
    train = trained([[2, 2, 2], [1, 1], [0]], 3)
    trial = trial_of(train, [[2, 0]], [[1]], bars_history=True)
    rows = Popular(train).answer(trial, trial.questions)
    fill_popular(rows, trial, trial.questions, popular_rows(train))
    assert first(rows[0], AT) == [1]
    trial = trial_of(train, [[2, 0]], [[1]])
    fill_popular(rows, trial, trial.questions, popular_rows(train))
    assert first(rows[0], AT) == [1, 2, 0]


def test_recent_popular_goes_with_the_time():
    train = trained([[0, 0, 0, 1]] * 100 + [[2, 2, 2, 0]] * 100, 4)
    trial = trial_of(train, [[3]] * 400, [[3]] * 400)
    rows = RecentPopular(train, live=True).answer(trial, trial.questions)
    assert rows[0, 0] == 2  # popular at the end of the training
    assert rows[-1, 0] == 3  # what everybody has looked at since
    rows = RecentPopular(train).answer(trial, trial.questions)
    assert set(rows[:, 0].tolist()) == {2}


def test_item_knn_finds_what_the_same_people_have():
    train = trained(CHECKERBOARD, 6)
    trial = trial_of(train, [[0], [1, 3]], [[2], [5]], bars_history=True)
    rows = ItemKnn(train, 3).answer(trial, trial.questions)
    assert sorted(first(rows[0], AT)) == [2, 4]
    assert first(rows[1], AT) == [5]


def test_tuning_learns_from_the_training_whether_the_current_item_comes_again():
    def tuned_on(*sessions):
        return tuned(Rules, trained([*sessions] * 20, 3), CURRENT, max_gap=10, recent_first=True)

    again, never = tuned_on([0, 0, 0], [1, 1, 1]), tuned_on([0, 1, 2], [1, 2, 0])
    assert not again.bars_current
    assert never.bars_current


def test_a_sample_is_of_whole_sessions_and_keeps_the_order():
    train = trained([[0, 1]], 6)
    questions = trial_of(train, [[0]] * 20, [[row % 6] for row in range(20)]).questions
    drawn = questions.sampled(6, seed=1)
    assert 6 <= len(drawn) <= 8
    assert (np.bincount(drawn.owner)[np.unique(drawn.owner)] == 2).all()
    assert (np.diff(drawn.taken) > 0).all()
    assert drawn.targets.tolist() == [int(place) % 6 for place in drawn.taken]
    assert questions.sampled(20, seed=1) is questions
