"""Nearest vectors by inner product: all of them while that is fast, else those in the nearest lists.

The lists are inverted lists as FAISS makes them, and FAISS makes them here; one search at a time is
scanned by our own kernel, for which most of the time of a FAISS call is what lies around its search.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import faiss
import msgspec
import numpy as np
import numpy.typing as npt

from recsys.models.arrays import (
    NOTHING,
    Ranked,
    Rows,
    Scores,
    Vectors,
    load_array,
    load_settings,
    save_arrays,
)
from recsys.models.kernels import scan_lists

# The stubs that come with faiss do not know what its Python wrappers accept.
_faiss: Any = faiss

_FORMAT_1_FILE = "index.faiss"
_RECALL_AT = 100
_RECALL_QUERIES = 200
_TRAIN_POINTS_PER_LIST = 64
_EVERY_ROW = np.empty(0, np.uint8)

Bitmap = npt.NDArray[np.uint8]


class IndexSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far a search may be from exact, and what it may read for that."""

    exact_up_to: int = 5_000
    """Up to so many vectors the search is exact: it takes no longer there."""
    wanted_recall: float = 0.9
    """What share of the exact first 100 an inexact search should find; more lists are read until it does."""
    most_probed: float = 0.125
    """At most this share of the lists is read: beyond, reading everything is hardly slower."""
    most_scanned: int = 10_000
    """At most so many vectors are compared with a query: a search takes no longer among a million, and a
    training asks for the neighbours of each of them."""
    least_recall: float = 0.75
    """If that finds less than this share, the vectors form no lists worth the name: the search is exact."""
    exact_at_most: int = 100_000
    """But not among more than so many, where it would take hours to ask for the neighbours of all."""
    seed: int = 0


DEFAULTS = IndexSettings()


class _IndexFacts(msgspec.Struct, frozen=True):
    settings: IndexSettings
    probes: int
    recall: float


class Lists(msgspec.Struct, frozen=True):
    """List l has rows int32 `rows[starts[l]:starts[l + 1]]`, starts int64[l + 1], and the vectors
    float32 [n, d] beside them; centroids float32[l, d]."""

    centroids: Vectors
    starts: npt.NDArray[np.int64]
    rows: Rows
    vectors: Vectors

    @classmethod
    def of_one(cls, vectors: Vectors, rows: Rows) -> Lists:
        """Everything in one list; `rows` int32[n] says which row each of the vectors is."""
        n, dimensions = vectors.shape
        centroids = np.zeros((1, dimensions), np.float32)
        return cls(centroids, np.array([0, n], np.int64), rows, vectors)

    @classmethod
    def of_assigned(
        cls, vectors: Vectors, rows: Rows, centroids: Vectors, list_of: npt.NDArray[np.int64]
    ) -> Lists:
        """`list_of` int64[n] names the list of each vector, `rows` int32[n] its row."""
        order = np.argsort(list_of, kind="stable")
        ends = np.cumsum(np.bincount(list_of, minlength=len(centroids)))
        starts = np.concatenate(([0], ends)).astype(np.int64)
        return cls(centroids, starts, rows[order], np.ascontiguousarray(vectors[order]))


class VectorIndex:
    """An index over float32[n, d], of which rows of zeros are never found. `recall` is the measured share of
    the exact first 100 that its search finds on a sample of queries (1.0 where it is exact); `probes` lists
    are read for that, which hold at most `room`."""

    def __init__(self, lists: Lists, facts: _IndexFacts) -> None:
        self._lists = lists
        self._facts = facts
        self._across = np.ascontiguousarray(lists.centroids.T)
        longest = np.sort(np.diff(lists.starts))[-facts.probes :]
        self.room = max(int(longest.sum()), len(lists.centroids))

    @property
    def arrays(self) -> tuple[npt.NDArray[Any], ...]:
        """As `scan_lists` takes them, with `probes` and `room`."""
        return self._across, self._lists.starts, self._lists.rows, self._lists.vectors

    @property
    def recall(self) -> float:
        return self._facts.recall

    @property
    def probes(self) -> int:
        return self._facts.probes

    @property
    def dimensions(self) -> int:
        return int(self._lists.vectors.shape[1])

    def __len__(self) -> int:
        return len(self._lists.rows)

    @classmethod
    def build(
        cls,
        vectors: Vectors,
        *,
        queries: Vectors | None = None,
        settings: IndexSettings = DEFAULTS,
        threads: int = 1,
    ) -> VectorIndex:
        """Index `vectors` float32[n, d]; measure recall on `queries` float32[q, d], else on vectors."""
        # What is known of nothing, often most of a young catalogue, would fill one list, which were read for
        # nothing, and who asks with it would find chance: no lists would seem good enough.
        rows = np.flatnonzero(vectors.any(axis=1)).astype(np.int32)
        vectors = np.ascontiguousarray(vectors[rows], np.float32)
        exact = cls(Lists.of_one(vectors, rows), _IndexFacts(settings, probes=1, recall=1.0))
        if len(vectors) <= settings.exact_up_to:
            return exact
        faiss.omp_set_num_threads(threads)
        lists = _lists_of(vectors, rows, settings)
        sample = _sample(vectors if queries is None or not queries.any() else queries, settings)
        index = _with_enough_probes(lists, exact, sample, settings)
        is_exact = index.recall < settings.least_recall and len(vectors) <= settings.exact_at_most
        return exact if is_exact else index

    def nearest(self, vector: Vectors, k: int, eligible: Bitmap | None = None) -> Ranked:
        """The k rows with the greatest inner product with `vector` float32[d].

        `eligible` is a bitmap of the rows that may be answered, uint8[ceil(n / 8)], bit `row % 8`
        (the lowest first) of byte `row // 8`: np.packbits(mask, bitorder="little"). It is applied
        inside the search, so k rows come as long as k are eligible and in reach of the search.
        """
        k = min(k, len(self))
        if k <= 0:
            return NOTHING
        rows, scores = np.empty(k, np.int32), np.empty(k, np.float32)
        found = self._scan(vector, eligible, rows, scores)
        return rows[:found], scores[:found]

    def nearest_many(
        self, vectors: Vectors, k: int, eligible: Bitmap | None = None, threads: int = 1
    ) -> tuple[Rows, Scores]:
        """`nearest` for float32[q, d]: rows int32[q, k], -1 where there are no more, scores float32[q, k]."""
        k = max(min(k, len(self)), 0)
        queries = np.ascontiguousarray(vectors, np.float32)
        rows, scores = np.full((len(queries), k), -1, np.int32), np.zeros((len(queries), k), np.float32)

        def search(part: int) -> None:
            for place in range(part, len(queries), threads):
                found = self._scan(queries[place], eligible, rows[place], scores[place])
                rows[place, found:] = -1

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(search, range(threads if k else 0)))
        return rows, scores

    def _scan(self, vector: Vectors, eligible: Bitmap | None, rows: Rows, scores: Scores) -> int:
        """Fill `rows` and `scores`; how many were found."""
        lists = self._lists
        return scan_lists(
            vector, self._across, lists.starts, lists.rows, lists.vectors,
            _EVERY_ROW if eligible is None else eligible, self._facts.probes, self.room, rows, scores,
        )  # fmt: skip

    def save(self, directory: Path) -> None:
        save_arrays(directory, msgspec.structs.asdict(self._lists), self._facts)

    @classmethod
    def load(cls, directory: Path) -> VectorIndex:
        """Map the lists, so that processes share their pages."""
        facts = load_settings(directory, _IndexFacts)
        if (directory / _FORMAT_1_FILE).exists():
            facts = msgspec.structs.replace(facts, probes=max(facts.probes, 1))
            return cls(_lists_of_format_1(directory), facts)
        return cls(Lists(*(load_array(directory, name) for name in Lists.__struct_fields__)), facts)


def _lists_of(vectors: Vectors, rows: Rows, settings: IndexSettings) -> Lists:
    # Inverted lists rather than HNSW: lengths of ALS vectors differ widely, and HNSW by inner
    # product found 29 % of the exact first 100 of 43,000 items where lists found 95 % in the same
    # time. A bitmap of eligible items does not cut lists into pieces as it does a graph.
    n_lists = max(1, round(4 * len(vectors) ** 0.5))
    index: Any = faiss.index_factory(vectors.shape[1], f"IVF{n_lists},Flat", faiss.METRIC_INNER_PRODUCT)
    index.cp.seed = settings.seed
    index.cp.max_points_per_centroid = _TRAIN_POINTS_PER_LIST
    index.cp.min_points_per_centroid = 1
    index.train(vectors)
    _, nearest = index.quantizer.search(vectors, 1)
    return Lists.of_assigned(vectors, rows, index.quantizer.reconstruct_n(0, n_lists), nearest[:, 0])


def _lists_of_format_1(directory: Path) -> Lists:
    """Bundles of format 1 hold a FAISS index."""
    index: Any = faiss.read_index(str(directory / _FORMAT_1_FILE))
    every_row = np.arange(index.ntotal, dtype=np.int32)
    if not isinstance(index, faiss.IndexIVF):
        return Lists.of_one(index.reconstruct_n(0, index.ntotal), every_row)
    index.make_direct_map()
    vectors = index.reconstruct_n(0, index.ntotal)
    lists: Any = index.invlists
    list_of = np.empty(len(vectors), np.int64)
    for one in range(index.nlist):
        list_of[_faiss.rev_swig_ptr(lists.get_ids(one), lists.list_size(one))] = one
    return Lists.of_assigned(vectors, every_row, index.quantizer.reconstruct_n(0, index.nlist), list_of)


def _sample(vectors: Vectors, settings: IndexSettings) -> Vectors:
    generator = np.random.default_rng(settings.seed)
    telling = np.flatnonzero(vectors.any(axis=1))
    some = telling[generator.permutation(len(telling))[:_RECALL_QUERIES]]
    return np.ascontiguousarray(vectors[some], np.float32)


def _with_enough_probes(
    lists: Lists, exact: VectorIndex, queries: Vectors, settings: IndexSettings
) -> VectorIndex:
    """An index that reads the fewest lists, in steps of a half, for the recall wanted."""
    most_scanned = min(settings.most_probed * len(lists.rows), settings.most_scanned)
    most = max(1, round(most_scanned * len(lists.centroids) / len(lists.rows)))
    expected, _ = exact.nearest_many(queries, _RECALL_AT)
    probes = min(8, most)
    while True:
        got, _ = VectorIndex(lists, _IndexFacts(settings, probes, 0.0)).nearest_many(queries, _RECALL_AT)
        found = [np.isin(one, other).mean() for one, other in zip(expected, got, strict=True)]
        recall = float(np.mean(found))
        if recall >= settings.wanted_recall or probes >= most:
            return VectorIndex(lists, _IndexFacts(settings, probes, recall))
        probes = min(probes + probes // 2, most)


def unit_length(vectors: Vectors) -> Vectors:
    """Each row of float32[n, d] divided by its length; zero rows stay zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)
