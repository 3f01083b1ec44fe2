"""Reasons: why an item is in a block, in a sentence, with evidence that can be looked up.

Made for the items that are shown only. Items with the same evidence share one `Reason`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Final

import numpy as np

from recsys.block import Reason
from recsys.counters import ItemCounters, decay
from recsys.events import Action
from recsys.models.tables import TopTable
from recsys.pipeline.candidates import vector_of
from recsys.pipeline.kernels import strongest_seeds
from recsys.pipeline.mix import CATALOGUE, Choice
from recsys.pipeline.person import Deed, Person
from recsys.pipeline.query import Query, Visit

MAX_TITLE_CHARS: Final = 60

_EVENTS: Final[Mapping[int, str]] = {
    Action.VIEW: "Product Viewed",
    Action.CLICK: "Product Clicked",
    Action.CART_ADD: "Product Added",
    Action.ORDER: "Order Completed",
    Action.READ: "Article Viewed",
    Action.WISH: "Product Added to Wishlist",
}
_DID: Final[Mapping[int, str]] = {
    Action.VIEW: "viewed {}",
    Action.CLICK: "clicked {}",
    Action.CART_ADD: "put {} into your cart",
    Action.ORDER: "ordered {}",
    Action.READ: "read {}",
    Action.WISH: "wished for {}",
    Action.OTHER: "are looking at {}",
}
_SENTENCES: Final[Mapping[str, str]] = {
    "neighbours": "others went on to this after it: you {}",
    "als": "fits your taste: you {}",
    "item_to_item": "because you {}",
    "bought_together": "often bought together: you {}",
    "content": "much alike: you {}",
}
_PLAIN: Final[Mapping[str, Reason]] = {
    "neighbours": Reason("neighbours", "others with sessions like yours went on to this"),
    "als": Reason("als", "fits your taste"),
    "popular": Reason("popular", "popular in this shop"),
    CATALOGUE: Reason(CATALOGUE, "also in this shop"),
}
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def reasons(choice: Choice, query: Query) -> list[Reason]:
    """One for each row of the choice."""
    seeds = _seeds_of(choice, query)
    told: dict[tuple[str, Deed], Reason] = {}
    return [
        _reason(row, source, seeds.get(row), query, told)
        for row, source in zip(choice.rows, choice.sources, strict=True)
    ]


def _reason(
    row: int, source: str, seed: Deed | None, query: Query, told: dict[tuple[str, Deed], Reason]
) -> Reason:
    visit = query.visit
    if source == "trending":
        return _demand(visit.columns.counters[row], visit.person.now_ms)
    if source == "cart":
        return _in_cart(row, visit.person)
    deed = _own_deed(row, source, query) if seed is None else seed
    if deed is None:
        return _PLAIN.get(source) or Reason(source, _PLAIN[CATALOGUE].text)
    known = told.get((source, deed))
    if known is None:
        known = told[source, deed] = _because(source, deed, visit)
    return known


def _own_deed(row: int, source: str, query: Query) -> Deed | None:
    person = query.visit.person
    if source == "recent":
        return person.newest_deed(row)
    if source == "neighbours":
        # The newest item of the session is the one that counts most in the search.
        if query.page_row >= 0:
            return query.seeds.deeds[0]
        return next((deed for deed in reversed(person.session_deeds) if deed.row >= 0), None)
    return person.heaviest_deed if source == "als" else None


def _because(source: str, deed: Deed, visit: Visit) -> Reason:
    event = _EVENTS.get(deed.action, "")
    at_ms = deed.at_s * 1000
    if source == "recent":
        what = _DID[deed.action].format("it")
        return Reason(source, f"you {what} {_when(at_ms, visit.person.now_ms)}", deed.item, event, at_ms)
    title = (visit.columns.title(deed.row) if deed.row >= 0 else "") or deed.item
    what = _DID.get(deed.action, _DID[Action.OTHER]).format(_cut(title))
    when = f" {_when(at_ms, visit.person.now_ms)}" if event else ""
    return Reason(source, _SENTENCES[source].format(what + when), deed.item, event, at_ms)


def _in_cart(row: int, person: Person) -> Reason:
    line = next(line for line in person.cart if line.row == row)
    at_ms = line.at_s * 1000
    text = f"in your cart since {_when(at_ms, person.now_ms).removeprefix('at ').removeprefix('on ')}"
    return Reason("cart", text, line.item, _EVENTS[Action.CART_ADD], at_ms)


def _demand(counters: ItemCounters | None, now_ms: int) -> Reason:
    views = 0 if counters is None else round(counters.views * decay(max(now_ms // 1000 - counters.at_s, 0)))
    text = "in demand now" if views < 2 else f"{views} views lately"
    return Reason("trending", text)


def _seeds_of(choice: Choice, query: Query) -> dict[int, Deed]:
    """For each row whose main source goes by seeds the deed with the seed that speaks most for it."""
    seeds, bundle = query.seeds, query.visit.bundle
    if bundle is None or not seeds.deeds:
        return {}
    tables = {"item_to_item": bundle.item_to_item.table, "bought_together": bundle.bought_together.table}
    found: dict[int, Deed] = {}
    for source in ("item_to_item", "bought_together", "content"):
        rows = [row for row, lead in zip(choice.rows, choice.sources, strict=True) if lead == source]
        if not rows:
            continue
        if len(seeds.deeds) == 1:
            places: Sequence[int] = [0] * len(rows)
        elif source == "content":
            places = _nearest_seed(rows, query)
        else:
            places = _strongest_seed(rows, query, tables[source])
        found.update((row, seeds.deeds[place]) for row, place in zip(rows, places, strict=True))
    return found


def _strongest_seed(rows: list[int], query: Query, table: TopTable) -> list[int]:
    strongest = np.empty(len(rows), np.int32)
    strongest_seeds(
        np.array(rows, np.int32), query.seeds.rows, query.seeds.weights,
        table.rows, table.scores, table.lengths, strongest,
    )  # fmt: skip
    return strongest.tolist()


def _nearest_seed(rows: list[int], query: Query) -> list[int]:
    visit = query.visit
    assert visit.bundle is not None
    nothing = np.zeros(visit.bundle.content.dimensions, np.float32)
    items, seeds = (
        np.array([nothing if (vector := vector_of(visit, row)) is None else vector for row in of])
        for of in (rows, query.seeds.rows.tolist())
    )
    nearest: list[int] = ((items @ seeds.T) * query.seeds.weights).argmax(axis=1).tolist()
    return nearest


def _when(at_ms: int, now_ms: int) -> str:
    """ "at 10:05 UTC" today, "on 3 May" before."""
    at = datetime.fromtimestamp(at_ms / 1000, timezone.utc)
    now = datetime.fromtimestamp(now_ms / 1000, timezone.utc)
    if at.date() == now.date():
        return f"at {at.hour:02d}:{at.minute:02d} UTC"
    year = "" if at.year == now.year else f" {at.year}"
    return f"on {at.day} {_MONTHS[at.month - 1]}{year}"


def _cut(title: str) -> str:
    return title if len(title) <= MAX_TITLE_CHARS else title[: MAX_TITLE_CHARS - 1].rstrip() + "…"
