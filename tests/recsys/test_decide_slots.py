"""Slots of one request: what they share is asked and united once, and none is the worse for it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from recsys.banner import Banner
from recsys.models.als import Als
from recsys.models.neighbours import SessionNeighbours
from recsys.pipeline import candidates, pipeline
from recsys.pipeline.find_kernel import Loop
from recsys.placement import DEFAULT_PLACEMENTS, Placement
from tests.recsys.pipeline.shops import (
    CATALOGUE,
    PRODUCTS,
    article,
    ask,
    bare_shelf,
    shelf,
    shown,
    slot,
    visitor,
)


def test_slots_of_a_request_share_what_depends_on_the_person_only(monkeypatch) -> None:
    asked: list[str] = []

    def counted(owner: type, name: str) -> None:
        real = getattr(owner, name)

        def call(*arguments, **options):
            asked.append(name)
            return real(*arguments, **options)

        monkeypatch.setattr(owner, name, call)

    counted(Als, "fold_in")
    counted(SessionNeighbours, "recommend")

    def als(context):
        answer = candidates.als(context)
        asked.extend(["search"] if answer is Loop.ALS else [])
        return answer

    monkeypatch.setitem(candidates.SOURCES, "als", als)
    slots = [slot("home.hero"), slot("home.feed"), slot("cart.cross_sell"), slot("email.digest")]
    beside = {"beside": Placement(sources={"als": 1.0})}
    ask(
        shelf(),
        visitor("t1", "t2"),
        *slots,
        slot("beside", item="t3"),
        placements={**DEFAULT_PLACEMENTS, **beside},
    )
    # The digest may show articles: one more search near the same taste, and in the same sessions. What the
    # page of another item may show is what the home page may: no search.
    assert sorted(asked) == ["fold_in", "recommend", "recommend", "search", "search"]


@pytest.mark.parametrize("row", [0, 1])
def test_a_page_beside_other_slots_is_decided_as_if_it_stood_alone(row) -> None:
    on, profile = shelf(), visitor("s1", "s2", cart=("s3",))
    item = on.columns.items[row].id
    beside = ask(
        on, profile, slot("home.feed", 1), slot("cart.cross_sell", 1), slot("product.similar", 2, item)
    )
    others = tuple(shown(beside[0]) + shown(beside[1]))
    (alone,) = ask(on, profile, slot("product.similar", 2, item, exclude=others))
    assert [(one.item, one.reason) for one in alone.items] == [
        (one.item, one.reason) for one in beside[2].items
    ]


@pytest.mark.parametrize("source", ["item_to_item", "content"])
def test_a_slot_about_the_cart_beside_one_about_the_session_is_asked_about_the_cart(source) -> None:
    on, profile = shelf(), visitor("t1", "t2", cart=("s1",))
    placements = {
        "of_session": Placement(sources={source: 1.0}, fills=False),
        "of_cart": Placement(sources={source: 1.0}, fills=False, exclude_cart=True),
    }
    slots = [slot("of_session", 3), slot("of_cart", 3)]
    beside = ask(on, profile, *slots, placements=placements)
    others = tuple(shown(beside[0]))
    (alone,) = ask(on, profile, slot("of_cart", 3, exclude=others), placements=placements)
    assert shown(beside[1]) == shown(alone) != []
    assert not set(others) & set(shown(ask(on, profile, slots[1], placements=placements)[0]))


def test_what_slots_of_a_visit_ask_is_united_once(monkeypatch) -> None:
    united = []
    real = pipeline.found
    monkeypatch.setattr(pipeline, "found", lambda *of: united.append(of) or real(*of))
    slots = [
        slot("home.hero"),
        slot("home.feed"),
        slot("cart.cross_sell"),
        slot("product.similar", item="t3"),
    ]
    ask(shelf(), visitor("t1", "t2", cart=("s1",)), *slots)
    # The visit and its cart are one, the page is another.
    assert len(united) == 2


@pytest.mark.parametrize(
    ("catalogue", "companies"),
    [(CATALOGUE, 2), (PRODUCTS, 1), ([*PRODUCTS, article("gone", "tent rope", available=False)], 1)],
)
def test_slots_of_other_types_are_one_company_where_only_one_type_may_be_shown(
    catalogue, companies, monkeypatch
) -> None:
    united = []
    real = pipeline.found
    monkeypatch.setattr(pipeline, "found", lambda *of: united.append(of) or real(*of))
    ask(shelf(catalogue), visitor("t1", "t2"), slot("home.hero"), slot("email.digest"))
    assert len(united) == companies


VARIANTS = [replace(item, group="g") if item.id in ("t1", "t4", "s0") else item for item in CATALOGUE]


def beside(kept: tuple[str, ...], limit: int, on=None, name: str = "home.feed", **rules: object) -> list[str]:
    """What comes beside what a slot keeps, of a placement with these rules."""
    placement = replace(DEFAULT_PLACEMENTS[name], explore=0.0, **rules)
    view = {"placements": {"ruled": placement}, "keeps": (kept,), "banners": BANNERS}
    (block,) = ask(on or shelf(VARIANTS), visitor("t2", "t3"), slot("ruled", limit), **view)
    return shown(block)


BANNERS = {"one": Banner(title="One", priority=2), "two": Banner(title="Two", priority=1)}


@pytest.mark.parametrize("build", [shelf, bare_shelf])
def test_beside_what_a_slot_keeps_comes_what_its_rules_allow(build) -> None:
    on = build(VARIANTS)
    assert not {"t1", "t4", "s0"} & {*beside(("t1", "m1"), 15, on)}
    tents = beside(("t1", "t0"), 9, on, max_per_category=2)
    assert len(tents) == 4, "two of each other category"
    assert not any(item.startswith("t") for item in tents)
    assert len(beside(("t1", "m1"), 4, on)) == 2


def test_what_is_kept_is_like_what_comes_beside_it() -> None:
    """As when all of it is decided together: diversity looks at the whole block."""
    (first, *_) = beside((), 2, diversity=0.9)
    assert beside((first,), 2, diversity=0.9) == beside((), 2, diversity=0.9)[1:]
    assert beside((first,), 2, diversity=0.0) != beside((first,), 2, diversity=0.9)


def test_a_mixed_block_keeps_its_shares_whatever_it_keeps() -> None:
    whole = beside((), 10, name="home.mixed")
    assert [item for item in whole if ":" in item and "banner" not in item]
    for gone in whole:
        (new,) = beside(tuple([item for item in whole if item != gone]), 10, name="home.mixed")
        assert new not in whole or new == gone
        # There are three articles: of a product comes a product, and of the banner the banner.
        assert (":" in new) is (":" in gone)


def test_no_item_of_another_block_and_no_variant_of_one_comes_beside_it() -> None:
    slots = [slot("home.feed", 5, name="a"), slot("home.mixed", 5, name="b")]
    stands = {"beside": ("t1", "banner:one"), "keeps": (("m1",), ("s1", "s2")), "banners": BANNERS}
    blocks = ask(shelf(VARIANTS), visitor("t2", "t3"), *slots, **stands)
    found = [item for block in blocks for item in shown(block)]
    assert [len(block.items) for block in blocks] == [4, 3]
    assert len(set(found)) == len(found)
    assert not {"t1", "t4", "s0", "m1", "s1", "s2", "banner:one"}.intersection(found)
    assert "banner:two" in found
