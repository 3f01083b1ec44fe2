"""What comes first where the ranker has no answer: the page of an item that no lesson of it had."""

from __future__ import annotations

import pytest

from recsys.counters import ItemCounters
from recsys.pipeline.shelf import Shelf
from recsys.placement import DEFAULT_PLACEMENTS, Placement
from tests.recsys.pipeline.shops import (
    CATALOGUE,
    NOW_S,
    ask,
    bundle,
    product,
    ranked,
    shown,
    slot,
    visitor,
)

NEW = product("m", 9)
"""Mugs are what people look at least."""
MUGS = {f"m{number}" for number in range(6)}


def on_page(on: Shelf, item: str, placement: Placement | None = None, limit: int = 6) -> list[str]:
    rules = {"page": placement or DEFAULT_PLACEMENTS["product.similar"]}
    (block,) = ask(on, None, slot("page", limit, item), placements=rules)
    return shown(block)


@pytest.mark.parametrize("known", [(), (NEW,)], ids=["newer than the model", "never looked at before it"])
def test_on_the_page_of_an_item_nobody_had_looked_at_its_text_leads(known) -> None:
    on = Shelf.build([*CATALOGUE, NEW], ranked(*known), {}, NOW_S)
    assert set(on_page(on, NEW.id)) == MUGS
    assert not set(on_page(on, "m1")) <= {*MUGS, NEW.id}  # of this one the ranker has heard


def test_there_what_people_go_on_to_counts_beside_the_text() -> None:
    counters = {NEW.id: ItemCounters().followed_by("s3", NOW_S - 60)}
    on = Shelf.build([*CATALOGUE, NEW], ranked(), counters, NOW_S)
    assert "s3" not in on_page(on, NEW.id)
    heard = Placement(sources={"content": 0.5, "lately": 1.0, "popular": 5.0}, needs_item=True)
    assert on_page(on, NEW.id, heard)[0] == "s3"
    assert set(on_page(on, NEW.id, heard)[1:]) < MUGS


def test_there_the_sources_that_a_placement_lets_lead_do() -> None:
    on = Shelf.build([*CATALOGUE, NEW], ranked(), {}, NOW_S)
    led = Placement(sources={"content": 1.0, "popular": 0.1}, leading_sources=("popular",))
    assert not MUGS & set(on_page(on, NEW.id, led))


COAT = product("m", 8, title="Coat", description="wool enamel", category=("Clothing",))
"""It shares a word with mugs."""


def test_of_what_nobody_has_looked_at_the_likest_comes_first_and_what_is_little_like_it_last() -> None:
    """This ranker takes what is unknown for the best, as one may that was taught by what came into demand."""
    on = Shelf.build([*CATALOGUE, COAT, NEW], ranked(more=-1.0), {}, NOW_S)
    placement = Placement(sources={"content": 1.0, "popular": 0.1})
    (block,) = ask(on, visitor("m2", "m1"), slot("feed", 30), placements={"feed": placement})
    ranks = [entry.item for entry in block.items if entry.reason.source in placement.sources]
    assert {COAT.id, NEW.id} < set(ranks)
    assert ranks[-1] == COAT.id
    assert ranks[0] != NEW.id


def test_what_somebody_has_looked_at_since_the_training_is_the_rankers() -> None:
    counters = {COAT.id: ItemCounters(1.0, 0.0, 0.0, NOW_S)}
    on = Shelf.build([*CATALOGUE, COAT], ranked(more=-1.0), counters, NOW_S)
    placement = Placement(sources={"content": 1.0, "popular": 0.1})
    (block,) = ask(on, visitor("m2", "m1"), slot("feed", 30), placements={"feed": placement})
    assert shown(block)[0] == COAT.id


def test_neighbours_say_nothing_where_nobody_else_looked_at_anything_of_the_session() -> None:
    on = Shelf.build([*CATALOGUE, COAT, NEW], ranked(), {}, NOW_S)
    for looked, said in ((visitor(NEW.id, COAT.id), False), (visitor("m1", COAT.id), True)):
        (block,) = ask(on, looked, slot("home.feed", 20))
        assert ("neighbours" in {entry.reason.source for entry in block.items}) == said


def test_before_anything_is_learned_what_the_person_looks_at_counts_before_what_everybody_does() -> None:
    hot = {f"t{number}": ItemCounters(50.0 + number, 0, 0, NOW_S) for number in range(6)}
    on = Shelf.build([*CATALOGUE, NEW, COAT], bundle(), hot, NOW_S)
    rules = {"feed": Placement(sources={"content": 0.2, "neighbours": 0.2, "trending": 5.0})}
    (block,) = ask(on, visitor(NEW.id, ago_s=30), slot("feed", 8), placements=rules)
    assert set(shown(block)[:6]) == MUGS
    (block,) = ask(on, visitor("s1", ago_s=30), slot("feed", 8), placements=rules)
    assert shown(block)[0] == "t5"  # what people went on to from stoves is known: the weights count
