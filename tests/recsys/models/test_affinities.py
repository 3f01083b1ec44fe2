"""How candidates go with what a person looks at, by category, brand and price."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.models.interactions import InteractionKind
from recsys.models.signal_arrays import AFFINITIES
from recsys.models.signals import Signals, Traits
from tests.recsys.models.test_ranker import described, trail
from tests.recsys.models.toys import random_interactions

TENT, BOOT, HAT = range(3)
#                       row: 0     1     2     3    4    5        6
LEAF = np.array([TENT, TENT, BOOT, BOOT, HAT, -1, TENT], np.int32)
BRAND = np.array([0, 1, 0, 1, 0, 0, -1], np.int32)
PRICE = np.array([100.0, 400.0, 50.0, np.nan, 25.0, 10.0, 0.0], np.float32)
CANDIDATES = np.arange(7, dtype=np.int32)


@pytest.fixture(scope="module")
def signals():
    return Signals.fit(random_interactions(600, 20, 40, seed=1))


def told(signals, asked, traits=None):
    """Candidate -> what is told of it, in the order of AFFINITIES."""
    n = signals.n_items - len(LEAF)
    traits = traits or Traits(
        np.append(LEAF, np.full(n, -1, np.int32)),
        np.append(BRAND, np.full(n, -1, np.int32)),
        np.append(PRICE, np.full(n, np.nan, np.float32)),
    )
    found = described(signals, asked, CANDIDATES, traits)
    return {row: {name: float(found[row][name]) for name in AFFINITIES} for row in found}


def test_categories_and_brands_count_by_how_far_back_they_were_looked_at(signals):
    # The session: a boot, then a tent; of earlier sessions a hat and another boot.
    found = told(signals, trail([4, 3, 2, 0], start=2))
    back = 0.5 ** (1 / 3)
    assert found[1]["category_session"] == pytest.approx(1 / (1 + back))
    assert found[3]["category_session"] == pytest.approx(back / (1 + back))
    assert found[4]["category_session"] == 0
    assert found[5]["category_session"] == -1  # it has no category
    assert [found[row]["category_past"] for row in range(6)] == [0, 0, 0.5, 0.5, 0.5, -1]
    assert [found[row]["category_last"] for row in range(7)] == [1, 1, 0, 0, 0, 0, 1]
    assert found[4]["brand_session"] == 1
    assert found[3]["brand_session"] == 0
    assert [found[row]["brand_past"] for row in (0, 1, 6)] == [0.5, 0.5, -1]


def test_prices_are_compared_with_the_session_and_the_last_item(signals):
    found = told(signals, trail([1, 0]))
    back = 0.5 ** (1 / 3)
    mean = (np.log(100) + back * np.log(400)) / (1 + back)
    assert found[2]["price_to_session"] == pytest.approx(np.log(50) - mean, abs=1e-5)
    assert found[2]["price_to_last"] == pytest.approx(np.log(0.5), abs=1e-5)
    assert found[2]["price"] == pytest.approx(np.log(50), abs=1e-5)
    # Without a price, or given away: nothing to compare.
    for row in (3, 6):
        assert found[row]["price_to_session"] == found[row]["price_to_last"] == found[row]["price"] == -9
    # The last item has none: the session's others are all there is.
    found = told(signals, trail([0, 3]))
    assert found[4]["price_to_last"] == -9
    assert found[4]["price_to_session"] == pytest.approx(np.log(0.25), abs=1e-5)


def test_orders_and_how_long_a_person_is_known(signals):
    kinds = [InteractionKind.VIEW, InteractionKind.ORDER, InteractionKind.ORDER, InteractionKind.VIEW]
    found = told(signals, trail([0, 0, 2, 4], start=3, kinds=kinds, at_s=[100, 200, 200, 900], now_s=1000))
    assert {row["orders"] for row in found.values()} == {2}
    assert {row["known_seconds"] for row in found.values()} == {900}


def test_of_nobody_and_without_a_catalogue_nothing_is_told(signals):
    of_nobody = told(signals, trail([]))
    assert of_nobody[0]["known_seconds"] == -1
    assert of_nobody[0]["category_session"] == of_nobody[0]["brand_past"] == -1
    assert of_nobody[0]["category_last"] == of_nobody[0]["orders"] == 0
    unknown = told(signals, trail([0, 1]), Traits.unknown(signals.n_items))
    assert {tuple(of.values())[:8] for of in unknown.values()} == {(-1, -1, 0, -1, -1, -9, -9, -9)}
