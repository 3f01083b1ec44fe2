"""What is decided without a profile, a model, a cart or consent, and what the block says of it."""

from __future__ import annotations

import pytest

from recsys.counters import ItemCounters
from recsys.profile import Profile
from tests.recsys.pipeline.shops import NOW_S, ask, bare_shelf, shelf, shown, slot, visitor

FALLBACKS = [
    ("", shelf, visitor("t1")),
    ("no_profile", shelf, None),
    ("no_profile", shelf, Profile()),
    ("no_consent", shelf, visitor("t1", personalization=False)),
    ("no_model", bare_shelf, None),
    ("no_evidence", shelf, visitor("never-heard-of")),
]


@pytest.mark.parametrize(("fallback", "build", "profile"), FALLBACKS)
def test_a_block_says_why_it_is_not_personal(fallback, build, profile) -> None:
    (block,) = ask(build(), profile, slot("home.feed"))
    assert block.fallback == fallback


def test_the_callers_hint_names_the_fallback_unless_something_personal_was_there() -> None:
    assert ask(shelf(), None, slot("home.feed"), hint="store_down")[0].fallback == "store_down"
    assert ask(shelf(), visitor("t1"), slot("home.feed"), hint="deadline")[0].fallback == ""


def test_without_a_model_what_is_in_demand_comes_first() -> None:
    counters = {"m5": ItemCounters(9, 0, 0, NOW_S), "t5": ItemCounters(0, 0, 5, NOW_S)}
    (block,) = ask(bare_shelf(counters=counters), None, slot("home.feed", 3))
    assert shown(block)[:2] == ["t5", "m5"]
    assert block.items[1].reason.text == "9 views lately"
    assert block.items[2].reason.source == "catalogue"
    assert block.model_version == ""


def test_without_consent_nothing_known_of_the_person_is_used() -> None:
    refused = visitor("m1", "m2", cart=("m3",), personalization=False)
    slots = [slot("home.feed", 6), slot("product.similar", 6, "t1"), slot("email.digest", 6)]
    assert [shown(block) for block in ask(shelf(), refused, *slots)] == [
        shown(block) for block in ask(shelf(), None, *slots)
    ]


def test_without_consent_people_still_see_their_own_cart() -> None:
    refused = visitor("m1", cart=("m3",), personalization=False)
    (block,) = ask(shelf(), refused, slot("email.cart_recovery", 3))
    assert shown(block)[0] == "m3"
    (block,) = ask(shelf(), refused, slot("cart.cross_sell", 30))
    assert "m3" not in shown(block)


def test_who_unsubscribed_gets_no_email_block_and_is_served_on_the_web() -> None:
    profile = visitor("t1", email=False)
    email, web = ask(shelf(), profile, slot("email.digest"), slot("home.feed"))
    assert (list(email.items), email.fallback) == ([], "unsubscribed")
    assert web.items


def test_a_mail_about_a_cart_says_when_there_is_none() -> None:
    (empty,) = ask(shelf(), visitor("t1", "t2"), slot("email.cart_recovery", 4))
    (full,) = ask(shelf(), visitor("t1", cart=("t2",)), slot("email.cart_recovery", 4))
    assert (empty.fallback, full.fallback) == ("no_cart", "")


def test_a_block_that_goes_with_the_cart_says_when_there_is_none() -> None:
    empty, full = [
        ask(shelf(), visitor("t1", "t2", cart=cart), slot("cart.cross_sell", 4))[0] for cart in ((), ("t2",))
    ]
    assert empty.items
    assert (empty.fallback, full.fallback) == ("no_cart", "")
    (stranger,) = ask(shelf(), None, slot("cart.cross_sell", 4))
    assert stranger.fallback == "no_cart"
    (down,) = ask(shelf(), None, slot("cart.cross_sell", 4), hint="store_down")
    assert down.fallback == "store_down"
    (refused,) = ask(shelf(), visitor(cart=("t2",), personalization=False), slot("cart.cross_sell", 4))
    assert refused.fallback == "no_consent"
    (page,) = ask(shelf(), visitor("t1"), slot("product.complements", 4, "t1"))
    assert page.fallback == ""
