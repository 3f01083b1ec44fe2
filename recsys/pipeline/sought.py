"""Sought: what has the words of a search that says more than a category, by titles, brands and categories.

Asked only for somebody in a session who has looked at no item yet. The texts' vectors name the few items that
are worth a look, as they do for an item that is newer than the model; what counts then are the words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from recsys.catalog import Item
from recsys.models.arrays import NOTHING, Offer, Ranked
from recsys.models.bundle import Bundle
from recsys.models.words import Words
from recsys.pipeline.arrival import search_words, telling
from recsys.pipeline.columns import ANY_TYPE, Columns

SOUGHT_POOL: Final = 100
"""How many items near a search are looked at, of the model's and of newer ones."""


class Sought(NamedTuple):
    """ranked: items with the words of a search, by the likeness of their texts to it."""

    query: str
    ranked: Ranked


NOTHING_SOUGHT: Final = Sought("", NOTHING)


def sought(queries: Sequence[str], columns: Columns, bundle: Bundle | None) -> Sought:
    """What the first of these searches that finds anything finds; NOTHING_SOUGHT where none does, without a
    model, and where a sentence model reads the texts: that takes six milliseconds for a search."""
    if bundle is None or not isinstance(bundle.content.reader, Words):
        return NOTHING_SOUGHT
    for query in queries:
        words = search_words(query)
        needed = set(telling(words))
        rows, likeness = _near(query, words, columns, bundle)
        own = [_words_of(columns.items[row]) for row in rows.tolist()]
        # What has half of it or less is about something else, and so is what has less than others.
        counts = np.array([len(has.intersection(words)) for has in own])
        counts[[2 * len(has & needed) <= len(needed) for has in own]] = 0
        most = counts.max(initial=0)
        if most:
            return Sought(query, (rows[counts == most], likeness[counts == most]))
    return NOTHING_SOUGHT


def _near(query: str, words: Sequence[str], columns: Columns, bundle: Bundle) -> Ranked:
    """Items on offer whose texts are like the search."""
    # The model knows words as they are written: whichever of these it has not met says nothing.
    content = bundle.content
    vector = content.embed(" ".join((query, *words, *(f"{word}s" for word in words))))
    rows, scores = content.nearest(vector, SOUGHT_POOL, columns.eligible_bits[ANY_TYPE])
    newer, newer_scores = columns.cold.nearest(vector, SOUGHT_POOL, Offer(columns.offer, ANY_TYPE))
    return np.concatenate((rows, newer)), np.concatenate((scores, newer_scores))


def _words_of(item: Item | None) -> set[str]:
    """Those of its title, brand and categories, without number."""
    return set() if item is None else set(search_words(" ".join((item.title, item.brand, *item.category))))
