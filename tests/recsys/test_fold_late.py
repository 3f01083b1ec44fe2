"""Events that come too late: they correct totals and leave what is newer."""

from __future__ import annotations

from recsys.events import Action
from recsys.profile import MAX_TOUCHES
from tests.recsys.folds import HOUR_S, T0_S, apply_late, cart_of, folded, lines, order
from tests.recsys.worlds import T0, event


def test_a_late_event_corrects_totals_and_leaves_what_is_newer() -> None:
    now = folded(event(2 * HOUR_S, item="tent"), event(2 * HOUR_S + 5, Action.CART_ADD, "mug"))
    late = apply_late(now, order(HOUR_S, "o1", 5.0, lines=lines("mug")))
    assert (late.events, late.late_events, late.order_count) == (3, 1, 1)
    assert (late.session, late.sessions, late.cart) == (now.session, now.sessions, now.cart)
    assert (late.first_ms, late.last_ms) == (T0 + HOUR_S * 1000, now.last_ms)
    assert [touch.item for touch in late.touches] == ["mug", "tent", "mug"]
    before = folded(event(0, Action.CART_ADD, "mug"), event(2 * HOUR_S))
    assert cart_of(apply_late(before, order(HOUR_S, lines=lines("mug")))) == {}


def test_a_late_repeat_does_not_make_the_newest_touch_older() -> None:
    now = folded(event(2 * HOUR_S, item="tent"))
    late = apply_late(now, event(HOUR_S, item="tent"))
    assert [touch.at_s - T0_S for touch in late.touches] == [HOUR_S, 2 * HOUR_S]


def test_a_late_touch_older_than_all_that_are_kept_is_dropped() -> None:
    full = folded(*(event(HOUR_S + n, item=f"i{n}") for n in range(MAX_TOUCHES)))
    assert apply_late(full, event(0, item="late")).touches == full.touches


def test_a_late_refund_is_taken() -> None:
    placed = folded(order(0, "o1", 5.0), event(2 * HOUR_S))
    assert apply_late(placed, event(HOUR_S, Action.REFUND, None, order_id="o1")).order_count == 0
