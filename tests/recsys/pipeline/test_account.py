"""Why an item is in a block, and why another one is not: each verdict on a shop whose answers are known."""

from __future__ import annotations

import msgspec
import pytest

from recsys.banner import Banner
from recsys.decide import View, decide, why
from recsys.fold import SessionRules
from recsys.pipeline.sentences import sentence
from recsys.placement import DEFAULT_PLACEMENTS, Placement
from recsys.profile import Order
from recsys.shown import Impression
from tests.recsys.pipeline.shops import CATALOGUE, FRESH, NOW_MS, product, shelf, shown, slot, visitor

CHANGES = {"t5": {"available": False}, "t4": {"group": "g"}, "t3": {"group": "g"}}
SHOP = [msgspec.structs.replace(item, **CHANGES.get(item.id, {})) for item in CATALOGUE]


def view(profile, on=None, **more):
    return View(on or shelf(), "a:v", profile, NOW_MS, SessionRules(), FRESH, **more)


def account(placement, asked, item, profile=None, beside=None, **rules):
    placement = msgspec.structs.replace(DEFAULT_PLACEMENTS[placement], **rules)
    profile = visitor("t1", "t2") if profile is None else profile
    _, (told,) = why(view(profile, shelf(SHOP)), asked, placement, beside or {}, [item])
    return told, sentence(told, placement)


def test_an_account_tells_the_block_that_is_decided():
    asked, placement = slot("home.feed", 6), DEFAULT_PLACEMENTS["home.feed"]
    on = view(visitor("t1", "t2", cart=("s1",)))
    (decided,) = decide(on, [asked], {"home.feed": placement})
    again, accounts = why(on, asked, placement, {}, [])
    assert again.items == decided.items
    assert [one.item for one in accounts] == shown(decided)
    assert [one.place for one in accounts] == [1, 2, 3, 4, 5, 6]
    assert [one.reason for one in accounts] == [one.reason for one in decided.items]


@pytest.mark.parametrize(
    ("banner", "said"),
    [
        (Banner(title="Low"), "other banners come before it"),
        (Banner(title="Low", markets=("CH",)), "its rule `markets = CH` keeps"),
        (Banner(title="Low", placements=("home.other",)), "its rule `placements = home.other` keeps"),
        (Banner(title="Low", bought_within_days=3), "its rule `bought_within_days = 3` keeps"),
        (Banner(title="Low", max_per_day=1), "its rule `max_per_day = 1` keeps it out"),
    ],
)
def test_the_rule_that_keeps_a_banner_out_is_named(banner, said):
    placement = DEFAULT_PLACEMENTS["home.mixed"]
    shown_before = (Impression("d1", "home.mixed", NOW_MS - 60_000, ("banner:low",)),)
    on = view(None, banners={"low": banner, "high": Banner(title="High", priority=5)}, shown=shown_before)
    _, (told,) = why(on, slot("home.mixed"), placement, {}, ["banner:low"])
    assert said in sentence(told, placement)


@pytest.mark.parametrize(
    ("asked", "verdict", "said"),
    [
        ({"exclude": ("banner:low",)}, "excluded", "the caller excluded it"),
        ({"seen": ("banner:low",)}, "shown_before", "a page before this one has shown it"),
        ({}, "cooling", "home.mixed has shown it to the person 1 min ago (`cooldown_s` is 3600)"),
    ],
)
def test_what_keeps_a_banner_out_as_it_would_an_item_is_told(asked, verdict, said):
    placement = msgspec.structs.replace(DEFAULT_PLACEMENTS["home.mixed"], cooldown_s=0 if asked else 3600)
    seen = (Impression("d1", "home.mixed", NOW_MS - 60_000, ("banner:low",)),)
    on = view(
        None,
        banners={"low": Banner(title="Low")},
        shown=seen,
        counting={"home.mixed": frozenset(("home.mixed",))},
    )
    _, (told,) = why(on, msgspec.structs.replace(slot("home.mixed"), **asked), placement, {}, ["banner:low"])
    assert told.verdict == verdict
    assert said in sentence(told, placement)


def test_what_rests_tells_when_and_where_it_was_shown():
    placement = msgspec.structs.replace(DEFAULT_PLACEMENTS["home.feed"], cooldown_s=3600)
    seen = (Impression("d1", "home.feed", NOW_MS - 5 * 60_000, ("t4",)),)
    on = view(visitor("t1"), shown=seen, counting={"home.feed": frozenset(("home.feed",))})
    _, (told,) = why(on, slot("home.feed"), placement, {}, ["t4"])
    assert sentence(told, placement).startswith(
        "Not shown: home.feed has shown it to the person 5 min ago (`cooldown_s` is 3600)"
    )


def test_what_rests_in_another_variant_says_which():
    placement = msgspec.structs.replace(DEFAULT_PLACEMENTS["home.feed"], cooldown_s=3600)
    seen = (Impression("d1", "home.feed", NOW_MS - 5 * 60_000, ("t4",)),)
    on = view(visitor("t1"), shelf(SHOP), shown=seen, counting={"home.feed": frozenset(("home.feed",))})
    _, told = why(on, slot("home.feed"), placement, {}, ["t3", "t4"])
    assert [one.verdict for one in told] == ["cooling"] * 2
    assert [one.detail.partition(" to the")[0] for one in told] == [
        "home.feed has shown t4, which is the same product,",
        "home.feed has shown it",
    ]


def test_what_stands_on_the_page_in_another_variant_says_which():
    similar = DEFAULT_PLACEMENTS["product.similar"]
    _, told = why(
        view(visitor("t1"), shelf(SHOP)), slot("product.similar", item="t4"), similar, {}, ["t3", "t4"]
    )
    assert [(one.verdict, one.detail) for one in told] == [("variant", "t4"), ("page_item", "")]


def test_what_was_bought_in_another_variant_says_which():
    order = Order("o", NOW_MS // 1000 - 3600, 60.0, ("t4",))
    profile = visitor("t1", orders=(order,))
    feed = slot("home.feed")
    told = [account("home.feed", feed, item, profile, bought_within_days=3) for item in ("t3", "t4")]
    assert [one.verdict for one, _ in told] == ["bought"] * 2
    assert [said.partition(" (")[0] for _, said in told] == [
        "Not shown: the person has ordered t4 not long ago, which is the same product",
        "Not shown: the person has ordered it not long ago",
    ]


def test_what_rests_by_the_number_of_blocks_says_so_whatever_else_is_set():
    feed = DEFAULT_PLACEMENTS["home.feed"]
    placement = msgspec.structs.replace(feed, cooldown_s=60, cooldown_blocks=3)
    seen = (
        Impression("d2", "home.hero", NOW_MS - 30_000, ("t4",)),  # does not count here
        Impression("d1", "home.feed", NOW_MS - 5 * 60_000, ("t4",)),
    )
    on = view(visitor("t1"), shown=seen, counting={"home.feed": frozenset(("home.feed",))})
    _, (told,) = why(on, slot("home.feed"), placement, {}, ["t4"])
    assert told.detail == "home.feed has shown it to the person 5 min ago (`cooldown_blocks` is 3)"


def test_what_cannot_be_had_is_sold_out_or_taken_out():
    removed = msgspec.structs.replace(product("t", 3), removed=True, available=False)
    on = view(None, shelf([*SHOP, removed]))
    _, told = why(on, slot("home.feed"), DEFAULT_PLACEMENTS["home.feed"], {}, ["t5", "t3"])
    assert [one.detail for one in told] == ["sold out", "taken out of the catalogue"]


@pytest.mark.parametrize("limit", [4, 10, 18])
def test_an_account_of_a_mixed_block_is_of_the_block_that_is_decided(limit):
    asked, placement = slot("home.mixed", limit), DEFAULT_PLACEMENTS["home.mixed"]
    banners = {"sale": Banner(title="Sale"), "gold": Banner(title="Gold", groups=("gold",))}
    on = view(visitor("t1", "t2"), banners=banners)
    (decided,) = decide(on, [asked], {"home.mixed": placement})
    again, accounts = why(on, asked, placement, {}, [])
    assert again.items == decided.items
    assert {one.item.partition(":")[0] for one in accounts} >= {"article", "banner"}
    assert [one.item for one in accounts] == shown(decided)
    assert [one.place for one in accounts] == list(range(1, len(decided.items) + 1))
    assert [one.reason for one in accounts] == [one.reason for one in decided.items]
    assert {one.verdict for one in accounts} == {"shown"}


def test_banners_have_accounts_too():
    asked, placement = slot("home.mixed"), DEFAULT_PLACEMENTS["home.mixed"]
    banners = {"sale": Banner(title="Sale"), "gold": Banner(title="Gold", groups=("gold",))}
    on = view(None, banners=banners)
    named = ["banner:sale", "banner:gold", "banner:none", "t0"]
    _, told = why(on, asked, placement, {}, named)
    assert [one.verdict for one in told] == ["shown", "banner_rules", "unknown", told[3].verdict]
    assert told[0].reason.text == "Sale"
    assert sentence(told[1], placement) == "Not shown: its rule `groups = gold` keeps it out."
    _, (told_sale,) = why(on, asked, placement, {"banner:sale": "hero"}, ["banner:sale"])
    assert (told_sale.verdict, told_sale.detail) == ("beside", "hero")


def test_what_each_source_says_adds_up_and_names_its_evidence():
    told, said = account("home.feed", slot("home.feed"), "t0")
    assert told.verdict == "shown"
    assert sum(one.share for one in told.shares) == pytest.approx(1)
    assert [one.share for one in told.shares] == sorted((one.share for one in told.shares), reverse=True)
    by_source = {one.source: one.reason for one in told.shares}
    assert by_source["neighbours"].evidence_item == "t2"
    assert by_source["neighbours"].evidence_event == "Product Viewed"
    assert said.startswith(f"Place {told.place}, number {told.rank} of ")
    assert f"named by {told.shares[0].source} " in said


@pytest.mark.parametrize(
    ("placement", "asked", "item", "verdict", "words"),
    [
        ("home.feed", {}, "no-such", "unknown", "the catalogue has no such item"),
        ("home.feed", {}, "t5", "unavailable", "it cannot be had"),
        ("home.feed", {}, "article:brew", "other_type", "it is of type article"),
        ("home.feed", {"filter": "price_now < 12.0"}, "t3", "filtered", "`price_now < 12.0`"),
        ("product.similar", {"item": "t1"}, "t1", "page_item", "the item of the page itself"),
        ("home.feed", {"exclude": ("t0",)}, "t0", "excluded", "the caller excluded it"),
        ("home.feed", {"seen": ("t0",)}, "t0", "shown_before", "a page before this one"),
        ("home.hero", {}, "s1", "in_cart", "in the cart already (`exclude_cart`)"),
        ("article.next", {}, "article:pitch", "in_session", "(`exclude_session_items`)"),
        ("product.complements", {"item": "t1"}, "t3", "substitute", "(`other_categories`)"),
        ("cart.cross_sell", {}, "m5", "beaten", "and the last one shown has "),
    ],
)  # fmt: skip
def test_why_it_is_not_there(placement, asked, item, verdict, words):
    profile = visitor("t1", "article:pitch", "t2", cart=("s1",))
    asked = msgspec.structs.replace(slot(placement), **asked)
    told, said = account(placement, asked, item, profile)
    assert told.verdict == verdict
    assert said.startswith("Not shown: ")
    assert words in said


def test_what_only_events_have_named_is_not_called_sold_out():
    on = shelf([*SHOP, msgspec.structs.replace(CATALOGUE[0], id="17", title="", fed=False)])
    placement = DEFAULT_PLACEMENTS["home.feed"]
    _, (told,) = why(view(visitor("t1"), on), slot("home.feed"), placement, {}, ["17"])
    assert (told.verdict, told.detail) == ("unavailable", "no feed has told of it, nor any event its title")


def test_what_was_looked_at_last_is_not_said_to_be_unknown():
    placement = Placement(sources={"recent": 1.0}, fills=False)
    _, (told,) = why(view(visitor("m1", "t1")), slot("near"), placement, {}, ["t1"])
    assert (told.verdict, sentence(told, placement)) == (
        "last_seen", "Not shown: it is what the person looked at last, and is not proposed again at once.",
    )  # fmt: skip


def test_another_slot_shows_it():
    told, said = account("home.feed", slot("home.feed"), "t0", beside={"t0": "hero"})
    assert (told.verdict, told.detail) == ("beside", "hero")
    assert "slot hero of the same request shows it" in said


def test_no_source_named_it():
    told, said = account("home.feed", slot("home.feed", 2), "m5", sources={"bought_together": 1.0})
    assert (told.verdict, told.rank) == ("not_named", 0)
    assert "no source named it for this person; asked were bought_together" in said


def test_a_variant_of_it_stands_there():
    told = [account("home.feed", slot("home.feed", 30), item)[0] for item in ("t3", "t4")]
    (other, shown_one) = sorted(told, key=lambda one: one.place)
    assert (other.verdict, other.detail) == ("variant", shown_one.item)
    assert shown_one.verdict == "shown"


def test_a_cap_names_the_setting_and_what_fills_it():
    rules = {"max_per_category": 2, "explore": 0.0}
    told = [account("home.feed", slot("home.feed", 30), item, **rules) for item in ("t0", "t1", "t2", "t3")]
    capped = [(one, said) for one, said in told if one.verdict != "shown"]
    for one, said in capped:
        assert one.verdict == "category_cap"
        assert set(one.detail.split(", ")) == {one.item for one, _ in told if one.verdict == "shown"}
        assert "(`max_per_category` is 2)" in said
    assert len(capped) == 2


def test_nothing_is_told_of_mail_that_is_not_sent():
    told, said = account("email.digest", slot("email.digest"), "t0", visitor("t1", email=False))
    assert told.verdict == "unsubscribed"
    assert said == "Not shown: the person has unsubscribed from mail."


def test_a_new_item_says_that_chance_drew_it():
    on = shelf([*CATALOGUE, *(product("t", number) for number in range(6, 20))])
    placement = msgspec.structs.replace(DEFAULT_PLACEMENTS["home.feed"], explore=0.5)
    block, accounts = why(view(visitor("t1"), on), slot("home.feed", 10), placement, {}, [])
    drawn = [one for one in accounts if one.source == "new"]
    assert drawn
    assert [one.propensity for one in drawn] == [
        item.propensity for item in block.items if item.reason.source == "new"
    ]
    assert "so that new items become known" in sentence(drawn[0], placement)


def test_what_stands_behind_the_cart_is_beaten_by_the_cart_and_the_last_one_shown():
    profile = visitor("t1", "t2", cart=("m1", "m2"))
    on = view(profile, shelf())
    placement = DEFAULT_PLACEMENTS["email.cart_recovery"]
    for limit in (2, 3):
        asked = slot("email.cart_recovery", limit)
        block, _ = why(on, asked, placement, {}, [])
        shown_items = {item.item for item in block.items}
        assert len(shown_items) == limit
        assert {"m1", "m2"} <= shown_items
        _, told = why(on, asked, placement, {}, [item.id for item in CATALOGUE if item.id not in shown_items])
        ranked = [one for one in told if one.rank]
        assert ranked
        assert {one.verdict for one in ranked if one.rank > limit - 2} == {"beaten"}


@pytest.mark.parametrize("limit", [2, 3, 4])
def test_of_equals_the_ones_that_are_not_shown_are_beaten(limit):
    on, placement = view(visitor("t1")), Placement(sources={"content": 1.0})
    block, _ = why(on, slot("near", limit), placement, {}, [])
    left = {"t0", "t3", "t4", "t5"} - {item.item for item in block.items}
    _, told = why(on, slot("near", limit), placement, {}, sorted(left))
    assert told
    assert {one.score for one in told} == {one.last_score for one in told}
    assert {one.verdict for one in told} == {"beaten"}
    assert all(one.rank > limit for one in told)
