from __future__ import annotations

import math
import threading

import numpy as np
import pytest

from recsys.models.neighbours import NeighbourSettings, SessionNeighbours
from tests.recsys.models.toys import names, random_interactions, rows, sessions


def test_the_items_of_sessions_like_this_one():
    """The example of Serenade's own unit test."""
    interactions = sessions("654", "5432")
    model = SessionNeighbours.fit(interactions)
    ranked = model.recommend(rows(interactions, "5"), 20, model.scratch())
    # Item 4 is in both sessions, and every idf is that of one or two sessions out of seven pairs.
    scores = dict(zip(names(interactions, ranked), ranked[1].tolist(), strict=True))
    assert scores == pytest.approx(
        {
            "4": 2 * 0.9 * math.log(7 / 2),
            "6": 0.9 * math.log(7),
            "3": 0.9 * math.log(7),
            "2": 0.9 * math.log(7),
        }
    )
    assert names(interactions, ranked)[0] == "4"


def reference(interactions, settings, session, keep_last):
    """VMIS-kNN in plain Python, by sets."""
    of_session = {}
    for number, item in zip(interactions.session.tolist(), interactions.item.tolist(), strict=True):
        of_session.setdefault(number, set()).add(item)
    longest = np.quantile([len(s) for s in of_session.values()], 1 - settings.longest_share, method="higher")
    of_session = {number: items for number, items in of_session.items() if len(items) <= longest}
    total = sum(len(items) for items in of_session.values())
    session = session[-settings.max_session_items :]
    newest_first = list(reversed(session))
    places = {item: newest_first.index(item) for item in set(session)}
    recent = sorted((n for n, items in of_session.items() if items & set(session)), reverse=True)
    recent = recent[: settings.m_most_recent_sessions]
    similarity = {
        n: sum(len(session) - places[item] for item in of_session[n] & set(session)) for n in recent
    }
    nearest = sorted(recent, key=lambda n: (-similarity[n], -n))[: settings.k_neighbours]
    scores = {}
    for n in nearest:
        first = min(places[item] for item in of_session[n] & set(session))
        weight = similarity[n] * max(0.0, 0.9 - 0.1 * first)
        for item in of_session[n]:
            idf = math.log(total / sum(item in items for items in of_session.values()))
            scores[item] = scores.get(item, 0.0) + weight * idf
    if not keep_last:
        scores.pop(session[-1], None)
    return {item: score for item, score in scores.items() if score > 0}


@pytest.mark.parametrize(
    "settings",
    [
        NeighbourSettings(longest_share=0.0),
        NeighbourSettings(m_most_recent_sessions=20, k_neighbours=7, longest_share=0.02),
        NeighbourSettings(m_most_recent_sessions=5, k_neighbours=5, max_session_items=3),
    ],
)
def test_equals_the_plain_algorithm(settings):
    interactions = random_interactions(1200, 40, 250, seed=7)
    model = SessionNeighbours.fit(interactions, settings)
    scratch = model.scratch()
    generator = np.random.default_rng(8)
    for case in range(60):
        session = generator.integers(0, 40, generator.integers(1, 13)).astype(np.int32)
        session = np.minimum(session, interactions.n_items - 1)
        keep_last = case % 2 == 0
        expected = reference(interactions, settings, session.tolist(), keep_last)
        found, scores = model.recommend(session, 1000, scratch, keep_last=keep_last)
        assert dict(zip(found.tolist(), scores.tolist(), strict=True)) == pytest.approx(expected, rel=1e-4)
        assert (np.diff(scores) <= 0).all()
        assert not scratch.sums.any()
        np.testing.assert_array_equal(model.recommend(session, 5, scratch, keep_last=keep_last)[0], found[:5])


def test_unknown_items_find_nothing():
    interactions = sessions("abc")
    model = SessionNeighbours.fit(interactions)
    scratch = model.scratch()
    assert names(interactions, model.recommend(rows(interactions, "??"), 5, scratch)) == []
    assert names(interactions, model.recommend(rows(interactions, ""), 5, scratch)) == []
    assert set(names(interactions, model.recommend(rows(interactions, "a?"), 5, scratch))) == {"a", "b", "c"}


def test_of_equally_similar_sessions_the_newest_votes():
    interactions = sessions("ax", "ay", "az", "q")
    model = SessionNeighbours.fit(interactions, NeighbourSettings(k_neighbours=1))
    assert names(interactions, model.recommend(rows(interactions, "a"), 5, model.scratch())) == ["z"]


def test_sessions_of_robots_are_left_out():
    everything = [chr(ord("a") + n) for n in range(26)]
    interactions = sessions(*["ab"] * 300, everything)
    model = SessionNeighbours.fit(interactions, NeighbourSettings(longest_share=0.01))
    assert names(interactions, model.recommend(rows(interactions, "a"), 50, model.scratch())) == ["b"]


def asked_in_turn(model, sessions):
    """One answer a session, all with the same scratch."""
    scratch = model.scratch()
    return [model.recommend(session, 10, scratch) for session in sessions]


def test_scratch_carries_nothing_from_one_session_to_the_next():
    interactions = random_interactions(800, 30, 100, seed=9)
    model = SessionNeighbours.fit(interactions)
    asked = [interactions.item[start : start + 3] for start in range(0, 300, 10)]
    for session, (found, scores) in zip(asked, asked_in_turn(model, asked), strict=True):
        alone = model.recommend(session, 10, model.scratch())
        np.testing.assert_array_equal(found, alone[0])
        np.testing.assert_array_equal(scores, alone[1])


def test_threads_with_their_own_scratch_do_not_disturb_each_other():
    interactions = random_interactions(4000, 80, 500, seed=10)
    model = SessionNeighbours.fit(interactions)
    asked = [interactions.item[start : start + 4] for start in range(0, 2000, 5)]
    expected = asked_in_turn(model, asked)
    answers = {}

    def ask(name):
        answers[name] = asked_in_turn(model, asked)

    threads = [threading.Thread(target=ask, args=(name,)) for name in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for answer in answers.values():
        for one, other in zip(answer, expected, strict=True):
            np.testing.assert_array_equal(one[0], other[0])
            np.testing.assert_array_equal(one[1], other[1])
    assert len(answers) == 3


def test_saved_is_loaded(tmp_path):
    interactions = random_interactions(800, 30, 100, seed=11)
    model = SessionNeighbours.fit(interactions, NeighbourSettings(k_neighbours=20))
    model.save(tmp_path)
    loaded = SessionNeighbours.load(tmp_path)
    assert loaded.settings == model.settings
    assert not loaded.item_sessions.flags.writeable
    session = interactions.item[:4]
    for one, other in zip(
        model.recommend(session, 9, model.scratch()),
        loaded.recommend(session, 9, loaded.scratch()),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


def test_without_sessions_nobody_is_near():
    interactions = sessions().with_items(["x"])
    model = SessionNeighbours.fit(interactions)
    assert len(model.recommend(np.array([0], np.int32), 5, model.scratch())[0]) == 0
