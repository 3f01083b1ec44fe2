"""The usual baselines, built as published and no part of the product.

A baseline learns from a trial's training and answers all of its questions; whatever it cannot fill it
fills with the most popular items, as every one of them may. Sources: Ludewig and Jannach, "Evaluation
of session-based recommendation algorithms", 2018 (POP, MC, SR, S-kNN); Kersbergen, Sprangers and
Schelter, "Serenade", SIGMOD 2022 (VMIS-kNN); Deshpande and Karypis, "Item-based top-N recommendation
algorithms", 2004 (item-kNN).
"""

from __future__ import annotations

from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import scipy.sparse

from bench.quality import kernels
from bench.quality.score import AT
from bench.quality.trial import Questions, Trial
from recsys.models.arrays import Rows
from recsys.models.interactions import Interactions

WINDOWS: Final = (300, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
"""Lengths of memory of the recent popular, of which the one that suits the training's end is taken."""
_RECENT_EVERY: Final = 20
_ITEMS_AT_ONCE: Final = 2_000


class Baseline(Protocol):
    """What has learned from a training, and can answer about its trial."""

    @property
    def size_bytes(self) -> int:
        """The arrays it answers from."""
        ...

    def answer(self, trial: Trial, questions: Questions) -> Rows:
        """int32[q, AT], -1 where nothing is known."""
        ...


class Popular:
    def __init__(self, train: Interactions) -> None:
        self._ranked = popular_rows(train)

    @property
    def size_bytes(self) -> int:
        return self._ranked.nbytes

    def answer(self, trial: Trial, questions: Questions) -> Rows:
        return empty_answers(questions)  # what is missing is filled by popularity


class RecentPopular:
    """The most frequent of late: as the training ends, or `live`, the test's own clicks included as
    they come."""

    def __init__(self, train: Interactions, *, live: bool = False) -> None:
        self._is_live = live
        self._learned = np.ascontiguousarray(train.item[np.argsort(train.at_s, kind="stable")])
        self._n_items = train.n_items
        self.window = self._fitting()

    @property
    def size_bytes(self) -> int:
        return 4 * self.window

    def answer(self, trial: Trial, questions: Questions) -> Rows:
        taken = questions.taken if self._is_live else np.zeros_like(questions.taken)
        clicks = np.concatenate((self._learned, trial.live)).astype(np.int32)
        return self._of(clicks, len(self._learned), taken, self.window)

    def _of(self, clicks: Rows, n_before: int, taken: npt.NDArray[np.int64], window: int) -> Rows:
        out = np.full((len(taken), AT), -1, np.int32)
        every = min(_RECENT_EVERY, max(window // 100, 1))
        kernels.windowed_answers(clicks, n_before, taken, window, self._n_items, every, out)
        return out

    def _fitting(self) -> int:
        """The window that best foretells the last tenth of the training, a sample of it."""
        n_before = len(self._learned) - len(self._learned) // 10
        later = self._learned[n_before:]
        asked = np.unique(np.linspace(0, max(len(later) - 1, 0), 2_000).astype(np.int64))
        if not len(later):
            return WINDOWS[0]
        taken = asked if self._is_live else np.zeros_like(asked)
        found = {
            window: float((self._of(self._learned, n_before, taken, window) == later[asked, None]).sum())
            for window in WINDOWS
        }
        return max(found, key=found.__getitem__)


class Rules:
    """Sequential rules: what comes within `max_gap` places behind an item, weight 1/gap; with a gap of
    1 a Markov chain. `recent_first` offers the session's own items before, the newest first."""

    def __init__(self, train: Interactions, max_gap: int, *, recent_first: bool = False) -> None:
        matrix: Any = rules_of(train, max_gap)
        self._starts = matrix.indptr.astype(np.int64)
        self._followers = matrix.indices.astype(np.int32)
        self._weights = matrix.data.astype(np.float32)
        self._recent_first = recent_first
        self.bars_current = False

    @property
    def size_bytes(self) -> int:
        return self._starts.nbytes + self._followers.nbytes + self._weights.nbytes

    def answer(self, trial: Trial, questions: Questions) -> Rows:
        out = empty_answers(questions)
        kernels.rule_answers(
            self._starts, self._followers, self._weights, questions.walk, questions.start, questions.stop,
            trial.train.n_items, trial.bars_current or self.bars_current, self._recent_first, out,
        )  # fmt: skip
        return out


class Neighbours:
    """Sessions like this one: S-kNN, or VMIS-kNN `by_place`."""

    def __init__(self, train: Interactions, *, by_place: bool) -> None:
        shape = (train.n_sessions, train.n_items)
        ones = np.ones(len(train), np.float32)
        by_session: Any = scipy.sparse.csr_matrix((ones, (train.session, train.item)), shape=shape)
        by_session.sum_duplicates()
        by_item = by_session.tocsc()
        n_sessions = np.diff(by_item.indptr)
        self._index = (
            by_item.indptr.astype(np.int64),
            by_item.indices.astype(np.int32),
            by_session.indptr.astype(np.int64),
            by_session.indices.astype(np.int32),
            np.log(max(train.n_sessions, 1) / np.maximum(n_sessions, 1)).astype(np.float32),
        )
        self._by_place = by_place
        self.m_recent, self.k, self.bars_current = 1_000, 500, False

    @property
    def size_bytes(self) -> int:
        return sum(array.nbytes for array in self._index)

    def answer(self, trial: Trial, questions: Questions) -> Rows:
        out = empty_answers(questions)
        longest = 9 if self._by_place else 50
        kernels.neighbour_answers(
            *self._index, questions.walk, questions.start, questions.stop, self.m_recent, self.k, longest,
            self._by_place, trial.bars_current or self.bars_current, out,
        )  # fmt: skip
        return out


class ItemKnn:
    """Items that the same people have, the nearest `k` of each: the cosine of their people, in which
    one of few items counts more, each item's neighbours brought to a sum of 1."""

    def __init__(self, train: Interactions, k: int) -> None:
        shape = (train.n_persons, train.n_items)
        ones = np.ones(len(train), np.float32)
        by_person: Any = scipy.sparse.csr_matrix((ones, (train.person, train.item)), shape=shape)
        by_person.sum_duplicates()
        by_person.data[:] = 1.0
        of_person = np.maximum(np.diff(by_person.indptr), 1)
        of_item = np.maximum(np.bincount(by_person.indices, minlength=train.n_items), 1)
        scaled = (by_person @ scipy.sparse.diags(of_item**-0.5)).astype(np.float32).tocsr()
        weighed = (scipy.sparse.diags(of_person**-0.5) @ scaled).astype(np.float32).tocsr()
        self._rows = np.full((train.n_items, k), -1, np.int32)
        self._scores = np.zeros((train.n_items, k), np.float32)
        self._lengths = np.zeros(train.n_items, np.int32)
        by_item = scaled.T.tocsr()
        for start in range(0, train.n_items, _ITEMS_AT_ONCE):
            alike = (by_item[start : start + _ITEMS_AT_ONCE] @ weighed).tocsr()
            for row in range(alike.shape[0]):
                self._keep(start + row, alike.indices, alike.data, *alike.indptr[row : row + 2].tolist())

    def _keep(self, item: int, others: Any, cosines: Any, start: int, stop: int) -> None:
        rows, scores = others[start:stop], cosines[start:stop]
        rows, scores = rows[rows != item], scores[rows != item]
        best = np.argsort(-scores, kind="stable")[: self._rows.shape[1]]
        self._rows[item, : len(best)] = rows[best]
        self._scores[item, : len(best)] = scores[best] / max(float(scores[best].sum()), 1e-9)
        self._lengths[item] = len(best)

    @property
    def size_bytes(self) -> int:
        return self._rows.nbytes + self._scores.nbytes

    def answer(self, trial: Trial, questions: Questions) -> Rows:
        out = empty_answers(questions)
        kernels.blended_answers(
            self._rows, self._scores, self._lengths, questions.walk, questions.start, questions.stop,
            1 << 30, False, trial.bars_current, trial.bars_history, out,
        )  # fmt: skip
        return out


def rules_of(train: Interactions, max_gap: int) -> Any:
    """CSR float32[n_items, n_items]: the weight of each rule, the item itself among those that follow."""
    shape = (train.n_items, train.n_items)
    total: Any = scipy.sparse.csr_matrix(shape, dtype=np.float32)
    for gap in range(1, max_gap + 1):
        near = train.session[gap:] == train.session[:-gap]
        if not near.any():
            break
        weight = np.full(int(near.sum()), 1.0 / gap, np.float32)
        pairs = (train.item[:-gap][near], train.item[gap:][near])
        total += scipy.sparse.csr_matrix((weight, pairs), shape=shape)
    return total


def popular_rows(train: Interactions) -> Rows:
    """int32[n]: every item that occurs, the most frequent first."""
    counts = np.bincount(train.item, minlength=train.n_items)
    return np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)].astype(np.int32)


def empty_answers(questions: Questions) -> Rows:
    return np.full((len(questions), AT), -1, np.int32)


def fill_popular(out: Rows, trial: Trial, questions: Questions, ranked: Rows) -> None:
    """Fill what is left of each answer by popularity."""
    longest = int((questions.stop - questions.start).max(initial=0))
    head = np.ascontiguousarray(ranked[: 2 * AT + longest])
    kernels.fill(
        out, head, trial.bars_current, trial.bars_history, questions.walk, questions.start, questions.stop
    )
