"""What items are about: TF-IDF and a truncated SVD of their texts (latent semantic analysis).

Products and articles share one space, and an item that appears after training gets a vector from its
text alone. Stored are plain arrays and a JSON vocabulary: loading a model never runs code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from recsys.models.arrays import (
    NOTHING,
    Offer,
    Ranked,
    Rows,
    Scores,
    Vectors,
    load_array,
    load_settings,
    save_arrays,
)
from recsys.models.progress import Progress, silent
from recsys.models.scratch import Scratch
from recsys.models.tables import TopTable, likeness_table
from recsys.models.vectors import VectorIndex, unit_length

_VOCABULARY_FILE = "vocabulary.json"
_NEIGHBOURS = "neighbours"
_WORD = re.compile(r"\w\w+")


class ContentSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    max_dimensions: int = 96
    max_terms: int = 50_000
    """How many of the most frequent words are known."""
    max_words: int = 2_000
    """How many words of a text are read; an article's beginning says what it is about."""
    k_neighbours: int = 50
    """How many neighbours of each type are kept for each item."""
    seed: int = 0


DEFAULTS = ContentSettings()


def item_text(title: str, description: str = "", category: str = "", brand: str = "") -> str:
    """One text of an item's fields. The title is said twice, for it is short and names the thing."""
    return "\n".join(part for part in (title, title, category, brand, description) if part)


def words(text: str, max_words: int) -> list[str]:
    """The words of a text, of two letters or digits at least, in lower case."""
    return [word.lower() for _, word in zip(range(max_words), _WORD.findall(text), strict=False)]


class Content:
    """vectors float32[n_items, d], of unit length or zero for a text without a known word; idf
    float32[t]; components float32[t, d]; vocabulary: the t words with their columns.

    neighbours: for each type of items (a bit) the table of the items of that type most like each
    item; empty for a model saved before there were tables.
    """

    def __init__(
        self,
        settings: ContentSettings,
        *,
        vectors: Vectors,
        vocabulary: dict[str, int],
        idf: npt.NDArray[np.float32],
        components: Vectors,
        index: VectorIndex,
        neighbours: Mapping[int, TopTable],
    ) -> None:
        self.settings = settings
        self.vectors = vectors
        self.vocabulary = vocabulary
        self.idf = idf
        self.components = components
        self.index = index
        self.neighbours = neighbours

    @classmethod
    def fit(
        cls,
        texts: Sequence[str],
        settings: ContentSettings = DEFAULTS,
        *,
        types: npt.NDArray[np.uint8] | None = None,
        threads: int = 1,
        progress: Progress = silent,
    ) -> Content:
        """texts: the text of each item, in the order of item rows; "" where there is none.

        types uint8[n_items]: one bit for the type of each item, by which neighbours are asked for
        later (`like`); without them every item is of type 1.
        """
        matrix, vocabulary, idf = _tf_idf(texts, settings)
        progress("content", 0.4)
        with threadpool_limits(limits=threads, user_api="blas"):
            components = _components(matrix, settings)
            vectors = unit_length(matrix @ components)
        progress("content", 0.6)
        index = VectorIndex.build(vectors, threads=threads)
        types = np.ones(len(texts), np.uint8) if types is None else types
        neighbours = {
            int(one): _neighbours(vectors, np.flatnonzero(types == one), index, settings, threads)
            for one in np.unique(types)
        }
        progress("content", 1.0)
        return cls(
            settings, vectors=vectors, vocabulary=vocabulary, idf=idf, components=components, index=index,
            neighbours=neighbours,
        )  # fmt: skip

    @property
    def dimensions(self) -> int:
        return int(self.components.shape[1])

    def embed(self, text: str) -> Vectors:
        """The vector float32[d] of a text, as `fit` would have made it; zero without a known word."""
        known = [self.vocabulary.get(word, -1) for word in words(text, self.settings.max_words)]
        columns, counts = np.unique([column for column in known if column >= 0], return_counts=True)
        if not len(columns):
            return np.zeros(self.dimensions, np.float32)
        weights = ((1.0 + np.log(counts)) * self.idf[columns]).astype(np.float32)
        vector: Vectors = unit_length((weights @ self.components[columns])[None, :])[0]
        return vector

    def like(self, seeds: Rows, weights: Scores, k: int, scratch: Scratch, offer: Offer) -> Ranked:
        """For each of the types on offer the k items most like the seeds, int32[s] with float32[s]
        weights, by the weighted sum of their cosines; a seed counts for its nearest neighbours only."""
        found = [
            table.blend(seeds, weights, k, scratch, offer)
            for one, table in self.neighbours.items()
            if one & offer.types
        ]
        if len(found) <= 1:
            return found[0] if found else NOTHING
        rows, scores = zip(*found, strict=True)
        return np.concatenate(rows), np.concatenate(scores)

    def similar(self, row: int, k: int, eligible: npt.NDArray[np.uint8] | None = None) -> Ranked:
        """The k items whose texts are most like that of item `row`, itself left out."""
        if not 0 <= row < len(self.vectors):
            return NOTHING
        rows, scores = self.nearest(self.vectors[row], k + 1, eligible)
        others = rows != row
        return rows[others][:k], scores[others][:k]

    def nearest(self, vector: Vectors, k: int, eligible: npt.NDArray[np.uint8] | None = None) -> Ranked:
        """The k items nearest to a vector float32[d], by cosine if it has unit length; only positive
        cosines, for no shared topic is no likeness. `eligible` as in VectorIndex.nearest."""
        if not vector.any():
            return NOTHING
        rows, scores = self.index.nearest(vector, k, eligible)
        alike = scores > 0
        return rows[alike], scores[alike]

    def save(self, directory: Path) -> None:
        arrays = {"vectors": self.vectors, "idf": self.idf, "components": self.components}
        save_arrays(directory, arrays, self.settings)
        (directory / _VOCABULARY_FILE).write_bytes(msgspec.json.encode(self.vocabulary))
        self.index.save(directory / "index")
        for one, table in self.neighbours.items():
            table.save(directory / _NEIGHBOURS / str(one))

    @classmethod
    def load(cls, directory: Path) -> Content:
        return cls(
            load_settings(directory, ContentSettings),
            vectors=load_array(directory, "vectors"),
            vocabulary=msgspec.json.decode((directory / _VOCABULARY_FILE).read_bytes(), type=dict[str, int]),
            idf=load_array(directory, "idf"),
            components=load_array(directory, "components"),
            index=VectorIndex.load(directory / "index"),
            neighbours={
                int(path.name): TopTable.load(path) for path in sorted((directory / _NEIGHBOURS).glob("*"))
            },
        )


def _tf_idf(
    texts: Sequence[str], settings: ContentSettings
) -> tuple[Any, dict[str, int], npt.NDArray[np.float32]]:
    """(float32 CSR [n_items, t] with rows of unit length, vocabulary, idf float32[t])."""
    # Imported here: scikit-learn takes a second and only training needs it.
    from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: PLC0415

    if not any(_WORD.search(text) for text in texts):
        return np.zeros((len(texts), 1), np.float32), {}, np.ones(1, np.float32)
    vectorizer = TfidfVectorizer(
        analyzer=lambda text: words(text, settings.max_words),
        sublinear_tf=True,
        max_features=settings.max_terms,
        dtype=np.float32,
    )
    matrix = vectorizer.fit_transform(texts)
    vocabulary = {word: int(column) for word, column in vectorizer.vocabulary_.items()}
    return matrix, vocabulary, np.asarray(vectorizer.idf_, np.float32)


def _neighbours(
    vectors: Vectors,
    of_type: npt.NDArray[np.intp],
    index: VectorIndex,
    settings: ContentSettings,
    threads: int,
) -> TopTable:
    """The table of the items `of_type` that are most like each item; `index` is that of all items."""
    if len(of_type) < len(vectors):
        index = VectorIndex.build(vectors[of_type], threads=threads)
    return likeness_table(
        vectors, settings.k_neighbours, index, of_type.astype(np.int32), threads, silent, "content"
    )


def _components(matrix: Any, settings: ContentSettings) -> Vectors:
    """float32[t, d]: the leading right singular vectors, d at most what the matrix has."""
    from sklearn.utils.extmath import randomized_svd  # noqa: PLC0415

    dimensions = max(1, min(settings.max_dimensions, *matrix.shape))
    if min(matrix.shape) == 0:
        return np.zeros((matrix.shape[1], dimensions), np.float32)
    _, _, right = randomized_svd(matrix, dimensions, random_state=settings.seed)
    return np.ascontiguousarray(right.T, np.float32)
