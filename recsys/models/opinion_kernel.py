"""The compiled loop that asks the bundle's other models what they think of candidates."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import types

from recsys.models.compiled import Array, f4, i4, i8, kernel, read_only, void
from recsys.models.kernels import unsigned
from recsys.models.prefetch import AHEAD, LINE_F4, fetch

_I4, _F4 = read_only(i4), read_only(f4)
_I4_2D, _F4_2D = read_only(i4, 2), read_only(f4, 2)

OPINIONS = ("taste", "content_last", "content_session", "alike_last", "alike_session", "bought_last",
            "bought_session")  # fmt: skip
"""What other models say of a candidate: ALS, the texts, item to item, bought together."""
N_OPINIONS = len(OPINIONS)
_TASTE, _CONTENT_LAST, _CONTENT_SESSION, _ALIKE, _, _BOUGHT, _ = range(N_OPINIONS)
_SEEDS = 5
"""How many of the session's newest items are asked about; each counts half of the one after it."""


class OpinionArrays(NamedTuple):
    """The models that are asked. ALS factors float32[n, f], content vectors float32[n, d], and the tables of
    item to item and of what is bought together; see `recsys.models.tables.TopTable`."""

    factors: Array
    contents: Array
    alike_rows: Array
    alike_scores: Array
    alike_lengths: Array
    bought_rows: Array
    bought_scores: Array
    bought_lengths: Array


OPINIONS_TYPE = types.NamedTuple((_F4_2D, _F4_2D, *(_I4_2D, _F4_2D, _I4) * 2), OpinionArrays)


@kernel(f4(_F4, _F4), fastmath=True)
def product(one: Array, other: Array) -> Any:
    """Of two vectors float32[d]."""
    total: Any = np.float32(0)
    for place in range(len(one)):
        total += one[place] * other[place]
    return total


@kernel(i8(_I4, i8, i4[::1]))
def _seeds_of(trail: Array, n_items: int, seeds: Array) -> int:
    """The session's newest distinct items that the models know, the newest first."""
    n_seeds = 0
    for at in range(len(trail) - 1, -1, -1):
        row = trail[at]
        is_new = 0 <= row < n_items
        for place in range(n_seeds):
            is_new = is_new and seeds[place] != row
        if is_new:
            seeds[n_seeds] = row
            n_seeds += 1
            if n_seeds == len(seeds):
                break
    return n_seeds


@kernel(void(_I4, i4[::1], i8, _I4_2D, _F4_2D, _I4, f4[::1], f4[:, ::1]))
def _ask_table(
    rows: Array,
    seeds: Array,
    n_seeds: int,
    table_rows: Array,
    table_scores: Array,
    table_lengths: Array,
    sums: Array,
    opinions: Array,
) -> None:
    """What a table says around the last item, and around the session; `sums` are zero again afterwards."""
    weight: Any = np.float32(1)
    for place in range(n_seeds):
        seed = seeds[place]
        for at in range(table_lengths[seed]):
            sums[unsigned(table_rows[seed, at])] += weight * table_scores[seed, at]
        weight *= np.float32(0.5)
        if place == 0 or place == n_seeds - 1:
            of_all = opinions[1 if place else 0]
            for index in range(len(rows)):
                row = unsigned(rows[index])
                of_all[index] = sums[row] if row < len(sums) else np.float32(0)
    if n_seeds == 1:
        opinions[1] = opinions[0]
    for place in range(n_seeds):
        for at in range(table_lengths[seeds[place]]):
            sums[unsigned(table_rows[seeds[place], at])] = np.float32(0)


@kernel(void(_I4, _I4, _F4, OPINIONS_TYPE, f4[::1], f4[::1], f4[:, ::1]), fastmath=True)
def ask_models(
    rows: Array,
    session: Array,
    taste: Array,
    models: OpinionArrays,
    mean: Array,
    sums: Array,
    opinions: Array,
) -> None:
    """Fill opinions float32[N_OPINIONS, m >= n] of candidates `rows` int32[n]; 0 of newer ones.

    session int32[h]: its items, oldest first; taste float32[f]: the person's ALS vector, zero for nobody;
    mean float32[d] is left as the direction of the session's texts; sums float32[n_items] are all zero.
    """
    factors, contents = models.factors, models.contents
    seeds = np.empty(_SEEDS, np.int32)
    n_seeds = _seeds_of(session, len(factors), seeds)
    opinions[:] = np.float32(0)
    mean[:] = np.float32(0)
    weight: Any = np.float32(1)
    for place in range(n_seeds):
        mean += weight * contents[seeds[place]]
        weight *= np.float32(0.5)
    last = contents[seeds[0]] if n_seeds else mean
    for index in range(len(rows)):
        soon = rows[min(index + AHEAD, len(rows) - 1)]
        for place in range(0, len(taste), LINE_F4):
            fetch(factors, soon * len(taste) + place)
        for place in range(0, len(mean), LINE_F4):
            fetch(contents, soon * len(mean) + place)
        if rows[index] >= len(factors):
            continue
        row = unsigned(rows[index])
        liked, alike, alike_last = np.float32(0), np.float32(0), np.float32(0)
        for place in range(len(taste)):
            liked += factors[row, place] * taste[place]
        for place in range(len(mean)):
            alike += contents[row, place] * mean[place]
            alike_last += contents[row, place] * last[place]
        opinions[_TASTE, index] = liked
        opinions[_CONTENT_LAST, index], opinions[_CONTENT_SESSION, index] = alike_last, alike
    if n_seeds:
        _ask_table(
            rows, seeds, n_seeds, models.alike_rows, models.alike_scores, models.alike_lengths, sums,
            opinions[_ALIKE : _ALIKE + 2],
        )  # fmt: skip
        _ask_table(
            rows, seeds, n_seeds, models.bought_rows, models.bought_scores, models.bought_lengths, sums,
            opinions[_BOUGHT : _BOUGHT + 2],
        )  # fmt: skip


@kernel(void(_I4, _I4, _F4_2D, _F4, _I4, _F4_2D, i8, f4[:, ::1]), fastmath=True)
def ask_texts(
    rows: Array,
    session: Array,
    contents: Array,
    mean: Array,
    new_rows: Array,
    new_vectors: Array,
    n_new: int,
    opinions: Array,
) -> None:
    """What the texts say of those of `rows` that are newer than the models, after `ask_models`: the first
    `n_new` of `new_rows` int32[k] have the vectors beside them, float32[k, d]."""
    if not len(session):
        return
    last = session[len(session) - 1]
    for index in range(len(rows)):
        if rows[index] < len(contents):
            continue
        for place in range(n_new - 1, -1, -1):
            if new_rows[place] == rows[index]:
                vector = new_vectors[place]
                if 0 <= last < len(contents):
                    opinions[_CONTENT_LAST, index] = product(vector, contents[last])
                opinions[_CONTENT_SESSION, index] = product(vector, mean)
                break
