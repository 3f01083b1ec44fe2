"""decide(view, slots, placements) -> blocks: what a person is shown, from what is known of them; and
decide_all, for many people at once.

Pure: the same arguments give the same blocks. Time, seed and freshness are told; nothing is looked up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timezone, tzinfo
from hashlib import blake2b
from typing import Final, Literal, NamedTuple

import msgspec
import numpy as np

from recsys.banner import BANNER_PREFIX, Banner
from recsys.block import NO_ITEMS, Block, Freshness, Lineup, Slot
from recsys.cursor import encode_cursor
from recsys.fold import SessionRules
from recsys.models.arrays import Offer
from recsys.picked import picked
from recsys.pipeline.account import Account, account_of_banner, accounts_of
from recsys.pipeline.arrival import came_for, looked_for
from recsys.pipeline.banners import banners_for, names_of, rule_against, with_banners
from recsys.pipeline.eligibility import rules_of
from recsys.pipeline.mix import Choice
from recsys.pipeline.person import Person
from recsys.pipeline.pipeline import ask, choose, expect, find
from recsys.pipeline.query import Company, Query, Visit, salt_of
from recsys.pipeline.reasons import in_words
from recsys.pipeline.said import AllSaid, said_of
from recsys.pipeline.shelf import Shelf
from recsys.pipeline.urgency import urgencies_of
from recsys.placement import Placement
from recsys.profile import Profile
from recsys.shown import Impression, cooling, resting
from recsys.uuids import hyphenated

_DECISION: Final = b"headrace.decide"
"""What sets the hashes that are decision ids apart from others of the same words."""
NO_MODEL_VERSION: Final = ""


class View(msgspec.Struct, frozen=True):
    """Everything a decision is taken on."""

    shelf: Shelf
    person: str
    """`u:<user id>`, `a:<visitor>`, or "" for nobody known."""
    profile: Profile | None
    now_ms: int
    rules: SessionRules
    freshness: Freshness
    request_id: str = ""
    """Decisions of the same request id have the same ids; "": ids follow from person, time and seed."""
    seed: int = 0
    stranger: str = ""
    """As whom somebody who is not known asks, in the same words: chance draws for each of them anew."""
    hint: str = ""
    """Why the profile is not there, if the caller knows better: store_down or deadline."""
    shown: tuple[Impression, ...] = ()
    """What the person was shown of late, as `recsys.shown.remembered` gives it."""
    counting: Mapping[str, frozenset[str]] = msgspec.field(default_factory=dict)
    """For each placement that leaves some of that out whose blocks count there."""
    banners: Mapping[str, Banner] = msgspec.field(default_factory=dict)
    market: str = ""
    """Where the caller says that the person is; "": not said."""
    age: int = 0
    """How many years the caller knows the person to have at least; 0: not known."""
    addresses: tuple[str, ...] = ()
    """Of the page, and of the one that the person came from, as the caller names them."""
    decision_ids: tuple[str, ...] = ()
    """Ids to use, one for each slot; empty: made here."""
    zone: tzinfo = timezone.utc
    """The shop's: in which reasons tell clock times and days."""
    beside: tuple[str, ...] = ()
    """What other blocks of the same page or email show, which are not decided now."""
    keeps: tuple[tuple[str, ...], ...] = ()
    """For each slot what stands in its block already and stays there: of `limit` places it has its own, and
    only what comes beside it is decided and told. Empty: nothing, in none."""


class Asked(NamedTuple):
    """What one person is to be shown, and what it is decided on."""

    view: View
    slots: Sequence[Slot]


def decide(view: View, slots: Sequence[Slot], placements: Mapping[str, Placement]) -> list[Block]:
    """One block for each slot, in order, no item in two of them, nor in what `view` says stands already.

    A block has items as long as the catalogue has one of the placement's types that may be shown there, by
    its rules but the one on the session's items (`exclude_session_items`); the exception is email to somebody
    who has unsubscribed. Raises KeyError for a placement that is not configured.
    """
    (blocks,) = decide_all((Asked(view, slots),), placements)
    return blocks


def decide_all(asked: Sequence[Asked], placements: Mapping[str, Placement]) -> list[list[Block]]:
    """`decide` for several people, of whom none has to be told before the others are.

    One stage for all of them, then the next: the code of a stage, Python's and the kernels', and the tables
    that it reads stay in the processor's caches from one to the next. Until all are decided what was found
    for each is kept, some 60 KB: callers bound how many there are.
    """
    decisions = [_Decision(one, placements) for one in asked]
    for stage in _STAGES:
        for decision in decisions:
            stage(decision)
    return [decision.blocks for decision in decisions]


class _Decision:
    """One person's blocks on their way through `_STAGES`."""

    __slots__ = ("_choices", "_companies", "_lineups", "_queries", "_said", "_view", "_visit",
                 "blocks")  # fmt: skip

    def __init__(self, asked: Asked, placements: Mapping[str, Placement]) -> None:
        view, slots = asked
        self._view, self._visit = view, _visit(view)
        self._queries = [
            (slot, _query(self._visit, view, slot, placements[slot.placement])) for slot in slots
        ]
        if view.keeps:
            self._queries = [
                (slot, _keeping(query, kept))
                for (slot, query), kept in zip(self._queries, view.keeps, strict=True)
            ]
        self._companies: list[Company] = []
        """Whose candidates can be found ahead."""
        self._choices: list[tuple[Query, Choice | None, list[str]]] = []
        """Of each slot what is chosen for what is left of it, None where nothing is; and its banners."""
        self._said: list[AllSaid] = []
        self._lineups: list[Lineup] = []
        self.blocks: list[Block] = []

    def expect(self) -> None:
        """Tell what will be asked: what any slot asks is asked once, with what the others do."""
        are_mixed = False
        for _, query in self._queries:
            # A mixed block asks for each kind by itself, and nobody who has unsubscribed is chosen for.
            if query.placement.shares:
                are_mixed = True
            elif not _unsubscribed(self._view.profile, query.placement):
                company = expect(query)
                # Behind a mixed block it waits for what that asks in the same company.
                if not are_mixed and company not in self._companies:
                    self._companies.append(company)

    def fold_in(self) -> None:
        """The person's taste, as all candidates are found by it."""
        if self._companies:
            _ = self._visit.taste

    def ask(self) -> None:
        for company in self._companies:
            ask(company)

    def find(self) -> None:
        for company in self._companies:
            find(company)

    def choose(self) -> None:
        """No item in two slots, and no banner."""
        view = self._view
        # What stands already, before anything is chosen: a slot may keep what an earlier one would take.
        taken, shown_banners = _standing(view) if view.beside or view.keeps else ([], [])
        for place, (slot, query) in enumerate(self._queries):
            if _unsubscribed(view.profile, query.placement):
                self._choices.append((query, None, []))
                continue
            n_kept = len(names_of(view.keeps[place])) if view.keeps else 0
            banners, rest = _with_banners(view, slot, query, shown_banners, n_kept)
            shown_banners += banners
            choice = choose(rest, taken)
            taken += choice.rows
            self._choices.append((rest, choice, banners))

    def speak(self) -> None:
        """What the models say of what is chosen."""
        for query, choice, _ in self._choices:
            self._said.append(([], []) if choice is None else said_of(choice.rows, choice.sources, query))

    def tell(self) -> None:
        """And that in words."""
        for (query, choice, banners), said in zip(self._choices, self._said, strict=True):
            items = NO_ITEMS if choice is None else _lineup(choice, said, query)
            if banners:
                items = with_banners(items, banners, self._view.banners, query.placement.shares["banner"])
            self._lineups.append(items)

    def finish(self) -> None:
        view, slots = self._view, [slot for slot, _ in self._queries]
        for place, (slot, (query, choice, _), items) in enumerate(
            zip(slots, self._choices, self._lineups, strict=True)
        ):
            if choice is None:
                self.blocks.append(_block(view, place, slot, items, "unsubscribed", ""))
                continue
            cursor = _next_cursor(slot, items, query) if query.placement.pages else ""
            fallback = _fallback(view, query, choice)
            self.blocks.append(_block(view, place, slot, items, fallback, cursor))
        self._visit.close()


_STAGES: Final[tuple[Callable[[_Decision], None], ...]] = (
    _Decision.expect,
    _Decision.fold_in,
    _Decision.ask,
    _Decision.find,
    _Decision.choose,
    _Decision.speak,
    _Decision.tell,
    _Decision.finish,
)


def why(
    view: View, slot: Slot, placement: Placement, beside: Mapping[str, str], items: Sequence[str]
) -> tuple[Block, list[Account]]:
    """A slot decided again, and an account of each of `items`, of what it shows where there are none.

    `beside`: for each item that another slot of the request shows the name of that slot.
    """
    if _unsubscribed(view.profile, placement):
        return _block(view, 0, slot, NO_ITEMS, "unsubscribed", ""), [
            Account(item, "unsubscribed") for item in items
        ]
    query = _query(_visit(view), view, slot, placement)
    banners, query = _with_banners(view, slot, query, names_of(list(beside)))
    row = view.shelf.columns.row
    accounts = accounts_of(query, {row(item): name for item, name in beside.items()})
    choice = accounts.choice
    shown = _lineup(choice, said_of(choice.rows, choice.sources, query), query)
    if banners:
        shown = with_banners(shown, banners, view.banners, placement.shares["banner"])
    block = _block(view, 0, slot, shown, _fallback(view, query, choice), "")
    places = {one.item: place for place, one in enumerate(shown, 1)}
    told = []

    def broken(name: str) -> str:
        person = query.visit.person
        return rule_against(name, view.banners[name], slot.placement, person, view.market, view.shown)

    for item in items or places:
        if item.startswith(BANNER_PREFIX):
            one = account_of_banner(item, view.banners, shown, beside, query, broken)
        else:
            one = msgspec.structs.replace(accounts.of(item), place=places.get(item, 0))
        if one.verdict == "excluded" and item in slot.seen:
            one = msgspec.structs.replace(one, verdict="shown_before")
        if one.verdict == "cooling":
            one = msgspec.structs.replace(one, detail=_shown_when(view, slot, placement, item))
        told.append(one)
    return block, told


def _shown_when(view: View, slot: Slot, placement: Placement, item: str) -> str:
    """When and where the person was last shown an item that rests, and the setting that says so."""
    counting, columns = view.counting.get(slot.placement, frozenset()), view.shelf.columns
    row = columns.row(item)
    variants = [columns.ids[one] for one in columns.with_variants([row])] if row >= 0 else [item]
    setting, last, shown = next(
        (setting, one, shown)
        for setting, one in resting(slot.placement, placement, counting, view.shown, view.now_ms)
        for shown in variants
        if shown in one.items
    )
    minutes = (view.now_ms - last.at_ms) // 60_000
    ago = "less than a minute" if minutes < 1 else f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"
    rule = f"`{setting}` is {getattr(placement, setting)}"
    what = "it" if shown == item else f"{shown}, which is the same product,"
    return f"{last.placement} has shown {what} to the person {ago} ago ({rule})"


def _with_banners(
    view: View, slot: Slot, query: Query, taken: Sequence[str], n_kept: int = 0
) -> tuple[list[str], Query]:
    """The names of the banners of a slot, none of them in `taken`, and what is left to decide; `n_kept`: how
    many it has already."""
    if not view.banners and not n_kept:
        return [], query
    banners = banners_for(query, slot.placement, view.banners, view.shown, view.market, taken, n_kept)
    if not banners and not n_kept:
        return banners, query
    return banners, msgspec.structs.replace(query, limit=query.limit - n_kept - len(banners))


def _standing(view: View) -> tuple[list[int], list[str]]:
    """The rows, and the names of banners, that stand in some block already."""
    items = [item for many in (view.beside, *view.keeps) for item in many]
    return [row for row in view.shelf.columns.rows_of(items) if row >= 0], names_of(items)


def _keeping(query: Query, kept: Sequence[str]) -> Query:
    """The query of a slot whose block has these items already."""
    rows = [row for row in query.visit.columns.rows_of(kept) if row >= 0]
    return msgspec.structs.replace(query, keeps=rows, limit=max(query.limit, len(kept))) if kept else query


def offer_of(view: View, slot: Slot, placement: Placement) -> Offer:
    """What may be shown in the slot, as a decision would have it: on offer, of the placement's types, for
    the market and the age, and past the filters."""
    return _query(_visit(view), view, slot, placement).context.on_offer


def banner_holds(view: View, name: str, placement: str) -> bool:
    """Whether a banner that the placement of this name has shown the person may stand there still. Its cap
    does not ask: it counts that very time."""
    if name not in view.banners:
        return False
    person = Person.of(view.profile, view.shelf.columns, view.now_ms, view.rules)
    return not rule_against(name, view.banners[name], placement, person, view.market, ())


def _visit(view: View) -> Visit:
    # Columns before scratch: the shelf may grow meanwhile, and scratch must be the longer one.
    columns = view.shelf.columns
    person = Person.of(view.profile, columns, view.now_ms, view.rules)
    salt, shelf = salt_of(view.person or view.stranger, view.seed), view.shelf
    category, queries = (-1, ()) if len(person.history.rows) else _came_for(view, person)
    passing = shelf.passing
    return Visit(
        person, columns, shelf.bundle, shelf.scratch(), salt, category, passing, queries, zone=view.zone
    )


def _came_for(view: View, person: Person) -> tuple[int, tuple[str, ...]]:
    """The code of the category that somebody came for who has looked at no item, -1: nothing tells; and the
    searches that say more, or other things."""
    names = view.shelf.columns.leaf_names
    code = came_for(view.addresses, names) if view.addresses else -1
    return (code, ()) if code >= 0 else looked_for(person.category, person.queries, names)


def _cooling(view: View, slot: Slot, placement: Placement) -> tuple[str, ...]:
    """What the slot must not show because the person has just seen it."""
    counting = view.counting.get(slot.placement) if view.shown else None
    return () if counting is None else cooling(slot.placement, placement, counting, view.shown, view.now_ms)


def _query(visit: Visit, view: View, slot: Slot, placement: Placement) -> Query:
    hidden = (*slot.exclude, *slot.seen)
    rules = rules_of(view.shelf.passing, view.market, max(view.age, placement.min_age))
    filters = tuple([text for text in (placement.filter, slot.filter, *rules) if text])
    first, cooling = not slot.seen, _cooling(view, slot, placement)
    return Query(
        visit, placement, slot.limit, slot.item, hidden, filters, rules, slot.name, first, cooling=cooling,
        seen=slot.seen,
    )  # fmt: skip


def said_no(profile: Profile | None, placement: Placement) -> Literal["", "unsubscribed", "no_consent"]:
    """What somebody has refused that a block of this placement must heed; "": nothing."""
    if _unsubscribed(profile, placement):
        return "unsubscribed"
    return "no_consent" if profile is not None and profile.personalization is False else ""


def _unsubscribed(profile: Profile | None, placement: Placement) -> bool:
    return placement.channel == "email" and profile is not None and profile.email is False


def _lineup(choice: Choice, said: AllSaid, query: Query) -> Lineup:
    if not choice.rows:
        return NO_ITEMS
    told, chances = in_words(said, choice, query), choice.propensities
    return Lineup(
        picked(choice.rows, query.visit.columns.ids),
        choice.scores,
        told.reasons,
        told.places,
        () if chances.count(1.0) == len(chances) else chances,
        urgencies_of(choice.rows, query),
    )


def _next_cursor(slot: Slot, items: Lineup, query: Query) -> str:
    """Empty where nothing is left: a short block has all there is but for what caps keep out."""
    columns, seen = query.visit.columns, [*slot.seen, *items.ids]
    if len(items) < slot.limit:
        on_offer = query.context.offer & query.item_types != 0
        barred = columns.with_variants(columns.rows_of(seen)) + columns.rows_of(slot.exclude)
        rows = {row for row in barred if row >= 0 and on_offer[row]}
        if not items.ids or len(rows) == np.count_nonzero(on_offer):
            return ""
    return encode_cursor(seen)


def _fallback(view: View, query: Query, choice: Choice) -> str:
    """Why nothing personal had a say; "" if something had, or if the page's item decided for
    somebody whose profile was at hand."""
    if not view.hint and _misses_cart(query, choice):
        return "no_cart"
    if not choice.rows and query.limit and not view.hint:
        return "no_match"  # but for banners
    if choice.personal:
        return ""
    if view.hint:
        return view.hint
    if view.profile is not None and view.profile.personalization is False:
        return "no_consent"
    if query.visit.bundle is None:
        return "no_model"
    if query.page_row < 0 and query.visit.person.in_session and _is_what_they_came_for(choice, query.visit):
        return ""
    if view.profile is None or not len(query.visit.person.history.rows):
        return "no_profile"
    return "" if choice.contextual else "no_evidence"


def _misses_cart(query: Query, choice: Choice) -> bool:
    """Whether the block should lead with what is in the cart, or go with it, and there is nothing."""
    its = query.placement
    if its.lead_with_cart:
        return "cart" not in choice.sources
    return its.other_categories and query.page_item is None and not query.visit.person.cart


def _is_what_they_came_for(choice: Choice, visit: Visit) -> bool:
    """Whether anything chosen is of the category of the session's list or search, or has its words."""
    leaf, came_for = visit.columns.leaf, visit.came_for
    if visit.queries and not visit.sought_rows.isdisjoint(choice.rows):
        return True
    return came_for >= 0 and any(leaf[row] == came_for for row in choice.rows)


def _block(view: View, place: int, slot: Slot, items: Lineup, fallback: str, next_cursor: str) -> Block:
    bundle = view.shelf.bundle
    return Block(
        decision_id=_decision_id(view, place, slot),
        slot=slot.name,
        placement=slot.placement,
        items=items,
        fallback=fallback,
        model_version=bundle.version if bundle is not None else NO_MODEL_VERSION,
        freshness=view.freshness,
        at_ms=view.now_ms,
        next_cursor=next_cursor,
    )


def _decision_id(view: View, place: int, slot: Slot) -> str:
    if view.decision_ids:
        return view.decision_ids[place]
    asked = view.request_id or f"{view.person}\n{view.now_ms}\n{view.seed}"
    digest = blake2b(f"{asked}\n{slot.name}".encode(), digest_size=16, person=_DECISION).digest()
    return hyphenated(digest)
