"""The items of a block, in columns and one by one."""

from __future__ import annotations

from recsys.block import BlockItem, Lineup, Reason, Urgency

VIEWED = Reason("content", "you viewed Tent, and this is much like it", "p1", "Product Viewed", 1)
POPULAR = Reason("popular", "popular in this shop")


def test_a_lineup_reads_as_the_items_it_is_made_of() -> None:
    items = (
        BlockItem("p2", 0.5, VIEWED),
        BlockItem("p3", 0.25, POPULAR, 0.1, Urgency(stock=2)),
        BlockItem("p4", 0.125, VIEWED),
    )
    lineup = Lineup.of(items)
    assert (tuple(lineup), len(lineup), lineup[-1], lineup[1:]) == (items, 3, items[2], items[1:])
    assert lineup.told == [VIEWED, POPULAR]


def test_what_is_the_same_for_all_items_has_no_column() -> None:
    lineup = Lineup.of([BlockItem("p2", 0.5, VIEWED), BlockItem("p3", 0.25, POPULAR)])
    assert (lineup.propensities, lineup.urgencies) == ((), ())


def test_lineups_are_equal_when_their_items_are() -> None:
    lineup = Lineup.of([BlockItem("p2", 0.5, VIEWED), BlockItem("p3", 0.25, POPULAR)])
    assert lineup == Lineup(("p2", "p3"), (0.5, 0.25), (POPULAR, VIEWED), (1, 0), (1.0, 1.0))
    assert lineup != Lineup(("p2", "p3"), (0.5, 0.25), (POPULAR, VIEWED), (1, 1))
    assert lineup != tuple(lineup)
