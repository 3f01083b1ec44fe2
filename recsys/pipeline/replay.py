"""Replay: the pipeline as it serves, asked for the next item of sessions of the past."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from recsys.block import PRODUCT_FEED, Placement
from recsys.catalog import Item, type_of
from recsys.events import Action
from recsys.fold import SessionRules
from recsys.models.arrays import Rows
from recsys.models.bundle import FORMAT, Bundle, Manifest, Models, TrainingRange
from recsys.models.evaluation import Recommend
from recsys.pipeline.person import Person
from recsys.pipeline.pipeline import choose
from recsys.pipeline.query import Query, Visit
from recsys.pipeline.shelf import Shelf
from recsys.profile import MAX_TOUCHES, Profile, Session, Touch

FEED: Final = Placement(sources=PRODUCT_FEED, item_types=("product", "article"), limit=20)
"""What is evaluated: the blend of home.feed, over everything."""
_STEP_S: Final = 30


def unsaved(models: Models) -> Bundle:
    """Models that have not been written anywhere, as a bundle."""
    manifest = Manifest(
        format=FORMAT, version="unsaved", headrace="", created_at_ms=0, training=TrainingRange(),
        evaluation={}, n_items=len(models.item_ids), files={},
    )  # fmt: skip
    return Bundle(manifest, models)


def past_catalogue(item_ids: Sequence[str], items: Iterable[Item]) -> list[Item]:
    """Every item that was ever named, as if it could still be had: the past is not to be judged by
    what is sold out today."""
    known = {item.id: item for item in items}
    return [
        Item(
            id=item_id,
            type=type_of(item_id),
            title=item.title if item is not None else "",
            description=item.description if item is not None else "",
            category=item.category if item is not None else (),
            brand=item.brand if item is not None else "",
            fed=True,
        )
        for item_id in item_ids
        for item in (known.get(item_id),)
    ]


def blend(bundle: Bundle, catalogue: Sequence[Item], now_ms: int) -> Recommend:
    """Recommends by the pipeline, for a person whose profile holds the session so far and no more.

    Rows are those of `catalogue`, whatever the bundle's own are. For one thread.
    """
    shelf = Shelf.build(catalogue, bundle, {}, now_ms // 1000)
    columns, scratch, rules = shelf.columns, shelf.scratch(), SessionRules()
    of_shelf = np.array([columns.row_of[item.id] for item in catalogue], np.int32)
    of_catalogue = np.full(columns.capacity, -1, np.int32)
    of_catalogue[of_shelf] = np.arange(len(catalogue), dtype=np.int32)

    def recommend(session: Rows) -> Rows:
        profile = _profile([catalogue[row].id for row in session[-MAX_TOUCHES:].tolist()], now_ms)
        person = Person.of(profile, columns, now_ms, rules)
        visit = Visit(person, columns, bundle, scratch, salt=0)
        return of_catalogue[choose(Query(visit, FEED, FEED.limit), ()).rows]

    return recommend


def _profile(item_ids: Sequence[str], now_ms: int) -> Profile:
    """Somebody who has looked at these, one after the other, up to now."""
    start_s = now_ms // 1000 - _STEP_S * len(item_ids)
    touches = tuple(
        Touch(
            item_id,
            int(Action.READ if type_of(item_id) == "article" else Action.VIEW),
            start_s + _STEP_S * step,
        )
        for step, item_id in enumerate(item_ids)
    )
    return Profile(
        first_ms=start_s * 1000, last_ms=now_ms, session=Session(start_s * 1000, now_ms), touches=touches
    )
