"""What is said of the items of a block: which of the things that the person did speaks for each, of those
sources that tell one item from another.

A source may know that people like this one went on to an item without one thing the person did being why. So
nothing is said of a deed that the models do not say.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import numpy as np

from recsys.models.direct import direct
from recsys.models.tables import TopTable
from recsys.picked import INT32S, picked
from recsys.pipeline.candidates import others_after
from recsys.pipeline.person import Deed
from recsys.pipeline.query import Query
from recsys.pipeline.said_kernel import SPEAK_COLUMNS, Asked, Spoken, speak

AKIN: Final = "akin"
"""The words for items whose texts share a word or two."""
OF_BRAND: Final = "of brand"
OF_CATEGORY: Final = "of category"
"""Those for items of the same brand or category."""
ITSELF: Final = "recent"
"""Whose words tell of an item that the person dealt with before, whatever speaks for it."""
SAME_FOR_ALL: Final = ("kindred", "popular", "surging", "new", "catalogue")
"""Sources that say the same of every item."""
# Plain numbers: to look a member of an enum up costs as much as the question itself.
_ASKED: Final = defaultdict[str, int](
    lambda: int(Asked.NOBODY),
    {
        "neighbours": int(Asked.TRANSITIONS),
        "item_to_item": int(Asked.ITEM_TO_ITEM),
        "bought_together": int(Asked.BOUGHT_TOGETHER),
        "content": int(Asked.TEXTS),
        "als": int(Asked.TASTE),
        **{source: Asked.ALL + place for place, source in enumerate(SAME_FOR_ALL)},
    },
)
"""Of others, of which there are a dozen, each item is told of by itself."""
_TRANSITIONS, _TASTE = int(Asked.TRANSITIONS), int(Asked.TASTE)
_NOTHING, _ITSELF = int(Spoken.NOTHING), int(Spoken.ITSELF)
_WORDS: Final[Mapping[int, str]] = {
    int(Spoken.AKIN): AKIN,
    int(Spoken.OF_BRAND): OF_BRAND,
    int(Spoken.OF_CATEGORY): OF_CATEGORY,
}
"""By Spoken, where they are others than the source's."""
_speak: Final = direct(speak)
_EMPTY: Final = TopTable.empty(0, 0)


class Said(msgspec.Struct, frozen=True, gc=False):
    """Something that is said of rows of a block."""

    source: str
    row: int
    """The first of them."""
    deed: Deed | None = None
    """What the person did that speaks for them; None: nothing that these sources know."""
    words: str = ""
    """Those of a source, AKIN, OF_BRAND, OF_CATEGORY or ITSELF."""


AllSaid = tuple[list[Said], list[int]]
"""What is said of rows, each thing once; and for each row the place of what is said of it."""


def said_of(rows: Sequence[int], sources: Sequence[str], query: Query) -> AllSaid:
    """What is said of rows that these sources have named."""
    if not rows:
        return [], []
    visit, seeds = query.visit, query.seeds
    person, columns, bundle = visit.person, visit.columns, visit.bundle
    session = person.session_seeds
    trail = seeds.deeds if query.page_row >= 0 else session.deeds
    table = _EMPTY if bundle is None else bundle.transitions.table
    asked, count = picked(sources, _ASKED), len(rows)
    # As bytes they are written, and read, in a third of the time that arrays take.
    told = bytearray(4 * SPEAK_COLUMNS * count)
    INT32S[2 * count].pack_into(told, 0, *rows, *asked)
    size = _speak(
        visit.scratch.workplace.sources, columns.stock, columns.cold.count, table.rows, table.lengths,
        trail[0].row if trail else -1, seeds.rows, seeds.weights, session.rows, person.rows,
        np.frombuffer(told, np.int32),
    )  # fmt: skip
    cells = memoryview(told).cast("i")
    spoken_of, place_of, first_of = [cells[column * count :][:size].tolist() for column in (3, 4, 5)]
    deeds_of = {_TRANSITIONS: trail, _TASTE: session.deeds}
    said = []
    for spoken, place, first in zip(spoken_of, place_of, first_of, strict=True):
        source, row = sources[first], rows[first]
        if spoken == _NOTHING:
            said.append(Said(source, row))
        elif spoken == _ITSELF:
            said.append(Said(source, row, person.deed(place), ITSELF))
        else:
            deeds = deeds_of.get(asked[first], seeds.deeds)
            said.append(Said(source, row, deeds[place], _WORDS.get(spoken, source)))
    return said, cells[2 * count : 3 * count].tolist()


def left_from(row: int, query: Query) -> Deed | None:
    """The newest seed from which others went on to the row of late; the first where none is known."""
    seeds = query.seeds
    for deed in seeds.deeds:
        if row in others_after(deed.row, query.visit)[0]:
            return deed
    return seeds.deeds[0] if seeds.deeds else None
