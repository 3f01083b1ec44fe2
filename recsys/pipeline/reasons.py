"""Reasons: why an item is in a block, in a sentence, with evidence that can be looked up.

Made for the items that are shown only. Items with the same evidence share one `Reason`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice
from typing import Final, NamedTuple

import numpy as np

from recsys.block import Reason
from recsys.counters import ItemCounters, decay
from recsys.events import Action
from recsys.pipeline.complements import brought_by
from recsys.pipeline.mix import CATALOGUE, NEW, Choice
from recsys.pipeline.news import caring_deeds
from recsys.pipeline.person import Deed
from recsys.pipeline.query import Query, Visit
from recsys.pipeline.said import AKIN, ITSELF, OF_BRAND, OF_CATEGORY, AllSaid, Said, left_from, said_of

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
    "neighbours": "you {}, and others went on to this",
    "als": "you {}, and this fits your taste",
    "kindred": "you {}, and people who have what you have, have this",
    "item_to_item": "because you {}",
    "bought_together": "you {}, and others bought this with it",
    "content": "you {}, and this is much like it",
    AKIN: "you {}, and this has something of it",
    OF_BRAND: "you {}, and this is of the same brand",
    OF_CATEGORY: "you {}, and this is of the same category",
    "lately": "you {}, and people go on to this in these hours",
}
_PLAIN: Final[Mapping[str, Reason]] = {
    "neighbours": Reason("neighbours", "goes with what you have been looking at"),
    "als": Reason("als", "fits your taste"),
    "kindred": Reason("kindred", "people who have what you have, have this"),
    "popular": Reason("popular", "popular in this shop"),
    "surging": Reason("surging", "much looked at just now"),
    NEW: Reason(NEW, "new in this shop"),
    CATALOGUE: Reason(CATALOGUE, "also in this shop"),
}
_OTHER: Final = int(Action.OTHER)
_ABOUT_ANOTHER: Final[Mapping[tuple[str, int], tuple[str, ...]]] = {
    (source, int(action)): tuple(re.split(r"\{\}|\{when\}", sentence.format(did + "{when}")))
    for source, sentence in _SENTENCES.items()
    for action, did in _DID.items()
}
"""What stands before, between and behind the title and the time, by source and Action."""
_NEWS: Final = frozenset(("price_drop", "back_in_stock"))


class Told(NamedTuple):
    """The reasons of a choice, and for each of its rows the place of its own among them."""

    reasons: list[Reason]
    places: list[int]

    def of(self, index: int) -> Reason:
        """The reason of the row at this place of the choice."""
        return self.reasons[self.places[index]]


def reasons(choice: Choice, query: Query) -> Told:
    """One for each row of the choice; rows with the same source and evidence share it."""
    return in_words(said_of(choice.rows, choice.sources, query), choice, query)


def in_words(all_said: AllSaid, choice: Choice, query: Query) -> Told:
    """What is said of the rows of a choice as reasons. Of what the person has ordered they say so, whatever
    else speaks for it: nobody wants to be told that it fits their taste."""
    told = _evidence(all_said, choice, query)
    person = query.visit.person
    if query.visit.queries and query.page_row < 0:
        _tell_of_search(told, choice, query.visit)
    if person.ordered_rows.isdisjoint(choice.rows):
        return told
    for index, row in enumerate(choice.rows):
        reason = told.of(index)
        if row not in person.ordered_rows or reason.source not in _SENTENCES:
            continue
        if (deed := person.newest_order(row)) is not None:
            told.places[index] = len(told.reasons)
            told.reasons.append(_of_itself(deed, reason.source, query))
    return told


def _tell_of_search(told: Told, choice: Choice, visit: Visit) -> None:
    """Of what has the words of a search: it stands there for them, whichever source names it."""
    for index, row in enumerate(choice.rows):
        if row in visit.sought_rows:
            source = told.of(index).source
            told.places[index] = len(told.reasons)
            told.reasons.append(_searched_for(source, visit))


def evidence(choice: Choice, query: Query) -> Told:
    """What speaks for each row of the choice by its source alone."""
    return _evidence(said_of(choice.rows, choice.sources, query), choice, query)


def _evidence(all_said: AllSaid, choice: Choice, query: Query) -> Told:
    said, places = all_said
    told = [
        _without_deed(one, query) if one.deed is None else _because(one.source, one.deed, query, one.words)
        for one in said
    ]
    for place, one in enumerate(said):
        if one.deed is None and told[place].evidence_item and one.source in _SENTENCES:
            _without_echo(place, told, places, choice, query)
    return Told(told, places)


def _without_echo(place: int, told: list[Reason], places: list[int], choice: Choice, query: Query) -> None:
    """Where the evidence is the very item that is shown, the words, which are about another, are changed."""
    visit, reason = query.visit, told[place]
    row = visit.columns.row_of.get(reason.evidence_item)
    deed = visit.person.newest_deed(row) if row is not None and row in choice.rows else None
    if deed is not None and places[index := choice.rows.index(deed.row)] == place:
        places[index] = len(told)
        told.append(_of_itself(deed, reason.source, query))


def _of_itself(deed: Deed, source: str, query: Query) -> Reason:
    """What speaks for an item is that the person dealt with it before."""
    return _because(source, deed, query, ITSELF)


def _same_for_all(source: str, query: Query) -> Reason:
    """The reason of a source that says the same of every item."""
    deed = _most_telling(query.visit) if source in ("als", "kindred") else None
    return _PLAIN[source] if deed is None else _because(source, deed, query)


def _most_telling(visit: Visit) -> Deed | None:
    """What counts most of all that a taste is read from: an item that nobody taught the model says nothing
    of it."""
    (deed,) = visit.once("most telling", lambda: (_heaviest_taught(visit),))
    return deed


def _heaviest_taught(visit: Visit) -> Deed | None:
    person, bundle = visit.person, visit.bundle
    if bundle is None or not len(person.history.rows):
        return None
    weights, heaviest = visit.weights
    factors = bundle.als.item_factors
    if heaviest >= 0:
        deed = person.history_deed(heaviest)
        if deed.row < len(factors) and factors[deed.row, 0]:
            return deed
    rows = person.history.rows
    taught = (rows >= 0) & (rows < len(factors))
    taught[taught] = factors[rows[taught], 0] != 0.0
    return person.history_deed(int(np.where(taught, weights, -1.0).argmax())) if taught.any() else None


def _without_deed(said: Said, query: Query) -> Reason:
    """What is said of a row for which the models name nothing that was done."""
    source, row, visit = said.source, said.row, query.visit
    if source in _PLAIN:
        return _same_for_all(source, query)
    if source == "trending" and visit.columns.leaf[row] == visit.came_for >= 0:
        return _in_category(visit)
    if source == "trending":
        return _demand(visit.columns.counters[row], visit)
    if source == "content" and visit.queries and row in visit.sought_rows:
        return _searched_for(source, visit)
    if source == "complements":
        return _complement(row, visit)
    if source == "cart":
        return _in_cart(row, query)
    if source in _NEWS:
        return _news(row, source, query)
    deed = None
    if source == "lately":
        deed = left_from(row, query)
    elif source == "buy_again":
        deed = visit.person.newest_order(row)
    elif source == "recent":
        deed = visit.person.newest_deed(row)
    return Reason(source, _PLAIN[CATALOGUE].text) if deed is None else _because(source, deed, query)


def _complement(row: int, visit: Visit) -> Reason:
    """It goes with a category that the session keeps looking at; the evidence is the newest look."""
    columns, person = visit.columns, visit.person
    found = brought_by(row, visit)
    if found is None:
        return Reason("complements", _PLAIN[CATALOGUE].text)
    code, times = found
    newest = next((one for one in reversed(person.session) if one >= 0 and columns.leaf[one] == code), -1)
    deed = person.newest_deed(newest)
    session = "this session" if person.in_session else "your last session"
    text = f"goes with {_cut(_category(code, visit))}, which you looked at {times} times in {session}"
    if deed is None:
        return Reason("complements", text)
    return Reason("complements", text, deed.item, _EVENTS.get(deed.action, ""), deed.at_s * 1000)


def _because(source: str, deed: Deed, query: Query, words: str = "") -> Reason:
    """In words, those of the source unless others are named; once a visit, however many items of however many
    slots it is told of."""
    told, key = query.visit.told, (source, words, deed, query.tells_days)
    known = told.get(key)
    if known is None:
        known = told[key] = _in_words(source, words or source, deed, query)
    return known


def _in_words(source: str, words: str, deed: Deed, query: Query) -> Reason:
    event = _EVENTS.get(deed.action, "")
    at_ms = deed.at_s * 1000
    if words == "buy_again":
        text = f"may be due again: you ordered it {_when(at_ms, query)}"
        return Reason(source, text, deed.item, event, at_ms)
    if words == ITSELF:
        what = _DID[deed.action].format("it")
        return Reason(source, f"you {what} {_when(at_ms, query)}", deed.item, event, at_ms)
    item = query.visit.columns.items[deed.row] if deed.row >= 0 else None
    title = _cut((item.title if item is not None else "") or deed.item)
    when = f" {_when(at_ms, query)}" if event else ""
    said = _ABOUT_ANOTHER.get((words, deed.action)) or _ABOUT_ANOTHER[words, _OTHER]
    before, between, behind = said
    return Reason(source, f"{before}{title}{between}{when}{behind}", deed.item, event, at_ms)


def _in_cart(row: int, query: Query) -> Reason:
    line = next(line for line in query.visit.person.cart if line.row == row)
    at_ms = line.at_s * 1000
    text = f"in your cart since {_since(at_ms, query)}"
    return Reason("cart", text, line.item, _EVENTS[Action.CART_ADD], at_ms)


def _news(row: int, source: str, query: Query) -> Reason:
    """What has changed about an item since the person last cared for it."""
    item = query.visit.columns.items[row]
    deed = caring_deeds(query.visit)[row]
    at_ms = deed.at_s * 1000
    did = f"you {_DID[deed.action].format('it')} {_when(at_ms, query)}"
    assert item is not None
    if source == "price_drop":
        now, was = (
            f"{price:,.2f} {item.currency}".strip() for price in (item.price_now, item.price_at(at_ms))
        )
        text = f"it is {now} now, and was {was} when {did}"
    else:
        text = f"{did}, and it is here again since {_since(item.back_ms, query)}"
    return Reason(source, text, deed.item, _EVENTS[deed.action], at_ms)


def _in_category(visit: Visit) -> Reason:
    """What an unknown person came for."""
    return Reason("trending", f"in demand in {_cut(_category(visit.came_for, visit))}, which you came for")


def _searched_for(source: str, visit: Visit) -> Reason:
    """What has the words of a search."""
    return Reason(source, f"you searched for {_cut(visit.sought.query)}")


def _category(code: int, visit: Visit) -> str:
    """The name of a last category; codes are given one after the other."""
    return next(islice(visit.columns.leaf_codes, code, None))


def _demand(counters: ItemCounters | None, visit: Visit) -> Reason:
    now_s = visit.person.now_ms // 1000
    views = 0 if counters is None else round(counters.views * decay(max(now_s - counters.at_s, 0)))
    known = visit.told.get(views)
    if known is None:
        # Interest that has faded ranks items still, and is nothing to call recent.
        text = "among the most looked at here" if views < 2 else f"{views} views lately"
        known = visit.told[views] = Reason("trending", text)
    return known


def _when(at_ms: int, query: Query) -> str:
    return query.visit.clock.when(at_ms, query.tells_days)


def _since(at_ms: int, query: Query) -> str:
    return query.visit.clock.since(at_ms, query.tells_days)


def _cut(title: str) -> str:
    return title if len(title) <= MAX_TITLE_CHARS else title[: MAX_TITLE_CHARS - 1].rstrip() + "…"
