"""Oblivious trees: on each level of a tree all candidates are asked the same question.

So the answers, one bit a level, are the number of a candidate's leaf, and no branch is taken to find it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
from numba import types

from recsys.models.arrays import Scores, frozen, load_array, load_settings, save_arrays
from recsys.models.compiled import Array, f4, i4, kernel, read_only, void
from recsys.models.kernels import unsigned

_I4_2D, _F4_2D = (read_only(dtype, 2) for dtype in (i4, f4))
_U4 = types.uint32

MAX_DEPTH: Final = 6
LANES: Final = 8
"""So many candidates are asked at a time; those left over one by one, each for the price of three."""
TOGETHER: Final = 4
"""So many trees are added up together."""


class _NoSettings(msgspec.Struct, frozen=True):
    """Trees have no settings of their own."""


class TreeArrays(NamedTuple):
    """Trees as they are asked: as many as go together, each of MAX_DEPTH levels."""

    asked: Array
    """int32[t, MAX_DEPTH]: the feature of each question."""
    borders: Array
    """float32[t, MAX_DEPTH]."""
    leaves: Array
    """float32[t, 2 ** depth]."""


TREES_TYPE = types.NamedTuple((_I4_2D, _F4_2D, _F4_2D), TreeArrays)


@kernel(void(_F4_2D, TREES_TYPE, _U4[:, ::1], f4[::1]))
def sum_leaves(features: Array, trees: TreeArrays, leaf: Array, totals: Array) -> None:
    """All levels of a tree in one pass, and leaves without a sign: so eight candidates go at a time. The
    leaves of four trees, in `leaf` uint32[4, n], are added up together: a total is fetched once for them."""
    asked, borders, values, n = trees.asked, trees.borders, trees.leaves, len(totals)
    no = np.uint32(0)
    totals[:] = np.float32(0)
    for first in range(0, len(asked), TOGETHER):
        for place in range(TOGETHER):
            tree, its = unsigned(first + place), leaf[unsigned(place)]
            of, border = asked[tree], borders[tree]
            c0, c1, c2 = features[unsigned(of[0])], features[unsigned(of[1])], features[unsigned(of[2])]
            c3, c4, c5 = features[unsigned(of[3])], features[unsigned(of[4])], features[unsigned(of[5])]
            b0, b1, b2, b3, b4, b5 = border[0], border[1], border[2], border[3], border[4], border[5]
            for index in range(n):
                its[index] = (
                    (np.uint32(1) if c0[index] > b0 else no)
                    | (np.uint32(2) if c1[index] > b1 else no)
                    | (np.uint32(4) if c2[index] > b2 else no)
                    | (np.uint32(8) if c3[index] > b3 else no)
                    | (np.uint32(16) if c4[index] > b4 else no)
                    | (np.uint32(32) if c5[index] > b5 else no)
                )
        v0, v1, v2, v3 = values[first], values[first + 1], values[first + 2], values[first + 3]
        l0, l1, l2, l3 = leaf[0], leaf[1], leaf[2], leaf[3]
        for index in range(n):
            totals[index] += v0[l0[index]] + v1[l1[index]] + v2[l2[index]] + v3[l3[index]]


class Trees:
    """features int32[t, depth]: which feature each level of each tree asks for; thresholds
    float32[t, depth]: whether it is greater; values float32[t, 2 ** depth] by leaf, the first level's
    answer its lowest bit. depth is MAX_DEPTH at most."""

    _ARRAYS = ("features", "thresholds", "values")

    def __init__(
        self,
        features: npt.NDArray[np.int32],
        thresholds: npt.NDArray[np.float32],
        values: npt.NDArray[np.float32],
    ) -> None:
        self.features = features
        self.thresholds = thresholds
        self.values = values
        # The levels that a shallower tree lacks ask nothing: no number is greater than infinity. Trees that
        # are lacking to the last few together are worth nothing.
        trees = (0, -len(features) % TOGETHER)
        levels = (0, MAX_DEPTH - features.shape[1])
        self.arrays = TreeArrays(
            frozen(np.pad(features, (trees, levels))),
            frozen(np.pad(thresholds, (trees, levels), constant_values=np.inf)),
            frozen(np.pad(values, (trees, (0, 0)))),
        )

    @classmethod
    def mean(cls, fits: Sequence[Trees]) -> Trees:
        """Trees that score as these do on average; all of one depth."""
        values: npt.NDArray[np.float32] = np.concatenate([trees.values for trees in fits])
        return cls(
            np.concatenate([trees.features for trees in fits]),
            np.concatenate([trees.thresholds for trees in fits]),
            values / np.float32(len(fits)),
        )

    def score(self, features: npt.NDArray[np.float32]) -> Scores:
        """float32[c] for features float32[F, c]: the sum over the trees."""
        totals = np.empty(features.shape[1], np.float32)
        leaf = np.empty((TOGETHER, features.shape[1]), np.uint32)
        sum_leaves(features, self.arrays, leaf, totals)
        return totals

    def effects(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """float32[F, c] for features float32[F, c]: how much each feature moved each candidate's score.

        Down a tree, each answer moves the expectation from the mean of the candidates that answered alike
        so far to the mean of those that answer this alike as well (A. Saabas, "Interpreting random
        forests", 2014, with the candidates themselves as the population). A column adds up to the
        score less the mean score of the candidates.
        """
        effects = np.zeros(features.shape, np.float64)
        for asked, thresholds, values in zip(self.features, self.thresholds, self.values, strict=True):
            answers = features[asked] > thresholds[:, None]
            leaves = values[(answers << np.arange(len(asked))[:, None]).sum(axis=0)].astype(np.float64)
            alike = np.zeros(features.shape[1], np.int64)
            expected = np.full(features.shape[1], leaves.mean())
            for level, feature in enumerate(asked.tolist()):
                alike |= answers[level].astype(np.int64) << level
                sums, counts = np.bincount(alike, leaves), np.bincount(alike)
                reached = sums[alike] / counts[alike]
                effects[feature] += reached - expected
                expected = reached
        return effects.astype(np.float32)

    def uses(self, n_features: int) -> npt.NDArray[np.float64]:
        """float64[n_features]: the share of the questions that ask for each feature."""
        counts = np.bincount(self.features.ravel(), minlength=n_features)
        return counts / max(int(counts.sum()), 1)

    def save(self, directory: Path) -> None:
        save_arrays(directory, {name: getattr(self, name) for name in self._ARRAYS}, _NoSettings())

    @classmethod
    def load(cls, directory: Path) -> Trees:
        load_settings(directory, _NoSettings)
        return cls(*(load_array(directory, name) for name in cls._ARRAYS))
