"""A category that a session keeps looking at brings what is bought with it."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.block import Block
from recsys.counters import ItemCounters
from recsys.models.complements import MOST_COMPLEMENTS, complements_of
from recsys.models.tables import TopTable
from recsys.placement import Placement
from tests.recsys.pipeline.shops import NOW_S, ask, shelf, shown, slot, visitor

ONLY = {"goes.with": Placement(sources={"complements": 1.0}, fills=False)}


def brought(*looked: str, counters: dict[str, ItemCounters] | None = None) -> Block:
    """Tents are bought with stoves; nothing is bought with mugs."""
    (block,) = ask(shelf(counters=counters), visitor(*looked), slot("goes.with", 9), placements=ONLY)
    return block


@pytest.mark.parametrize(
    ("looked", "families"),
    [
        (("t1", "t2", "t3"), {"s"}),
        (("t1", "m1", "t1", "m2", "t1"), {"s"}),
        (("s1", "s2", "s3", "s4"), {"t"}),
        (("t1", "t2"), set()),
        (("m1", "m2", "m3"), set()),
    ],
)
def test_a_category_seen_repeatedly_brings_its_complements(looked, families) -> None:
    assert {item[0] for item in shown(brought(*looked))} == families


def test_the_reason_names_the_category_and_how_often_it_was_seen() -> None:
    (first, *_) = brought("t1", "t2", "t3", "m1").items
    assert first.reason.text == "goes with Tents, which you looked at 3 times in this session"
    assert (first.reason.evidence_item, first.reason.evidence_event) == ("t3", "Product Viewed")
    assert first.reason.evidence_at_ms == (NOW_S - 120) * 1000


def test_a_session_that_is_over_is_called_the_last_one() -> None:
    placements = {"other": Placement(sources={"complements": 1.0}, limit=3)}
    yesterday = visitor("t1", "t2", "t3", ago_s=86_400)
    (block,) = ask(shelf(), yesterday, slot("other", 3), placements=placements)
    assert block.items[0].reason.text == "goes with Tents, which you looked at 3 times in your last session"


def test_what_is_in_demand_stands_first() -> None:
    counters = {f"s{number}": ItemCounters(float(number), 0, 0, NOW_S) for number in (2, 5)}
    assert shown(brought("t1", "t2", "t3", counters=counters)) == ["s5", "s2"]


def test_on_a_page_that_is_bought_with_nothing_the_session_has_a_say() -> None:
    def first(*looked: str) -> str:
        (block,) = ask(shelf(), visitor(*looked), slot("product.complements", 3, "m1"))
        return block.items[0].reason.source

    assert first("t1", "t2", "t3") == "complements"
    assert first("t1", "t2") != "complements"


def test_the_complements_of_a_category_are_those_most_surely_bought_with_it() -> None:
    scores = np.array([[9, 5, 4, 3, 2], *([[0] * 5] * 5)], np.float32)
    rows = np.array([[1, 2, 3, 4, 5], *([[-1] * 5] * 5)], np.int32)
    table = TopTable(rows, scores, np.array([5, 0, 0, 0, 0, 0], np.int32))
    # The first is of the same category, the last of none.
    found = complements_of(table, np.array([0, 0, 1, 2, 1, -1], np.int32))
    assert found == {0: ((1, pytest.approx(8 / 12)), (2, pytest.approx(4 / 12)))}
    many = complements_of(table, np.arange(6, dtype=np.int32))
    assert [code for code, _ in many[0]] == [1, 2, 3]
    assert len(many[0]) == MOST_COMPLEMENTS
    assert complements_of(TopTable.empty(3, 2), np.zeros(3, np.int32)) == {}


def test_what_was_bought_together_stands_before_what_others_name() -> None:
    sources = {"neighbours": 5.0, "bought_together": 0.5}
    rules = {
        "alone": Placement(sources={"bought_together": 1.0}, fills=False),
        "led": Placement(sources=sources, leading_sources=("bought_together",), fills=False),
        "free": Placement(sources=sources, fills=False),
    }

    def block(placement: str) -> list[str]:
        profile = visitor("t1", "m2", "m3", "m4")
        return shown(ask(shelf(), profile, slot(placement, 18, "t2"), placements=rules)[0])

    alone, led, free = block("alone"), block("led"), block("free")
    assert alone
    assert led[: len(alone)] == alone
    assert free[: len(alone)] != alone
    assert set(led) == set(free)
