"""Texts read by the shop's own words: TF-IDF, fitted on the catalogue. Needs nothing but the catalogue."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from recsys.models.arrays import Rows, Vectors, load_array

VOCABULARY_FILE: Final = "vocabulary.json"
_WORD: Final = re.compile(r"\w\w+")


def words_of(text: str, max_words: int) -> list[str]:
    """The words of a text, of two letters or digits at least, in lower case."""
    return [word.lower() for _, word in zip(range(max_words), _WORD.findall(text), strict=False)]


class Words:
    """vocabulary: the t words that are known, with their columns; idf float32[t]."""

    def __init__(self, vocabulary: dict[str, int], idf: npt.NDArray[np.float32], max_words: int) -> None:
        self.vocabulary = vocabulary
        self.idf = idf
        self._max_words = max_words

    @classmethod
    def fit(cls, texts: Sequence[str], max_terms: int, max_words: int) -> tuple[Any, Words]:
        """The texts as float32 CSR [n, t] with rows of unit length, and how they were read."""
        # Imported here: scikit-learn takes a second and only training needs it.
        from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: PLC0415

        if not any(_WORD.search(text) for text in texts):
            return np.zeros((len(texts), 1), np.float32), cls({}, np.ones(1, np.float32), max_words)
        vectorizer = TfidfVectorizer(
            analyzer=lambda text: words_of(text, max_words),
            sublinear_tf=True,
            max_features=max_terms,
            dtype=np.float32,
        )
        matrix = vectorizer.fit_transform(texts)
        vocabulary = {word: int(column) for word, column in vectorizer.vocabulary_.items()}
        return matrix, cls(vocabulary, np.asarray(vectorizer.idf_, np.float32), max_words)

    def read(self, text: str) -> tuple[Rows, Vectors]:
        """The columns int32[w] of its known words and their weights float32[w], as `fit` would have weighed
        them but for the length."""
        known = [self.vocabulary.get(word, -1) for word in words_of(text, self._max_words)]
        columns, counts = np.unique([column for column in known if column >= 0], return_counts=True)
        columns = columns.astype(np.int32)
        return columns, ((1.0 + np.log(counts)) * self.idf[columns]).astype(np.float32)

    def save(self, directory: Path) -> None:
        np.save(directory / "idf.npy", self.idf, allow_pickle=False)
        (directory / VOCABULARY_FILE).write_bytes(msgspec.json.encode(self.vocabulary))

    @classmethod
    def load(cls, directory: Path, max_words: int) -> Words:
        vocabulary = msgspec.json.decode((directory / VOCABULARY_FILE).read_bytes(), type=dict[str, int])
        return cls(vocabulary, load_array(directory, "idf"), max_words)
