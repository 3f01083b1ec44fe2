"""An unknown person is shown what the addresses that brought them here name, and is told so."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from recsys.block import Block
from recsys.decide import View, why
from recsys.fold import SessionRules
from recsys.pipeline.arrival import CategoryNames, came_for, looked_for
from recsys.pipeline.shelf import Shelf
from recsys.placement import DEFAULT_PLACEMENTS
from recsys.profile import Profile, Session
from tests.recsys.pipeline.shops import (
    CATALOGUE,
    FRESH,
    NOW_MS,
    NOW_S,
    ask,
    bare_shelf,
    bundle,
    product,
    shelf,
    shown,
    slot,
    visitor,
)


def names_of(*names: str) -> CategoryNames:
    known = CategoryNames()
    for code, name in enumerate(names):
        known.add(code, name)
    return known


NAMES = names_of("Tents", "Camping stoves", "Stoves", "Größe & Co")


@pytest.mark.parametrize(
    ("addresses", "code"),
    [
        (("https://shop.example/outdoor/tents/",), 0),
        (("https://shop.example/p/1?utm_campaign=Spring_camping-stoves_2026",), 1),
        (("https://search.example/?q=stoves+for+tents",), 2),
        (("https://shop.example/", "https://search.example/?q=tents"), 0),
        (("https://shop.example/Camping%20Stoves/tents",), 1),
        (("https://shop.example/gr%C3%B6%C3%9Fe?x=Gr%C3%B6%C3%9Fe+%26+co",), 3),
        (("https://shop.example/tent/",), 0),
        (("https://tents.example/",), -1),
        (("https://shop.example/attents",), -1),
        (("http://[broken/tents", "tents"), 0),
        (("", "?" + "&" * 500), -1),
        ((), -1),
    ],
)
def test_the_category_that_an_address_names(addresses: tuple[str, ...], code: int) -> None:
    assert came_for(addresses, NAMES) == code


def families(block: Block) -> list[str]:
    return [item[0] for item in shown(block)]


@pytest.mark.parametrize("build", [shelf, bare_shelf])
def test_somebody_unknown_is_shown_what_they_came_for_first_and_told_so(build) -> None:
    feed = slot("home.feed", 12)
    (block,) = ask(build(), None, feed, addresses=("https://shop.example/?utm_campaign=mugs",))
    assert families(block)[:6] == ["m"] * 6
    assert set(families(block)[6:]) <= {"t", "s"}
    assert block.items[0].reason.text == "in demand in Mugs, which you came for"
    assert block.fallback in ("no_profile", "no_model")


@pytest.mark.parametrize(
    ("category", "queries", "code"),
    [
        ("Tents", (), 0),
        ("Outdoor/Camping stoves", (), 1),
        ("Hammocks", ("cheap gas stoves", "a hammock"), 2),
        ("", ("tents", "the best camping stoves"), 1),
        ("Hammocks", ("rope",), -1),
        ("", (), -1),
    ],
)
def test_the_category_that_a_session_names(category: str, queries: tuple[str, ...], code: int) -> None:
    assert looked_for(category, queries, NAMES)[0] == code


@pytest.mark.parametrize(
    ("query", "category"),
    [
        ("tent", "Tents"),
        ("TENTS", "Tents"),
        ("a battery", "Batteries"),
        ("watches", "Watch"),
        ("a stove for camping", "Camping stoves"),
        ("camping", "Camping stoves"),
        ("the red wine", "Red wine"),
        ("the lamp", "Gas lamps"),
        ("red", "Red wine"),
        ("red shoes", ""),
        ("gas", ""),
        ("boots", "Boots"),
        ("winter boots", "Winter boots"),
        ("?!", ""),
    ],
)
def test_words_of_a_search_find_the_category_in_any_order_and_number(query: str, category: str) -> None:
    """One word of several says little (red shoes are no red wine), nor does one that many names have."""
    shop = ("Tents", "Batteries", "Watch", "Stoves", "Camping stoves", "Red wine", "Gas lamps", "Gas pumps")
    shop += ("Winter boots", "Boots")
    code, unfound = looked_for("", ("boots", query), names_of(*shop))
    assert shop[code] == (category or "Boots")
    assert unfound == (() if category else (query,))


def test_a_name_that_has_been_given_keeps_its_words() -> None:
    names = names_of("Tents", "tent", "!!", "Tents")
    assert [names.searched(query) for query in ("tents", "!!", "")] == [(0, False), (-1, True), (-1, True)]


@pytest.mark.parametrize("build", [shelf, bare_shelf])
@pytest.mark.parametrize(
    "tells",
    [{"category": "Outdoor/Mugs"}, {"category": "Sale", "queries": ("blue mugs",)}],
    ids=["list", "search"],
)
def test_who_has_looked_at_a_list_or_searched_is_shown_that_first(build, tells: dict[str, Any]) -> None:
    session = Session(NOW_MS - 60_000, NOW_MS - 60_000, **tells)
    profile, feed = visitor(session=session), slot("home.feed", 12)
    (block,) = ask(build(), profile, feed)
    assert families(block)[:6] == ["m"] * 6
    assert block.items[0].reason.text == "in demand in Mugs, which you came for"
    assert block.fallback == ("" if build is shelf else "no_model")
    (later,) = ask(build(), profile, feed, now_ms=NOW_MS + 3_600_000)
    (stranger,) = ask(build(), None, feed)
    assert (families(later), later.fallback) == (families(stranger), stranger.fallback)


def test_where_the_list_has_nothing_to_show_nothing_personal_had_a_say() -> None:
    session = Session(NOW_MS - 60_000, NOW_MS - 60_000, category="Mugs")
    on = shelf()
    for item in [item for item in CATALOGUE if item.id.startswith("m")]:
        on.upsert(replace(item, available=False))
    (block,) = ask(on, visitor(session=session), slot("home.feed", 4))
    assert block.items
    assert block.fallback == "no_profile"


def test_what_somebody_did_counts_more_than_where_they_came_from() -> None:
    came = {"addresses": ("https://shop.example/mugs/",)}
    feed = slot("home.feed", 12)
    assert ask(shelf(), visitor("t1"), feed, **came)[0].items == ask(shelf(), visitor("t1"), feed)[0].items


def test_on_the_page_of_an_item_that_item_decides() -> None:
    page = slot("product.similar", 3, "t1")
    with_campaign = ask(shelf(), None, page, addresses=("https://shop.example/?utm_campaign=mugs",))
    assert families(with_campaign[0]) == ["t"] * 3


def searching(*queries: str) -> Profile:
    return visitor(session=Session(NOW_MS - 60_000, NOW_MS - 60_000, queries=queries))


def brand_shop() -> Shelf:
    changes = {"t1": "Harrowfell", "s4": "Harrowfell", "m2": "Tindra"}
    items = [replace(item, brand=changes.get(item.id, "")) for item in CATALOGUE]
    return Shelf.build(items, bundle(items), {}, NOW_S)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("harrowfell", {"t1", "s4"}),
        ("Harrowfells gas thing", set()),
        ("the Harrowfell", {"t1", "s4"}),
        ("harrowfell stove", {"s4"}),
        ("hammocks", set()),
    ],
)
def test_where_no_category_fits_titles_and_brands_with_the_words_come_first(
    query: str, found: set[str]
) -> None:
    on, feed = brand_shop(), slot("home.feed", 8)
    (block,) = ask(on, searching("nothing", query), feed)
    (stranger,) = ask(on, None, feed)
    assert set(shown(block)[: len(found)]) == found
    told = {item.item for item in block.items if item.reason.text == f"you searched for {query}"}
    assert told == found
    assert len(block.items) == len(stranger.items)
    assert block.fallback == ("" if found else "no_profile")


def test_what_is_sought_is_not_shown_where_it_may_not_be() -> None:
    on = brand_shop()
    on.upsert(replace(on.columns.items[on.columns.row("s4")], available=False))
    on.upsert(product("m", 9, brand="Harrowfell"))
    feed = slot("home.feed", 8)
    (block,) = ask(on, searching("harrowfell"), feed)
    assert set(shown(block)[:2]) == {"t1", "m9"}, "what is sold out is not, what is new is"
    (cheap,) = ask(on, searching("harrowfell"), replace(feed, filter="price_now > 12.0"))
    assert shown(cheap)[0] == "m9"
    assert "t1" not in shown(cheap)
    (page,) = ask(on, searching("harrowfell"), slot("product.similar", 3, "t3"))
    assert families(page) == ["t"] * 3


def test_a_newer_search_counts_before_an_older_one() -> None:
    (block,) = ask(brand_shop(), searching("tents", "tindra"), slot("home.feed", 8))
    assert shown(block)[0] == "m2"
    assert families(block)[1:7] == ["t"] * 6
    (known,) = ask(brand_shop(), visitor("m1"), slot("home.feed", 4))
    session = Session(NOW_MS - 60_000, NOW_MS - 60_000, queries=("harrowfell",))
    (searched,) = ask(brand_shop(), visitor("m1", session=session), slot("home.feed", 4))
    assert shown(searched) == shown(known), "what somebody did counts more"


def test_the_account_of_what_was_sought_names_the_search() -> None:
    placement = DEFAULT_PLACEMENTS["home.feed"]
    view = View(
        shelf=brand_shop(),
        person="a:v",
        profile=searching("harrowfell"),
        now_ms=NOW_MS,
        rules=SessionRules(),
        freshness=FRESH,
    )
    _, accounts = why(view, slot("home.feed", 2), placement, {}, [])
    for told in accounts:
        assert told.reason is not None
        assert told.reason.text == "you searched for harrowfell"
        assert [one.reason.text for one in told.shares if one.source == "content"] == [told.reason.text]
