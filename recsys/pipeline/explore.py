"""Explore: a share of a block's places goes to items that came after the training.

No model knows them but by their texts, so they would hardly be seen, and never learned of. Which places,
and which items, is drawn from the visit's salt, the day and the slot: for the same person the same on
one day, whenever it is asked. How likely each item was to stand where it stands (its propensity) is
told, so that what follows can be weighed by it (Joachims, Swaminathan and Schnabel, "Unbiased
Learning-to-Rank with Biased Feedback", WSDM 2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple
from zlib import crc32

import numpy as np

from recsys.pipeline.candidates import new_items
from recsys.pipeline.filter import ALL_BARS, Bars
from recsys.pipeline.place_kernels import draw
from recsys.pipeline.pool_kernels import uniform
from recsys.pipeline.query import Query
from recsys.pipeline.rank import caps_of

NEW_POOL: Final = 20
"""How many new items are drawn from: those likest to what the person looks at, else the newest."""
_DAY_MS: Final = 86_400_000


class Exploration(NamedTuple):
    """What stands at each place of a block, whether that is a new item, and how likely it was to stand there
    after what stands above it."""

    rows: list[int]
    is_new: list[bool]
    propensities: list[float]


def explored(query: Query, shown: Sequence[int], sources: Sequence[str], bars: Bars) -> Exploration | None:
    """The rows `shown`, some of them but those of the cart and those kept replaced by new items that may be
    shown and fit, none twice. None where nothing could have been drawn: then every place was certain."""
    share = query.placement.explore
    if not share > 0 or not query.visit.columns.cold.count:
        return None
    new = _drawn_from(query, shown, bars)
    if not new:
        return None
    # Two numbers a place, whatever was drawn before: so a place does not depend on the ones above it.
    chances = np.empty((len(shown), 2))
    uniform(query.visit.salt ^ _salt_of(query), chances.reshape(-1))
    block, is_new = np.array(shown, np.int32), np.empty(len(shown), np.bool_)
    fixed = np.array([source == "cart" for source in sources], np.bool_)
    fixed[: len(query.keeps)] = True
    propensities = np.empty(len(shown))
    draw(block, fixed, np.array(new, np.int32), chances, share, *caps_of(query), is_new, propensities)
    return Exploration(block.tolist(), is_new.tolist(), propensities.tolist())


def _drawn_from(query: Query, shown: Sequence[int], bars: Bars) -> list[int]:
    offer, types = query.context.offer, query.item_types
    return [
        row
        for row in new_items(query.context).tolist()
        if row < len(offer) and offer[row] & types and not bars.marks[row] & ALL_BARS and row not in shown
    ][:NEW_POOL]


def _salt_of(query: Query) -> int:
    """Of the day and the slot."""
    return crc32(f"{query.name}\n{query.visit.person.now_ms // _DAY_MS}".encode())
