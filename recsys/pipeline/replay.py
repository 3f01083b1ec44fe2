"""Replay: the pipeline as it serves, in a shop that lives through its past once more.

`Replay` goes with the time: each event changes profiles, catalogue and counters by the same folds as in
the flow, and in between the pipeline can be asked for anybody. `blend` asks for sessions alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

import numpy as np

from recsys.catalog import Item, type_of
from recsys.counters import ItemCounters
from recsys.events import Action, Event
from recsys.fold import SessionRules, apply
from recsys.item import ItemState, WentOn, mentions_of
from recsys.models.arrays import Rows
from recsys.models.bundle import FORMAT, Bundle, Manifest, Models, TrainingRange
from recsys.models.evaluation import Recommend
from recsys.pipeline.person import Person
from recsys.pipeline.pipeline import choose
from recsys.pipeline.query import Query, Visit, salt_of
from recsys.pipeline.shelf import Shelf
from recsys.placement import PRODUCT_FEED, Placement
from recsys.profile import MAX_TOUCHES, Profile, Session, Touch
from recsys.view import View, look
from recsys.visitor import StageRules

FEED: Final = Placement(sources=PRODUCT_FEED, item_types=("product", "article"), limit=20)
"""What is evaluated: the blend of home.feed, over everything."""
_STEP_S: Final = 30


class Replay:
    """A shop at a moment of its past, and the people in it. For one thread.

    Rows are the shelf's: the bundle's own first, then those of items it does not know.
    """

    def __init__(
        self,
        bundle: Bundle,
        catalogue: Iterable[Item],
        counters: Mapping[str, ItemCounters],
        now_ms: int,
        placement: Placement = FEED,
        rules: SessionRules = SessionRules(),
    ) -> None:
        """`catalogue` and `counters` are what was known of the items at `now_ms`, epoch milliseconds."""
        self._shelf = Shelf.build(catalogue, bundle, counters, now_ms // 1000)
        self._items: dict[str, ItemState] = {}
        self._profiles: dict[str, Profile] = {}
        self._ways = Ways(rules)
        self._counters = counters
        self._placement = placement
        self._rules = rules

    def remember(self, event: Event) -> None:
        """Fold an event into the profile of its visitor, and no more: the shop knows it already."""
        self._ways.take(event)
        known = self._profiles.get(event.visitor) or Profile()
        self._profiles[event.visitor], _ = apply(known, event, self._rules)

    def happen(self, event: Event) -> None:
        """Take an event's word on its items: what they are, and that they are in demand."""
        for item_id, mention in mentions_of(event):
            state = self._state(item_id)
            before = state.item
            state.take(mention)
            if state.item is not None and state.item is not before:
                self._shelf.upsert(state.item)
            if mention.counted:
                self._shelf.count(item_id, state.counters)
        went_on = self._ways.take(event)
        if went_on is not None:
            state = self._state(went_on.item_id)
            state.take(went_on)
            self._shelf.count(went_on.item_id, state.counters)

    def profile(self, visitor: str) -> Profile | None:
        """What is known of a visitor; None for one of whom nothing is."""
        return self._profiles.get(visitor)

    def best(self, visitor: str, now_ms: int, limit: int, exclude: Collection[str] = ()) -> Rows:
        """What the pipeline shows the visitor at `now_ms`: int32[k], k at most `limit`."""
        columns = self._shelf.columns
        person = Person.of(self._profiles.get(visitor), columns, now_ms, self._rules)
        visit = Visit(person, columns, self._shelf.bundle, self._shelf.scratch(), salt_of(f"a:{visitor}"))
        query = Query(visit, self._placement, limit, exclude=tuple(exclude))
        rows = np.asarray(choose(query, ()).rows, np.int32)
        visit.close()
        return rows

    def item(self, item_id: str) -> tuple[Item | None, ItemCounters]:
        """What is known of an item, and how it does."""
        state = self._state(item_id)
        return state.item, state.counters

    def item_id(self, row: int) -> str:
        """The id of an item that was shown."""
        item = self._shelf.columns.items[row]
        assert item is not None  # what is shown is in the catalogue
        return item.id

    def _state(self, item_id: str) -> ItemState:
        state = self._items.get(item_id)
        if state is None:
            state = self._items[item_id] = ItemState(item_id)
            row = self._shelf.columns.row(item_id)
            state.item = self._shelf.columns.items[row] if row >= 0 else None
            state.counters = self._counters.get(item_id, state.counters)
        return state


class Ways:
    """Which item each visitor went on from, as the visitor stage tells it of events in order."""

    def __init__(self, rules: SessionRules) -> None:
        self._rules = StageRules(rules)
        self._visitors: dict[str, View] = {}

    def take(self, event: Event) -> WentOn | None:
        """What an event says of the item before it; None where it goes on from none."""
        view = self._visitors.get(event.visitor)
        if view is None:
            view = self._visitors[event.visitor] = View()
        came_from = look(view, event, self._rules.session)
        return WentOn(came_from, event.lines[0].item, event.at_ms) if came_from else None


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
            price=item.price_now if item is not None else None,
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
