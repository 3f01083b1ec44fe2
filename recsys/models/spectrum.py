"""What people have, heard through a low-pass filter: the broad tones of a shop's taste, without the noise.

The matrix of people and items, degrees divided out, is a graph, and a history a signal on it. Its strongest
singular vectors vary slowly over that graph: a history heard through them alone is the ideal low-pass filter
of GF-CF (Shen et al., "How Powerful is Graph Convolution for Recommendation?", CIKM 2021).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
import scipy.sparse

from recsys.models.arrays import Rows, Scores, Vectors, load_array, load_settings, save_arrays
from recsys.models.interactions import Interactions

HEARD: Final = ("heard", "heard_low", "heard_rare")
"""How loud a candidate is in a history: as it is; the lower, the louder; and without how popular it is."""
HEARD_LOWEST: Final = ("heard_lowest", "heard_lowest_rare")
"""The first and the last of these, through a narrower filter."""
_N_LOWEST: Final = 64
"""Of the tones, those that it lets pass."""


class SpectrumSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many tones the filters may hear."""

    dimensions: int = 512
    max_cells: int = 40_000_000
    """Of all vectors together, 4 bytes each: with more than 78,000 items they have fewer dimensions, at least
    those of the narrower filter."""
    iterations: int = 3
    """Of the power method that finds them."""
    seed: int = 0


DEFAULTS = SpectrumSettings()


class Spectrum:
    """vectors float32[n_items, d]: the right singular vectors; energy float32[d]: the squares of the singular
    values, 0 to 1; degree_root float32[n_items]: the root of how many people have an item, 0 for nobody."""

    _ARRAYS = ("vectors", "energy", "degree_root")

    def __init__(
        self, settings: SpectrumSettings, vectors: Vectors, energy: Scores, degree_root: Scores
    ) -> None:
        self.settings = settings
        self.vectors = vectors
        self.energy = energy
        self.degree_root = degree_root

    @classmethod
    def fit(cls, interactions: Interactions, settings: SpectrumSettings = DEFAULTS) -> Spectrum:
        """Memory: 24 bytes an interaction, 4 KB an item and a person."""
        from sklearn.utils.extmath import randomized_svd  # noqa: PLC0415 - half a second that only training needs

        persons, person = np.unique(interactions.person, return_inverse=True)
        had = scipy.sparse.csr_matrix(
            (np.ones(len(person), np.float32), (person, interactions.item)),
            shape=(len(persons), interactions.n_items),
        )
        had.sum_duplicates()
        had.data[:] = 1.0
        of_person, of_item = (np.sqrt(np.asarray(had.sum(axis=axis)).ravel()) for axis in (1, 0))
        room = max(_N_LOWEST, settings.max_cells // max(interactions.n_items, 1))
        dimensions = min(settings.dimensions, room, min(had.shape) - 1)
        if dimensions < 1:
            return cls.silent(interactions.n_items)
        graph = scipy.sparse.diags(_inverse(of_person)) @ had @ scipy.sparse.diags(_inverse(of_item))
        graph = scipy.sparse.csr_matrix(graph, dtype=np.float32)
        _, strength, vectors = randomized_svd(
            graph, dimensions, n_iter=settings.iterations, random_state=settings.seed
        )
        return cls(
            settings,
            np.ascontiguousarray(vectors.T, np.float32),
            (strength**2).astype(np.float32),
            of_item.astype(np.float32),
        )

    @classmethod
    def silent(cls, n_items: int) -> Spectrum:
        """Of items that nobody has: it hears nothing."""
        nothing = np.zeros(n_items, np.float32)
        return cls(DEFAULTS, nothing[:, None], np.zeros(1, np.float32), nothing)

    def hear(self, rows: Rows, history: Rows) -> npt.NDArray[np.float32]:
        """float32[5, c], as `HEARD` and `HEARD_LOWEST` name them, of candidates `rows` int32[c] for
        somebody who has the items `history` int32[h], repeats and unknown ones (-1 or newer than this)
        allowed; 0 for unknown ones."""
        had = np.unique(history)
        had = had[(had >= 0) & (had < len(self.vectors))]
        signal = _inverse(self.degree_root[had]).astype(np.float32) @ self.vectors[had]
        known = rows < len(self.vectors)
        row = np.where(known, rows, 0)
        vectors, root = self.vectors[row], np.where(known, self.degree_root[row], np.float32(0))
        rare, low = np.where(known, vectors @ signal, 0), vectors @ (signal * self.energy)
        lowest = np.where(known, vectors[:, :_N_LOWEST] @ signal[:_N_LOWEST], 0)
        return np.stack((rare * root, low * root, rare, lowest * root, lowest))

    def save(self, directory: Path) -> None:
        save_arrays(directory, {name: getattr(self, name) for name in self._ARRAYS}, self.settings)

    @classmethod
    def load(cls, directory: Path) -> Spectrum:
        arrays = (load_array(directory, name) for name in cls._ARRAYS)
        return cls(load_settings(directory, SpectrumSettings), *arrays)


def _inverse(root: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """1 / root, 1 where that is 0."""
    return 1.0 / np.maximum(root.astype(np.float64), 1.0)
