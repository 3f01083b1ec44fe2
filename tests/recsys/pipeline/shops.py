"""A small shop whose answers are known: three product families, articles, and who went where.

tents t0..t5, stoves s0..s5, mugs m0..m5; people look at one family in a session. Whoever orders tent
k orders stove k with it. Mugs are viewed least. Articles are about tents or about coffee.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recsys.block import Block, Freshness, Slot
from recsys.catalog import Item
from recsys.counters import ItemCounters
from recsys.decide import View, decide
from recsys.events import Action
from recsys.fold import SessionRules
from recsys.models.als import Als, AlsSettings
from recsys.models.bought_together import BoughtTogether
from recsys.models.bundle import Bundle, Models
from recsys.models.content import Content
from recsys.models.interactions import InteractionKind, Interactions
from recsys.models.item_to_item import ItemToItem
from recsys.models.neighbours import SessionNeighbours
from recsys.models.popularity import Popularity
from recsys.models.ranker import Ranker
from recsys.models.signal_arrays import FEATURES
from recsys.models.signals import Signals
from recsys.models.transitions import Transitions
from recsys.models.trees import Trees
from recsys.pipeline.columns import types_of
from recsys.pipeline.replay import unsaved
from recsys.pipeline.shelf import Shelf, text_of
from recsys.placement import DEFAULT_PLACEMENTS, Placement
from recsys.profile import CartLine, Profile, Session, Touch

NOW_S = 1_790_000_000  # 21 September 2026, 14:13:20 UTC
NOW_MS = NOW_S * 1000
FRESH = Freshness(NOW_MS, 0, 0, True)
WORDS = {
    "t": ("Tents", "tent canvas shelter"),
    "s": ("Stoves", "stove gas cooking"),
    "m": ("Mugs", "mug enamel"),
}


def product(family: str, number: int, **changes: object) -> Item:
    category, words = WORDS[family]
    fields = {
        "id": f"{family}{number}", "title": f"{category[:-1]} {number}", "description": words,
        "category": ("Outdoor", category), "price": 10.0 + number, "fed": True, **changes,
    }  # fmt: skip
    return Item(**fields)


def article(name: str, words: str, **changes: object) -> Item:
    return Item(f"article:{name}", "article", title=f"About {words}", description=words, fed=True, **changes)


PRODUCTS = [product(family, number) for family in "tsm" for number in range(6)]
ARTICLES = [
    article("pitch", "tent canvas shelter"),
    article("brew", "coffee mug enamel"),
    article("knots", "tent rope"),
]
CATALOGUE = [*PRODUCTS, *ARTICLES]


def interactions(seed: int = 1, sessions: int = 240) -> Interactions:
    rng = np.random.default_rng(seed)
    rows: list[tuple[str, str, int, int]] = []
    for number in range(sessions):
        family = "ttsssmt"[number % 7]
        at_ms = NOW_MS - (sessions - number) * 3_600_000
        visitor = f"v{number % 60}"
        first = int(rng.integers(0, 6))
        rows += [
            (visitor, f"{family}{(first + step) % 6}", InteractionKind.VIEW, at_ms + step * 60_000)
            for step in range(4)
        ]
        if family == "t":
            bought = (f"t{first}", f"s{first}")
            rows += [(visitor, item, InteractionKind.ORDER, at_ms + 600_000) for item in bought]
        if number % 5 == 0:
            names = ("pitch", "knots") if family != "m" else ("brew",)
            rows += [(visitor, f"article:{name}", InteractionKind.READ, at_ms + 700_000) for name in names]
    visitors, items, kinds, at = zip(*rows, strict=True)
    return Interactions.from_columns([f"a:{v}" for v in visitors], visitors, items, kinds, at)


def bundle(catalogue: Sequence[Item] = CATALOGUE, seen: Interactions | None = None) -> Bundle:
    """Fitted on `seen`, else `interactions()`, knowing the texts of `catalogue`."""
    learned = (seen or interactions()).with_items([item.id for item in catalogue])
    texts = {item.id: text_of(item) for item in catalogue}
    als = Als.fit(learned, AlsSettings(factors=8, iterations=5))
    return unsaved(
        Models(
            item_ids=learned.item_ids,
            popularity=Popularity.fit(learned),
            transitions=Transitions.fit(learned),
            neighbours=SessionNeighbours.fit(learned),
            als=als,
            item_to_item=ItemToItem.fit(learned, als.item_factors),
            bought_together=BoughtTogether.fit(learned),
            content=Content.fit(
                [texts.get(item_id, "") for item_id in learned.item_ids], types=types_of(learned.item_ids)
            ),
        )
    )


def ranked(*catalogue: object, more: float = 1.0) -> Bundle:
    """Its ranker goes by popularity alone, as a learned one does where nothing else is known; `more`: what a
    step of it is worth."""
    known = bundle([*CATALOGUE, *catalogue])
    steps = [1e-6, *np.sort(known.popularity.scores)]
    borders = np.array(steps, np.float32)[:, None]
    trees = Trees(
        np.full((len(borders), 1), FEATURES.index("popularity"), np.int32),
        borders,
        np.tile(np.array([0, more], np.float32), (len(borders), 1)),
    )
    known.ranker = Ranker(Signals.fit(interactions().with_items(known.item_ids)), trees)
    return known


_BUNDLE: list[Bundle] = []


def known_bundle() -> Bundle:
    """One for all tests: it is never changed."""
    if not _BUNDLE:
        _BUNDLE.append(bundle())
    return _BUNDLE[0]


def shelf(catalogue: Sequence[Item] = CATALOGUE, counters: dict[str, ItemCounters] | None = None) -> Shelf:
    return Shelf.build(catalogue, known_bundle(), counters or {}, NOW_S)


def bare_shelf(
    catalogue: Sequence[Item] = CATALOGUE, counters: dict[str, ItemCounters] | None = None
) -> Shelf:
    """Without a bundle."""
    return Shelf.build(catalogue, None, counters or {}, NOW_S)


def visitor(*items: str, cart: Sequence[str] = (), ago_s: int = 60, **changes: object) -> Profile:
    """Somebody who has just looked at these, one a minute, the last `ago_s` ago."""
    start_s = NOW_S - ago_s - 60 * (len(items) - 1)
    touches = tuple(
        Touch(item, int(Action.READ if item.startswith("article:") else Action.VIEW), start_s + 60 * step)
        for step, item in enumerate(items)
    )
    lines = tuple(CartLine(item, 1.0, None, NOW_S - 100 + place) for place, item in enumerate(cart))
    session = Session(start_s * 1000, (NOW_S - ago_s) * 1000)
    fields = {"session": session, "touches": touches, "cart": lines, **changes}
    return Profile(**fields)


def ask(
    on: Shelf,
    profile: Profile | None,
    *slots: Slot,
    placements: dict[str, Placement] | None = None,
    person: str = "a:v",
    **changes: object,
) -> list[Block]:
    fields = {
        "shelf": on, "person": person, "profile": profile, "now_ms": NOW_MS, "rules": SessionRules(),
        "freshness": FRESH, **changes,
    }  # fmt: skip
    return decide(View(**fields), slots, {**DEFAULT_PLACEMENTS, **(placements or {})})


def slot(
    placement: str, limit: int = 5, item: str | None = None, name: str = "", exclude: tuple[str, ...] = ()
) -> Slot:
    return Slot(name=name or placement, placement=placement, limit=limit, item=item, exclude=exclude)


def shown(block: Block) -> list[str]:
    return [item.item for item in block.items]
