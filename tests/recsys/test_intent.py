"""Tier, score and reasons of a session, and the stage of a journey."""

from __future__ import annotations

import pytest

from recsys.events import Action, Event
from recsys.fold import SessionRules, apply
from recsys.intent import CART_FRESH_S, COMPARISON_SCORE, POST_PURCHASE_S, READY_SCORE, Intent, intent, stage
from recsys.profile import Profile
from tests.recsys.worlds import T0, event

RULES = SessionRules()


def after(*events: Event) -> Profile:
    profile = Profile()
    for one in events:
        profile, _ = apply(profile, one, RULES)
    return profile


def now(at_s: float) -> int:
    return T0 + int(at_s * 1000)


CART = event(0, Action.CART_ADD, "tent")
CHECKOUT = event(10, Action.CHECKOUT, None)
ORDER = event(20, Action.ORDER, "tent", order_id="o1", value=5.0)
VIEWS = [event(n, item=item) for n, item in enumerate(("tent", "pegs", "mug"))]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], Intent("browsing", 0.0, ())),
        ([event(0)], Intent("browsing", 0.0, ())),
        (VIEWS[:2], Intent("browsing", 0.2, (("2 products viewed", 0.2),))),
        (VIEWS, Intent("comparison", 0.3, (("3 products viewed", pytest.approx(0.3)),))),
        (
            [*VIEWS[:2], event(5, item="tent")],
            Intent("comparison", 0.4, (("1 product viewed again", 0.2), ("2 products viewed", 0.2))),
        ),
        ([CART], Intent("comparison", 0.4, (("1 product in the cart", 0.4),))),
        (
            [CART, CHECKOUT],
            Intent("ready_to_buy", 0.9, (("checkout started", 0.5), ("1 product in the cart", 0.4))),
        ),
        (
            [CART, CHECKOUT, ORDER],
            Intent("browsing", 0.0, (("ordered already in this session", -0.5), ("checkout started", 0.5))),
        ),
        (
            [event(n, Action.SEARCH, None, query=f"q{n}") for n in range(2)],
            Intent("browsing", 0.1, (("2 searches", 0.1),)),
        ),
        ([event(0, dwell_s=130.4)], Intent("browsing", 0.1, (("130 s of reading", 0.1),))),
    ],
)
def test_a_tier_says_what_it_is_made_of(events: list[Event], expected: Intent) -> None:
    assert intent(after(*events), now(30), RULES) == expected


def test_the_score_of_everything_at_once_is_one() -> None:
    eager = after(
        *VIEWS,
        event(5, item="tent", dwell_s=500.0),
        event(6, Action.SEARCH, None, query="q"),
        event(7, Action.CART_ADD),
        event(8, Action.CHECKOUT, None),
    )
    found = intent(eager, now(30), RULES)
    assert (found.tier, found.score) == ("ready_to_buy", 1.0)
    points = [points for _, points in found.reasons]
    assert points == sorted(points, reverse=True)
    assert 0 < COMPARISON_SCORE < READY_SCORE < 1


def test_nobody_intends_anything_when_the_session_is_over() -> None:
    eager = after(CART, CHECKOUT)
    assert intent(eager, now(10 + 1800), RULES).tier == "ready_to_buy"
    assert intent(eager, now(10 + 1800.001), RULES) == Intent("browsing", 0.0, ())
    assert intent(after(CART, event(1, Action.LOGOUT, None)), now(2), RULES) == Intent("browsing", 0.0, ())


def test_only_what_this_session_viewed_counts() -> None:
    yesterday = after(*VIEWS, event(86_400, item="stove"))
    assert intent(yesterday, now(86_400), RULES).reasons == ()


@pytest.mark.parametrize(
    ("events", "at_s", "expected"),
    [
        ([], 0, "awareness"),
        (VIEWS[:2], 10, "awareness"),
        (VIEWS, 10, "consideration"),
        ([event(0), event(3600)], 3600, "consideration"),
        ([CART], 10, "purchase"),
        ([CART], CART_FRESH_S - 1, "purchase"),
        ([CART], CART_FRESH_S, "awareness"),
        ([CHECKOUT], 20, "purchase"),
        ([CHECKOUT], 1811, "awareness"),
        ([CART, CHECKOUT, ORDER], 30, "post_purchase"),
        ([ORDER], 20 + POST_PURCHASE_S - 1, "post_purchase"),
        ([ORDER], 20 + POST_PURCHASE_S, "awareness"),
        ([ORDER, event(30, Action.REFUND, None, order_id="o1")], 40, "awareness"),
        ([ORDER, event(30, Action.CART_ADD, "mug")], 40, "purchase"),
    ],
)
def test_the_stage_of_a_journey(events: list[Event], at_s: float, expected: str) -> None:
    assert stage(after(*events), now(at_s), RULES) == expected


def test_a_cart_left_long_ago_says_nothing_of_today() -> None:
    later_s = CART_FRESH_S + 60
    today = after(CART, event(later_s, item="mug"))
    assert today.cart
    assert intent(today, now(later_s + 1), RULES).score == 0.0
