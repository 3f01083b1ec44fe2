"""The past as questions: what people who were known by what they had came to have next.

Where enough of them came again, that is what was new in their first basket behind a cut in time. Where
they did not, or nothing tells when, a share of what each has is hidden at random: the order of a file is
no order, and would foretell nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from recsys.models.arrays import Rows
from recsys.models.interactions import Interactions
from recsys.models.signals import Trail

_MAX_HISTORY_ROWS: Final = 300
"""Interactions of a person that are looked at, the newest: MAX_HISTORY_ITEMS distinct ones count of them."""


class Replayed(NamedTuple):
    """What was known, and what each of some persons int32[a] came to have then, none of it known of them
    before: the items `wanted[starts[i]:starts[i + 1]]` for `persons[i]`, as epoch second `now_s` had come."""

    known: Interactions
    now_s: float
    persons: Rows
    starts: npt.NDArray[np.int64]
    wanted: Rows

    def trails(self, order: npt.NDArray[np.int64]) -> Iterator[tuple[Trail, Rows]]:
        """What each of the persons in this order had, and what they wanted."""
        by_person = np.lexsort((self.known.at_s, self.known.person))
        bounds = np.searchsorted(self.known.person[by_person], np.arange(self.known.n_persons + 1))
        for number in order.tolist():
            person = int(self.persons[number])
            rows = by_person[bounds[person] : bounds[person + 1]][-_MAX_HISTORY_ROWS:]
            known = self.known
            at_s = known.at_s[rows].astype(np.int64)
            trail = Trail(known.item[rows], known.kind[rows], at_s, len(rows), self.now_s)
            yield trail, self.wanted[self.starts[number] : self.starts[number + 1]]


def sampled(interactions: Interactions, max_interactions: int, seed: int) -> Interactions:
    """All that some persons did, drawn by the seed, who have about `max_interactions` together."""
    if len(interactions) <= max_interactions:
        return interactions
    counts = np.bincount(interactions.person, minlength=interactions.n_persons)
    drawn = np.random.default_rng(seed).permutation(interactions.n_persons)
    enough = int(np.searchsorted(np.cumsum(counts[drawn]), max_interactions)) + 1
    is_drawn = np.zeros(interactions.n_persons, bool)
    is_drawn[drawn[:enough]] = True
    return interactions.where(is_drawn[interactions.person])


def later(interactions: Interactions, cut: float, window: float) -> Replayed:
    """Cut so far before the end, `cut` and `window` being shares of the whole span: what was new to each
    person in their first session within the window behind the cut."""
    end_s = float(interactions.at_s.max(initial=0.0))
    span_s = end_s - float(interactions.at_s.min(initial=end_s))
    now_s = end_s - cut * span_s
    before, after = interactions.split(now_s)
    after = after.where(after.at_s <= now_s + window * span_s)
    # Sessions are sorted by time, so the first row that has a person is of their first session.
    persons, first = np.unique(after.person, return_index=True)
    session_of = np.full(interactions.n_persons, -1, np.int64)
    session_of[persons] = after.session[first]
    of_first = after.session == session_of[after.person]
    pairs = np.unique(_pairs(after)[of_first])
    pairs = pairs[~np.isin(pairs, _pairs(before))]
    pairs = pairs[np.isin(pairs // max(interactions.n_items, 1), before.person)]
    return _replayed(before, now_s, pairs)


def hidden(interactions: Interactions, share: float, seed: int) -> Replayed:
    """A share of the distinct items of each person hidden, drawn by the seed."""
    pairs, pair_of = np.unique(_pairs(interactions), return_inverse=True)
    person = pairs // max(interactions.n_items, 1)
    order = np.lexsort((np.random.default_rng(seed).random(len(pairs)), person))
    counts = np.bincount(person, minlength=interactions.n_persons)
    place = np.arange(len(pairs)) - np.repeat(np.cumsum(counts) - counts, counts)
    is_hidden = np.zeros(len(pairs), bool)
    is_hidden[order] = place < np.round(share * counts)[person]
    now_s = float(interactions.at_s.max(initial=0.0))
    return _replayed(interactions.where(~is_hidden[pair_of]), now_s, pairs[is_hidden])


def _pairs(interactions: Interactions) -> npt.NDArray[np.int64]:
    return interactions.person.astype(np.int64) * max(interactions.n_items, 1) + interactions.item


def _replayed(known: Interactions, now_s: float, pairs: npt.NDArray[np.int64]) -> Replayed:
    """`pairs` int64: rising, of persons and the items they came to have."""
    persons, starts = np.unique(pairs // max(known.n_items, 1), return_index=True)
    return Replayed(
        known,
        now_s,
        persons.astype(np.int32),
        np.append(starts, len(pairs)).astype(np.int64),
        (pairs % max(known.n_items, 1)).astype(np.int32),
    )
