"""Blocks: what is asked for and what is answered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import msgspec


class Slot(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One placement asked for in one request."""

    name: str
    """The caller's own name of the slot, unique in the request; defaults to the placement's."""
    placement: str
    limit: int
    item: str | None = None
    """The page's own item: an external product id, or `article:<id>`."""
    exclude: tuple[str, ...] = ()
    filter: str = ""
    """What items must pass besides what the placement asks; see `recsys.filters.expression`."""
    seen: tuple[str, ...] = ()
    """What pages before this one have shown; see `recsys.cursor`."""


class Reason(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Why an item is in a block, with evidence that can be checked."""

    source: str
    text: str
    """For people: "because you viewed Trail Tent 2 at 10:05"."""
    evidence_item: str = ""
    evidence_event: str = ""
    evidence_at_ms: int = 0


class Urgency(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Only what the catalogue says: how many are left, and when the sale ends."""

    stock: int | None = None
    sale_end_ms: int | None = None


class BlockItem(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One place of a block; scores compare inside one block only."""

    item: str
    score: float
    reason: Reason
    propensity: float = 1.0
    """How likely the item was to stand there, given what was known: 1 where nothing was left to chance."""
    urgency: Urgency | None = None
    """What is true of it and presses; None: nothing, or nothing that the placement says."""


class Lineup(msgspec.Struct, frozen=True, eq=False, gc=False, omit_defaults=True):
    """The items of a block, the best first, in columns. It reads as a sequence of BlockItem; what writes all
    of it as bytes takes the columns, and needs no object an item."""

    ids: tuple[str, ...] = ()
    scores: Sequence[float] = ()
    told: Sequence[Reason] = ()
    """The reasons, of which several items may share one."""
    whys: Sequence[int] = ()
    """For each item the place of its reason in `told`."""
    propensities: Sequence[float] = ()
    """Of each item; () where all are 1."""
    urgencies: Sequence[Urgency | None] = ()
    """Of each item; () where there are none."""

    @classmethod
    def of(cls, items: Iterable[BlockItem]) -> Lineup:
        items = tuple(items)
        places = {reason: place for place, reason in enumerate(dict.fromkeys([one.reason for one in items]))}
        chances = [one.propensity for one in items]
        urgencies = [one.urgency for one in items]
        return cls(
            tuple([one.item for one in items]),
            [one.score for one in items],
            list(places),
            [places[one.reason] for one in items],
            chances if any(chance != 1.0 for chance in chances) else (),
            urgencies if any(urgency is not None for urgency in urgencies) else (),
        )

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[BlockItem]:
        return map(self._item, range(len(self.ids)))

    @overload
    def __getitem__(self, place: int) -> BlockItem: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[BlockItem, ...]: ...

    def __getitem__(self, place: int | slice) -> BlockItem | tuple[BlockItem, ...]:
        if isinstance(place, slice):
            return tuple([self._item(one) for one in range(*place.indices(len(self.ids)))])
        return self._item(place)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Lineup) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(self.ids)

    def _item(self, place: int) -> BlockItem:
        return BlockItem(
            self.ids[place],
            self.scores[place],
            self.told[self.whys[place]],
            self.propensities[place] if self.propensities else 1.0,
            self.urgencies[place] if self.urgencies else None,
        )


NO_ITEMS = Lineup()


class Freshness(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How new what the block was decided on is."""

    event_at_ms: int
    """When the newest event in the person's state happened; 0: no state."""
    age_ms: int
    flow_lag_ms: int
    """How far the flow is behind the log; -1: unknown."""
    reached: bool
    """Whether the state includes the position that was asked for; True when none was."""


class Change(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a rendering shows in another way than it did before."""

    item: str
    """What it showed; "": nothing stood there."""
    replaced_by: str
    """What it shows instead; "": nothing."""
    why: str
    """sold_out: it may not be shown any more; told_anew: something else is true of it; decided_anew: the time
    of the decision was over; left_cart: something that was left in the cart is not there any more;
    unsubscribed or no_consent: the person has said so since."""


class Block(msgspec.Struct, frozen=True, gc=False):
    """What one slot shows; `at_ms` (epoch milliseconds) is when it was decided."""

    decision_id: str
    slot: str
    placement: str
    items: Lineup
    fallback: str
    """Why the block is not personal, "" if it is: no_profile, no_consent, no_model, no_evidence,
    unsubscribed, store_down, deadline; no_cart: it should lead with what is in the cart, or go with it
    (`other_categories`, on no item's page), and there is nothing; or no_match: nothing of the placement's
    types may be shown (any more, on a further page), or no source had anything for a block that is not
    filled up. It is empty then but for banners, as for unsubscribed without them."""
    model_version: str
    freshness: Freshness
    at_ms: int
    next_cursor: str = ""
    """Where the next page begins, in placements that have pages; "": this was the last one."""
    changes: tuple[Change, ...] = ()
    """Against what the same rendering showed before."""
