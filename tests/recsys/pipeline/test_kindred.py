"""People known by what they have: who is asked about them, when, and what is said."""

from __future__ import annotations

import pytest

from recsys.block import Block
from recsys.models.als import AlsSettings
from recsys.models.boosting import BoostingSettings
from recsys.models.kindred import Kindred
from recsys.models.kindred_ranker import KindredRanker, KindredRankerSettings
from recsys.pipeline.shelf import Shelf
from recsys.placement import Placement
from recsys.profile import Session
from tests.recsys.pipeline.shops import (
    CATALOGUE,
    NOW_MS,
    NOW_S,
    ask,
    bundle,
    interactions,
    shown,
    slot,
    visitor,
)

RANKER = KindredRankerSettings(boosting=BoostingSettings(trees=10, depth=3))
LONG_AGO_S = 40 * 86_400


@pytest.fixture(scope="module")
def plain() -> Shelf:
    """Kindred people are known, and no ranker."""
    known = bundle()
    known.kindred = Kindred.fit(interactions().with_items(known.item_ids))
    return Shelf.build(CATALOGUE, known, {}, NOW_S)


@pytest.fixture(scope="module")
def ranked(plain: Shelf) -> Shelf:
    known = bundle()
    learned = interactions().with_items(known.item_ids)
    known.kindred = Kindred.fit(learned)
    known.kindred_ranker = KindredRanker.fit(learned, AlsSettings(factors=8, iterations=3), RANKER)
    assert known.kindred_ranker is not None
    return Shelf.build(CATALOGUE, known, {}, NOW_S)


def by_kindred(on: Shelf, *items: str, ago_s: int = LONG_AGO_S, page: str | None = None) -> Block:
    placement = Placement(sources={"kindred": 1.0})
    closed = Session((NOW_S - ago_s) * 1000, (NOW_S - ago_s) * 1000, closed=True)
    profile = visitor(*items, ago_s=ago_s, **({"session": closed} if ago_s == LONG_AGO_S else {}))
    (block,) = ask(on, profile, slot("theirs", 4, item=page), placements={"theirs": placement})
    return block


def sources(block: Block) -> set[str]:
    return {item.reason.source for item in block.items}


def test_who_comes_back_is_shown_what_kindred_people_have(plain: Shelf) -> None:
    block = by_kindred(plain, "m1", "m2")
    assert sources(block) == {"kindred"}
    assert not {"m1", "m2"} & set(shown(block))
    reason = block.items[0].reason
    assert reason.text.startswith("you viewed Mug ")
    assert reason.evidence_item in ("m1", "m2")
    assert reason.evidence_at_ms < NOW_MS


def test_in_a_session_sources_of_sessions_know_better(plain: Shelf) -> None:
    assert "kindred" not in sources(by_kindred(plain, "m1", "m2", ago_s=60))


def test_on_the_page_of_an_item_it_says_nothing(plain: Shelf, ranked: Shelf) -> None:
    for on in (plain, ranked):
        assert "kindred" not in sources(by_kindred(on, "m1", "m2", page="t1"))


def test_a_bundle_without_kindred_people_names_nobody_by_them() -> None:
    assert "kindred" not in sources(by_kindred(Shelf.build(CATALOGUE, bundle(), {}, NOW_S), "m1", "m2"))


@pytest.mark.parametrize("ago_s", [60, LONG_AGO_S], ids=["in a session", "long ago"])
def test_where_sessions_tell_no_order_their_ranker_weighs_all(ranked: Shelf, ago_s: int) -> None:
    block = by_kindred(ranked, "m1", "m2", ago_s=ago_s)
    assert "kindred" in sources(block)
    scores = [item.score for item in block.items if item.reason.source == "kindred"]
    assert scores == sorted(scores, reverse=True)
    again = by_kindred(ranked, "m1", "m2", ago_s=ago_s)
    assert shown(again) == shown(block)


def test_what_somebody_has_is_shown_after_what_is_new_to_them(ranked: Shelf) -> None:
    placement = Placement(sources={"kindred": 1.0, "recent": 1.0}, limit=18)
    (block,) = ask(ranked, visitor("m1", "m2", "m3"), slot("all", 18), placements={"all": placement})
    named = [item.item for item in block.items if item.reason.source in ("kindred", "recent")]
    assert named[-2:] == ["m2", "m1"] or named[-2:] == ["m1", "m2"]


def test_somebody_of_whom_nothing_is_known_gets_a_block(ranked: Shelf) -> None:
    assert len(shown(by_kindred(ranked))) == 4
