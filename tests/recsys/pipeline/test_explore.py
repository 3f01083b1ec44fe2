"""Exploration: new items get their share of places, and each place says how likely it was."""

from __future__ import annotations

from collections import Counter

import pytest
from msgspec.structs import replace

from recsys.block import Block
from recsys.catalog import Item
from recsys.pipeline.shelf import Shelf
from recsys.placement import DEFAULT_PLACEMENTS, Placement
from tests.recsys.pipeline.shops import CATALOGUE, NOW_MS, ask, known_bundle, shelf, shown, slot, visitor

DAY_MS = 86_400_000
NEW = [Item(f"new-{number}", title=f"Tent canvas {number}", fed=True) for number in range(4)]


@pytest.fixture
def on() -> Shelf:
    return shelf([*CATALOGUE, *NEW])


def feed(
    on: Shelf,
    explore: float,
    person: str = "a:v",
    limit: int = 10,
    max_per_brand: int | None = None,
    **changes: object,
) -> Block:
    placement = Placement(
        sources=DEFAULT_PLACEMENTS["home.feed"].sources, explore=explore, max_per_brand=max_per_brand
    )
    (block,) = ask(
        on, visitor("m1", "m2"), slot("explored", limit), placements={"explored": placement},
        person=person, **changes,
    )  # fmt: skip
    return block


def test_new_items_get_their_share_of_places(on: Shelf) -> None:
    sources = Counter(
        item.reason.source for number in range(300) for item in feed(on, 0.2, f"a:{number}", 4).items
    )
    assert 0.15 < sources["new"] / sources.total() < 0.25


def test_every_new_item_is_drawn(on: Shelf) -> None:
    drawn = {
        item.item
        for number in range(200)
        for item in feed(on, 0.2, f"a:{number}").items
        if item.reason.source == "new"
    }
    assert drawn == {item.id for item in NEW}


@pytest.mark.parametrize("share", [0.2, 0.9])
def test_a_place_says_how_likely_it_was_after_those_above_it(on: Shelf, share: float) -> None:
    fewest_left = len(NEW)
    for number in range(50):
        left = len(NEW)
        for item in feed(on, share, f"a:{number}").items:
            if item.reason.source == "new":
                assert item.propensity == pytest.approx(share / left)
                left -= 1
            else:
                assert item.propensity == pytest.approx(1 - share if left else 1.0)
        fewest_left = min(fewest_left, left)
    assert fewest_left == 0 or share < 0.5


def test_new_items_fit_into_the_caps_and_no_two_are_variants_of_one() -> None:
    def of(number: int, **changes: object) -> Item:
        return Item(f"new-{number}", title=f"Tent canvas {number}", brand="Acme", fed=True, **changes)

    variants = shelf([*CATALOGUE, *(of(number, group="canvas") for number in range(4))])
    of_one_brand = shelf([*CATALOGUE, *(of(number) for number in range(4))])
    for number in range(50):
        for on, rules in ((variants, {}), (of_one_brand, {"max_per_brand": 1})):
            items = feed(on, 0.5, f"a:{number}", **rules).items
            new = [item for item in items if item.reason.source == "new"]
            assert len(new) <= 1
            assert all(item.propensity == pytest.approx(0.5 / len(NEW)) for item in new)
            assert all(item.propensity in {0.5, 1.0} for item in items if item not in new)


def test_without_exploration_every_place_is_certain(on: Shelf) -> None:
    assert {item.propensity for item in feed(on, 0.0).items} == {1.0}
    nothing_new = Shelf.build(CATALOGUE, known_bundle(), {}, NOW_MS // 1000)
    assert {item.propensity for item in feed(nothing_new, 0.5).items} == {1.0}


def test_a_person_gets_the_same_on_one_day_and_another_on_the_next(on: Shelf) -> None:
    def blocks(now_ms: int) -> list[list[str]]:
        return [shown(feed(on, 0.3, f"a:{number}", now_ms=now_ms)) for number in range(20)]

    assert blocks(NOW_MS) == blocks(NOW_MS + 1000)
    assert blocks(NOW_MS) != blocks(NOW_MS + DAY_MS)


def test_strangers_are_drawn_for_one_by_one(on: Shelf) -> None:
    blocks = {tuple(shown(feed(on, 0.3, "", stranger=f"a:{number}"))) for number in range(20)}
    assert len(blocks) > 10
    assert shown(feed(on, 0.3, "", stranger="a:1")) == shown(feed(on, 0.3, "a:1"))


def test_what_may_not_be_shown_is_not_drawn() -> None:
    sold_out = [replace(item, available=False) for item in NEW[1:]]
    on = shelf([*CATALOGUE, NEW[0], *sold_out])
    for number in range(50):
        items = shown(feed(on, 0.5, f"a:{number}"))
        assert not {item.id for item in sold_out} & set(items)
        assert len(items) == len(set(items))


def test_what_lies_in_the_cart_keeps_its_place(on: Shelf) -> None:
    placement = replace(DEFAULT_PLACEMENTS["email.cart_recovery"], explore=0.5)
    for number in range(50):
        (block,) = ask(
            on, visitor("t1", cart=("s1",)), slot("mail", 4), placements={"mail": placement},
            person=f"a:{number}",
        )  # fmt: skip
        assert block.items[0].item == "s1"
        assert block.items[0].propensity == 1.0
