"""What the ranker looks at: who went on where from sessions like this one, and what is known of items.

Sources (`recsys.models.signal_kernels` has the loops): sessions that share items with this one, voting in
seven ways; tables of what follows and precedes an item within a session, of what follows it of late, and
of the items nearest to it in a truncated SVD of the item graph; the session's own items, those of the
person's earlier sessions, and what is popular of late. Vectors that are taught to foretell name nothing, and
say of every candidate how near it is to where the session points.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import scipy.sparse

from recsys.models.affinity_kernel import tell_affinities
from recsys.models.arrays import (
    EVERYTHING,
    Offer,
    Rows,
    Vectors,
    frozen,
    load_array,
    load_settings,
    save_arrays,
)
from recsys.models.column_kernel import count_columns
from recsys.models.demand import Live
from recsys.models.describe_kernel import describe
from recsys.models.direct import direct
from recsys.models.interactions import Interactions
from recsys.models.next_vectors import NextSettings, taught
from recsys.models.progress import Progress, silent
from recsys.models.signal_arrays import (
    AFFINITIES_AT,
    LIVE_AT,
    N_COLUMNS,
    N_FEATURES,
    OPINIONS_AT,
    SLOW_SURGE_AT,
    Desk,
    SignalArrays,
)
from recsys.models.signal_kernels import gather
from recsys.models.tables import TopTable, likeness_table, window_table
from recsys.models.vectors import VectorIndex, unit_length

Features = npt.NDArray[np.float32]
"""float32[N_FEATURES, c]: a row for each of `signal_arrays.FEATURES`, a column for each candidate."""

_gather: Final = direct(gather)
_SHORTEST_CUT: Final = 20
_STEP: Final = "signals"
_LATE: Final = 8
_FEWEST_EDGES: Final = 8
_MOST_EDGES: Final = 6_000_000
"""Of the item graph; a larger catalogue keeps fewer for each item, so that the SVD takes no longer."""
_SVD_ITERATIONS: Final = 3


class SignalSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the ranker's own sources look at and keep."""

    m_most_recent_sessions: int = 800
    """How many of the newest sessions that share an item are looked at."""
    k_neighbours: int = 300
    """How many of those, the most similar, vote."""
    longest_share: float = 0.005
    """This share of the sessions, the longest, has no vote: mostly robots. Sessions of 20 always do."""
    max_gap: int = 10
    """How many places behind an item another still counts as following it, with weight 1/gap."""
    k_following: int = 80
    k_preceding: int = 50
    k_next: int = 40
    k_cosine: int = 40
    """How many items each table keeps for an item."""
    dimensions: int = 96
    """Of the item vectors."""
    half_lives: int = 8
    """How many half-lives of demand the training spans, for what is recent; eight times that for what is
    popular of late. So a shop's months and a newspaper's days fade alike."""
    n_popular: int = 30
    seed: int = 0


DEFAULTS = SignalSettings()


class Trail(msgspec.Struct, frozen=True, eq=False):
    """What a person did, oldest first: rows int32[t] (-1 for an unknown item), kinds uint8[t] by
    InteractionKind, at_s int64[t] epoch seconds; from `start` on it is the session. `now_s`: when a
    decision is asked for."""

    rows: Rows
    kinds: npt.NDArray[np.uint8]
    at_s: npt.NDArray[np.int64]
    start: int
    now_s: float


class Traits(NamedTuple):
    """What the catalogue says of the items today: leaf and brand int32[c], codes of the last category and of
    the brand, -1 for none; price float32[c], NaN where unknown."""

    leaf: Rows
    brand: Rows
    price: npt.NDArray[np.float32]

    @classmethod
    def unknown(cls, n_items: int) -> Traits:
        """Of items of which nothing but the id is known."""
        leaf, brand = (np.full(n_items, -1, np.int32) for _ in range(2))
        return cls(leaf, brand, np.full(n_items, np.nan, np.float32))


class Signals:
    """arrays: item_starts int64[n_items + 1], item_sessions int32: the newest m sessions of each item,
    oldest first; session_starts int64[n_sessions + 1], session_items int32: each session in order;
    session_fade float32[n_sessions]: 1 for the newest, halved by age; idf float32[n_items];
    {following, preceding, next, cosine}_{starts int64[n_items + 1], rows int32, scores float32}: tables;
    vectors float32[n_items, d] of length 1 or 0; columns float32[n_items, N_COLUMNS], in the order of
    `signal_arrays.COLUMNS`: occurrences, the faded ones and those of late, each divided by their mean;
    the ratio of the last and the first of these; how long before the end of the training it was last
    and first seen, as shares of its span; how often a session comes back to it; how often one ends
    with it; popular int32[p]: the most popular of late; next_vectors
    float32[n_items, d] of length 1 or 0: `vectors`, taught to foretell (`recsys.models.next_vectors`); zeros
    where a bundle of format 9 is read."""

    def __init__(self, settings: SignalSettings, arrays: SignalArrays) -> None:
        self.settings = settings
        self.arrays = SignalArrays(*(frozen(array) for array in arrays))

    @classmethod
    def fit(
        cls,
        interactions: Interactions,
        settings: SignalSettings = DEFAULTS,
        *,
        threads: int = 1,
        progress: Progress = silent,
    ) -> Signals:
        """Memory: some 60 bytes an interaction and 1.5 KB an item, at most."""
        single = _without_repeats(interactions)
        of_sessions = _session_arrays(single, settings)
        progress(_STEP, 0.2)
        every_target = np.ones(interactions.n_items, np.float32)
        following = window_table(
            single, settings.max_gap, settings.k_following, False, every_target, threads=threads
        )
        preceding = window_table(
            _backwards(single), settings.max_gap, settings.k_preceding, False, every_target, threads=threads
        )
        progress(_STEP, 0.4)
        counts = np.bincount(single.item, minlength=single.n_items)
        per_occurrence = 1.0 / np.maximum(counts, 1)
        vectors = _vectors(following, settings)
        progress(_STEP, 0.6)
        next_vectors = taught(vectors, single, NextSettings(seed=settings.seed), progress)
        index = VectorIndex.build(vectors, threads=threads)
        rows = np.arange(len(vectors), dtype=np.int32)
        cosine = likeness_table(vectors, settings.k_cosine, index, rows, threads, silent, _STEP)
        columns, popular = item_columns(interactions, settings)
        progress(_STEP, 1.0)
        arrays = [
            *of_sessions,
            *_ragged(following.scaled_rows(per_occurrence)),
            *_ragged(preceding.scaled_rows(per_occurrence)),
            *_ragged(_next_of_late(single, settings)),
            *_ragged(cosine),
            vectors,
            columns,
            popular,
            next_vectors,
        ]
        return cls(settings, SignalArrays(*arrays))

    @property
    def n_items(self) -> int:
        return len(self.arrays.columns)

    def desk(self) -> Desk:
        """Working memory, some 1.5 MB and 4 bytes an item; one a thread."""
        return Desk(self.arrays, self.settings.m_most_recent_sessions)

    def gather(self, trail: Trail, desk: Desk, offer: Offer = EVERYTHING) -> Rows:
        """The candidates int32[c] for a trail, of those on offer, in no order. The desk keeps them, and what
        the sources said, until it is asked again."""
        k_neighbours = self.settings.k_neighbours
        found = _gather(desk.joined, trail.rows, trail.kinds, trail.start, k_neighbours, *offer)
        return desk.arrays.gathered[:found]

    def describe(
        self, rows: Rows, trail: Trail, desk: Desk, live: Live, said: Features, traits: Traits
    ) -> Features:
        """What speaks for and against each candidate of `rows` int32[c], gathered or from elsewhere; live
        float32[N_LIVE, c]: the demand for them now; said float32[N_OPINIONS, c]: what other models think."""
        features = np.empty((N_FEATURES, len(rows)), np.float32)
        features[LIVE_AT:OPINIONS_AT], features[SLOW_SURGE_AT] = live[:-1], live[-1]
        features[OPINIONS_AT:AFFINITIES_AT] = said
        now_s = float(trail.now_s)
        describe(
            desk.joined, rows, trail.kinds, trail.at_s, trail.start, now_s, features
        )  # fmt: skip
        tell_affinities(
            desk.joined, rows, trail.kinds, trail.at_s, trail.start, now_s, *traits,
            features[AFFINITIES_AT:SLOW_SURGE_AT],
        )  # fmt: skip
        return features

    def save(self, directory: Path) -> None:
        save_arrays(directory, self.arrays._asdict(), self.settings)

    @classmethod
    def load(cls, directory: Path) -> Signals:
        names = SignalArrays._fields
        arrays = {name: load_array(directory, name) for name in names[:-1]}
        has_taught = (directory / f"{names[-1]}.npy").exists()
        untaught = np.zeros((len(arrays["columns"]), 1), np.float32)
        next_vectors = load_array(directory, names[-1]) if has_taught else untaught
        return cls(
            load_settings(directory, SignalSettings), SignalArrays(**arrays, next_vectors=next_vectors)
        )


def _starts(counts: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    return np.concatenate(([0], np.cumsum(counts))).astype(np.int64)


def _ragged(table: TopTable) -> tuple[npt.NDArray[np.int64], Rows, npt.NDArray[np.float32]]:
    """The rows of a table one behind the other, without what is empty."""
    filled = np.arange(table.rows.shape[1])[None, :] < table.lengths[:, None]
    return _starts(table.lengths), table.rows[filled], table.scores[filled]


def _without_repeats(interactions: Interactions) -> Interactions:
    """Each item of a session only after another one."""
    item, session = interactions.item, interactions.session
    fresh = np.ones(len(item), bool)
    fresh[1:] = (item[1:] != item[:-1]) | (session[1:] != session[:-1])
    return _where(interactions, np.flatnonzero(fresh))


def _backwards(interactions: Interactions) -> Interactions:
    """Every session read from its end."""
    return _where(interactions, np.arange(len(interactions))[::-1])


def _where(interactions: Interactions, rows: npt.NDArray[np.int64]) -> Interactions:
    columns = ("person", "session", "item", "kind", "at_s")
    return replace(interactions, **{name: getattr(interactions, name)[rows] for name in columns})


def _session_arrays(interactions: Interactions, settings: SignalSettings) -> tuple[npt.NDArray[Any], ...]:
    """The index of sessions: the first six of `SignalArrays`."""
    n_sessions, n_items = interactions.n_sessions, interactions.n_items
    lengths = np.diff(interactions.session_starts)
    longest = np.quantile(lengths, 1.0 - settings.longest_share) if len(lengths) else 0.0
    voting = (lengths <= max(longest, _SHORTEST_CUT))[interactions.session]
    session, item = interactions.session[voting], interactions.item[voting]
    matrix = scipy.sparse.csr_matrix(
        (np.ones(len(item), np.float32), (session, item)), shape=(n_sessions, n_items)
    )
    matrix.sum_duplicates()
    # Sessions are numbered by time, so each column lists its sessions from old to new.
    by_item = matrix.tocsc()
    counts = np.diff(by_item.indptr)
    newer = np.repeat(by_item.indptr[1:], counts) - np.arange(by_item.nnz)
    recent = newer <= settings.m_most_recent_sessions
    ended_s = interactions.at_s[interactions.session_starts[1:] - 1]
    fade = np.exp2((ended_s - ended_s.max(initial=0.0)) / _half_life_s(interactions, settings))
    return (
        _starts(np.minimum(counts, settings.m_most_recent_sessions)),
        by_item.indices[recent].astype(np.int32),
        _starts(np.bincount(session, minlength=n_sessions)),
        item.astype(np.int32),
        fade.astype(np.float32),
        np.log(max(n_sessions, 2) / np.maximum(counts, 1)).astype(np.float32),
    )


def _half_life_s(interactions: Interactions, settings: SignalSettings) -> float:
    span_s = float(np.ptp(interactions.at_s)) if len(interactions) else 0.0
    return max(span_s, 1.0) / settings.half_lives


def _next_of_late(interactions: Interactions, settings: SignalSettings) -> TopTable:
    """What comes right after an item, in the newest fifth of the interactions."""
    late = _where(interactions, np.arange(len(interactions) * 4 // 5, len(interactions)))
    table = window_table(late, 1, settings.k_next, False, np.ones(late.n_items, np.float32))
    return table.scaled_rows(1.0 / np.maximum(np.bincount(late.item, minlength=late.n_items), 1))


def _vectors(following: TopTable, settings: SignalSettings) -> Vectors:
    """The item graph (who follows whom, both ways, degrees divided out) in few dimensions."""
    from sklearn.utils.extmath import randomized_svd  # noqa: PLC0415 - half a second that only training needs

    n_items = len(following)
    kept = max(_FEWEST_EDGES, min(following.rows.shape[1], _MOST_EDGES // max(n_items, 1)))
    strongest = TopTable(
        np.ascontiguousarray(following.rows[:, :kept]),
        np.ascontiguousarray(following.scores[:, :kept]),
        np.minimum(following.lengths, kept),
    ).to_sparse()
    graph = strongest + strongest.T
    scale = scipy.sparse.diags((np.asarray(graph.sum(axis=1)).ravel() + 1.0) ** -0.5)
    graph = scipy.sparse.csr_matrix(scale @ graph @ scale, dtype=np.float32)
    dimensions = min(settings.dimensions, n_items - 1)
    if dimensions < 1 or not graph.nnz:
        return np.zeros((n_items, 1), np.float32)
    left, strength, _ = randomized_svd(graph, dimensions, n_iter=_SVD_ITERATIONS, random_state=settings.seed)
    return unit_length((left * np.sqrt(strength)).astype(np.float32))


def item_columns(
    interactions: Interactions, settings: SignalSettings
) -> tuple[npt.NDArray[np.float32], Rows]:
    """(`columns`, `popular`) of `Signals`."""
    n_items, item, at_s = interactions.n_items, interactions.item, interactions.at_s
    columns = np.zeros((n_items, N_COLUMNS), np.float32)
    if not len(item):
        return columns, np.empty(0, np.int32)
    half_life_s = _half_life_s(interactions, settings)
    span_s = half_life_s * settings.half_lives
    last_s, first_s = np.full(n_items, 2.0 * span_s), np.zeros(n_items)  # as UNSEEN has them
    demand, counts = np.zeros((3, n_items)), np.zeros((3, n_items), np.int64)
    count_columns(
        item, interactions.session, at_s, float(at_s.max()), half_life_s, half_life_s / _LATE,
        demand, last_s, first_s, counts,
    )  # fmt: skip
    popularity, faded, of_late = (_per_mean(sums) for sums in demand)
    occurrences, sessions_with, ending = counts
    for place, column in enumerate((
        popularity, faded, of_late, (of_late + 0.05) / (popularity + 0.05), last_s / span_s, first_s / span_s,
        (occurrences - sessions_with + 0.5) / (sessions_with + 5.0), (ending + 1.0) / (occurrences + 3.0),
    )):  # fmt: skip
        columns[:, place] = column
    popular = np.argsort(-of_late, kind="stable")[: settings.n_popular]
    return columns, popular[of_late[popular] > 0].astype(np.int32)


def _per_mean(counts: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    return counts / max(float(counts.mean()), 1e-12)
