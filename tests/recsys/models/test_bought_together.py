from __future__ import annotations

import numpy as np
import pytest

from recsys.models.bought_together import BoughtTogether, BoughtTogetherSettings, root_likelihood_ratio
from recsys.models.interactions import Interactions
from tests.recsys.models.toys import CART, ORDER, VIEW, names, sessions


def baskets(*contents, kind=ORDER):
    return sessions(*contents, kinds=[kind] * sum(map(len, contents)))


def test_the_likelihood_ratio_is_dunnings():
    # Mahout's published example: 10 together, 0 and 0 alone, 10 without either gives 27.73.
    ratio = root_likelihood_ratio(np.array([10.0]), np.array([10.0]), np.array([10.0]), 20.0)
    assert ratio[0] ** 2 == pytest.approx(27.7259, abs=1e-3)
    independent = root_likelihood_ratio(np.array([1.0]), np.array([2.0]), np.array([2.0]), 4.0)
    assert independent[0] == 0.0
    apart = root_likelihood_ratio(np.array([1.0]), np.array([10.0]), np.array([10.0]), 20.0)
    assert apart[0] < 0


def test_evidence_beats_chance_and_bestsellers():
    """s, the bestseller, is in every basket with tent and pegs and in most others too."""
    interactions = baskets(*["tps"] * 8, *["gs"] * 30, *["g"] * 5, "tg", "tg")
    model = BoughtTogether.fit(interactions)
    tent = interactions.item_ids.index("t")
    assert names(interactions, model.with_item(tent, 5))[0] == "p"
    assert "g" not in names(interactions, model.with_item(tent, 5))


def test_a_pair_seen_once_is_no_evidence():
    interactions = baskets("ab", "cd", "cd")
    model = BoughtTogether.fit(interactions)
    assert names(interactions, model.with_item(interactions.item_ids.index("a"), 5)) == []
    assert names(interactions, model.with_item(interactions.item_ids.index("c"), 5)) == ["d"]


def test_carts_count_where_nothing_was_ordered():
    carts = baskets("ab", "ab", "cd", kind=CART)
    assert names(carts, BoughtTogether.fit(carts).with_item(0, 5)) == ["b"]
    # With an order in the session what only lay in the cart was decided against.
    kinds = [CART, CART, ORDER, ORDER] * 2 + [ORDER, ORDER]
    left = sessions("abcd", "abcd", "xy", kinds=kinds)
    model = BoughtTogether.fit(left)
    assert names(left, model.with_item(left.item_ids.index("c"), 5)) == ["d"]
    assert names(left, model.with_item(left.item_ids.index("a"), 5)) == []


def test_a_shop_without_orders_has_empty_tables(tmp_path):
    interactions = baskets("abc", "abc", kind=VIEW)
    model = BoughtTogether.fit(interactions)
    model.save(tmp_path)
    loaded = BoughtTogether.load(tmp_path)
    assert [len(loaded.with_item(row, 5)[0]) for row in range(3)] == [0, 0, 0]
    assert len(BoughtTogether.fit(Interactions.from_columns([], [], [], [], [])).table) == 0


def test_huge_baskets_are_left_out():
    interactions = baskets("abcdef", "abcdef", "ab", "ab", "xy")
    model = BoughtTogether.fit(interactions, BoughtTogetherSettings(max_basket_items=5))
    assert names(interactions, model.with_item(0, 9)) == ["b"]
    assert names(interactions, model.with_item(interactions.item_ids.index("f"), 9)) == []
