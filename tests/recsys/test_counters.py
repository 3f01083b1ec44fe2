"""Live counters: decay without a clock of their own, and late events counted for what is left."""

from __future__ import annotations

import itertools

import pytest

from recsys.counters import (
    AFTER_HALF_LIFE_S,
    HALF_LIFE_S,
    MAX_AFTER,
    SLOW_SURGE_HALF_LIFE_S,
    SURGE_HALF_LIFE_S,
    ItemCounters,
    counts,
    decay,
    decode_counters,
    encode_counters,
)
from recsys.events import Action
from tests.recsys.worlds import event

T_S = 1_760_000_000


def sums(counters: ItemCounters) -> tuple[float, float, float, int]:
    return counters.views, counters.carts, counters.orders, counters.at_s


def test_a_count_halves_in_two_days() -> None:
    assert HALF_LIFE_S == 2 * 86_400
    assert (decay(0), decay(HALF_LIFE_S), decay(3 * HALF_LIFE_S)) == (1.0, 0.5, 0.125)
    viewed = ItemCounters().counted([(Action.VIEW, 1, T_S)])
    assert sums(viewed) == (1.0, 0.0, 0.0, T_S)
    assert sums(viewed.counted([(Action.CART_ADD, 1, T_S + HALF_LIFE_S)])) == (
        0.5,
        1.0,
        0.0,
        T_S + HALF_LIFE_S,
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
            counters = counters.counted([(action, quantity, at_s)])
        assert sums(counters) == expected


def test_one_huge_order_does_not_make_a_trend() -> None:
    assert ItemCounters().counted([(Action.ORDER, 5000, T_S)]).orders == 10.0


def test_what_happened_ages_ago_counts_for_nothing() -> None:
    assert sums(ItemCounters(at_s=T_S).counted([(Action.VIEW, 1, 0)])) == (0.0, 0.0, 0.0, T_S)


def test_views_reads_carts_and_orders_of_items_count() -> None:
    counted = {action for action in Action if counts(event(0, action))}
    assert counted == {Action.VIEW, Action.READ, Action.CART_ADD, Action.ORDER}
    assert not counts(event(0, Action.VIEW, None))


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
@pytest.mark.parametrize(
    ("surge", "half_life_s"), [("surge", SURGE_HALF_LIFE_S), ("slow_surge", SLOW_SURGE_HALF_LIFE_S)]
)
def test_a_surge_is_the_views_of_late(surge: str, half_life_s: int, order: tuple[int, ...]) -> None:
    at_s = (T_S, T_S + half_life_s, T_S + half_life_s)
    counters = ItemCounters()
    for place in order:
        counters = counters.counted([(Action.VIEW, 1, at_s[place])])
    now = (T_S + 2 * half_life_s) / half_life_s
    assert 2.0 ** (getattr(counters, surge) - now) == pytest.approx(0.25 + 0.5 + 0.5)
    put_in_cart = counters.counted([(Action.CART_ADD, 1, T_S)]).followed_by("other", T_S)
    assert getattr(put_in_cart, surge) == getattr(counters, surge)


def test_what_people_went_on_to_is_kept_by_heat() -> None:
    counters = ItemCounters().followed_by("a", T_S).followed_by("b", T_S).followed_by("b", T_S)
    assert [after.item for after in counters.after] == ["b", "a"]
    assert counters.after[0].heat - counters.after[1].heat == pytest.approx(1.0), "twice as often"
    later = counters.followed_by("a", T_S + 4 * AFTER_HALF_LIFE_S)
    assert [after.item for after in later.after] == ["a", "b"]


def test_what_people_went_on_to_is_bounded() -> None:
    counters = ItemCounters().followed_by("stays", T_S + 10)
    for number in range(3 * MAX_AFTER):
        counters = counters.followed_by(f"i{number}", T_S)
    assert len(counters.after) == MAX_AFTER
    assert counters.after[0].item == "stays"
    assert decode_counters(encode_counters(counters)) == counters
