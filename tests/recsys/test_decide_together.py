"""Many people decided together: each gets what they would have got alone, to the byte."""

from __future__ import annotations

from functools import lru_cache
from random import Random

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.banner import Banner
from recsys.block import Block, Slot
from recsys.counters import ItemCounters
from recsys.decide import Asked, View, decide, decide_all
from recsys.fold import SessionRules
from recsys.models.als import AlsSettings
from recsys.models.boosting import BoostingSettings
from recsys.models.kindred import Kindred
from recsys.models.kindred_ranker import KindredRanker, KindredRankerSettings
from recsys.pipeline.shelf import Shelf
from recsys.placement import DEFAULT_PLACEMENTS, Placement
from recsys.profile import Order, Profile
from recsys.shown import Impression
from tests.recsys.pipeline.shops import (
    CATALOGUE,
    FRESH,
    NOW_MS,
    NOW_S,
    interactions,
    known_bundle,
    product,
    ranked,
    visitor,
)

NEW = [product("m", number) for number in (8, 9)]
ITEMS = [item.id for item in (*CATALOGUE, *NEW)]
HEARD = {
    "m9": ItemCounters(3.0, 0.0, 0.0, NOW_S - 60),
    "t1": ItemCounters().followed_by("m8", NOW_S - 60).followed_by("s3", NOW_S - 60),
}
BANNERS = {"sale": Banner(title="Sale"), "gold": Banner(title="Gold", priority=5, groups=("gold",))}
PLACEMENTS = {
    **DEFAULT_PLACEMENTS,
    "explored": msgspec.structs.replace(DEFAULT_PLACEMENTS["home.feed"], explore=0.5),
    "cheap": Placement(sources={"content": 1.0, "popular": 0.1, "neighbours": 1.0}, filter="price < 13.0"),
    "theirs": Placement(sources={"kindred": 1.0, "als": 1.0}),
}
NAMES = sorted(PLACEMENTS)


def _kindred() -> Shelf:
    known = ranked()
    learned = interactions().with_items(known.item_ids)
    known.ranker, known.kindred = None, Kindred.fit(learned)
    few = KindredRankerSettings(boosting=BoostingSettings(trees=10, depth=3))
    known.kindred_ranker = KindredRanker.fit(learned, AlsSettings(factors=8, iterations=3), few)
    assert known.kindred_ranker is not None
    return Shelf.build([*CATALOGUE, *NEW], known, HEARD, NOW_S)


@lru_cache
def shelves() -> tuple[Shelf, ...]:
    """With a ranker, with one for kindred people, with none, and without a model."""
    with_models = (ranked(), known_bundle(), None)
    return (_kindred(), *(Shelf.build([*CATALOGUE, *NEW], one, HEARD, NOW_S) for one in with_models))


def _profile(random: Random) -> Profile | None:
    if not random.randrange(6):
        return None
    looked, held = random.choices(ITEMS, k=random.randrange(7)), random.sample(ITEMS, random.randrange(3))
    return visitor(
        *looked,
        cart=held,
        ago_s=random.choice((60, 86_400 * 40)),
        email=random.choice((None, True, False)),
        personalization=random.choice((None, None, True, False)),
        orders=(Order("o", NOW_S - 86_400 * 30, 20.0, tuple(random.sample(ITEMS, random.randrange(3)))),),
    )


def _asked(random: Random, on: Shelf, number: int) -> Asked:
    slots = [
        Slot(
            name=f"slot-{place}",
            placement=name,
            limit=random.randrange(1, 8),
            item=random.choice(ITEMS) if PLACEMENTS[name].needs_item else None,
            exclude=tuple(random.sample(ITEMS, random.randrange(3))),
            seen=tuple(random.sample(ITEMS, random.randrange(5))) if PLACEMENTS[name].pages else (),
        )
        for place, name in enumerate(random.choices(NAMES, k=random.randrange(1, 5)))
    ]
    seen_before = Impression("d", random.choice(NAMES), NOW_MS - 60_000, tuple(random.sample(ITEMS, 3)))
    view = View(
        on,
        f"a:{number}",
        _profile(random),
        NOW_MS,
        SessionRules(),
        FRESH,
        seed=random.randrange(3),
        shown=(seen_before,) if random.randrange(2) else (),
        counting={name: frozenset(NAMES) for name in random.sample(NAMES, 3)},
        banners=BANNERS if random.randrange(2) else {},
        market=random.choice(("", "DE")),
        addresses=("https://shop.example/tents",) if random.randrange(2) else (),
    )
    return Asked(view, slots)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 3))
def test_each_gets_what_they_would_have_got_alone(seed: int, which: int) -> None:
    random, on = Random(seed), shelves()[which]
    asked = [_asked(random, on, number) for number in range(12)]
    together = decide_all(asked, PLACEMENTS)
    alone = [decide(view, slots, PLACEMENTS) for view, slots in asked]
    assert [_bytes(blocks) for blocks in together] == [_bytes(blocks) for blocks in alone]


def _bytes(blocks: list[Block]) -> list[bytes]:
    return [msgspec.json.encode(block) for block in blocks]


def test_nobody_is_nobody() -> None:
    assert decide_all([], PLACEMENTS) == []
