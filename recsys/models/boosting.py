"""Gradient boosting of oblivious trees for choices: of each group of candidates one was taken.

The loss is the cross-entropy of the softmax over a group (ListNet's top-one, and CatBoost's QuerySoftMax);
trees are symmetric, as in Prokhorenkova et al., "CatBoost: unbiased boosting with categorical features",
NeurIPS 2018, leaves are Newton steps. On the same replayed prefixes it ranks as well as CatBoost, whose
wheel would bring pandas, matplotlib and plotly, 400 MB, along (bench/RESULTS.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final

import msgspec
import numpy as np
import numpy.typing as npt

from recsys.models.boosting_kernels import bin_features, fill_leaves, grow_tree, softmax_gradients
from recsys.models.progress import Progress, silent
from recsys.models.trees import MAX_DEPTH, Trees

Matrix = npt.NDArray[np.float32]
"""float32[F, c]: the features of a group's candidates."""
_STEP: Final = "ranker"


class BoostingSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    trees: int = 200
    depth: Annotated[int, msgspec.Meta(ge=1, le=MAX_DEPTH)] = 6
    learning_rate: float = 0.07
    l2: float = 1.0
    """Added to the curvature of a leaf: how much evidence a leaf needs."""
    bins: int = 64
    """Values of a feature are told apart by at most one border less."""
    group_share: float = 0.6
    feature_share: float = 0.6
    """What share of the groups and of the features each tree may look at, drawn anew for each."""
    seed: int = 0


DEFAULTS = BoostingSettings()


class Choices:
    """Groups of candidates, of which one was taken, with binned features: a byte each.

    borders float32[F, bins - 1]: rising, infinite beyond the last.
    """

    def __init__(self, borders: npt.NDArray[np.float32]) -> None:
        self.borders = borders
        self._binned: list[npt.NDArray[np.uint8]] = []
        self._targets: list[int] = []

    def __len__(self) -> int:
        return len(self._targets)

    def add(self, features: Matrix, target: int) -> None:
        """One group: features float32[F, c] and which of the c was taken."""
        binned = np.empty((features.shape[1], features.shape[0]), np.uint8)
        bin_features(features, self.borders, features.shape[1], binned, 0)
        self._binned.append(binned)
        self._targets.append(target)

    def arrays(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """(binned uint8[N, F], starts int64[g + 1], targets int64[g]: the row that was taken)."""
        starts = np.concatenate(([0], np.cumsum([len(binned) for binned in self._binned]))).astype(np.int64)
        return np.concatenate(self._binned), starts, starts[:-1] + np.array(self._targets, np.int64)


def borders_of(samples: Iterable[Matrix], bins: int = DEFAULTS.bins) -> npt.NDArray[np.float32]:
    """Borders float32[F, bins - 1] for features like these: half of them by the quantiles of all values,
    half by those of the distinct ones, because what decides is often rare."""
    values = np.concatenate(list(samples), axis=1)
    borders = np.full((len(values), bins - 1), np.inf, np.float32)
    shares = np.linspace(0, 1, bins // 2 + 1)[1:-1]
    for feature, column in enumerate(values):
        distinct = np.unique(column)
        if len(distinct) <= bins:
            found = (distinct[1:] + distinct[:-1]) / 2
        else:
            found = np.unique(np.concatenate((np.quantile(column, shares), np.quantile(distinct, shares))))
        borders[feature, : len(found)] = found
    return borders


def boost(choices: Choices, settings: BoostingSettings = DEFAULTS, progress: Progress = silent) -> Trees:
    """Fit trees. Memory: a byte a feature and some 25 bytes for each candidate."""
    binned, starts, targets = choices.arrays()
    random = np.random.default_rng(settings.seed)
    n_rows, n_groups, shape = len(binned), len(starts) - 1, (settings.trees, settings.depth)
    group_of = np.repeat(np.arange(n_groups), np.diff(starts))
    telling = np.flatnonzero(np.isfinite(choices.borders).any(axis=1))
    n_features = max(1, round(settings.feature_share * len(telling)))
    features, borders = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    values = np.zeros((settings.trees, 1 << settings.depth), np.float32)
    scores, slope, curvature = (np.zeros(n_rows, np.float32) for _ in range(3))
    leaf = np.zeros(n_rows, np.uint8)
    histogram = np.zeros((1 << settings.depth, n_features, settings.bins, 2), np.float32)
    for tree in range(settings.trees if len(telling) else 0):
        softmax_gradients(scores, starts, targets, slope, curvature)
        rows = np.flatnonzero((random.random(n_groups) < settings.group_share)[group_of])
        sample = np.sort(random.choice(telling, n_features, replace=False)).astype(np.int64)
        grow_tree(
            binned, rows, slope, curvature, sample, settings.l2, leaf, histogram,
            features[tree], borders[tree],
        )  # fmt: skip
        fill_leaves(
            binned, features[tree], borders[tree], slope, curvature, settings.learning_rate, settings.l2,
            leaf, scores, values[tree],
        )  # fmt: skip
        progress(_STEP, (tree + 1) / settings.trees)
    return Trees(features, choices.borders[features, borders].astype(np.float32), values)
