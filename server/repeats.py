"""What of a block of before still holds: the items that may not be shown any more, and what is told of the
others.

The decision stands for as long as its placement says; what the catalogue says of its items is told as it is
now. A mail that is rendered again must not promise a sale that has ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from recsys.banner import BANNER_PREFIX
from recsys.block import Slot
from recsys.decide import View, banner_holds, offer_of
from recsys.models.arrays import Offer
from recsys.pipeline.columns import Columns
from recsys.pipeline.urgency import still_urgent
from recsys.placement import Placement
from recsys.profile import Profile
from server.pb import headrace_pb2 as pb
from server.served import Served

TOLD_ANEW: Final = "told_anew"
"""Of the same item something else is told."""
PRICE_DROP: Final = "price_drop"
"""The source of items whose reason tells their price."""


class Still:
    """What of earlier blocks may be shown still, by the rules of decisions; for one moment of one shelf."""

    def __init__(self, placements: Mapping[str, Placement]) -> None:
        self._placements = placements
        self._offers: dict[tuple[str, str, str, int], Offer] = {}

    def gone_of(self, served: Served, slot: Slot, placement: str, view: View) -> tuple[str, ...]:
        """The ids of items that may not be shown any more in the slot, a block of the placement of this name,
        or whose reason does not hold: a price that fell has changed again."""
        items, offer = served.block.items, self._offer(slot, placement, view)
        told = _prices_told(served) if any(why.source == PRICE_DROP for why in items.told) else {}
        return tuple(
            [
                item
                for item in items.ids
                if not (
                    banner_holds(view, item.removeprefix(BANNER_PREFIX), placement)
                    if item.startswith(BANNER_PREFIX)
                    else _is_there(item, view.shelf.columns, offer, told)
                )
            ]
        )

    def _offer(self, slot: Slot, placement: str, view: View) -> Offer:
        """The same for all people of a mailing who are somewhere alike."""
        asked = (placement, slot.filter, view.market, view.age)
        known = self._offers.get(asked)
        if known is None:
            known = self._offers[asked] = offer_of(view, slot, self._placements[placement])
        return known


def left_cart_of(served: Served, placement: Placement, profile: Profile | None) -> tuple[str, ...]:
    """The ids of items that a block which leads with the cart shows as what was left there, and that are not
    in it any more: bought, most likely."""
    if not placement.lead_with_cart:
        return ()
    held = {line.item for line in profile.cart} if profile is not None else set()
    return tuple(
        [one.item for one in served.block.items if one.reason.source == "cart" and one.item not in held]
    )


def as_of_now(served: Served, columns: Columns, now_ms: int) -> Served:
    """The same block, items and reasons, with the price, urgency and so on of now, and changes that say for
    which items they are others. One without a message is told as of now anyway."""
    items = served.block.items
    if not served.message:
        return served
    rows = columns.rows_of(items.ids)
    facts = [columns.wire[row] if row >= 0 else b"" for row in rows]
    if not any(items.urgencies) and all(fact in served.message for fact in facts):
        return served
    message = pb.Block.FromString(served.message)
    for entry, row, fact in zip(message.items, rows, facts, strict=True):
        before = entry.SerializeToString()
        if fact:
            entry.item.CopyFrom(pb.BlockItem.FromString(fact).item)
        if entry.HasField("urgency"):
            urgency = still_urgent(entry.urgency, columns.items[row] if row >= 0 else None, now_ms)
            entry.ClearField("urgency")
            if urgency is not None:
                entry.urgency.CopyFrom(pb.Urgency(stock=urgency.stock, sale_end_ms=urgency.sale_end_ms))
        if entry.SerializeToString() != before:
            message.changes.add(item_id=entry.item.id, replaced_by=entry.item.id, why=TOLD_ANEW)
    return msgspec.structs.replace(served, message=message.SerializeToString())


def _is_there(item: str, columns: Columns, offer: Offer, told: dict[str, float]) -> bool:
    row = columns.row(item)
    if row < 0 or row >= len(offer.of_row) or not offer.of_row[row] & offer.types:
        return False
    known = columns.items[row]
    return item not in told or (known is not None and known.price_now == told[item])


def _prices_told(served: Served) -> dict[str, float]:
    """Of the items whose reason tells a price."""
    return {
        entry.item.id: entry.item.price
        for entry in pb.Block.FromString(served.message).items
        if entry.source == PRICE_DROP
    }
