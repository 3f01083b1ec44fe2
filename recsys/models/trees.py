"""Oblivious trees: on each level of a tree all candidates are asked the same question.

So the answers, one bit a level, are the number of a candidate's leaf, and no branch is taken to find it.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from recsys.models.arrays import Scores, load_array, load_settings, save_arrays
from recsys.models.compiled import Array, f4, i4, kernel, read_only, void

_I4_2D, _F4_2D = read_only(i4, 2), read_only(f4, 2)


class _NoSettings(msgspec.Struct, frozen=True):
    """Trees have no settings of their own."""


@kernel(void(_F4_2D, _I4_2D, _F4_2D, _F4_2D, i4[::1], f4[::1]))
def _sum_leaves(
    features: Array, split_feature: Array, threshold: Array, values: Array, leaf: Array, totals: Array
) -> None:
    n = len(totals)
    totals[:] = np.float32(0)
    for tree in range(split_feature.shape[0]):
        leaf[:] = 0
        for level in range(split_feature.shape[1]):
            column, border = features[split_feature[tree, level]], threshold[tree, level]
            for index in range(n):
                leaf[index] |= np.int32(column[index] > border) << level
        of_tree = values[tree]
        for index in range(n):
            totals[index] += of_tree[leaf[index]]


class Trees:
    """features int32[t, depth]: which feature each level of each tree asks for; thresholds
    float32[t, depth]: whether it is greater; values float32[t, 2 ** depth] by leaf, the first level's
    answer its lowest bit."""

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

    def score(self, features: npt.NDArray[np.float32]) -> Scores:
        """float32[c] for features float32[F, c]: the sum over the trees."""
        totals = np.empty(features.shape[1], np.float32)
        leaf = np.empty(features.shape[1], np.int32)
        _sum_leaves(features, self.features, self.thresholds, self.values, leaf, totals)
        return totals

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
