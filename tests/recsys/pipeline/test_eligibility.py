"""Age and market: what somebody may not be shown is not shown by any source, and blocks are full."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from recsys.catalog import Item
from recsys.counters import ItemCounters
from recsys.decide import View, why
from recsys.fold import SessionRules
from recsys.pipeline.find_kernel import POPULAR_POOL
from recsys.pipeline.sentences import sentence
from recsys.pipeline.shelf import Shelf
from recsys.placement import DEFAULT_PLACEMENTS, Placement
from tests.recsys.pipeline.shops import (
    CATALOGUE,
    FRESH,
    NOW_MS,
    NOW_S,
    ask,
    bare_shelf,
    product,
    shelf,
    shown,
    slot,
    visitor,
)

SPIRIT = Item("w1", title="Peated whisky", category=("Spirits",), fed=True, min_age=18)


def upserted(on: Shelf, *items: Item) -> Shelf:
    for item in items:
        on.upsert(item)
    return on


@pytest.mark.parametrize("build", [shelf, bare_shelf])
@pytest.mark.parametrize("placement", sorted(DEFAULT_PLACEMENTS))
def test_no_source_of_any_placement_brings_what_is_not_sold_here(build, placement: str) -> None:
    profile = visitor("t1", "t2", "s1", cart=("t1", "s1"))
    on = upserted(
        build(), replace(product("t", 1), markets=("CH",)), replace(product("s", 2), not_markets=("DE",))
    )
    asked = slot(placement, 60, "t2")
    (here,) = ask(on, profile, asked, market="de ")
    assert not {"t1", "s2"} & set(shown(here))
    (there,) = ask(on, profile, asked, market="CH")
    (anywhere,) = ask(on, profile, asked)
    (free,) = ask(build(), profile, asked)
    assert set(shown(there)) == set(shown(anywhere)) == set(shown(free))
    assert set(shown(here)) == set(shown(free)) - {"t1", "s2"}


def test_what_asks_for_an_age_is_shown_to_who_is_known_to_have_it() -> None:
    on = upserted(shelf(), SPIRIT)
    feed = slot("home.feed", 60)
    assert "w1" not in shown(ask(on, visitor("t1"), feed)[0])
    assert "w1" not in shown(ask(on, visitor("t1"), feed, age=17)[0])
    assert "w1" in shown(ask(on, visitor("t1"), feed, age=18)[0])
    gated = {"bar": Placement(sources={"popular": 1.0}, limit=60, min_age=18)}
    assert "w1" in shown(ask(on, visitor("t1"), slot("bar", 60), placements=gated)[0])


def test_the_rule_goes_with_the_last_item_that_asks_for_it() -> None:
    on = upserted(shelf(), SPIRIT)
    upserted(on, replace(SPIRIT, min_age=0))
    assert "w1" in shown(ask(on, visitor("t1"), slot("home.feed", 60))[0])
    assert not on.passing.asks_age


def test_a_market_is_known_by_its_name_too() -> None:
    on = upserted(shelf(), replace(SPIRIT, min_age=0, markets=("DE",)))
    for market, sold in (("Germany", True), ("de", True), ("France", False), ("Nowhere", False)):
        assert ("w1" in shown(ask(on, visitor("t1"), slot("home.feed", 60), market=market)[0])) == sold


@pytest.mark.parametrize("named", ["UK", "GB", "United Kingdom"])
def test_a_feed_may_call_a_market_by_another_name(named: str) -> None:
    sold = upserted(shelf(), replace(SPIRIT, min_age=0, markets=(named,)))
    barred = upserted(shelf(), replace(SPIRIT, min_age=0, not_markets=(named,)))
    for market in ("uk", "GB", "United Kingdom"):
        assert "w1" in shown(ask(sold, visitor("t1"), slot("home.feed", 60), market=market)[0])
        assert "w1" not in shown(ask(barred, visitor("t1"), slot("home.feed", 60), market=market)[0])


def test_a_market_that_analytics_does_not_know_bars_nothing() -> None:
    on = upserted(shelf(), replace(SPIRIT, min_age=0, markets=("DE",)))
    assert "w1" in shown(ask(on, visitor("t1"), slot("home.feed", 60), market="(not set)")[0])


def test_a_block_is_full_of_what_is_sold_here_when_that_is_one_in_a_thousand() -> None:
    rng = np.random.default_rng(3)
    items = [
        Item(
            f"i{number}", title=f"Item {number}", fed=True, min_age=int(rng.choice((0, 18))),
            markets=("DE", "AT") if number % 500 == 7 else ("US",), not_markets=("AT",) if number % 3 else (),
        )
        for number in range(50_000)
    ]  # fmt: skip
    counters = {f"i{number}": ItemCounters(number, 0, 0, NOW_S) for number in range(0, 50_000, 3)}
    on = bare_shelf([replace(one, markets=("US",)) for one in CATALOGUE] + items, counters)
    for market, age in (("DE", 0), ("DE", 18), ("AT", 30)):
        (block,) = ask(on, None, slot("home.feed", 80), market=market, age=age)
        may = {
            one.id for one in items
            if market in one.markets and market not in one.not_markets and one.min_age <= age
        }  # fmt: skip
        assert set(shown(block)) <= may
        assert len(block.items) == min(80, len(may))
        warm = sorted(may & counters.keys(), key=lambda item: -counters[item].views)
        head = warm[:POPULAR_POOL]
        assert shown(block)[: len(head)] == head


def test_explain_names_the_rule() -> None:
    on = upserted(shelf(), SPIRIT, replace(product("t", 1), markets=("CH",)))
    view = View(
        shelf=on, person="a:v", profile=visitor("t2"), now_ms=NOW_MS, rules=SessionRules(), freshness=FRESH,
        market="DE", age=16,
    )  # fmt: skip
    placement = DEFAULT_PLACEMENTS["home.feed"]
    _, told = why(view, slot("home.feed"), placement, {}, ["w1", "t1"])
    assert [(one.verdict, one.detail) for one in told] == [
        ("age", "the person is known to have 16 years at least"),
        ("market", "DE"),
    ]
    assert sentence(told[0], placement) == (
        "Not shown: it asks for an age, and the person is known to have 16 years at least."
    )
    assert sentence(told[1], placement) == ("Not shown: it may not be sold in the market of the request, DE.")
    nobody = replace(view, age=0)
    _, (told,) = why(nobody, slot("home.feed"), placement, {}, ["w1"])
    assert sentence(told, placement) == "Not shown: it asks for an age, and no age is known."
