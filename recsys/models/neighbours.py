"""Sessions like this one: VMIS-kNN.

Kersbergen, Sprangers and Schelter, "Serenade: Low-Latency Session-Based Recommendation in e-Commerce
at Scale", SIGMOD 2022. The index maps an item to its most recent sessions and a session to its items.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
    load_array,
    load_settings,
    save_arrays,
)
from recsys.models.interactions import Interactions
from recsys.models.neighbour_kernels import score_neighbours
from recsys.models.progress import Progress, silent
from recsys.models.scratch import Scratch


class NeighbourSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many sessions are looked at, and which vote; the paper's names."""

    m_most_recent_sessions: int = 1500
    """How many of the newest sessions that share an item are looked at."""
    k_neighbours: int = 500
    """How many of those, the most similar, vote for their items."""
    max_session_items: int = 9
    """How many of the last items of the visitor's session are used. Votes fall to 0 at the tenth."""
    longest_share: float = 0.005
    """This share of the sessions, the longest, is left out of the index: mostly robots."""


DEFAULTS = NeighbourSettings()


class SessionNeighbours:
    """item_starts int64[n_items + 1], item_sessions int32: the newest m sessions of each item, oldest
    first; session_starts int64[n_sessions + 1], session_items int32: the distinct items of each
    session; idf float32[n_items]: ln(all session items / sessions with this item)."""

    _ARRAYS = ("item_starts", "item_sessions", "session_starts", "session_items", "idf")

    def __init__(
        self,
        settings: NeighbourSettings,
        *,
        item_starts: npt.NDArray[np.int64],
        item_sessions: npt.NDArray[np.int32],
        session_starts: npt.NDArray[np.int64],
        session_items: npt.NDArray[np.int32],
        idf: npt.NDArray[np.float32],
    ) -> None:
        self.settings = settings
        self.item_starts = item_starts
        self.item_sessions = item_sessions
        self.session_starts = session_starts
        self.session_items = session_items
        self.idf = idf

    @classmethod
    def fit(
        cls,
        interactions: Interactions,
        settings: NeighbourSettings = DEFAULTS,
        progress: Progress = silent,
    ) -> SessionNeighbours:
        by_session = _session_items(interactions, settings.longest_share)
        progress("neighbours", 0.5)
        # Sessions are numbered by time, so each column lists its sessions from old to new.
        by_item = by_session.tocsc()
        n_sessions = np.diff(by_item.indptr)
        newer = np.repeat(by_item.indptr[1:], n_sessions) - np.arange(by_item.nnz)
        recent = newer <= settings.m_most_recent_sessions
        idf = np.log(max(by_session.nnz, 1) / np.maximum(n_sessions, 1)).astype(np.float32)
        progress("neighbours", 1.0)
        return cls(
            settings,
            item_starts=_starts(np.minimum(n_sessions, settings.m_most_recent_sessions)),
            item_sessions=by_item.indices[recent].astype(np.int32),
            session_starts=by_session.indptr.astype(np.int64),
            session_items=by_session.indices.astype(np.int32),
            idf=idf,
        )

    @property
    def n_items(self) -> int:
        return len(self.idf)

    def scratch(self) -> Scratch:
        """Working memory for `recommend`; one a thread."""
        return Scratch(self.n_items, self.settings.m_most_recent_sessions, self.settings.max_session_items)

    def recommend(
        self,
        session: Rows,
        k: int,
        scratch: Scratch,
        *,
        keep_last: bool = False,
        offer: Offer = EVERYTHING,
    ) -> Ranked:
        """The k items on offer that the nearest sessions vote for.

        session int32[h], oldest first, of which the last `max_session_items` are used; rows that
        are unknown (-1) keep their place and find nothing. The last item is not among the answers
        unless `keep_last`; the other items of the session may be.
        """
        if not len(session) or k <= 0:
            return NOTHING
        k = min(k, self.n_items)
        top_rows, top_scores = np.empty(k, np.int32), np.empty(k, np.float32)
        found = score_neighbours(
            np.ascontiguousarray(session[-self.settings.max_session_items :], np.int32),
            self.item_starts, self.item_sessions, self.session_starts, self.session_items, self.idf,
            self.settings.m_most_recent_sessions, self.settings.k_neighbours, keep_last, *offer,
            scratch.sums, scratch.touched, scratch.spare, scratch.found_session, scratch.found_similarity,
            scratch.found_position, scratch.order_statistic, scratch.head, scratch.end, scratch.newest_of,
            scratch.position,
            top_rows, top_scores,
        )  # fmt: skip
        return top_rows[:found], top_scores[:found]

    def save(self, directory: Path) -> None:
        save_arrays(directory, {name: getattr(self, name) for name in self._ARRAYS}, self.settings)

    @classmethod
    def load(cls, directory: Path) -> SessionNeighbours:
        arrays = {name: load_array(directory, name) for name in cls._ARRAYS}
        return cls(load_settings(directory, NeighbourSettings), **arrays)


def _session_items(interactions: Interactions, longest_share: float) -> Any:
    """CSR [n_sessions, n_items] of the distinct items of each session; empty rows for the longest."""
    shape = (interactions.n_sessions, interactions.n_items)
    seen = np.ones(len(interactions), np.float32)
    matrix = scipy.sparse.csr_matrix((seen, (interactions.session, interactions.item)), shape=shape)
    matrix.sum_duplicates()
    lengths = np.diff(matrix.indptr)
    if len(lengths):
        longest = np.quantile(lengths, 1.0 - longest_share, method="higher")
        matrix.data[np.repeat(lengths > longest, lengths)] = 0.0
        matrix.eliminate_zeros()
    return matrix


def _starts(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
