from __future__ import annotations

import math

import numpy as np
import pytest

from recsys.models.interactions import Interactions
from recsys.models.kindred import Kindred, KindredSettings
from recsys.models.kindred_kernels import CHANNELS, EVIDENCE
from tests.recsys.models.toys import checkerboard, names, random_interactions, rows, sessions


def ones(history):
    return np.ones(len(history), np.float32)


def found(interactions, model, history, **settings):
    """{item: {evidence: value}} of the items recommended for a history of one-letter items."""
    desk = model.desk()
    answer = model.gather(rows(interactions, history), ones(history), 100, desk)
    evidence = model.describe(answer[0], desk)
    model.clear(desk)
    return {
        name: dict(zip(EVIDENCE, evidence[:, column].tolist(), strict=True))
        for column, name in enumerate(names(interactions, answer))
    }


def test_walks_lead_to_the_other_items_of_an_items_people():
    """Item b has two people, of two and of three items: b to a is 1/2 x 1/2 + 1/2 x 1/3."""
    interactions = sessions("ab", "abc", "cd")
    evidence = found(interactions, Kindred.fit(interactions), "b")
    assert set(evidence) == {"a", "c"}
    assert evidence["a"]["walks"] == pytest.approx(1 / 4 + 1 / 6)
    assert evidence["c"]["walks"] == pytest.approx(1 / 6)
    assert evidence["c"]["walks_share"] == pytest.approx((1 / 6) / (1 / 4 + 1 / 6))
    assert evidence["a"]["walks_from"] == 1
    assert evidence["a"]["walks_of_rare"] == pytest.approx((1 / 4 + 1 / 6) * math.sqrt(2))
    assert evidence["a"]["people_with_item"] == pytest.approx(math.log(2))
    assert evidence["a"]["history_items"] == 1


def test_walks_from_several_items_add_up():
    interactions = sessions("abc", "bc", "ca")
    evidence = found(interactions, Kindred.fit(interactions), "ab")["c"]
    from_a, from_b = 1 / 2 * 1 / 3 + 1 / 2 * 1 / 2, 1 / 2 * 1 / 3 + 1 / 2 * 1 / 2
    assert evidence["walks"] == pytest.approx(from_a + from_b)
    assert evidence["strongest_walk"] == pytest.approx(max(from_a, from_b))
    assert evidence["walks_from"] == 2


def test_the_nearest_people_vote_with_their_likeness():
    """Likeness: the sum of the shared items' rarities over the root of how many items they have."""
    interactions = sessions("abc", "bd", "de")
    evidence = found(interactions, Kindred.fit(interactions), "ab")
    a, b = 1.0, 1 / math.sqrt(2)
    assert evidence["c"]["people"] == pytest.approx((a + b) / math.sqrt(3))
    assert evidence["d"]["people"] == pytest.approx(b / math.sqrt(2))
    assert evidence["c"]["people_met"] == 2
    nearest_only = Kindred.fit(interactions, KindredSettings(k_people=1))
    evidence = found(interactions, nearest_only, "ab")
    assert evidence["c"]["people"] > 0
    assert evidence["d"]["people"] == 0


def test_on_the_checkerboard_the_withheld_item_is_recommended_first():
    interactions = checkerboard(50)
    model = Kindred.fit(interactions)
    desk = model.desk()
    for person in range(50):
        history = interactions.item[interactions.person == interactions.person_ids.index(f"u:{person}")]
        ranked = model.recommend(history, ones(history), 1, desk)
        assert names(interactions, ranked) == [f"{person:03d}"]


def reference(interactions, history):
    """Both channels in plain Python, by sets, for settings that leave nothing out."""
    of_person = {}
    for person, item in zip(interactions.person.tolist(), interactions.item.tolist(), strict=True):
        of_person.setdefault(person, set()).add(item)
    people = [items for items in of_person.values() if len(items) > 1]
    count = {item: sum(item in items for items in people) for item in range(interactions.n_items)}
    walks, votes = {}, {}
    for items in people:
        likeness = sum(count[item] ** -0.5 for item in items & history) / math.sqrt(len(items))
        for item in items - history:
            votes[item] = votes.get(item, 0.0) + likeness
            for start in items & history:
                walks[item] = walks.get(item, 0.0) + 1 / (count[start] * len(items))
    best_walk, best_vote = max(walks.values()), max(votes.values())
    return {
        item: walks.get(item, 0.0) / best_walk + vote / best_vote for item, vote in votes.items() if vote > 0
    }


def test_like_the_plain_reference():
    interactions = random_interactions(1500, 60, 90, seed=3)
    model = Kindred.fit(interactions, KindredSettings(k_people=1000))
    desk = model.desk()
    generator = np.random.default_rng(4)
    for _ in range(40):
        history = generator.choice(60, generator.integers(1, 12), replace=False).astype(np.int32)
        answer = dict(
            zip(*(part.tolist() for part in model.recommend(history, ones(history), 60, desk)), strict=True)
        )
        assert answer == pytest.approx(reference(interactions, set(history.tolist())), rel=1e-4)


def test_best_first_and_equals_by_row():
    model = Kindred.fit(random_interactions(3000, 80, 200, seed=5))
    answer, scores = model.recommend(np.array([1, 2, 3], np.int32), np.ones(3, np.float32), 80, model.desk())
    order = np.lexsort((answer, -scores))
    np.testing.assert_array_equal(order, np.arange(len(order)))
    best, _ = model.recommend(np.array([1, 2, 3], np.int32), np.ones(3, np.float32), 7, model.desk())
    np.testing.assert_array_equal(best, answer[:7])
    alike = sessions("abcdef")
    few = Kindred.fit(alike).recommend(rows(alike, "f"), np.ones(1, np.float32), 3, Kindred.fit(alike).desk())
    assert names(alike, few) == ["a", "b", "c"]


def test_order_and_repeats_of_a_history_do_not_matter_but_weights_do():
    interactions = sessions("ab", "ab", "cd", "cd")
    model = Kindred.fit(interactions)
    desk = model.desk()

    def recommended(history, weights):
        ranked = model.recommend(rows(interactions, history), np.array(weights, np.float32), 5, desk)
        return names(interactions, ranked), ranked[1].tolist()

    assert recommended("acca", [1, 1, 2, 1]) == recommended("ca", [2, 1])
    assert recommended("ac", [2, 1])[0] == ["b", "d"]
    assert recommended("ac", [1, 2])[0] == ["d", "b"]
    assert recommended("ac", [1, 0]) == recommended("a", [1])


def test_empty_and_unknown_histories_find_nothing_and_leave_nothing_behind():
    interactions = sessions("abc", "bcd").with_items(["new"])
    model = Kindred.fit(interactions)
    desk = model.desk()
    assert len(model.recommend(np.empty(0, np.int32), np.empty(0, np.float32), 5, desk)[0]) == 0
    assert len(model.recommend(np.array([-1, 999], np.int32), np.ones(2, np.float32), 5, desk)[0]) == 0
    assert len(model.recommend(rows(interactions, "a"), np.ones(1, np.float32), 0, desk)[0]) == 0
    new = np.array([interactions.item_ids.index("new")], np.int32)
    assert len(model.recommend(new, np.ones(1, np.float32), 5, desk)[0]) == 0
    with_unknown = model.recommend(np.array([0, -1, 999], np.int32), np.ones(3, np.float32), 5, desk)
    alone = model.recommend(np.array([0], np.int32), np.ones(1, np.float32), 5, model.desk())
    np.testing.assert_array_equal(with_unknown, alone)
    assert not any(part.any() for part in (desk.place, desk.sums, desk.likeness))


def test_describes_candidates_of_other_sources_and_unknown_ones():
    interactions = sessions("ab", "bc", "xy")
    model = Kindred.fit(interactions)
    desk = model.desk()
    model.gather(rows(interactions, "b"), np.ones(1, np.float32), 1, desk)
    evidence = model.describe(rows(interactions, "cx?"), desk)
    model.clear(desk)
    assert evidence.shape == (len(EVIDENCE), 3)
    assert (evidence[: len(CHANNELS), 0] > 0).all()
    assert not evidence[: len(CHANNELS), 1:].any()


def test_nobody_to_learn_from():
    for interactions in (sessions(), sessions("a", "b")):
        model = Kindred.fit(interactions)
        assert len(model.recommend(np.zeros(1, np.int32), np.ones(1, np.float32), 5, model.desk())[0]) == 0


def test_of_long_histories_the_newest_items_are_learned_and_asked():
    interactions = sessions("abcd", "cd")
    model = Kindred.fit(interactions, KindredSettings(max_items_per_person=2))
    assert not found(interactions, model, "a")
    assert set(found(interactions, model, "d")) == {"c"}


def test_an_item_of_two_sessions_counts_once_and_as_of_its_last():
    persons = ["p"] * 4 + ["q"] * 2
    at_ms = [0, 1000, 2000, 10**9, 0, 1000]
    interactions = Interactions.from_columns(persons, persons, list("abcaxy"), np.zeros(6), at_ms)
    model = Kindred.fit(interactions, KindredSettings(max_items_per_person=2))
    assert set(found(interactions, model, "a")) == {"c"}
    assert found(interactions, model, "a")["c"]["walks"] == pytest.approx(1 / 2)


def test_a_popular_end_of_walks_gives_way_to_a_rarer_one():
    """Both b and z end a third of a's walks; z is everybody's."""
    interactions = sessions("abz", "cz", "dz", "ez", "fz")
    kept = Kindred.fit(interactions, KindredSettings(k_walks=1))
    assert [names(interactions, ([row], []))[0] for row in kept.arrays.walk_rows[:1]] == ["b"]


def test_many_equal_one_by_one():
    model = Kindred.fit(random_interactions(3000, 70, 200, seed=6))
    generator = np.random.default_rng(7)
    histories = [
        (generator.integers(-1, 70, size).astype(np.int32), generator.random(size).astype(np.float32))
        for size in generator.integers(0, 30, 50)
    ]
    together = model.recommend_many(histories, 20, model.desk())
    for history, answer in zip(histories, together, strict=True):
        for one, other in zip(answer, model.recommend(*history, 20, model.desk()), strict=True):
            np.testing.assert_array_equal(one, other)


def test_threads_change_nothing(monkeypatch):
    monkeypatch.setattr("recsys.models.kindred._BATCH_ITEMS", 16)
    interactions = random_interactions(3000, 100, 200, seed=8)
    for one, two in zip(
        Kindred.fit(interactions).arrays, Kindred.fit(interactions, threads=2).arrays, strict=True
    ):
        np.testing.assert_array_equal(one, two)


def test_progress_rises_to_one():
    told = []
    Kindred.fit(sessions("ab"), progress=lambda step, fraction: told.append((step, fraction)))
    assert told == sorted(told)
    assert told[-1] == ("kindred", 1.0)


def test_saved_is_loaded(tmp_path):
    model = Kindred.fit(random_interactions(3000, 70, 200, seed=9), KindredSettings(k_people=7))
    model.save(tmp_path)
    loaded = Kindred.load(tmp_path)
    assert loaded.settings == model.settings
    history, weights = np.array([5, 9, 11], np.int32), np.ones(3, np.float32)
    for one, other in zip(
        model.recommend(history, weights, 20, model.desk()),
        loaded.recommend(history, weights, 20, loaded.desk()),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
