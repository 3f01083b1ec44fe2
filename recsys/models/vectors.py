"""Nearest vectors by inner product: a FAISS index, exact while that is fast, else inverted lists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faiss
import msgspec
import numpy as np
import numpy.typing as npt

from recsys.models.arrays import NOTHING, Ranked, Rows, Scores, Vectors, load_settings, save_arrays

# The stubs that come with faiss do not know what its Python wrappers accept.
_faiss: Any = faiss

_INDEX_FILE = "index.faiss"
_RECALL_AT = 100
_RECALL_QUERIES = 200
_TRAIN_POINTS_PER_LIST = 64


class IndexSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    exact_up_to: int = 5_000
    """Up to so many vectors the search is exact: it takes no longer there."""
    wanted_recall: float = 0.9
    """What share of the exact first 100 an inexact search should find; more lists are read until it does."""
    most_probed: float = 0.125
    """At most this share of the lists is read: beyond, reading everything is hardly slower."""
    least_recall: float = 0.75
    """If that finds less than this share, the vectors form no lists worth the name: the search is exact."""
    seed: int = 0


DEFAULTS = IndexSettings()


class _IndexFacts(msgspec.Struct, frozen=True):
    settings: IndexSettings
    probes: int
    recall: float


class VectorIndex:
    """An index over float32[n, d]. `recall` is the measured share of the exact first 100 that its
    search finds on a sample of queries (1.0 where it is exact); `probes` lists are read for that."""

    def __init__(self, index: Any, facts: _IndexFacts) -> None:
        self._index = index
        self._facts = facts

    @property
    def recall(self) -> float:
        return self._facts.recall

    @property
    def dimensions(self) -> int:
        return int(self._index.d)

    def __len__(self) -> int:
        return int(self._index.ntotal)

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
        faiss.omp_set_num_threads(threads)
        vectors = np.ascontiguousarray(vectors, np.float32)
        exact = faiss.IndexFlatIP(vectors.shape[1])
        exact.add(vectors)
        if len(vectors) <= settings.exact_up_to:
            return cls(exact, _IndexFacts(settings, probes=0, recall=1.0))
        # Inverted lists rather than HNSW: lengths of ALS vectors differ widely, and HNSW by inner
        # product found 29 % of the exact first 100 of 43,000 items where lists found 95 % in the same
        # time. A selector of eligible items does not cut lists into pieces as it does a graph.
        n_lists = max(1, round(4 * len(vectors) ** 0.5))
        index: Any = faiss.index_factory(vectors.shape[1], f"IVF{n_lists},Flat", faiss.METRIC_INNER_PRODUCT)
        index.cp.seed = settings.seed
        index.cp.max_points_per_centroid = _TRAIN_POINTS_PER_LIST
        index.cp.min_points_per_centroid = 1
        index.train(vectors)
        index.add(vectors)
        sample = _sample(vectors if queries is None else queries, settings)
        probes, recall = _enough_probes(index, exact, sample, settings)
        if recall < settings.least_recall:
            return cls(exact, _IndexFacts(settings, probes=0, recall=1.0))
        return cls(index, _IndexFacts(settings, probes, recall))

    def nearest(
        self, vector: Vectors, k: int, eligible: npt.NDArray[np.uint8] | None = None, threads: int = 1
    ) -> Ranked:
        """The k rows with the greatest inner product with `vector` float32[d].

        `eligible` is a bitmap of the rows that may be answered, uint8[ceil(n / 8)], bit `row % 8`
        (the lowest first) of byte `row // 8`: np.packbits(mask, bitorder="little"). It is applied
        inside the search, so k rows come as long as k are eligible and in reach of the search.
        """
        rows, scores = self.nearest_many(vector[None, :], k, eligible, threads)
        found = int(np.count_nonzero(rows[0] >= 0))
        return (rows[0, :found], scores[0, :found]) if found else NOTHING

    def nearest_many(
        self, vectors: Vectors, k: int, eligible: npt.NDArray[np.uint8] | None = None, threads: int = 1
    ) -> tuple[Rows, Scores]:
        """`nearest` for float32[q, d]: rows int32[q, k], -1 where there are no more, scores float32[q, k]."""
        k = min(k, len(self))
        if k <= 0 or not len(vectors):
            return np.empty((len(vectors), 0), np.int32), np.empty((len(vectors), 0), np.float32)
        faiss.omp_set_num_threads(threads)  # OpenMP keeps this number per calling thread
        queries = np.ascontiguousarray(vectors, np.float32)
        scores, rows = self._index.search(queries, k, params=self._search_parameters(eligible))
        return rows.astype(np.int32), scores

    def _search_parameters(self, eligible: npt.NDArray[np.uint8] | None) -> Any:
        selector = {} if eligible is None else {"sel": _faiss.IDSelectorBitmap(eligible)}
        if self._facts.probes:
            return _faiss.SearchParametersIVF(nprobe=self._facts.probes, **selector)
        return _faiss.SearchParameters(**selector) if selector else None

    def save(self, directory: Path) -> None:
        save_arrays(directory, {}, self._facts)
        faiss.write_index(self._index, str(directory / _INDEX_FILE))

    @classmethod
    def load(cls, directory: Path) -> VectorIndex:
        """Map the index, so that processes share its pages."""
        index = faiss.read_index(str(directory / _INDEX_FILE), faiss.IO_FLAG_MMAP_IFC)
        return cls(index, load_settings(directory, _IndexFacts))


def _sample(vectors: Vectors, settings: IndexSettings) -> Vectors:
    generator = np.random.default_rng(settings.seed)
    some = generator.permutation(len(vectors))[:_RECALL_QUERIES]
    return np.ascontiguousarray(vectors[some], np.float32)


def _enough_probes(index: Any, exact: Any, queries: Vectors, settings: IndexSettings) -> tuple[int, float]:
    """The fewest lists to read, in steps of two, for the recall wanted; and the recall measured."""
    most = max(1, round(settings.most_probed * index.nlist))
    _, expected = exact.search(queries, _RECALL_AT)
    probes = min(8, most)
    while True:
        _, got = index.search(queries, _RECALL_AT, params=_faiss.SearchParametersIVF(nprobe=probes))
        found = [np.isin(one, other).mean() for one, other in zip(expected, got, strict=True)]
        recall = float(np.mean(found))
        if recall >= settings.wanted_recall or probes >= most:
            return probes, recall
        probes = min(2 * probes, most)


def unit_length(vectors: Vectors) -> Vectors:
    """Each row of float32[n, d] divided by its length; zero rows stay zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)
