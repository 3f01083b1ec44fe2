"""What is ordered again, and when it is due."""

import numpy as np
import pytest

from recsys.models.interactions import InteractionKind, Interactions
from recsys.models.repurchase import Repurchase, RepurchaseSettings

DAY_MS = 86_400_000
NO_LEANING = RepurchaseSettings(leaning=0.001)


def orders(*rows, kind=InteractionKind.ORDER):
    """(person, item, day)."""
    persons, items, days = zip(*rows, strict=True)
    kinds = np.full(len(rows), kind)
    return Interactions.from_columns(persons, persons, items, kinds, [round(day * DAY_MS) for day in days])


COFFEE = [(f"p{person}", "coffee", day + person) for person in range(20) for day in (0, 30, 60)]
GRINDER = [(f"p{person}", "grinder", person) for person in range(20)]


def due(model, shop, item, days):
    return [model.due(shop.item_ids.index(item), one) for one in days]


def test_an_item_is_due_around_its_own_interval():
    shop = orders(*COFFEE, *GRINDER)
    model = Repurchase.fit(shop, NO_LEANING)
    early, in_time, late = due(model, shop, "coffee", [2, 30, 300])
    assert in_time == pytest.approx(2 / 3, abs=0.01)
    assert early < 0.1 * in_time
    assert late < 0.1 * in_time
    assert due(model, shop, "grinder", [30])[0] < 0.01


def test_an_item_of_few_orders_leans_on_the_shop():
    shop = orders(*COFFEE, ("q", "tea", 0), ("q", "tea", 3))
    tea = shop.item_ids.index("tea")
    model = Repurchase.fit(shop)
    assert 3 < np.exp(model.log_days[tea]) < 30
    alone = Repurchase.fit(shop, NO_LEANING)
    assert np.exp(alone.log_days[tea]) == pytest.approx(3, rel=0.01)


def test_an_order_that_was_split_is_no_repeat():
    shop = orders(("p", "mug", 0), ("p", "mug", 0.1), ("q", "mug", 5))
    assert not Repurchase.fit(shop).rate.any()


def test_looks_are_no_orders():
    assert not Repurchase.fit(orders(*COFFEE, kind=InteractionKind.VIEW)).rate.any()


def test_a_shop_without_orders_has_nothing_due():
    empty = Interactions.from_columns([], [], [], [], []).with_items(["a"])
    assert due(Repurchase.fit(empty), empty, "a", [10]) == [0.0]


def test_saved_it_says_the_same(tmp_path):
    shop = orders(*COFFEE, *GRINDER)
    model = Repurchase.fit(shop)
    model.save(tmp_path / "repurchase")
    loaded = Repurchase.load(tmp_path / "repurchase")
    assert due(loaded, shop, "coffee", [1, 30]) == due(model, shop, "coffee", [1, 30])
