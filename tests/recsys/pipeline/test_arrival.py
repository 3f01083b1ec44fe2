"""An unknown person is shown what the addresses that brought them here name, and is told so."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from recsys.block import Block
from recsys.pipeline.arrival import came_for, looked_for, slug
from recsys.profile import Session
from tests.recsys.pipeline.shops import CATALOGUE, NOW_MS, ask, bare_shelf, shelf, shown, slot, visitor

CODES = {slug(name): code for code, name in enumerate(("Tents", "Camping stoves", "Stoves", "Größe & Co"))}


@pytest.mark.parametrize(
    ("addresses", "code"),
    [
        (("https://shop.example/outdoor/tents/",), 0),
        (("https://shop.example/p/1?utm_campaign=Spring_camping-stoves_2026",), 1),
        (("https://search.example/?q=stoves+for+tents",), 2),
        (("https://shop.example/", "https://search.example/?q=tents"), 0),
        (("https://shop.example/Camping%20Stoves/tents",), 1),
        (("https://shop.example/gr%C3%B6%C3%9Fe?x=Gr%C3%B6%C3%9Fe+%26+co",), 3),
        (("https://tents.example/",), -1),
        (("https://shop.example/attents",), -1),
        (("http://[broken/tents", "tents"), 0),
        (("", "?" + "&" * 500), -1),
        ((), -1),
    ],
)
def test_the_category_that_an_address_names(addresses: tuple[str, ...], code: int) -> None:
    assert came_for(addresses, CODES) == code


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
    assert looked_for(category, queries, CODES) == code


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
