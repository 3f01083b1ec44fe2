"""One event's effect on orders: placed once, updated, refunded, cancelled; what they are worth."""

from __future__ import annotations

import pytest

from recsys.events import Action, Event, Line
from recsys.fold import Effect, apply
from recsys.profile import MAX_ORDERS, Order
from tests.recsys.folds import RULES, T0_S, apply_late, cart_of, effects_of, folded, lines, order, session_of
from tests.recsys.worlds import T0, event


def test_an_order_is_worth_what_it_says_or_what_it_holds() -> None:
    said = folded(order(0, value=25.0))
    assert said.orders == (Order("o1", T0_S, 25.0, ("tent",)),)
    held = folded(order(0, lines=(Line("tent", 2, 10.0), Line("pegs", 3, None))))
    assert (held.order_count, held.order_value) == (1, 20.0)
    assert folded(event(0, Action.ORDER, message_id="m7")).orders[0].order_id == "m7"


def test_the_same_order_told_twice_counts_once() -> None:
    browser, server = order(0, value=25.0, lines=lines("tent", "pegs")), order(3, value=25.0)
    profile = folded(browser, server)
    assert (profile.order_count, profile.order_value, len(profile.touches)) == (1, 25.0, 2)
    assert session_of(profile).orders == 1
    assert [kind for kind, _ in effects_of(browser, server)].count("order_placed") == 1


def test_a_refund_or_cancellation_undoes_an_order() -> None:
    placed = folded(order(0, "o1", 30.0), order(1, "o2", 20.0))
    for undo in (
        event(9, Action.REFUND, None, order_id="o1"),
        event(9, Action.REFUND, None, order_id="o1", value=30.0),
        event(9, Action.REFUND, "tent", order_id="o1"),
        event(9, Action.ORDER_CANCEL, None, order_id="o1", value=25.0),
    ):
        profile, effects = apply(placed, undo, RULES)
        assert (profile.order_count, profile.order_value) == (1, 20.0)
        assert [one.refunded for one in profile.orders] == [True, False]
        assert effects == (Effect("order_undone", T0 + 9000),)
        again = folded(undo, onto=profile)
        assert (again.order_count, again.order_value) == (1, 20.0)


def test_a_partial_refund_leaves_the_order_standing() -> None:
    placed = folded(order(0, "o1", 30.0, lines=lines("tent", "pegs")))
    by_value = folded(event(9, Action.REFUND, None, order_id="o1", value=12.5), onto=placed)
    by_item = folded(event(9, Action.REFUND, lines=(Line("pegs", 1, 12.5),), order_id="o1"), onto=placed)
    for profile in (by_value, by_item):
        assert (profile.order_count, profile.order_value) == (1, 17.5)
        assert profile.orders == (Order("o1", T0_S, 17.5, ("tent", "pegs")),)
    rest = folded(event(10, Action.REFUND, None, order_id="o1", value=17.5), onto=by_value)
    assert (rest.order_count, rest.order_value) == (0, 0.0)


@pytest.mark.parametrize(("total", "left"), [(-20.0, 30.0), (20.0, 30.0), (0.0, 50.0), (-50.0, 0.0)])
def test_what_a_refund_gives_back_may_be_told_as_a_minus(total: float, left: float) -> None:
    profile = folded(
        event(0, Action.ORDER, "tent", order_id="o1", value=50.0),
        event(60, Action.REFUND, None, order_id="o1", value=total),
    )
    assert profile.order_value == left
    assert profile.order_count == (left > 0)


def test_an_order_is_never_worth_less_than_nothing() -> None:
    assert folded(event(0, Action.ORDER, "tent", order_id="o1", value=-50.0)).order_value == 0.0


def test_a_refund_of_an_order_nobody_knows_changes_nothing() -> None:
    placed = folded(order(0, "o1", 30.0))
    for order_id in ("o9", None):
        profile = folded(event(9, Action.REFUND, None, order_id=order_id), onto=placed)
        assert (profile.order_count, profile.orders) == (1, placed.orders)


def test_the_newest_orders_are_kept_and_all_are_counted() -> None:
    profile = folded(*(order(n, f"o{n}", 1.0) for n in range(MAX_ORDERS + 3)))
    assert [one.order_id for one in profile.orders] == [f"o{n}" for n in range(3, MAX_ORDERS + 3)]
    assert (profile.order_count, profile.order_value) == (MAX_ORDERS + 3, MAX_ORDERS + 3.0)


def update(at_s: float, order_id: str | None = "o1", value: float | None = None, **more: object) -> Event:
    return event(at_s, Action.ORDER_UPDATE, order_id=order_id, value=value, **more)  # type: ignore[arg-type]


def test_an_update_says_anew_what_an_order_holds() -> None:
    placed = folded(order(0, "o1", 30.0), order(1, "o2", 20.0))
    changed = folded(update(9, "o1", 45.0, lines=lines("tent", "mug")), onto=placed)
    assert (changed.order_count, changed.order_value) == (2, 65.0)
    assert changed.orders[0] == Order("o1", T0_S, 45.0, ("tent", "mug"), updated_ms=T0 + 9000)
    assert changed.orders[1] == placed.orders[1]
    by_lines = folded(update(9, "o1", lines=(Line("pegs", 4, 2.5),)), onto=placed)
    assert (by_lines.order_value, by_lines.orders[0].items) == (30.0, ("pegs",))
    assert [kind for kind, _ in effects_of(order(0), update(9, value=45.0))].count("order_placed") == 1


def test_an_update_that_names_no_lines_or_no_total_leaves_them() -> None:
    placed = folded(order(0, "o1", 30.0, lines=lines("tent", "mug")))
    total_only = folded(update(9, "o1", 45.0, lines=()), onto=placed)
    assert (total_only.order_value, total_only.orders[0].items) == (45.0, ("tent", "mug"))
    lines_only = folded(update(9, "o1", lines=(Line("pegs"),)), onto=placed)
    assert (lines_only.order_value, lines_only.orders[0].items) == (30.0, ("pegs",))


def test_an_update_after_a_cancellation_brings_nothing_back() -> None:
    over = folded(order(0, "o1", 30.0), event(5, Action.ORDER_CANCEL, None, order_id="o1"))
    assert folded(update(9, "o1", 45.0), onto=over).orders == over.orders
    refunded_in_part = folded(
        order(0, "o1", 30.0), update(5, "o1", 40.0), event(9, Action.REFUND, None, order_id="o1", value=15.0)
    )
    assert (refunded_in_part.order_count, refunded_in_part.order_value) == (1, 25.0)


def test_an_order_first_heard_of_by_its_update_is_placed_once() -> None:
    held = folded(event(0, Action.CART_ADD, lines=lines("tent", "mug")))
    profile, effects = apply(held, update(5, "o1", 30.0), RULES)
    assert effects == (Effect("cart_changed", T0 + 5000), Effect("order_placed", T0 + 5000))
    assert (profile.order_count, profile.order_value, cart_of(profile)) == (1, 30.0, {"mug": 1.0})
    assert session_of(profile).orders == 0  # the shop did it, not the person
    again = folded(order(9, "o1", 25.0), onto=profile)
    assert (again.order_count, again.order_value) == (1, 30.0)


def test_an_update_that_names_no_order_or_tells_nothing_of_it_places_none() -> None:
    for told in (update(5, None, 30.0), update(5, "o1", lines=())):
        assert folded(told).order_count == 0


def test_an_update_of_an_order_long_forgotten_places_no_second_one() -> None:
    many = folded(*(order(n, f"o{n}", 1.0) for n in range(MAX_ORDERS + 1)))
    updated = folded(update(99, "o0", 5.0), onto=many)
    assert (updated.order_count, updated.order_value) == (many.order_count, many.order_value)


def test_the_newest_update_counts_even_if_an_older_one_comes_late() -> None:
    placed = folded(order(0, "o1", 30.0), update(9, "o1", 45.0))
    assert apply_late(placed, update(5, "o1", 40.0)).order_value == 45.0
    assert apply_late(placed, update(10, "o1", 50.0)).order_value == 50.0
    held = folded(event(0, Action.CART_ADD, "tent"))
    late = apply_late(held, update(5, "o7", 12.0))
    assert (late.order_count, late.order_value, late.cart) == (1, 12.0, ())
