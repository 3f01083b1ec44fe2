"""One event's effect on the cart: what is in it, what is told of it and how much of it is kept."""

from __future__ import annotations

from recsys.events import Action, Line
from recsys.profile import MAX_CART_LINES, CartLine
from tests.recsys.folds import T0_S, cart_of, effects_of, folded, lines
from tests.recsys.worlds import T0, event


def test_the_cart_follows_what_is_added_and_removed() -> None:
    profile = folded(
        event(0, Action.CART_ADD, lines=(Line("tent", 2, 100.0),)),
        event(1, Action.CART_ADD, lines=(Line("tent", 1), Line("pegs", 10, 0.5))),
        event(2, Action.CART_REMOVE, lines=(Line("pegs", 4), Line("never there"))),
    )
    assert profile.cart == (CartLine("tent", 3, 100.0, T0_S + 1), CartLine("pegs", 6, 0.5, T0_S + 2))
    assert profile.cart_ms == T0 + 2000
    assert cart_of(folded(event(3, Action.CART_REMOVE, lines=(Line("pegs", 6),)), onto=profile)) == {
        "tent": 3
    }


def test_the_shops_own_word_replaces_the_cart() -> None:
    held = folded(event(0, Action.CART_ADD, "tent"))
    viewed = folded(
        event(1, Action.CART_VIEW, lines=(*lines("pegs"), *lines("mug"), *lines("pegs"))), onto=held
    )
    assert cart_of(viewed) == {"pegs": 2.0, "mug": 1.0}
    assert cart_of(folded(event(1, Action.CART_VIEW, None), onto=held)) == {"tent": 1.0}
    assert cart_of(folded(event(1, Action.CART_VIEW, None, value=0.0), onto=held)) == {}


def test_an_order_takes_what_it_names_out_of_the_cart() -> None:
    held = folded(event(0, Action.CART_ADD, lines=lines("tent", "pegs", "mug")))
    some = folded(event(1, Action.ORDER, lines=lines("tent", "pegs"), order_id="o1"), onto=held)
    assert cart_of(some) == {"mug": 1.0}
    assert cart_of(folded(event(1, Action.ORDER, None, order_id="o1", value=9.0), onto=held)) == {}


def test_changes_of_the_cart_are_told() -> None:
    told = effects_of(
        event(0, Action.CART_ADD),
        event(1, Action.CART_REMOVE, "never there"),
        event(2, Action.CART_VIEW, None),
        event(3, Action.CART_REMOVE),
        event(4, Action.CART_VIEW, None, value=0.0),
    )
    assert told == [("session_started", 0), ("cart_changed", 0), ("cart_changed", 3)]


def test_the_newest_lines_of_a_cart_are_kept() -> None:
    many = tuple(f"i{n}" for n in range(MAX_CART_LINES + 5))
    one_by_one = folded(*(event(n, Action.CART_ADD, item) for n, item in enumerate(many)))
    at_once = folded(event(0, Action.CART_ADD, lines=lines(*many)))
    viewed = folded(event(0, Action.CART_VIEW, lines=lines(*many)))
    for profile in (one_by_one, at_once, viewed):
        assert tuple(cart_of(profile)) == many[5:]
