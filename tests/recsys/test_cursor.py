"""Cursors: pages of a feed that never repeat an item."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from recsys.cursor import MAX_SEEN_ITEMS, decode_cursor, encode_cursor
from tests.recsys.pipeline.shops import CATALOGUE, ask, shelf, shown, slot, visitor

ids = st.lists(st.text(min_size=1, max_size=40), min_size=1, max_size=60).map(tuple)


@given(ids)
def test_a_cursor_names_what_was_seen(seen: tuple[str, ...]) -> None:
    assert decode_cursor(encode_cursor(seen)) == seen


def test_no_cursor_and_the_end() -> None:
    assert decode_cursor("") == ()
    assert encode_cursor(()) == ""
    assert encode_cursor(["x"] * MAX_SEEN_ITEMS) == ""


@pytest.mark.parametrize("cursor", ["nonsense", "AAAA", "Aw==", "AZ==", "ä", "A" * 100_000])
def test_what_is_no_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(ValueError, match="Expected the `next_cursor` of a block, got `"):
        decode_cursor(cursor)


@pytest.mark.parametrize("behind", ["A", "AA", "AAAA", "====", "!"])
@pytest.mark.parametrize("seen", [("x",), ("xy",), ("xyz",)])  # each padded in another way
def test_what_stands_behind_a_cursor_is_refused(seen: tuple[str, ...], behind: str) -> None:
    with pytest.raises(ValueError, match="Expected the `next_cursor` of a block, got `"):
        decode_cursor(encode_cursor(seen) + behind)


def test_pages_never_repeat_an_item_and_end() -> None:
    on, profile = shelf(), visitor("t1", "s1")
    pages: list[list[str]] = []
    cursor, changed = "", False
    for _ in CATALOGUE:  # no feed has more pages than there are items
        (block,) = ask(on, profile, replace(slot("home.feed", 5), seen=decode_cursor(cursor)))
        if not block.items:
            break
        pages.append(shown(block))
        cursor = block.next_cursor
        if not cursor:
            break
        if not changed:  # what is new, or sold out, between two pages changes nothing of it
            on.upsert(replace(CATALOGUE[-4], available=False))
            changed = True
    items = [item for page in pages for item in page]
    assert len(items) == len(set(items))
    products = {item.id for item in CATALOGUE if item.type == "product"}
    assert set(items) == products - {CATALOGUE[-4].id}


def test_a_page_that_shows_all_there_is_is_the_last() -> None:
    n_products = sum(item.type == "product" for item in CATALOGUE)
    (all_of_it, full) = (
        ask(shelf(), visitor("t1"), slot("home.feed", limit))[0] for limit in (n_products + 1, n_products - 1)
    )
    assert (len(all_of_it.items), all_of_it.next_cursor) == (n_products, "")
    assert full.next_cursor


def test_a_block_that_has_no_pages_has_no_cursor() -> None:
    (hero,) = ask(shelf(), visitor("t1"), slot("home.hero", 3))
    assert hero.next_cursor == ""
