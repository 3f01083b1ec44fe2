"""What items are about: their texts as vectors of few dimensions.

Texts are read by the shop's own words (TF-IDF; with the truncated SVD behind it, latent semantic analysis) or
by a sentence model. Products and articles share one space, and an item that appears after training gets a
vector from its text alone. Stored are plain arrays and a JSON vocabulary, or the sentence model's name:
loading a bundle never runs code of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from recsys.models.arrays import (
    NOTHING,
    Ranked,
    Vectors,
    load_array,
    load_settings,
    save_arrays,
)
from recsys.models.progress import Progress, silent
from recsys.models.readings import Readings
from recsys.models.sentence_model import Encoder, ModelIdentity, reopen
from recsys.models.tables import TopTable, likeness_table
from recsys.models.vectors import VectorIndex, unit_length
from recsys.models.words import Words

_NEIGHBOURS = "neighbours"
_READINGS = "readings"


class ContentSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How texts are read, and brought to few dimensions."""

    max_dimensions: int = 96
    max_terms: int = 50_000
    """How many of the most frequent words are known."""
    max_words: int = 2_000
    """How many words of a text are read; an article's beginning says what it is about."""
    k_neighbours: int = 50
    """How many neighbours of each type are kept for each item."""
    seed: int = 0
    sentence_model: ModelIdentity | None = None
    """What the texts were read by; None for the shop's own words."""


DEFAULTS = ContentSettings()


def item_text(title: str, description: str = "", category: str = "", brand: str = "") -> str:
    """One text of an item's fields. The title is said twice, for it is short and names the thing."""
    return "\n".join(part for part in (title, title, category, brand, description) if part)


class Reader(Protocol):
    """How a text is read."""

    def read(self, text: str) -> tuple[Any, Vectors]:
        """Which rows of `Content.components` speak of a text, and their weights float32[w]."""
        ...


class _Sentences:
    """Texts read by a sentence model, each of whose dimensions speaks of every text."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    def read(self, text: str) -> tuple[slice, Vectors]:
        return slice(None), self._encoder.encode([text])[0]


class Content:
    """vectors float32[n_items, d], of unit length or zero for a text that says nothing to the reader;
    components float32[t, d]: what the t words, or dimensions of the sentence model, are worth in them.

    neighbours: for each type of items (a bit) the table of the items of that type most like each
    item; empty for a model saved before there were tables. readings: what the sentence model told of the
    texts, None without one.
    """

    def __init__(
        self,
        settings: ContentSettings,
        *,
        vectors: Vectors,
        reader: Reader,
        components: Vectors,
        index: VectorIndex,
        neighbours: Mapping[int, TopTable],
        readings: Readings | None = None,
    ) -> None:
        self.settings = settings
        self.vectors = vectors
        self.reader = reader
        self.components = components
        self.index = index
        self.neighbours = neighbours
        self.readings = readings

    @classmethod
    def fit(
        cls,
        texts: Sequence[str],
        settings: ContentSettings = DEFAULTS,
        *,
        encoder: Encoder | None = None,
        before: Content | None = None,
        types: npt.NDArray[np.uint8] | None = None,
        threads: int = 1,
        progress: Progress = silent,
    ) -> Content:
        """texts: the text of each item, in the order of item rows; "" where there is none. `encoder`: the
        sentence model to read them by, but for those that a model `before` has read by the same.

        types uint8[n_items]: one bit for the type of each item, by which neighbours are asked for
        later (`like`); without them every item is of type 1.
        """
        reader: Reader
        readings = None
        if encoder is None:
            matrix, reader = Words.fit(texts, settings.max_terms, settings.max_words)
        else:
            known = before is not None and before.settings.sentence_model == encoder.identity
            readings = Readings.of(
                texts, encoder, before.readings if before is not None and known else None,
                lambda step, done: progress(step, 0.4 * done),
            )  # fmt: skip
            matrix, reader = readings.vectors.astype(np.float32), _Sentences(encoder)
            settings = msgspec.structs.replace(settings, sentence_model=encoder.identity)
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
            settings, vectors=vectors, reader=reader, components=components, index=index,
            neighbours=neighbours, readings=readings,
        )  # fmt: skip

    @property
    def dimensions(self) -> int:
        return int(self.components.shape[1])

    def embed(self, text: str) -> Vectors:
        """The vector float32[d] of a text, as `fit` would have made it; zero for one that says nothing to
        the reader."""
        speaking, weights = self.reader.read(text)
        vector: Vectors = unit_length((weights @ self.components[speaking])[None, :])[0]
        return vector

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
        save_arrays(directory, {"vectors": self.vectors, "components": self.components}, self.settings)
        if isinstance(self.reader, Words):
            self.reader.save(directory)
        if self.readings is not None:
            self.readings.save(directory / _READINGS)
        self.index.save(directory / "index")
        for one, table in self.neighbours.items():
            table.save(directory / _NEIGHBOURS / str(one))

    @classmethod
    def load(cls, directory: Path) -> Content:
        """Raises NoSentenceModel where the texts were read by a model that cannot be had."""
        settings = load_settings(directory, ContentSettings)
        model = settings.sentence_model
        return cls(
            settings,
            vectors=load_array(directory, "vectors"),
            reader=Words.load(directory, settings.max_words) if model is None else _Sentences(reopen(model)),
            components=load_array(directory, "components"),
            index=VectorIndex.load(directory / "index"),
            neighbours={
                int(path.name): TopTable.load(path) for path in sorted((directory / _NEIGHBOURS).glob("*"))
            },
            readings=None if model is None else Readings.load(directory / _READINGS),
        )


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
