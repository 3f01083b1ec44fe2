"""Filter: complements against substitutes, and expressions of callers and placements."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from msgspec.structs import replace

from recsys.block import Block
from recsys.catalog import Item
from recsys.counters import ItemCounters
from recsys.filters.syntax import FilterError
from recsys.models.interactions import InteractionKind, Interactions
from recsys.pipeline import candidates, find
from recsys.pipeline.shelf import Shelf
from recsys.placement import DEFAULT_PLACEMENTS, Placement
from recsys.profile import Order
from tests.recsys.pipeline.shops import (
    CATALOGUE,
    NOW_S,
    PRODUCTS,
    ask,
    bare_shelf,
    bundle,
    product,
    shelf,
    shown,
    slot,
    visitor,
)


def families(items: list[str]) -> set[str]:
    return {item[0] for item in items}


@pytest.mark.parametrize("build", [shelf, bare_shelf])
def test_complements_are_of_other_categories(build) -> None:
    on = build()
    (similar,) = ask(on, visitor("t1"), slot("product.similar", 5, "t2"))
    (complements,) = ask(on, visitor("t1"), slot("product.complements", 12, "t2"))
    assert "t" in families(shown(similar))
    assert families(shown(complements)) == {"s", "m"}
    assert len(complements.items) == 12


def test_a_slot_that_fails_leaves_no_mark_for_the_next_one() -> None:
    on = shelf()
    on.columns.leaf_rows.clear()  # as it never is
    with pytest.raises(KeyError, match=r"^\d+$"):
        ask(on, visitor("t1"), slot("product.complements", 5, "t2", exclude=("s1",)))
    assert not on.scratch().barred.any()


def test_what_was_bought_is_left_out_in_all_its_variants() -> None:
    on, asked = shelf(), slot("home.feed", 60)
    rule = {"home.feed": replace(DEFAULT_PLACEMENTS["home.feed"], bought_within_days=3)}
    profile = visitor("s1", orders=(Order("o", NOW_S - 3600, 60.0, ("t1", "t5")),))

    def left_out() -> set[str]:
        (block,) = ask(on, profile, asked, placements=rule)
        return {"t1", "t2", "t3", "t5"}.difference(shown(block))

    assert left_out() == {"t1", "t5"}
    for number in (1, 2, 3):
        on.upsert(replace(product("t", number), group="g"))
    assert left_out() == {"t1", "t2", "t3", "t5"}
    on.upsert(replace(product("t", 2), group="other"))
    on.upsert(product("t", 3))
    assert left_out() == {"t1", "t5"}
    on.upsert(replace(product("t", 3), group="g"))
    assert left_out() == {"t1", "t3", "t5"}


def grouped() -> Shelf:
    """t1, t2 and t3 are one product, and so are s1 and s2."""
    on = shelf()
    for family, number in (("t", 1), ("t", 2), ("t", 3), ("s", 1), ("s", 2)):
        on.upsert(replace(product(family, number), group=family))
    return on


TENT, STOVE = {"t1", "t2", "t3"}, {"s1", "s2"}


def test_no_variant_of_the_pages_product_stands_on_its_page() -> None:
    (block,) = ask(grouped(), visitor("t5"), slot("product.similar", 12, "t1"))
    assert block.items
    assert TENT.isdisjoint(shown(block))


def test_no_variant_of_what_is_in_the_cart_is_sold_beside_it() -> None:
    (cart,) = ask(grouped(), visitor("t5", cart=("s1",)), slot("cart.cross_sell", 60))
    assert cart.items
    assert STOVE.isdisjoint(shown(cart))


def test_what_leads_with_the_cart_has_all_of_it() -> None:
    (mail,) = ask(grouped(), visitor("t5", cart=("s1", "s2")), slot("email.cart_recovery", 6))
    assert set(shown(mail)[:2]) == STOVE


def test_no_two_slots_have_variants_of_one_product() -> None:
    first, second = ask(
        grouped(), visitor("t1", "s1"), slot("home.hero", 4), slot("home.feed", 60, name="feed")
    )
    for variants in (TENT, STOVE):
        assert len(variants & {*shown(first), *shown(second)}) <= 1
    assert TENT & {*shown(first), *shown(second)}


def test_no_page_has_a_variant_of_what_stood_on_one_before() -> None:
    on, seen = grouped(), tuple[str, ...]()
    while True:
        (page,) = ask(on, visitor("t5"), replace(slot("home.feed", 4), seen=seen))
        seen = (*seen, *shown(page))
        if not page.next_cursor:
            break
    assert len(TENT.intersection(seen)) == len(STOVE.intersection(seen)) == 1
    assert len(seen) == len(set(seen)) > 10


def test_what_the_caller_excludes_is_that_item_alone() -> None:
    (block,) = ask(grouped(), visitor("t5"), slot("home.feed", 60, exclude=("t1", "t2")))
    assert TENT.intersection(shown(block)) == {"t3"}


CROSS, MAIL = "cart.cross_sell", "email.cart_recovery"


def test_cross_selling_brings_no_substitute_of_what_is_in_the_cart() -> None:
    (block,) = ask(shelf(), visitor("t1", "s2", cart=("t1", "s2")), slot("cart.cross_sell", 6))
    assert families(shown(block)) == {"m"}


def test_behind_the_cart_that_leads_comes_no_substitute_of_what_is_in_it() -> None:
    mail, profile = slot("email.cart_recovery", 6), visitor("t1", "t2", "t3", cart=("t1", "t2"))
    (block,) = ask(shelf(), profile, mail)
    assert shown(block)[:2] == ["t2", "t1"]
    assert families(shown(block)[2:]) <= {"s", "m"}
    assert set(shown(block)[2:4]) == {"s1", "s2"}
    assert len(block.items) == 6


@pytest.mark.parametrize("build", [shelf, bare_shelf])
def test_a_block_of_complements_is_rather_empty_than_of_substitutes(build: Callable[..., Shelf]) -> None:
    on, profile = build([item for item in PRODUCTS if item.id[0] == "t"]), visitor("t1", cart=("t3",))
    complements, cross, mail = (slot("product.complements", 3, "t2"), *map(slot, (CROSS, MAIL)))
    for asked in (complements, cross):
        (block,) = ask(on, profile, asked)
        assert (shown(block), block.fallback) == ([], "no_match")
    (block,) = ask(on, profile, mail)
    assert (shown(block), block.fallback) == (["t3"], "")


@pytest.mark.parametrize("name", ["cart.cross_sell", "home.hero"])
def test_what_is_in_the_cart_is_not_proposed_where_nothing_else_is(name: str) -> None:
    (block,) = ask(shelf(), visitor("t1", cart=("s2",)), replace(slot(name, 3), filter='id == "s2"'))
    assert (shown(block), block.fallback) == ([], "no_match")


def test_the_next_slot_is_not_kept_from_them() -> None:
    on = shelf()
    blocks = ask(on, None, slot("product.complements", 3, "t2"), slot("product.similar", 3, "t2"))
    assert "t" in families(shown(blocks[1]))


CHEAP = "price < 12.0"


def filtered(build: Callable[[], Shelf], text: str, limit: int = 20, placement: str = "home.feed") -> Block:
    (block,) = ask(build(), visitor("t1", "t2"), replace(slot(placement, limit), filter=text))
    return block


@pytest.mark.parametrize("build", [shelf, bare_shelf])
@pytest.mark.parametrize("placement", ["home.feed", "email.digest", "cart.cross_sell"])
def test_only_what_passes_is_shown_and_all_of_it(build, placement: str) -> None:
    block = filtered(build, CHEAP, placement=placement)
    assert set(shown(block)) == {f"{family}{number}" for family in "tsm" for number in (0, 1)}


def test_a_filter_of_the_placement_and_one_of_the_caller_hold_together() -> None:
    placement = Placement(sources=DEFAULT_PLACEMENTS["home.feed"].sources, filter='"Tents" in category')
    (block,) = ask(shelf(), None, replace(slot("tents", 9), filter=CHEAP), placements={"tents": placement})
    assert set(shown(block)) == {"t0", "t1"}


def test_a_change_of_the_catalogue_is_heeded() -> None:
    on = shelf()
    assert "m5" not in shown(filtered(lambda: on, CHEAP))
    on.upsert(product("m", 5, sale_price=1.0, price=1.0))
    assert "m5" in shown(filtered(lambda: on, CHEAP))


@pytest.mark.parametrize("seen", [(), ("t1",)], ids=["first page", "further page"])
@pytest.mark.parametrize("profile", [None, visitor("t1", "t2")], ids=["nobody", "visitor"])
def test_nothing_that_passes_leaves_a_block_empty_and_says_so(profile, seen) -> None:
    asked = replace(slot("home.feed"), filter='brand == "nobody"', seen=seen)
    (block,) = ask(shelf(), profile, asked)
    assert (shown(block), block.fallback) == ([], "no_match")


def test_what_is_wrong_with_a_filter_is_told() -> None:
    with pytest.raises(FilterError, match="Expected"):
        filtered(shelf, "colour == 5")


@pytest.fixture(scope="module")
def large() -> tuple[Shelf, set[str]]:
    """50,000 items newer than the model, some in demand, one in a thousand of a rare brand; and those."""
    items = [
        Item(f"i{number}", title=f"Item {number}", brand="rare" if number % 1000 == 7 else "", fed=True)
        for number in range(50_000)
    ]
    counters = {f"i{number}": ItemCounters(number, 0, 0, NOW_S) for number in range(0, 50_000, 3)}
    return shelf([*CATALOGUE, *items], counters), {item.id for item in items if item.brand == "rare"}


@pytest.mark.parametrize("placement", sorted(DEFAULT_PLACEMENTS))
@pytest.mark.parametrize("limit", [20, 80])
def test_every_placement_is_full_when_one_in_a_thousand_passes(large, placement: str, limit: int) -> None:
    on, passing = large
    asked = replace(slot(placement, limit, "t1"), filter='brand == "rare"')
    (block,) = ask(on, visitor("t1", "t2", cart=("s1",)), asked)
    if not DEFAULT_PLACEMENTS[placement].fills:
        assert shown(block) == []  # none of them is news to anybody
        return
    if DEFAULT_PLACEMENTS[placement].item_types == ("article",):
        assert (shown(block), block.fallback) == ([], "no_match")  # all of them are products
        return
    assert len(block.items) == min(limit, len(passing))
    assert set(shown(block)) <= passing


@pytest.fixture(scope="module")
def learned() -> Shelf:
    """50,000 items that the model knows, in 50 families; one in a thousand, all of one family, is rare.
    Whoever looks at something of a family has looked at its first two before."""
    rng = np.random.default_rng(1)
    rows: list[tuple[str, str, int, int]] = []
    items = [
        Item(
            f"k{number}", title=f"Thing {number}", description=f"family{number % 50}", fed=True,
            category=(f"Family {number % 50} of kind {number // 50 % 7}",),
            brand="rare" if number % 1000 == 7 else f"brand{number % 90}",
        )
        for number in range(50_000)
    ]  # fmt: skip
    for number, family in enumerate(np.append(rng.integers(0, 50, 1500), np.full(1500, 7)).tolist()):
        at_ms, others = NOW_S * 1000 - (3000 - number) * 60_000, rng.integers(2, 1000, 4)
        looked = [family, family + 50, *(family + 50 * others).tolist()]
        rows += [
            (f"v{number}", f"k{item}", InteractionKind.VIEW, at_ms + step) for step, item in enumerate(looked)
        ]
        bought = (family, looked[-1])
        rows += [(f"v{number}", f"k{item}", InteractionKind.ORDER, at_ms + 9) for item in bought]
    visitors, ids, kinds, at = zip(*rows, strict=True)
    seen = Interactions.from_columns([f"a:{v}" for v in visitors], visitors, ids, kinds, at)
    return Shelf.build(items, bundle(items, seen), {}, NOW_S)


def rare(on: Shelf, placement: str) -> Block:
    asked = replace(slot(placement, 30, "k7"), filter='brand == "rare"')
    (block,) = ask(on, visitor("k57", "k7", cart=("k57",)), asked)
    return block


@pytest.mark.parametrize("placement", sorted(DEFAULT_PLACEMENTS))
def test_the_order_is_that_of_all_that_passes(
    learned: Shelf, placement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if each source were asked for everything it knows: then it is all the same whether the filter comes
    before or after."""
    found = rare(learned, placement)
    if DEFAULT_PLACEMENTS[placement].fills and DEFAULT_PLACEMENTS[placement].item_types != ("article",):
        assert len(found.items) == 30
    monkeypatch.setattr(candidates, "NEIGHBOUR_POOL", 50_000)
    monkeypatch.setattr(find, "TABLE_POOL", 50_000)
    for module in (candidates, find):
        monkeypatch.setattr(module, "WHOLE_POOL", 50_000)
    everything = rare(learned, placement)
    assert [(item.item, item.reason.source) for item in found.items] == [
        (item.item, item.reason.source) for item in everything.items
    ]


@pytest.mark.parametrize("limit", [20, 50, 80])
def test_a_block_is_full_when_one_in_a_thousand_passes(limit: int) -> None:
    items = [
        Item(f"i{number}", title=f"Item {number}", brand="rare" if number % 1000 == 7 else "", fed=True)
        for number in range(50_000)
    ]
    counters = {f"i{number}": ItemCounters(number, 0, 0, NOW_S) for number in range(0, 50_000, 3)}
    on = bare_shelf([*CATALOGUE, *items], counters)
    block = filtered(lambda: on, 'brand == "rare"', limit)
    passing = [item.id for item in items if item.brand == "rare"]  # by brute force
    assert len(block.items) == min(limit, len(passing))
    assert set(shown(block)) <= set(passing)
    warm = sorted((item for item in passing if item in counters), key=lambda item: -counters[item].views)
    assert [item for item in shown(block) if item in warm] == warm[:limit]


def test_the_taste_is_asked_of_what_passes_alone() -> None:
    """As brute force over all that passes would have it."""
    on = shelf()
    placement = Placement(sources={"als": 1.0})
    (whole,) = ask(on, visitor("t1", "t2"), slot("als", 30), placements={"als": placement})
    (some,) = ask(
        on, visitor("t1", "t2"), replace(slot("als", 6), filter=CHEAP), placements={"als": placement}
    )
    passing = {f"{family}{number}" for family in "tsm" for number in (0, 1)}
    by_taste = [entry.item for entry in whole.items if entry.item in passing and entry.reason.source == "als"]
    assert [entry.item for entry in some.items if entry.reason.source == "als"] == by_taste


def test_without_a_model_similar_is_what_is_of_the_same_category() -> None:
    counters = {"m1": ItemCounters(50, 0, 0, NOW_S), "t4": ItemCounters(3, 0, 0, NOW_S)}
    (block,) = ask(bare_shelf(counters=counters), visitor("s1"), slot("product.similar", 5, "t1"))
    assert families(shown(block)) == {"t"}
    assert shown(block)[0] == "t4"
    assert block.items[0].reason.text == "you are looking at Tent 1, and this is of the same category"
    assert block.fallback == "no_model"


def test_an_item_that_nobody_knows_keeps_out_none_that_stands_in_the_last_row() -> None:
    others = [product("m", number, available=False) for number in range(63)]
    on = bare_shelf([*others, product("t", 1)])
    assert len(on.columns.items) == on.columns.capacity
    (block,) = ask(on, visitor("unknown", cart=("gone",)), slot("home.feed", exclude=("unknown",)))
    assert shown(block) == ["t1"]
