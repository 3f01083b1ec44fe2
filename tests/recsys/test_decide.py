"""What is decided, on a shop whose answers are known."""

from __future__ import annotations

import gc
from zoneinfo import ZoneInfo

import msgspec
import pytest

from recsys.catalog import Item
from recsys.events import Action
from recsys.pipeline.shelf import Shelf
from recsys.placement import DEFAULT_PLACEMENTS, Placement
from recsys.profile import Order, Profile, Touch
from tests.recsys.pipeline.shops import (
    ARTICLES,
    CATALOGUE,
    NOW_S,
    PRODUCTS,
    article,
    ask,
    bare_shelf,
    bundle,
    known_bundle,
    product,
    shelf,
    shown,
    slot,
    visitor,
)

PLACEMENTS = sorted(name for name, placement in DEFAULT_PLACEMENTS.items() if placement.fills)


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize(
    "profile", [None, Profile(), visitor("t1", "t2"), visitor("nothing-known", cart=("s1",))]
)
@pytest.mark.parametrize("build", [shelf, bare_shelf])
def test_a_block_is_never_empty(placement, profile, build) -> None:
    item = "t1" if DEFAULT_PLACEMENTS[placement].needs_item else None
    (block,) = ask(build(), profile, slot(placement, 5, item))
    assert block.items
    assert len(block.items) <= 5


@pytest.mark.parametrize("build", [shelf, bare_shelf])
@pytest.mark.parametrize(("placement", "other"), [("home.feed", ARTICLES), ("article.next", PRODUCTS)])
def test_nothing_of_another_type_is_ever_shown(placement, other, build) -> None:
    (block,) = ask(build(other), visitor("t1", "article:knots"), slot(placement))
    assert (shown(block), block.fallback) == ([], "no_match")


def test_what_was_looked_at_gives_way_before_a_block_stays_empty_and_no_other_rule_does() -> None:
    on = shelf([product("t", 1), ARTICLES[0]])
    session = visitor(ARTICLES[0].id, "t1", cart=("t1",))
    assert shown(ask(on, session, slot("article.next"))[0]) == [ARTICLES[0].id]
    assert shown(ask(on, session, slot("cart.cross_sell"))[0]) == []
    assert shown(ask(on, session, slot("home.feed", exclude=("t1",)))[0]) == []
    assert shown(ask(on, session, slot("product.similar", item="t1"))[0]) == []


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_what_cannot_be_had_is_never_shown(placement) -> None:
    gone = {"t1": {"available": False}, "t2": {"removed": True}, "s1": {"fed": False, "title": ""}}
    catalogue = [
        msgspec.structs.replace(item, **gone[item.id]) if item.id in gone else item for item in CATALOGUE
    ]
    profile = visitor("t1", "t2", "s1", "t3", cart=("t1", "s1"))
    (block,) = ask(shelf(catalogue), profile, slot(placement, 50, "t3"))
    assert not set(shown(block)) & set(gone)
    assert len(block.items) >= 2


def test_no_item_is_shown_twice_across_the_slots_of_a_request() -> None:
    slots = [slot(name, 6, "t3" if DEFAULT_PLACEMENTS[name].needs_item else None) for name in PLACEMENTS]
    blocks = ask(shelf(), visitor("t1", "t2", "s2", cart=("s1",)), *slots)
    items = [item for block in blocks for item in shown(block)]
    assert len(items) == len(set(items))
    assert [block.slot for block in blocks] == PLACEMENTS


def test_an_item_is_not_shown_beside_itself() -> None:
    (block,) = ask(shelf(), visitor("t1"), slot("product.similar", 30, "t1"))
    assert "t1" not in shown(block)


def test_complements_are_what_orders_say_goes_together() -> None:
    for number in range(6):
        (block,) = ask(shelf(), None, slot("product.complements", 1, f"t{number}"))
        assert shown(block) == [f"s{number}"]
        assert block.items[0].reason.source == "bought_together"


def test_cross_sell_goes_with_the_cart_and_shows_nothing_from_it() -> None:
    (block,) = ask(shelf(), visitor("m1", cart=("t2", "t4")), slot("cart.cross_sell", 3))
    assert set(shown(block)[:2]) == {"s2", "s4"}
    assert not {"t2", "t4"} & set(shown(block))


def test_the_cart_leads_the_email_that_recovers_it() -> None:
    (block,) = ask(shelf(), visitor("m1", cart=("t2", "m4")), slot("email.cart_recovery", 4))
    assert shown(block)[:2] == ["m4", "t2"]
    assert [item.reason.source for item in block.items[:2]] == ["cart", "cart"]
    assert len(block.items) == 4


def test_a_session_decides_what_the_feed_shows() -> None:
    tents = shown(ask(shelf(), visitor("t1", "t2"), slot("home.feed", 3))[0])
    mugs = shown(ask(shelf(), visitor("m1", "m2"), slot("home.feed", 3))[0])
    assert {item[0] for item in tents} == {"t"}
    assert {item[0] for item in mugs} == {"m"}


def test_a_click_changes_the_next_block() -> None:
    before = ask(shelf(), visitor("t1", "t2"), slot("home.feed", 5))[0]
    after = ask(shelf(), visitor("t1", "t2", "m1"), slot("home.feed", 5))[0]
    assert shown(before) != shown(after)
    assert "m" in {item[0] for item in shown(after)}


def test_a_product_that_came_after_the_training_is_found_by_its_text() -> None:
    on = shelf()
    on.upsert(
        Item(
            "new-tent",
            title="Tent 99",
            description="tent canvas shelter",
            category=("Outdoor", "Tents"),
            fed=True,
        )
    )
    (block,) = ask(on, None, slot("product.similar", 6, "t1"))
    found = {item.item: item for item in block.items}
    assert found["new-tent"].reason.source == "content"
    # and it finds others by its own text
    (block,) = ask(on, None, slot("product.similar", 3, "new-tent"))
    assert {item[0] for item in shown(block)} == {"t"}


def test_an_article_that_came_after_the_training_is_read_next_by_those_who_read_of_the_same() -> None:
    on = shelf()
    on.upsert(article("enamel", "coffee mug enamel"))
    (block,) = ask(on, visitor("article:brew"), slot("article.next", 1))
    assert shown(block) == ["article:enamel"]


def test_products_in_plenty_do_not_crowd_out_the_articles_about_one() -> None:
    """More tents than a table has columns, all nearer to a tent than any article."""
    tents = [product("t", number) for number in range(70)]
    catalogue = [*tents, *ARTICLES]
    on = Shelf.build(catalogue, bundle(catalogue), {}, NOW_S)
    only_content = Placement(sources={"content": 1.0}, item_types=("article",))
    (block,) = ask(on, None, slot("about", 2, "t3"), placements={"about": only_content})
    assert shown(block)[0] == "article:pitch"
    assert block.items[0].reason.source == "content"


def test_a_bundle_without_tables_of_content_is_searched() -> None:
    models, before = known_bundle(), known_bundle().content.neighbours
    similar = slot("product.similar", 5, "t1")
    with_tables = shown(ask(shelf(), None, similar)[0])
    models.content.neighbours = {}
    try:
        assert shown(ask(shelf(), None, similar)[0]) == with_tables
        (block,) = ask(shelf(), visitor("article:brew"), slot("article.next", 1))
        assert block.items[0].reason.source == "content"
    finally:
        models.content.neighbours = before


def test_articles_already_read_in_the_session_are_left_out() -> None:
    (block,) = ask(shelf(), visitor("article:pitch", "article:brew"), slot("article.next", 5))
    assert shown(block) == ["article:knots"]


def test_the_same_view_gives_the_same_blocks() -> None:
    slots = [slot("home.hero"), slot("home.feed", 9), slot("product.similar", item="t1")]
    first = ask(shelf(), visitor("t1", "t2"), *slots)
    assert ask(shelf(), visitor("t1", "t2"), *slots) == first
    assert len({block.decision_id for block in first}) == 3


def test_what_is_equally_good_differs_between_people_and_not_between_requests() -> None:
    def order(person: str) -> tuple[str, ...]:
        return tuple(shown(ask(bare_shelf(), None, slot("home.feed", 6), person=person)[0]))

    orders = {order(f"a:{number}") for number in range(20)}
    assert len(orders) > 1
    assert order("a:7") == order("a:7")


def test_decisions_of_one_request_keep_their_ids() -> None:
    first = ask(shelf(), visitor("t1"), slot("home.feed"), request_id="render-1", seed=1)[0]
    again = ask(shelf(), visitor("m1"), slot("home.feed"), request_id="render-1", seed=2)[0]
    other = ask(shelf(), visitor("t1"), slot("home.feed"), request_id="render-2", seed=1)[0]
    assert first.decision_id == again.decision_id != other.decision_id
    assert ask(shelf(), None, slot("home.feed"), decision_ids=("given",))[0].decision_id == "given"


def test_reasons_name_something_the_person_did() -> None:
    profile = visitor("t1", "s2", "t3", cart=("m2",))
    did = {(touch.item, touch.at_s * 1000) for touch in profile.touches}
    did |= {(line.item, line.at_s * 1000) for line in profile.cart}
    blocks = ask(
        shelf(), profile, slot("home.feed", 10), slot("cart.cross_sell", 4), slot("email.cart_recovery", 3)
    )
    named = [item.reason for block in blocks for item in block.items if item.reason.evidence_item]
    assert len(named) >= 10
    for reason in named:
        assert (reason.evidence_item, reason.evidence_at_ms) in did
        assert reason.evidence_event in ("Product Viewed", "Product Added")


def test_a_reason_is_a_sentence_with_its_evidence() -> None:
    (block,) = ask(shelf(), visitor("t1"), slot("home.feed", 10))
    texts = {item.reason.source: item.reason.text for item in block.items}
    assert texts["neighbours"] == "you viewed Tent 1 at 14:12 UTC, and others went on to this"
    yesterday = visitor("t1", ago_s=86_400)
    (block,) = ask(shelf(), yesterday, slot("home.feed", 10))
    assert any(item.reason.text.startswith("you viewed Tent 1 on 20 Sep, and ") for item in block.items)


def test_what_nobody_went_on_from_is_no_reason() -> None:
    on = shelf([*CATALOGUE, product("t", 9)])
    placements = {"near": Placement(sources={"neighbours": 1.0})}
    (page,) = ask(on, visitor("t1"), slot("near", 4, "t9"), placements=placements)
    told = {item.reason.text for item in page.items if item.item != "t1"}
    assert told == {"goes with what you have been looking at"}
    (home,) = ask(on, visitor("t1", "t9"), slot("near", 4), placements=placements)
    own = {item.item: item.reason for item in home.items if item.item in ("t1", "t9")}
    assert own
    for item, reason in own.items():
        assert reason.text.startswith("you viewed it at ")
        assert reason.evidence_item == item
    told = {item.reason.text for item in home.items if item.item not in own}
    assert told == {"goes with what you have been looking at"}


def test_that_somebody_went_on_to_an_item_themselves_says_nothing_of_others() -> None:
    placements = {"near": Placement(sources={"neighbours": 1.0})}
    (block,) = ask(shelf(), visitor("t1", "t2", "t3"), slot("near", 5), placements=placements)
    told = {item.item: item.reason.text for item in block.items if item.reason.source == "neighbours"}
    assert told.keys() & {"t1", "t2"}
    for item, text in told.items():
        assert text.endswith("others went on to this") == (item not in ("t1", "t2", "t3"))


def test_a_taste_is_told_by_what_it_was_read_from() -> None:
    on = shelf([*CATALOGUE, product("t", 9)])
    seen = visitor("t1", "t9")
    placements = {"taste": Placement(sources={"als": 1.0})}
    (block,) = ask(on, seen, slot("taste", 4), placements=placements)
    assert {item.reason.evidence_item for item in block.items if item.reason.source == "als"} == {"t1"}
    (block,) = ask(on, visitor("t9", "s1"), slot("taste", 4), placements=placements)
    assert {item.reason.evidence_item for item in block.items if item.reason.source == "als"} == {"s1"}


def test_a_text_that_shares_a_word_is_not_called_much_like_another() -> None:
    on = shelf()
    placements = {"texts": Placement(sources={"content": 1.0}, item_types=("article",))}
    (block,) = ask(on, None, slot("texts", 3, "article:pitch"), placements=placements)
    told = {item.item: item.reason.text for item in block.items}
    assert (
        told["article:knots"] == "you are looking at About tent canvas shelter, and this has something of it"
    )


def test_of_products_whose_texts_share_a_word_it_is_told_what_else_they_share() -> None:
    rope = product("t", 7, description="rope pegs", title="Nord Rope", brand="Nord")
    shirt = product("s", 8, description="cotton stripes", title="Shirt", brand="Nord")
    texts = {"texts": Placement(sources={"content": 1.0}, fills=False)}
    (block,) = ask(shelf([*CATALOGUE, rope, shirt]), None, slot("texts", 20, "t7"), placements=texts)
    told = {item.item: item.reason.text for item in block.items}
    assert told["t2"] == "you are looking at Nord Rope, and this is of the same category"
    assert told["s8"] == "you are looking at Nord Rope, and this is of the same brand"
    assert told["m2"] == "also in this shop"


def test_a_reason_tells_the_time_of_the_shop_and_in_mail_the_day_alone() -> None:
    seen = visitor("t1", ago_s=60, cart=("m2",))
    page, mail = ask(
        shelf(), seen, slot("home.feed", 10), slot("email.digest", 10), zone=ZoneInfo("Asia/Tokyo")
    )
    texts = {item.reason.text for item in page.items}
    assert "you viewed Tent 1 at 23:12 JST, and others went on to this" in texts
    told = [item.reason.text for item in mail.items if "you viewed" in item.reason.text]
    assert told
    assert all(" on 21 Sep" in text for text in told)


def test_of_what_was_ordered_the_reason_says_so_whatever_else_speaks_for_it() -> None:
    ordered = tuple(f"t{number}" for number in range(1, 7))
    bought = visitor("t2", orders=(Order("o", NOW_S - 3 * 86_400, 60.0, ordered),))
    (block,) = ask(shelf(), bought, slot("home.feed", 10))
    told = {item.item: item.reason.text for item in block.items if item.reason.evidence_item}
    assert told.keys() & ordered
    for item, text in told.items():
        assert ("you ordered it on 18 Sep" in text) == (item in ordered)


def test_the_reason_names_the_seed_that_speaks_for_the_item() -> None:
    (block,) = ask(shelf(), visitor("m1", cart=("t2", "t4")), slot("cart.cross_sell", 2))
    evidence = {item.item: item.reason.evidence_item for item in block.items}
    assert evidence == {"s2": "t2", "s4": "t4"}


def test_a_taste_is_explained_by_what_weighs_most_in_the_history() -> None:
    bought = Touch("t1", int(Action.ORDER), NOW_S - 900)
    profile = visitor("m1", touches=(bought, Touch("m1", int(Action.VIEW), NOW_S - 60)))
    taste = Placement(sources={"als": 1.0})
    (block,) = ask(shelf(), profile, slot("taste", 2), placements={"taste": taste})
    assert {item.reason.evidence_event for item in block.items} == {"Order Completed"}


def test_a_taste_is_explained_by_the_last_click_in_the_category_of_an_item() -> None:
    bought = Touch("t1", int(Action.ORDER), NOW_S - 900)
    clicked = [Touch(item, int(Action.VIEW), NOW_S - 60 + place) for place, item in enumerate(("m1", "m2"))]
    profile = visitor("m1", touches=(bought, *clicked))
    taste = Placement(sources={"als": 1.0}, limit=18)
    (block,) = ask(shelf(), profile, slot("taste", 18), placements={"taste": taste})
    told = {one.item: one.reason.evidence_item for one in block.items if one.reason.source == "als"}
    assert {item: told[item] for item in ("m1", "m3", "m4", "t2")} == {
        "m1": "m2",
        "m3": "m2",
        "m4": "m2",
        "t2": "t1",
    }


def test_orders_older_than_the_touches_still_tell_the_taste() -> None:
    profile = Profile(orders=(Order("o1", NOW_S - 20 * 86_400, 9.0, ("m1", "m2")),))
    taste = Placement(sources={"als": 1.0})
    (block,) = ask(shelf(), profile, slot("taste", 2), placements={"taste": taste})
    assert {item[0] for item in shown(block)} == {"m"}
    assert block.fallback == ""


def test_an_item_is_never_its_own_evidence_for_another_sentence() -> None:
    profile = visitor("t1", "t2", "t1", "t3")
    blocks = ask(shelf(), profile, slot("home.feed", 30), slot("home.hero", 30))
    again = [item for block in blocks for item in block.items if item.reason.evidence_item == item.item]
    assert again
    assert all(item.reason.text.startswith("you viewed it ") for item in again)


def test_the_hero_does_not_repeat_the_cart() -> None:
    (block,) = ask(shelf(), visitor("t1", "t2", cart=("t2",)), slot("home.hero", 30))
    assert "t2" not in shown(block)


def test_a_decision_leaves_nothing_for_the_garbage_collector() -> None:
    slots = [slot("home.feed"), slot("cart.cross_sell"), slot("product.similar", item="t3")]
    on, profile = shelf(), visitor("t1", "t2", cart=("s1",))
    ask(on, profile, *slots)
    gc.collect()
    gc.disable()
    try:
        ask(on, profile, *slots)
        assert gc.collect() == 0
    finally:
        gc.enable()
