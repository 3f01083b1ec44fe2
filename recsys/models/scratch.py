"""The working memory of the kernels: one per thread and bundle, allocated once."""

from __future__ import annotations

import numpy as np

from recsys.models.kindred_kernels import KindredDesk
from recsys.models.signal_arrays import Desk


class Scratch:
    """Buffers the kernels write to. Never share one between threads.

    About 16 bytes an item, 16 a recent session and 16 a factor squared: 1 MB for 50,000 items.
    `sums` float32[n_items] is all zero between calls; the other buffers hold leftovers. `desk` is the
    ranker's, `kindred` those of people known by what they have; None without these models.
    """

    __slots__ = (
        "desk", "end", "found_position", "found_session", "found_similarity", "head", "history_extra",
        "history_items", "kindred", "newest_of", "order_statistic", "position", "solve_matrix",
        "solve_shares", "solve_target", "spare", "sums", "touched",
    )  # fmt: skip

    def __init__(
        self,
        n_items: int,
        m_most_recent_sessions: int = 0,
        max_session_items: int = 0,
        n_factors: int = 0,
        max_history_items: int = 0,
        desk: Desk | None = None,
        kindred: tuple[KindredDesk, KindredDesk] | None = None,
    ) -> None:
        self.desk = desk
        self.kindred = kindred
        self.sums = np.zeros(n_items, np.float32)
        # One more than there are: `blend_rows` writes a row behind the last before it asks whether it is new.
        self.touched = np.empty(n_items + 1, np.int32)
        self.spare = np.empty((2, n_items), np.float32)
        self.found_session = np.empty(m_most_recent_sessions, np.int32)
        self.found_similarity = np.empty(m_most_recent_sessions, np.float32)
        self.found_position = np.empty(m_most_recent_sessions, np.int32)
        self.order_statistic = np.empty(m_most_recent_sessions, np.float32)
        self.head = np.empty(max_session_items, np.int64)
        self.end = np.empty(max_session_items, np.int64)
        self.newest_of = np.empty(max_session_items, np.int32)
        self.position = np.empty(max_session_items, np.int32)
        self.history_items = np.empty(max_history_items, np.int32)
        self.history_extra = np.empty(max_history_items, np.float64)
        self.solve_shares = np.empty((n_factors, n_factors), np.float64)
        self.solve_matrix = np.empty((n_factors, n_factors), np.float64)
        self.solve_target = np.empty(n_factors, np.float64)
