"""Rank: caps by attribute, variants, and diversity."""

from __future__ import annotations

from collections import Counter

from msgspec.structs import replace

from recsys.block import Block
from recsys.catalog import Item
from recsys.pipeline.shelf import Shelf
from recsys.placement import DEFAULT_PLACEMENTS, Placement
from tests.recsys.pipeline.shops import CATALOGUE, ask, bare_shelf, product, shelf, shown, slot, visitor

FEED = DEFAULT_PLACEMENTS["home.feed"]


def feed(on: Shelf, limit: int = 9, cart: tuple[str, ...] = (), **rules: object) -> Block:
    placement = replace(FEED, explore=0.0, **rules)
    (block,) = ask(
        on, visitor("t1", "s1", "t2", cart=cart), slot("ruled", limit), placements={"ruled": placement}
    )
    return block


def categories(block: Block) -> Counter[str]:
    return Counter(item.item[0] for item in block.items)


def test_a_cap_holds_for_each_brand() -> None:
    brands = {"t": "Ridge", "s": "Ember", "m": ""}
    on = shelf([replace(item, brand=brands.get(item.id[0], "")) for item in CATALOGUE])
    assert max(categories(feed(on)).values()) > 2
    capped = categories(feed(on, max_per_brand=2))
    assert capped["t"] == capped["s"] == 2
    assert capped["m"] > 2, "items without a brand are not capped"


def test_a_cap_holds_for_each_category_also_beyond_the_candidates() -> None:
    block = feed(shelf(), max_per_category=2)
    assert categories(block) == {"t": 2, "s": 2, "m": 2}
    bare = feed(bare_shelf(), limit=20, max_per_category=1)
    assert categories(bare) == {"t": 1, "s": 1, "m": 1}


def test_variants_of_a_product_stand_once() -> None:
    tents = ("t1", "t2", "t3", "t4")
    on = shelf([replace(item, group="tent" if item.id in tents else "") for item in CATALOGUE])
    for limit in (3, 9, 15):
        items = shown(feed(on, limit))
        assert sum(item in tents for item in items) == 1
        assert len(items) == min(limit, 15)


def test_the_cart_leads_and_counts() -> None:
    on = shelf([replace(item, brand="One" if item.id[0] == "t" else "Two") for item in CATALOGUE])
    block = feed(on, 4, cart=("t1", "t2"), lead_with_cart=True, max_per_brand=2)
    assert set(shown(block)[:2]) == {"t1", "t2"}
    assert categories(block) == {"t": 2, "s": 2}


def test_no_cap_counts_out_what_lies_in_the_cart() -> None:
    on = shelf([replace(item, brand="One", group="one") for item in CATALOGUE])
    block = feed(on, 4, cart=("t1", "t2"), lead_with_cart=True, max_per_brand=1)
    assert set(shown(block)) == {"t1", "t2"}


def test_diversity_brings_what_is_unlike() -> None:
    on = shelf()
    plain, diverse = feed(on, 4), feed(on, 4, diversity=0.7)
    assert shown(plain)[0] == shown(diverse)[0], "the most relevant stays first"
    assert len(categories(diverse)) > len(categories(plain))


def test_diversity_of_items_newer_than_the_model() -> None:
    on = shelf()
    on.upsert(Item("later", title="Later tent canvas", description="tent canvas", fed=True))
    assert len(shown(feed(on, 12, diversity=0.5))) == 12


def test_caps_never_leave_a_block_empty() -> None:
    placement = Placement(sources=FEED.sources, max_per_brand=1, max_per_category=1)
    on = bare_shelf([product("t", 1, brand="Ridge"), product("t", 2, brand="Ridge")])
    (block,) = ask(on, None, slot("one", 5), placements={"one": placement})
    assert len(block.items) == 1
