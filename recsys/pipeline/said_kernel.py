"""The compiled loop that finds what the person did which speaks most for each item that is shown."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Final

import numpy as np
from numba import types

from recsys.models.compiled import Array, f4, i4, i8, kernel, read_only, void
from recsys.models.opinion_kernel import product
from recsys.pipeline.workplace_arrays import SOURCES_TYPE, STOCK_TYPE

_I4, _F4 = read_only(i4), read_only(f4)
_I4_2D, _F4_2D = read_only(i4, 2), read_only(f4, 2)

MUCH_ALIKE: Final = 0.5
"""Items whose texts are of a lesser cosine share a word or two: 9 of 10 pairs of a shop are below it."""
SPEAK_COLUMNS: Final = 6
"""See `speak`."""


class Asked(IntEnum):
    """What knows which seed speaks for the items of a source."""

    NOBODY = 0
    """Each item is told of by itself."""
    TRANSITIONS = 1
    ITEM_TO_ITEM = 2
    BOUGHT_TOGETHER = 3
    TEXTS = 4
    TASTE = 5
    """What the session did last in the item's category, if the taste goes that way; else as ALL."""
    ALL = 6
    """The source, and any number above this: what it says of one item it says of all."""


class Spoken(IntEnum):
    """What speaks for an item."""

    NOTHING = 0
    """That was done."""
    SEED = 1
    AKIN = 2
    """A seed whose text has something of the item's, of which no category is known."""
    OF_BRAND = 3
    """A seed of its brand."""
    OF_CATEGORY = 4
    """A seed of its category."""
    ITSELF = 5
    """It was dealt with before."""


_TRANSITIONS, _ITEM_TO_ITEM = int(Asked.TRANSITIONS), int(Asked.ITEM_TO_ITEM)
_BOUGHT_TOGETHER, _TEXTS, _TASTE = int(Asked.BOUGHT_TOGETHER), int(Asked.TEXTS), int(Asked.TASTE)
_NOTHING, _SEED, _AKIN, _OF_BRAND, _OF_CATEGORY, _ITSELF = map(int, Spoken)


@kernel(i8(_I4, i8))
def _newest_place(rows: Array, row: int) -> int:
    """Where a row stands last among others, -1 for nowhere."""
    for place in range(len(rows) - 1, -1, -1):
        if rows[place] == row:
            return place
    return -1


@kernel(void(_I4, _I4, i8, _I4, _F4, _I4_2D, _F4_2D, _I4, i4[::1], i4[::1]))
def _by_table(
    rows: Array,
    asked: Array,
    loop: int,
    seeds: Array,
    weights: Array,
    table_rows: Array,
    table_scores: Array,
    table_lengths: Array,
    place: Array,
    strongest: Array,
) -> None:
    """For those of `rows` that are asked for so, the place of the seed whose row of the table names it with
    the greatest weighted score; the first where none does, -1 without seeds. `place` is all zero between
    calls."""
    best, n_asked = np.zeros(len(rows), np.float32), 0
    for index in range(len(rows)):
        if asked[index] == loop:
            place[rows[index]] = index + 1
            strongest[index] = 0 if len(seeds) else -1
            n_asked += 1
    for seed_place in range(len(seeds) if n_asked else 0):
        seed = seeds[seed_place]
        for column in range(table_lengths[seed] if 0 <= seed < len(table_lengths) else 0):
            index = place[table_rows[seed, column]] - 1
            if index >= 0 and weights[seed_place] * table_scores[seed, column] > best[index]:
                best[index] = weights[seed_place] * table_scores[seed, column]
                strongest[index] = seed_place
    for index in range(len(rows)):
        place[rows[index]] = 0


@kernel(f4(SOURCES_TYPE, STOCK_TYPE, i8, i8, i8))
def cosine(sources: Any, stock: Any, n_new: int, row: int, seed: int) -> Any:
    """Of the texts of two items; 0 where one has none, 1 without a model: they are of one category then."""
    known, new_rows = sources.opinions.contents, stock.new_rows[:n_new]
    if not len(known):
        return np.float32(1)
    new_row = _newest_place(new_rows, row) if row >= len(known) else -1
    new_seed = _newest_place(new_rows, seed) if seed >= len(known) else -1
    if row < 0 or seed < 0 or (row >= len(known) and new_row < 0) or (seed >= len(known) and new_seed < 0):
        return np.float32(0)
    one = stock.new_vectors[new_row] if new_row >= 0 else known[row]
    other = stock.new_vectors[new_seed] if new_seed >= 0 else known[seed]
    return product(one, other)


@kernel(types.Tuple((i8, i8))(SOURCES_TYPE, STOCK_TYPE, i8, _I4, _F4, i8))
def _by_texts(
    sources: Any, stock: Any, n_new: int, seeds: Array, weights: Array, row: int
) -> tuple[int, int]:
    """What is said by the seed whose text is likest, and its place, -1 where that is nothing: a word or two
    are shared by products that have nothing else in common."""
    strongest = -1
    greatest: Any = np.float32(-np.inf)
    likeness: Any = np.float32(0)
    for place in range(len(seeds)):
        alike = cosine(sources, stock, n_new, row, seeds[place])
        if alike * weights[place] > greatest:
            greatest, likeness, strongest = alike * weights[place], alike, place
    if strongest < 0:
        return _NOTHING, strongest
    if likeness >= MUCH_ALIKE and len(sources.opinions.contents):
        return _SEED, strongest
    seed, leaf, brand = seeds[strongest], stock.leaf, stock.brand
    if row < 0 or seed < 0 or leaf[row] < 0 or leaf[seed] < 0:
        return _AKIN, strongest
    if leaf[row] == leaf[seed]:
        return _OF_CATEGORY, strongest
    return (_OF_BRAND, strongest) if brand[row] == brand[seed] >= 0 else (_NOTHING, -1)


@kernel(i8(SOURCES_TYPE, STOCK_TYPE, _I4, i8))
def _by_taste(sources: Any, stock: Any, session: Array, row: int) -> int:
    """The place of the newest of `session` int32[s] that is of the row's category and speaks for it by its
    ALS factors; -1 for none, and for what no model has learned."""
    factors, leaf = sources.opinions.factors, stock.leaf
    for place in range(len(session) if row < len(factors) else 0):
        seed = session[place]
        is_near = seed != row and seed < len(factors) and leaf[seed] == leaf[row] >= 0
        if is_near and product(factors[seed], factors[row]) > 0:
            return place
    return -1


@kernel(i8(SOURCES_TYPE, STOCK_TYPE, i8, _I4_2D, _I4, i8, _I4, _F4, _I4, _I4, i4[::1]))
def speak(
    sources: Any,
    stock: Any,
    n_new: int,
    following: Array,
    n_following: Array,
    last: int,
    seeds: Array,
    weights: Array,
    session: Array,
    touched: Array,
    cells: Array,
) -> int:
    """What is to be said of k rows, each thing once. `cells` int32[SPEAK_COLUMNS * k] are columns: the rows;
    for each what is `Asked`; and, written here, for each the place of what is said of it; and for each thing
    its `Spoken`, the place of its seed, or of its touch for ITSELF, and the first row that it is said of, by
    its place. Returns how many things there are.

    seeds int32[s] count by weights float32[s]; session int32[n]: those of the session, the newest first, of
    which TASTE is read; touched int32[t]: the rows of what was done, the oldest first. TRANSITIONS know one
    seed, whose row is `last` (-1 for none) and place 0: people went on from it to the first `n_following` of
    `following`. That the person went on to something says nothing of others. Of the stock's new items `n_new`
    count.
    """
    opinions, memory, size = sources.opinions, sources.memory, 0
    k = len(cells) // SPEAK_COLUMNS
    rows, asked, of_row = cells[:k], cells[k : 2 * k], cells[2 * k : 3 * k]
    spoken_of, place_of, first_of = cells[3 * k : 4 * k], cells[4 * k : 5 * k], cells[5 * k :]
    strongest = np.full(len(rows), -1, np.int32)
    _by_table(
        rows, asked, _ITEM_TO_ITEM, seeds, weights, opinions.alike_rows, opinions.alike_scores,
        opinions.alike_lengths, memory.place, strongest,
    )  # fmt: skip
    _by_table(
        rows, asked, _BOUGHT_TOGETHER, seeds, weights, opinions.bought_rows, opinions.bought_scores,
        opinions.bought_lengths, memory.place, strongest,
    )  # fmt: skip
    for index in range(len(rows)):
        row, loop, spoken, place = rows[index], asked[index], _NOTHING, -1
        if loop == _TRANSITIONS:
            place = _newest_place(touched, row)
            if place >= 0:
                spoken = _ITSELF
            elif 0 <= last < len(n_following):
                is_following = _newest_place(following[last, : n_following[last]], row) >= 0
                spoken, place = (_SEED, 0) if is_following else (_NOTHING, -1)
        elif loop in (_ITEM_TO_ITEM, _BOUGHT_TOGETHER):
            place = strongest[index]
            spoken = _SEED if place >= 0 else _NOTHING
        elif loop == _TEXTS:
            spoken, place = _by_texts(sources, stock, n_new, seeds, weights, row)
        elif loop == _TASTE:
            place = _by_taste(sources, stock, session, row)
            spoken = _SEED if place >= 0 else _NOTHING
        is_of_seeds = place >= 0 and loop in (_ITEM_TO_ITEM, _BOUGHT_TOGETHER, _TEXTS)
        if is_of_seeds and seeds[place] == row:
            touch = _newest_place(touched, row)
            if touch >= 0:  # no item is its own evidence
                spoken, place = _ITSELF, touch
        is_shared = _SEED <= spoken < _ITSELF or (spoken == _NOTHING and loop >= _TEXTS)
        of_row[index] = size
        for other in range(size if is_shared else 0):
            is_alike = spoken_of[other] == spoken and place_of[other] == place
            if is_alike and asked[first_of[other]] == loop:
                of_row[index] = other
                break
        if of_row[index] == size:
            spoken_of[size], place_of[size], first_of[size] = spoken, place, index
            size += 1
    return size
