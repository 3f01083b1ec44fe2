from __future__ import annotations

import numpy as np
import pytest
from implicit.cpu.als import AlternatingLeastSquares
from msgspec import structs
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from recsys.models import als as als_module
from recsys.models.als import Als, AlsSettings, confidence_of
from recsys.models.item_to_item import ItemToItem, ItemToItemSettings
from recsys.models.vectors import unit_length
from tests.recsys.models.toys import checkerboard, random_interactions, sessions

# Two, for the board has two tastes: a third factor would learn one of the withheld squares.
TOY = AlsSettings(factors=2, regularization=0.01)
TOY_ONCE = AlsSettings(factors=2, regularization=0.01, iterations=1, seed=1)


def history(interactions, person):
    rows = interactions.item[interactions.person == interactions.person_ids.index(f"u:{person}")]
    return rows, np.ones(len(rows), np.float32)


def test_on_the_checkerboard_the_withheld_item_is_liked_best():
    interactions = checkerboard(50)
    model = Als.fit(interactions, TOY)
    scratch = model.scratch()
    for person in range(50):
        rows, weights = history(interactions, person)
        liked, scores = model.index.nearest(model.fold_in(rows, weights, scratch), 50)
        unseen = [interactions.item_ids[row] for row in liked if row not in rows]
        assert unseen[0] == f"{person:03d}"
        assert (np.diff(scores) <= 0).all()


def test_on_the_checkerboard_similar_items_have_the_same_parity():
    interactions = checkerboard(50)
    model = ItemToItem.fit(
        interactions, Als.fit(interactions, TOY).item_factors, ItemToItemSettings(vector_share=1.0)
    )
    for row in range(50):
        similar, scores = model.similar(row, 10)
        parities = {int(interactions.item_ids[other]) % 2 for other in similar}
        assert parities == {int(interactions.item_ids[row]) % 2}
        assert row not in similar
        assert (scores > 0.9).all()


def test_folding_in_equals_implicits_own_step():
    interactions = random_interactions(6000, 120, 300, seed=12)
    settings = AlsSettings(factors=24, iterations=4)
    model = Als.fit(interactions, settings)
    with threadpool_limits(1, "blas"):
        implicit = AlternatingLeastSquares(24, regularization=settings.regularization, num_threads=1)
        implicit.item_factors = model.item_factors
        scratch = model.scratch()
        generator = np.random.default_rng(13)
        for n_rows in (1, 2, 10, 40, 100):
            rows = generator.choice(model.n_items, n_rows, replace=False).astype(np.int32)
            weights = generator.integers(1, 6, n_rows).astype(np.float32)
            confidence = confidence_of(weights, settings.alpha)
            person = csr_matrix((confidence, ([0] * n_rows, rows)), shape=(1, model.n_items))
            expected = implicit.recalculate_user(0, person)
            np.testing.assert_allclose(model.fold_in(rows, weights, scratch), expected, atol=1e-4)


def test_many_go_on_from_a_start_and_few_do_not(monkeypatch):
    interactions = checkerboard(50)
    start = Als.fit(interactions, TOY)
    monkeypatch.setattr(als_module, "_WARM_ITERATIONS", 1)
    few, alone = Als.fit(interactions, TOY_ONCE, start=start), Als.fit(interactions, TOY_ONCE)
    np.testing.assert_array_equal(few.item_factors, alone.item_factors)
    monkeypatch.setattr(als_module, "_FEW_CELLS", 10)
    many = Als.fit(interactions, TOY_ONCE, start=start)
    np.testing.assert_allclose(unit_length(many.item_factors), unit_length(start.item_factors), atol=0.02)
    assert not np.allclose(unit_length(alone.item_factors), unit_length(start.item_factors), atol=0.2)


def test_many_from_nothing_take_fewer_iterations(monkeypatch):
    interactions = checkerboard(50)
    once, often = Als.fit(interactions, structs.replace(TOY, iterations=1)), Als.fit(interactions, TOY)
    assert not np.array_equal(once.item_factors, often.item_factors)
    monkeypatch.setattr(als_module, "_FEW_CELLS", 10)
    monkeypatch.setattr(als_module, "_ITERATIONS_OF_MANY", 1)
    many = Als.fit(interactions, TOY)
    np.testing.assert_array_equal(many.item_factors, once.item_factors)


def test_a_start_of_other_dimensions_is_none(monkeypatch):
    monkeypatch.setattr(als_module, "_FEW_CELLS", 10)
    interactions = checkerboard(20)
    start = Als.fit(interactions, structs.replace(TOY, factors=3))
    one, other = Als.fit(interactions, TOY, start=start), Als.fit(interactions, TOY)
    np.testing.assert_array_equal(one.item_factors, other.item_factors)


def test_repeats_add_up_and_unknown_items_are_passed_over():
    model = Als.fit(checkerboard(20), TOY)
    scratch = model.scratch()
    one = model.fold_in(
        np.array([2, 4, -1, 2, 999], np.int32), np.array([1, 1, 9, 3, 9], np.float32), scratch
    )
    other = model.fold_in(np.array([4, 2], np.int32), np.array([1, 4], np.float32), scratch)
    np.testing.assert_array_equal(one, other)


def test_many_items_are_folded_in_as_few_are():
    """Two ways to the same vector: equations of the items, and of the factors."""
    model = Als.fit(random_interactions(3000, 80, 150, seed=3), AlsSettings(factors=8, iterations=2))
    generator = np.random.default_rng(4)
    for n_rows in (3, 4, 5, 6, 30):
        rows = generator.choice(model.n_items, n_rows, replace=False).astype(np.int32)
        weights = generator.random(n_rows).astype(np.float32) * 1e-3
        liked, extra = (
            model.item_factors[rows].astype(np.float64),
            10.0 * np.log1p(weights.astype(np.float64)),
        )
        matrix = model.gram + liked.T @ (extra[:, None] * liked)
        expected = np.linalg.solve(matrix, liked.T @ (1.0 + extra))
        np.testing.assert_allclose(model.fold_in(rows, weights, model.scratch()), expected, atol=1e-5)


def test_only_the_last_items_of_a_long_history_count():
    model = Als.fit(checkerboard(20), AlsSettings(factors=2, max_history_items=3))
    scratch = model.scratch()
    weights = np.ones(6, np.float32)
    long = model.fold_in(np.array([1, 0, 3, 2, 4, 6], np.int32), weights, scratch)
    np.testing.assert_array_equal(long, model.fold_in(np.array([2, 4, 6], np.int32), weights[:3], scratch))


def test_nobody_and_nothing():
    model = Als.fit(sessions("a", "b").with_items(["c"]))
    vector = model.fold_in(np.array([0], np.int32), np.ones(1, np.float32), model.scratch())
    assert not vector.any()
    assert Als.fit(sessions()).n_items == 0


def test_items_nobody_taught_have_no_vector():
    model = Als.fit(checkerboard(20).with_items(["new"]), TOY)
    assert not model.item_factors[20].any()
    assert model.item_factors[:20].any(axis=1).all()


def test_only_eligible_items_are_answered():
    interactions = checkerboard(50)
    model = Als.fit(interactions, TOY)
    vector = model.fold_in(*history(interactions, 0), model.scratch())
    mask = np.zeros(50, bool)
    mask[[3, 8, 12, 40]] = True
    rows, _ = model.index.nearest(vector, 10, np.packbits(mask, bitorder="little"))
    assert sorted(rows.tolist()) == [3, 8, 12, 40]
    assert len(model.index.nearest(vector, 10, np.packbits(np.zeros(50, bool), bitorder="little"))[0]) == 0


def test_the_same_input_gives_the_same_bytes():
    interactions = random_interactions(2000, 50, 100, seed=14)
    settings = AlsSettings(factors=8, iterations=2)
    one, other = (Als.fit(interactions, settings, threads=1) for _ in range(2))
    np.testing.assert_array_equal(one.item_factors, other.item_factors)


def test_progress_rises_to_one():
    told = []
    settings = AlsSettings(factors=2, iterations=3)
    Als.fit(checkerboard(10), settings, progress=lambda step, fraction: told.append((step, fraction)))
    assert told == [("als", 0.25), ("als", 0.5), ("als", 0.75), ("als", 1.0)]


@pytest.mark.parametrize("n_items", [100, 6000])
def test_saved_is_loaded(tmp_path, n_items):
    """Of 100 items by an exact index, of 6000 by inverted lists."""
    model = Als.fit(random_interactions(20_000, n_items, 400, seed=15), AlsSettings(factors=4, iterations=1))
    model.save(tmp_path)
    loaded = Als.load(tmp_path)
    assert loaded.settings == model.settings
    assert loaded.index.recall == model.index.recall
    rows, weights = np.array([1, 5, 9], np.int32), np.ones(3, np.float32)
    vector = loaded.fold_in(rows, weights, loaded.scratch())
    np.testing.assert_array_equal(vector, model.fold_in(rows, weights, model.scratch()))
    for one, other in zip(loaded.index.nearest(vector, 20), model.index.nearest(vector, 20), strict=True):
        np.testing.assert_array_equal(one, other)
