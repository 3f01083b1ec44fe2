"""The spectrum: whose music a candidate plays."""

import numpy as np
import pytest

from recsys.models.spectrum import Spectrum, SpectrumSettings
from tests.recsys.models.test_kindred_ranker import baskets, tribes
from tests.recsys.models.toys import random_interactions

FEW = SpectrumSettings(dimensions=2)


def row(shop, name):
    return shop.item_ids.index(name)


def test_what_a_tribe_has_is_loud_in_a_history_of_that_tribe():
    shop = tribes()
    candidates = np.array([row(shop, "a2"), row(shop, "b2")], np.int32)
    heard = Spectrum.fit(shop, FEW).hear(candidates, np.array([row(shop, "a0"), row(shop, "a1")], np.int32))
    assert heard.shape == (5, 2)
    assert (heard[:, 0] > 0).all()
    assert (np.abs(heard[:, 1]) < 0.05 * heard[:, 0]).all()


def test_all_dimensions_hear_what_somebody_has_exactly():
    """An ideal filter that lets everything pass gives the history back: over the root of its popularity."""
    shop = baskets(("p", 0, "abc"), ("q", 0, "cd"), ("r", 0, "ade"), ("s", 0, "be"), ("t", 0, "abe"))
    every = Spectrum.fit(shop, SpectrumSettings(dimensions=5))
    assert every.vectors.shape == (5, 4), "one less than there are items"
    rows = np.arange(5, dtype=np.int32)
    had = np.array([row(shop, "a"), row(shop, "b")], np.int32)
    projected = every.vectors @ every.vectors.T
    expected = projected[:, had] @ (1 / every.degree_root[had])
    np.testing.assert_allclose(every.hear(rows, had)[2], expected, atol=1e-5)
    np.testing.assert_allclose(every.hear(rows, had)[0], expected * every.degree_root, atol=1e-5)


def test_the_lowest_tones_are_heard_by_themselves():
    shop = random_interactions(3000, 150, 300, 0)
    full, narrow = (Spectrum.fit(shop, SpectrumSettings(dimensions=n, iterations=8)) for n in (128, 64))
    rows, had = np.arange(150, dtype=np.int32), np.array([3, 5], np.int32)
    heard, lowest = full.hear(rows, had), narrow.hear(rows, had)
    np.testing.assert_allclose(heard[3:], lowest[[0, 2]], atol=0.05)
    assert np.abs(heard[3:] - heard[[0, 2]]).max() > 0.1


def test_many_items_have_fewer_dimensions():
    shop = random_interactions(3000, 150, 300, 0)
    assert Spectrum.fit(shop, SpectrumSettings(dimensions=128, max_cells=150 * 90)).vectors.shape == (150, 90)
    assert Spectrum.fit(shop, SpectrumSettings(dimensions=128, max_cells=150)).vectors.shape == (150, 64)


@pytest.mark.parametrize("history", [[], [-1, 999]])
def test_a_history_of_nothing_known_is_silence(history):
    heard = Spectrum.fit(tribes(), FEW).hear(np.arange(3, dtype=np.int32), np.array(history, np.int32))
    assert not heard.any()


def test_repeats_are_heard_once_and_unknown_candidates_not_at_all():
    shop = tribes()
    spectrum = Spectrum.fit(shop, FEW)
    candidates = np.array([1, shop.n_items + 3], np.int32)
    once, twice = (spectrum.hear(candidates, np.array(had, np.int32)) for had in ([0], [0, 0]))
    np.testing.assert_array_equal(once, twice)
    assert once[0, 0] != 0
    assert not once[:, 1].any()


def test_people_with_one_item_between_them_make_no_spectrum():
    spectrum = Spectrum.fit(baskets(("p", 0, "a"), ("q", 0, "a")))
    assert not spectrum.hear(np.zeros(1, np.int32), np.zeros(1, np.int32)).any()


def test_saved_it_hears_the_same(tmp_path):
    spectrum = Spectrum.fit(tribes(), FEW)
    spectrum.save(tmp_path / "spectrum")
    rows, history = np.arange(5, dtype=np.int32), np.array([7], np.int32)
    loaded = Spectrum.load(tmp_path / "spectrum")
    assert loaded.settings == FEW
    np.testing.assert_array_equal(loaded.hear(rows, history), spectrum.hear(rows, history))
