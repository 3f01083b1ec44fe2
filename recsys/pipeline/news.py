"""News of items that a person cared for: cheaper than it was then, or to be had again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from recsys.events import Action
from recsys.models.arrays import NOTHING, Ranked
from recsys.pipeline.person import Deed
from recsys.pipeline.query import Visit

_CARING: Final = frozenset((int(Action.VIEW), int(Action.CLICK), int(Action.WISH), int(Action.CART_ADD)))
LEAST_DROP: Final = 0.01
"""A price that fell by a smaller share is no news."""


def caring_deeds(visit: Visit) -> Mapping[int, Deed]:
    """By row the last thing that the person did with what they looked at, wished for or have in the cart,
    without what they have ordered since."""
    return visit.once("caring", lambda: _caring_deeds(visit))


def dropped(visit: Visit) -> dict[int, float]:
    """By row the share that it costs less now than it did then."""
    found = {}
    for row, deed in caring_deeds(visit).items():
        item = visit.columns.items[row]
        was, now = (None, None) if item is None else (item.price_at(deed.at_s * 1000), item.price_now)
        if was is not None and now is not None and was - now > LEAST_DROP * was:
            found[row] = (was - now) / was
    return found


def returned(visit: Visit) -> dict[int, float]:
    """By row, of what could not be had meanwhile, how new it is that it can: 1 now, 1/2 after a day."""
    now_ms, found = visit.person.now_ms, {}
    for row, deed in caring_deeds(visit).items():
        item = visit.columns.items[row]
        if item is not None and item.back_ms > deed.at_s * 1000:
            found[row] = 1.0 / (1.0 + max(now_ms - item.back_ms, 0) / 86_400_000)
    return found


def ranked_news(found: Mapping[int, float]) -> Ranked:
    if not found:
        return NOTHING
    rows, scores = np.array(list(found), np.int32), np.array(list(found.values()), np.float32)
    order = np.argsort(-scores, kind="stable")
    return rows[order], scores[order]


def _caring_deeds(visit: Visit) -> Mapping[int, Deed]:
    person, found = visit.person, dict[int, Deed]()
    for item, row, action, at_s in zip(*person.done, strict=True):
        if action in _CARING:
            found[row] = Deed(row, item, action, at_s)
        elif action == Action.ORDER:
            found.pop(row, None)
    for line in person.cart if person.profile is not None else ():
        known = found.get(line.row)
        if known is None or known.at_s < line.at_s:
            found[line.row] = Deed(line.row, line.item, int(Action.CART_ADD), line.at_s)
    found.pop(-1, None)
    return found
