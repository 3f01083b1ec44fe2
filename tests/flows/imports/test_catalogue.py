"""What `headrace catalog list` says, and what an import says in the end."""

from __future__ import annotations

import pytest

from flows.imports.append import CatalogReport
from flows.imports.catalogue import about, listing
from flows.imports.run import taken_out
from recsys.catalog import Item

TENT = Item("P-1", title="Tent", category=("Outdoor", "Tents"), price=99.0, currency="EUR", fed=True)
GONE = Item("P-2", title="Stove", fed=True, removed=True, available=False)
SEEN = Item("P-3", title="Mug", price=5.0)
READ = Item("article:1", "article", title="How to", fed=True)
ALL = (TENT, GONE, SEEN, READ)


@pytest.mark.parametrize(
    ("asked", "shown", "total"),
    [
        ((50, None, False), [TENT, SEEN, READ], 3),
        ((2, None, True), [TENT, GONE], 4),
        ((50, "article", False), [READ], 1),
        ((50, "product", True), [TENT, GONE, SEEN], 3),
    ],
)
def test_a_listing_counts_what_it_does_not_show(asked, shown, total):
    assert listing(ALL, *asked) == (shown, total)


@pytest.mark.parametrize(
    ("item", "line"),
    [
        (TENT, "Tent | Outdoor > Tents | 99.00 EUR"),
        (GONE, "Stove | removed"),
        (SEEN, "Mug | 5.00 | known from events only"),
        (Item("P-4", title="a\x1b[2Jb\n", fed=True, available=False), "a\\x1b[2Jb\\n | not available"),
    ],
)
def test_an_item_is_one_line_that_steers_no_terminal(item, line):
    assert about(item) == line


@pytest.mark.parametrize(
    ("report", "line"),
    [
        (CatalogReport(kinds={"product": 9}, removed=1), "1 product taken out"),
        (CatalogReport(kinds={"article": 9}, removed=1200), "1,200 articles taken out"),
        (
            CatalogReport(kinds={"product": 9}, nameless=2, kept_missing=4),
            "nothing taken out: 2 rows could not be read, so 4 items not named were kept",
        ),
        (
            CatalogReport(kinds={"product": 9}, nameless=1, kept_missing=1),
            "nothing taken out: 1 row could not be read, so 1 item not named was kept",
        ),
        (CatalogReport(nameless=2), "nothing taken out: the feed has no item that could be read"),
    ],
)
def test_a_full_feed_says_what_it_took_out(report, line):
    assert taken_out(report) == line
