"""What kindred people have: items for a person from the whole of their history, whatever its order.

Two kinds of evidence that see different things. *Walks*: from an item of the history to somebody who has
it, and on to one of their items (Cooper, Lee, Radinsky and Siegel, "Random Walks in Recommender Systems:
Exact Computation and Simulations", WWW 2014: P3). *People*: the nearest by cosine, rare items counting
more, vote for what they have (Herlocker, Konstan, Borchers and Riedl, SIGIR 1999). The first knows every
pair of items and no more; the second knows whole histories, but of a few people only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import scipy.sparse

from recsys.models.arrays import (
    EVERYTHING,
    NOTHING,
    Offer,
    Ranked,
    Rows,
    Scores,
    load_array,
    load_settings,
    save_arrays,
)
from recsys.models.interactions import Interactions
from recsys.models.kindred_kernels import (
    MAX_HISTORY_ITEMS,
    MAX_MEETINGS,
    MAX_SLOTS,
    N_CHANNELS,
    N_EVIDENCE,
    N_FACTS,
    KindredArrays,
    KindredDesk,
    clear,
    describe,
    gather,
    walk_table,
)
from recsys.models.progress import Progress, silent

Evidence = npt.NDArray[np.float32]
"""float32[N_EVIDENCE, c]: a row for each of `kindred_kernels.EVIDENCE`, a column for each candidate."""

_STEP: Final = "kindred"
_BATCH_ITEMS: Final = 4_096
"""Items whose walks one thread works out at a time, with 16 bytes of memory for each item of the shop."""


class KindredSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What of people and items is kept, and how far is walked. Counts, but for the exponent."""

    k_walks: int = 200
    """How many ends of walks are kept for each item."""
    max_walks: int = 24_000_000
    """And of all items together, 8 bytes each: with more than 120,000 items each keeps fewer, at least
    `least_walks`."""
    least_walks: int = 20
    """Ends of walks that each item keeps in any case, however many items there are."""
    popularity_exponent: float = 0.4
    """Which ends are kept: those of the greatest chance over (people who have the item)^this. Kept for
    their chance alone, the ends of most walks are the same few bestsellers."""
    m_walk_people: int = 2_000
    """How many of an item's people, the newest, its walks go through."""
    m_newest_people: int = 500
    """How many of an item's people, the newest, can be met."""
    k_people: int = 100
    """How many of the people met, the nearest, are asked what they have."""
    min_items_per_person: int = 2
    """With fewer distinct items nobody leads from one to another."""
    max_items_per_person: int = 500
    """Of longer histories the newest items: a walk through a person costs as much as they have."""
    max_interactions: int = 4_000_000
    """Of distinct items had, of the people who came last: who came before them knows little else."""


DEFAULTS = KindredSettings()


class Kindred:
    """arrays: walk_starts int64[n_items + 1], walk_rows int32, walk_shares float32: for each item where
    walks of two steps from it end, with their chances; item_starts int64[n_items + 1], item_people int32:
    each item's newest people, oldest first; person_starts int64[n_people + 1], person_items int32: what
    each person has, oldest first; rarity float32[n_items]: 1 / root of how many people have it (1 for
    nobody); brevity float32[n_people]: 1 / root of how many items they have.

    People are numbered by their last interaction and not named.
    """

    def __init__(self, settings: KindredSettings, arrays: KindredArrays) -> None:
        self.settings = settings
        # Kernels have one signature for arrays in memory and mapped ones: both read-only.
        self.arrays = KindredArrays(*(_read_only(array) for array in arrays))

    @classmethod
    def fit(
        cls,
        interactions: Interactions,
        settings: KindredSettings = DEFAULTS,
        *,
        threads: int = 1,
        progress: Progress = silent,
    ) -> Kindred:
        """Any number of threads gives the same bytes. Memory: some 60 bytes an interaction, and 16 for
        each walk kept."""
        by_person = _histories(interactions, settings)
        progress(_STEP, 0.2)
        # People are numbered by time, so each column lists them from old to new.
        by_item = by_person.tocsc()
        n_people = np.diff(by_item.indptr)
        walks = _walks(by_person, by_item, settings, threads, progress)
        newer = np.repeat(by_item.indptr[1:], n_people) - np.arange(by_item.nnz)
        arrays = KindredArrays(
            *walks,
            item_starts=_starts(np.minimum(n_people, settings.m_newest_people)),
            item_people=by_item.indices[newer <= settings.m_newest_people].astype(np.int32),
            person_starts=by_person.indptr.astype(np.int64),
            person_items=by_person.indices.astype(np.int32),
            rarity=_inverse_root(n_people),
            brevity=_inverse_root(np.diff(by_person.indptr)),
        )
        progress(_STEP, 1.0)
        return cls(settings, arrays)

    @property
    def n_items(self) -> int:
        return len(self.arrays.rarity)

    @property
    def n_people(self) -> int:
        return len(self.arrays.brevity)

    def desk(self) -> KindredDesk:
        """Working memory, 4 bytes an item and a person and 1.5 MB at most; one a thread."""
        slots = min(self.n_items, MAX_SLOTS)
        k_people = self.settings.k_people
        return KindredDesk(
            place=np.zeros(self.n_items, np.int32), rows=np.zeros(slots, np.int32),
            sums=np.zeros((slots, N_CHANNELS), np.float32), weights=np.zeros(MAX_HISTORY_ITEMS, np.float32),
            best=np.zeros(N_CHANNELS, np.float32), likeness=np.zeros(self.n_people, np.float32),
            met=np.zeros(MAX_MEETINGS, np.int32), nearest=np.zeros(k_people, np.int32),
            nearest_likeness=np.zeros(k_people, np.float32),
            scores=np.zeros(max(slots, MAX_MEETINGS), np.float32),
            spare=np.zeros(max(slots, MAX_MEETINGS) + 1, np.float32), facts=np.zeros(N_FACTS, np.int64),
        )  # fmt: skip

    def gather(
        self, rows: Rows, weights: Scores, k: int, desk: KindredDesk, offer: Offer = EVERYTHING
    ) -> Ranked:
        """The k best items for a history, without those of the history.

        rows int32[h] oldest first, repeats and unknown (-1) allowed, of which the last 200 distinct are
        used; weights float32[h], those of zero or less are passed over. The desk keeps what was found
        until `clear`, which must come before the next `gather`, whatever happens in between.
        """
        k = max(0, min(k, self.n_items))
        top_rows, top_scores = np.empty(k, np.int32), np.empty(k, np.float32)
        found = gather(self.arrays, desk, rows, weights, *offer, top_rows, top_scores)
        return top_rows[:found], top_scores[:found]

    def describe(self, rows: Rows, desk: KindredDesk) -> Evidence:
        """What was found of each of `rows` int32[c], gathered or from elsewhere: for a ranker."""
        evidence = np.empty((N_EVIDENCE, len(rows)), np.float32)
        describe(self.arrays, desk, rows, evidence)
        return evidence

    @staticmethod
    def clear(desk: KindredDesk) -> None:
        clear(desk)

    def recommend(
        self, rows: Rows, weights: Scores, k: int, desk: KindredDesk, offer: Offer = EVERYTHING
    ) -> Ranked:
        """`gather` for who needs no evidence. The score is 0 to 2: two shares of the best."""
        if not len(rows):
            return NOTHING
        ranked = self.gather(rows, weights, k, desk, offer)
        clear(desk)
        return ranked

    def recommend_many(
        self, histories: Sequence[tuple[Rows, Scores]], k: int, desk: KindredDesk
    ) -> list[Ranked]:
        """`recommend` for each of the histories."""
        return [self.recommend(rows, weights, k, desk) for rows, weights in histories]

    def save(self, directory: Path) -> None:
        save_arrays(directory, self.arrays._asdict(), self.settings)

    @classmethod
    def load(cls, directory: Path) -> Kindred:
        arrays = KindredArrays(*(load_array(directory, name) for name in KindredArrays._fields))
        return cls(load_settings(directory, KindredSettings), arrays)


def _histories(interactions: Interactions, settings: KindredSettings) -> Any:
    """CSR [people, items]: the distinct items of each person, in the order of their last interactions;
    people in the order of theirs."""
    by_time = np.argsort(interactions.at_s, kind="stable")
    person, item = interactions.person[by_time], interactions.item[by_time]
    pairs = person.astype(np.int64) * max(interactions.n_items, 1) + item
    # The first of the reversed is the last.
    _, newest_first = np.unique(pairs[::-1], return_index=True)
    last = np.sort(len(pairs) - 1 - newest_first)
    person, item = person[last], item[last]
    lengths = np.bincount(person, minlength=interactions.n_persons)
    last_row = np.full(interactions.n_persons, -1, np.int64)
    last_row[person] = np.arange(len(person))
    kept = np.flatnonzero(lengths >= settings.min_items_per_person)
    kept = kept[np.argsort(last_row[kept])]
    newer = np.cumsum(lengths[kept][::-1])[::-1]
    kept = kept[newer <= settings.max_interactions]
    number = np.full(interactions.n_persons, -1, np.int32)
    number[kept] = np.arange(len(kept), dtype=np.int32)
    person = number[person]
    order = np.argsort(person, kind="stable")
    person, item = person[order], item[order]
    person, item = person[(known := person >= 0)], item[known]
    starts = _starts(np.bincount(person, minlength=len(kept)))
    newest = starts[1:][person] - np.arange(len(person)) <= settings.max_items_per_person
    starts = _starts(np.bincount(person[newest], minlength=len(kept)))
    item = item[newest]
    ones = np.ones(len(item), np.float32)
    return scipy.sparse.csr_matrix((ones, item, starts), shape=(len(kept), interactions.n_items))


def _walks(
    by_person: Any, by_item: Any, settings: KindredSettings, threads: int, progress: Progress
) -> tuple[npt.NDArray[np.int64], Rows, Scores]:
    """(`walk_starts`, `walk_rows`, `walk_shares`) of `Kindred`."""
    n_items = by_person.shape[1]
    k = min(settings.k_walks, max(settings.least_walks, settings.max_walks // max(n_items, 1)), n_items)
    rows, shares = np.empty((n_items, k), np.int32), np.empty((n_items, k), np.float32)
    lengths = np.zeros(n_items, np.int32)
    people = np.maximum(np.diff(by_item.indptr), 1)
    scale = (people ** -float(settings.popularity_exponent)).astype(np.float32)
    item_starts, item_people = by_item.indptr.astype(np.int64), by_item.indices.astype(np.int32)
    person_starts, person_items = by_person.indptr.astype(np.int64), by_person.indices.astype(np.int32)

    def walk_from(first: int) -> int:
        batch = slice(first, first + _BATCH_ITEMS)
        walk_table(
            item_starts, item_people, person_starts, person_items, scale, first, settings.m_walk_people,
            np.zeros(n_items, np.float32), np.empty(n_items, np.int32), np.empty(n_items, np.float32),
            np.empty(n_items, np.float32), rows[batch], shares[batch], lengths[batch],
        )  # fmt: skip
        return first

    with ThreadPoolExecutor(threads) as pool:
        done: Iterator[int] = pool.map(walk_from, range(0, n_items, _BATCH_ITEMS))
        for first in done:
            progress(_STEP, 0.2 + 0.7 * min(1.0, (first + _BATCH_ITEMS) / n_items))
    filled = np.arange(k)[None, :] < lengths[:, None]
    return _starts(lengths), rows[filled], shares[filled]


def _inverse_root(counts: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    roots: npt.NDArray[np.float64] = np.sqrt(np.maximum(counts, 1))
    return (1.0 / roots).astype(np.float32)


def _starts(counts: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    return np.concatenate(([0], np.cumsum(counts))).astype(np.int64)


def _read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view
