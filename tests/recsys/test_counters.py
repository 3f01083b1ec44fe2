"""Live counters: decay without a clock of their own, and late events counted for what is left."""

from __future__ import annotations

import itertools

import pytest

from recsys.counters import HALF_LIFE_S, ItemCounters, counts, decay
from recsys.events import Action
from tests.recsys.worlds import event

T_S = 1_760_000_000


def test_a_count_halves_in_two_days() -> None:
    assert HALF_LIFE_S == 2 * 86_400
    assert (decay(0), decay(HALF_LIFE_S), decay(3 * HALF_LIFE_S)) == (1.0, 0.5, 0.125)
    viewed = ItemCounters().counted(Action.VIEW, 1, T_S)
    assert viewed == ItemCounters(1.0, 0.0, 0.0, T_S)
    assert viewed.counted(Action.CART_ADD, 1, T_S + HALF_LIFE_S) == ItemCounters(
        0.5, 1.0, 0.0, T_S + HALF_LIFE_S
    )


def test_the_order_of_events_makes_no_difference() -> None:
    happened = [
        (Action.VIEW, 1.0, T_S),
        (Action.READ, 1.0, T_S + 3600),
        (Action.CART_ADD, 2.0, T_S + HALF_LIFE_S),
        (Action.ORDER, 3.0, T_S + 2 * HALF_LIFE_S),
    ]
    expected = pytest.approx((0.25 + decay(2 * HALF_LIFE_S - 3600), 0.5, 3.0, T_S + 2 * HALF_LIFE_S))
    for order in itertools.permutations(happened):
        counters = ItemCounters()
        for action, quantity, at_s in order:
            counters = counters.counted(action, quantity, at_s)
        assert (counters.views, counters.carts, counters.orders, counters.at_s) == expected


def test_one_huge_order_does_not_make_a_trend() -> None:
    assert ItemCounters().counted(Action.ORDER, 5000, T_S).orders == 10.0


def test_what_happened_ages_ago_counts_for_nothing() -> None:
    assert ItemCounters(at_s=T_S).counted(Action.VIEW, 1, 0) == ItemCounters(at_s=T_S)


def test_views_reads_carts_and_orders_of_items_count() -> None:
    counted = {action for action in Action if counts(event(0, action))}
    assert counted == {Action.VIEW, Action.READ, Action.CART_ADD, Action.ORDER}
    assert not counts(event(0, Action.VIEW, None))
