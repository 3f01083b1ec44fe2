from __future__ import annotations

import numpy as np
import pytest

from recsys.models.interactions import Interactions
from recsys.models.popularity import Popularity, PopularitySettings
from tests.recsys.models.toys import ORDER, VIEW, names

DAY_MS = 86_400_000


@pytest.fixture
def interactions():
    """old was seen three times a week ago, new twice now, sold bought once now; never not at all."""
    items = ["old", "old", "old", "new", "new", "sold"]
    visitors = [str(n) for n in range(6)]
    at_ms = [0, 0, 0, 7 * DAY_MS, 7 * DAY_MS, 7 * DAY_MS]
    kinds = [VIEW] * 5 + [ORDER]
    return Interactions.from_columns(visitors, visitors, items, kinds, at_ms).with_items(["never"])


def test_counts_halve_with_each_half_life(interactions):
    model = Popularity.fit(interactions, PopularitySettings(half_life_s=7 * 86_400.0))
    assert dict(zip(interactions.item_ids, model.counts[VIEW].tolist(), strict=True)) == {
        "old": 1.5,
        "new": 2.0,
        "sold": 0.0,
        "never": 0.0,
    }


def test_kinds_are_ranked_alone_and_blended(interactions):
    model = Popularity.fit(interactions)
    assert names(interactions, model.top(10, VIEW)) == ["new", "old"]
    assert names(interactions, model.top(10, ORDER)) == ["sold"]
    assert names(interactions, model.top(2)) == ["sold", "new"]
    assert model.top(2)[1].tolist() == [5.0, 2.0]


def test_without_rows_nothing_is_popular():
    model = Popularity.fit(Interactions.from_columns([], [], [], [], []).with_items(["x"]))
    assert len(model.top(5)[0]) == 0


def test_saved_is_loaded(interactions, tmp_path):
    model = Popularity.fit(interactions)
    model.save(tmp_path)
    loaded = Popularity.load(tmp_path)
    assert loaded.settings == model.settings
    np.testing.assert_array_equal(loaded.ranked, model.ranked)
    np.testing.assert_array_equal(loaded.top(3, VIEW)[0], model.top(3, VIEW)[0])
