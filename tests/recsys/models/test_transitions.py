from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from recsys.models.scratch import Scratch
from recsys.models.tables import TopTable
from recsys.models.transitions import MARKOV, Transitions, TransitionSettings
from tests.recsys.models.toys import blended, names, random_interactions, rows, sessions


def test_what_follows_nearer_and_more_often_comes_first():
    interactions = sessions("abc", "abd", "ax")
    model = Transitions.fit(interactions)
    row, scores = model.following(interactions.item_ids.index("a"), 10)
    # a occurs three times; b follows twice at once, x once at once, c and d once two places on.
    assert names(interactions, (row, scores)) == ["b", "x", "c", "d"]
    np.testing.assert_allclose(scores, np.array([2, 1, 0.5, 0.5]) / 3)


def test_markov_looks_at_the_next_item_only():
    interactions = sessions("abc")
    model = Transitions.fit(interactions, MARKOV)
    assert names(interactions, model.recommend(rows(interactions, "a"), 10)) == ["b"]
    assert names(interactions, model.recommend(rows(interactions, "ab"), 10)) == ["c"]
    assert names(interactions, model.recommend(rows(interactions, "bc"), 10)) == []


def test_nothing_follows_an_unknown_item():
    interactions = sessions("abc")
    model = Transitions.fit(interactions)
    assert len(model.recommend(rows(interactions, "a?"), 5)[0]) == 0
    assert len(model.recommend(rows(interactions, ""), 5)[0]) == 0
    assert len(model.following(99, 5)[0]) == 0


@pytest.mark.parametrize("k", [1, 3, 100])
def test_equals_counting_pair_by_pair(k):
    interactions = random_interactions(1500, 30, 60, seed=4)
    model = Transitions.fit(interactions, TransitionSettings(max_gap=4, k_following=k))
    expected = defaultdict(float)
    for start, stop in zip(interactions.session_starts[:-1], interactions.session_starts[1:], strict=True):
        sequence = interactions.item[start:stop].tolist()
        for here, item in enumerate(sequence):
            for gap, other in enumerate(sequence[here + 1 : here + 5], 1):
                if other != item:
                    expected[item, other] += 1 / gap
    counts = np.bincount(interactions.item)
    for item in range(interactions.n_items):
        weights = {other: w / counts[item] for (one, other), w in expected.items() if one == item}
        found, scores = model.following(item, k)
        assert len(found) == min(k, len(weights))
        np.testing.assert_allclose(scores, sorted(weights.values(), reverse=True)[:k], rtol=1e-5)
        np.testing.assert_allclose(scores, [weights[row] for row in found.tolist()], rtol=1e-5)


def test_saved_is_loaded(tmp_path):
    model = Transitions.fit(random_interactions(500, 20, 20, seed=5))
    model.save(tmp_path)
    loaded = Transitions.load(tmp_path)
    assert loaded.settings == model.settings
    for name in ("rows", "scores", "lengths"):
        np.testing.assert_array_equal(getattr(loaded.table, name), getattr(model.table, name))


def test_blending_rows_equals_adding_them_densely():
    table = Transitions.fit(random_interactions(1500, 30, 60, seed=6)).table
    scratch = Scratch(len(table))
    generator = np.random.default_rng(0)
    for _ in range(50):
        seeds = generator.integers(-1, len(table), 4).astype(np.int32)
        weights = generator.random(4).astype(np.float32)
        dense = np.zeros(len(table))
        for seed, weight in zip(seeds, weights, strict=True):
            if seed >= 0:
                found, scores = table.of(int(seed), 100)
                dense[found] += weight * scores
        dense[seeds[seeds >= 0]] = 0
        found, scores = blended(table, seeds, weights, 7, scratch)
        np.testing.assert_allclose(scores, np.sort(dense)[::-1][: len(scores)], rtol=1e-5)
        np.testing.assert_allclose(dense[found], scores, rtol=1e-5)
        assert not scratch.sums.any()


def test_blending_writes_no_further_than_its_room():
    """Every item is named, and named again."""
    table = TopTable.of_sparse(np.ones((4, 4)), k=4)
    scratch = Scratch(len(table))
    assert len(blended(table, [0, 1, 2], [1, 1, 1], 4, scratch)[0]) == 1  # without the seeds
    room = np.full(len(scratch.touched) + 8, -7, np.int32)
    scratch.touched = room[: len(scratch.touched)]
    blended(table, [0, 1, 2], [1, 1, 1], 4, scratch)
    assert (room[len(scratch.touched) :] == -7).all()


def test_a_table_of_a_sparse_matrix_keeps_the_greatest_positive_entries():
    table = TopTable.of_sparse(np.array([[0.0, 3.0, -1.0], [1.0, 0.0, 2.0], [0.0, 0.0, 0.0]]), k=1)
    assert table.of(0, 5)[0].tolist() == [1]
    assert table.of(1, 5)[0].tolist() == [2]
    assert table.of(2, 5)[0].tolist() == []
