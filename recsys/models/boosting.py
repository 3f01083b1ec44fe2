"""Gradient boosting of oblivious trees for choices: of each group of candidates one, or some, were taken.

The loss is the cross-entropy of the softmax over a group, for each that was taken (ListNet's top-one, and
CatBoost's QuerySoftMax), and with less weight what LambdaRank (Burges, "From RankNet to LambdaRank to
LambdaMART: An Overview", 2010) says of the reciprocal rank, because the first places count most; trees are
symmetric, as in Prokhorenkova et al., "CatBoost: unbiased boosting with categorical features", NeurIPS 2018,
leaves are Newton steps. By the cross-entropy alone it ranks as well on the same replayed prefixes as
CatBoost, whose wheel would bring pandas, matplotlib and plotly, 400 MB, along (bench/RESULTS.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Final

import msgspec
import numpy as np
import numpy.typing as npt

from recsys.models.boosting_kernels import (
    ABREAST,
    add_leaves,
    bin_features,
    draw_rows,
    gradients,
    part_rows,
    split_of,
    sum_leaves,
)
from recsys.models.progress import Progress, silent
from recsys.models.trees import MAX_DEPTH, Trees

Matrix = npt.NDArray[np.float32]
"""float32[F, c]: the features of a group's candidates."""
_STEP: Final = "ranker"
_STEEP_ROWS: Final = 20_000
"""So many tell how steep the loss is."""
_LEAST_STEEP: Final = 1e-12
"""For where all slopes are 0: a row's chance to be drawn is its slope divided by the steepest."""


class BoostingSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How trees are grown. What was tried for the values is told in *Choices* of `bench/RESULTS.md`."""

    trees: int = 200
    """How many. Each costs every decision its levels; with 120, and a faster rate, MRR was lost."""
    depth: Annotated[int, msgspec.Meta(ge=1, le=MAX_DEPTH)] = 6
    """Questions of a tree, the same for all candidates: it has 2 ** depth leaves. The loop that asks them is
    compiled for MAX_DEPTH."""
    learning_rate: float = 0.07
    """What of a leaf's Newton step is taken, 0 to 1: slower ones want more trees (.05 with 240 was no
    better)."""
    l2: float = 1.0
    """Added to the curvature of a leaf: how much evidence a leaf needs."""
    bins: int = 64
    """Values of a feature are told apart by at most one border less."""
    group_share: float = 0.6
    feature_share: float = 0.4
    """What share of the groups and of the features each tree may look at, 0 to 1, drawn anew for each: trees
    that differ err less together. Of features .4 found a little more than .6."""
    max_groups: int = 12_000
    """Of many groups each tree looks at no more than some so many: splits are sure enough, and a large
    shop takes no longer. Leaves are filled by all."""
    max_rows: int = 600_000
    """Nor at more than so many of their candidates: of more they are drawn, the likelier the steeper the loss
    is there, and weighed against that. Most candidates are clearly not what was taken."""
    top_places: Annotated[int, msgspec.Meta(ge=1)] = 10
    top_weight: float = 0.3
    """What is gained by changing places with one of the first counts so much beside the cross-entropy. Ten
    are about what a block shows; more weight, or other worth of the places, found no more."""
    seed: int = 0
    """Of what each tree may look at."""


DEFAULTS = BoostingSettings()


class Choices:
    """Groups of candidates, of which some were taken, with binned features: a byte each.

    borders float32[F, bins - 1]: rising, infinite beyond the last.
    """

    def __init__(self, borders: npt.NDArray[np.float32]) -> None:
        self.borders = borders
        self._binned: list[npt.NDArray[np.uint8]] = []
        self._taken: list[npt.NDArray[np.uint8]] = []

    def __len__(self) -> int:
        return len(self._taken)

    def add(self, features: Matrix, taken: Sequence[int]) -> None:
        """One group: features float32[F, c], and which of the c were taken, one or more."""
        binned = np.empty(features.shape, np.uint8)
        bin_features(features, self.borders, binned)
        is_taken = np.zeros(features.shape[1], np.uint8)
        is_taken[taken] = 1
        self._binned.append(binned)
        self._taken.append(is_taken)

    def first(self, n: int) -> Choices:
        """The n groups that were added first."""
        part = Choices(self.borders)
        part._binned, part._taken = self._binned[:n], self._taken[:n]
        return part

    def arrays(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
        """(binned uint8[F, N], starts int64[g + 1], taken uint8[N]: 1 for what was taken)."""
        counts = [binned.shape[1] for binned in self._binned]
        starts = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
        return np.concatenate(self._binned, axis=1), starts, np.concatenate(self._taken)


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


def boost(
    choices: Choices,
    settings: BoostingSettings = DEFAULTS,
    progress: Progress = silent,
    *,
    threads: int = 1,
) -> Trees:
    """Fit trees. Memory: a byte a feature and some 25 bytes for each candidate. Equal choices give equal
    trees for one number of threads; sums are added up in another order by another."""
    binned, starts, taken = choices.arrays()
    random = np.random.default_rng(settings.seed)
    n_groups, shape = len(starts) - 1, (settings.trees, settings.depth)
    group_of = np.repeat(np.arange(n_groups), np.diff(starts))
    group_share = min(settings.group_share, settings.max_groups / max(n_groups, 1))
    telling = np.flatnonzero(np.isfinite(choices.borders).any(axis=1))
    n_features = max(1, round(settings.feature_share * len(telling)))
    features, borders = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    values = np.zeros((settings.trees, 1 << settings.depth), np.float32)
    with ThreadPoolExecutor(threads) as pool:
        fit = _Fit(binned, starts, taken, settings, pool, threads)
        for tree in range(settings.trees if len(telling) else 0):
            fit.differentiate()
            rows = np.flatnonzero((random.random(n_groups) < group_share)[group_of])
            sample = np.sort(random.choice(telling, n_features, replace=False)).astype(np.int64)
            if len(rows) > settings.max_rows:
                fit.look_at_some(rows, random.random())
            else:
                fit.look_at(rows)
            fit.grow(sample, features[tree], borders[tree])
            values[tree] = fit.step(features[tree], borders[tree])
            progress(_STEP, (tree + 1) / settings.trees)
    return Trees(features, choices.borders[features, borders].astype(np.float32), values)


class _Fit:
    """The state of a fit: binned uint8[F, N], the groups' rows, and what the trees so far have scored.

    Threads share the rows, or the features, out among them.
    """

    def __init__(
        self,
        binned: npt.NDArray[np.uint8],
        starts: npt.NDArray[np.int64],
        taken: npt.NDArray[np.uint8],
        settings: BoostingSettings,
        pool: ThreadPoolExecutor,
        threads: int,
    ) -> None:
        n = int(starts[-1])
        self._binned = binned
        self._starts = starts
        self._taken = taken
        self._settings = settings
        self._pool = pool
        self._threads = threads
        self._scores, self._slope, self._curvature = (np.zeros(n, np.float32) for _ in range(3))
        self._leaf = np.zeros(n, np.uint8)
        self._discounts = (1.0 / np.arange(1, settings.top_places + 1)).astype(np.float32)
        self._group_cuts = np.linspace(0, len(starts) - 1, threads + 1).astype(np.int64)
        self._rows, self._weighed = np.empty(0, np.uint32), np.empty((0, 2), np.float32)

    def differentiate(self) -> None:
        """Slope and curvature of the loss at the scores so far."""

        def part(of: int) -> None:
            first, last = self._group_cuts[of : of + 2]
            gradients(
                self._scores, self._starts[first : last + 1], self._taken, self._discounts,
                self._settings.top_weight, self._slope, self._curvature,
            )  # fmt: skip

        list(self._pool.map(part, range(self._threads)))

    def look_at(self, rows: npt.NDArray[np.int64]) -> None:
        """The next tree's splits are chosen by these rows."""
        self._rows = rows.astype(np.uint32)
        self._weighed = np.stack((self._slope[rows], self._curvature[rows]), axis=1)

    def look_at_some(self, rows: npt.NDArray[np.int64], place: float) -> None:
        """By about `max_rows` of these rows, drawn from a `place`, 0 to 1, on."""
        drawn, weighed = np.empty(len(rows), np.uint32), np.empty((len(rows), 2), np.float32)
        steep = steep_of(self._slope[rows], self._settings.max_rows)
        found = draw_rows(self._slope, self._curvature, rows, steep, place, drawn, weighed)
        self._rows, self._weighed = drawn[:found], weighed[:found]

    def grow(
        self,
        sample: npt.NDArray[np.int64],
        features: npt.NDArray[np.int32],
        borders: npt.NDArray[np.int32],
    ) -> None:
        """Choose a tree's `features` and `borders` int32[depth]: on each level one of both for all leaves.
        It looks at a sample of the features."""
        settings, n_leaves, n = self._settings, 1 << self._settings.depth, len(self._rows)
        parts = np.array_split(sample, min(self._threads, len(sample)))
        parts = [np.pad(part, (0, -len(part) % ABREAST), mode="edge") for part in parts]
        histograms = [np.empty((len(part), n_leaves, settings.bins, 2), np.float32) for part in parts]
        leaf, counted = np.zeros(n, np.uint8), np.zeros(n_leaves, np.bool_)
        # Those of the smaller children; at first all.
        small, leaf_of_small, weighed = self._rows.copy(), leaf.copy(), self._weighed.copy()
        n_small = n

        def best(of: int) -> tuple[float, int, int]:
            gain, place, border = split_of(
                self._binned, parts[of], small[:n_small], leaf_of_small[:n_small], weighed[:n_small], counted,
                level, settings.l2, histograms[of],
            )  # fmt: skip
            return gain, int(parts[of][place]), border

        for level in range(settings.depth):
            _, features[level], borders[level] = max(
                self._pool.map(best, range(len(parts))), key=lambda split: split[0]
            )
            n_small = part_rows(
                self._binned[features[level]], self._rows, self._weighed, borders[level], level, leaf,
                counted, small, leaf_of_small, weighed,
            )  # fmt: skip

    def step(
        self, features: npt.NDArray[np.int32], borders: npt.NDArray[np.int32]
    ) -> npt.NDArray[np.float32]:
        """A Newton step in each leaf of a tree, over all rows: float32[2 ** depth], taken at once."""
        settings = self._settings
        cuts = self._starts[self._group_cuts]
        sums = np.zeros((self._threads, 2, 1 << settings.depth))

        def find(of: int) -> None:
            sum_leaves(
                self._binned, cuts[of], cuts[of + 1], features, borders, self._slope, self._curvature,
                self._leaf, sums[of],
            )  # fmt: skip

        list(self._pool.map(find, range(self._threads)))
        slope, curvature = sums.sum(axis=0)
        values: npt.NDArray[np.float32] = np.float32(-settings.learning_rate) * (
            slope / (curvature + settings.l2)
        ).astype(np.float32)

        def add(of: int) -> None:
            rows = slice(cuts[of], cuts[of + 1])
            add_leaves(self._leaf[rows], values, self._scores[rows])

        list(self._pool.map(add, range(self._threads)))
        return values


def steep_of(slope: npt.NDArray[np.float32], wanted: int) -> float:
    """From which slope on a row is surely drawn, so that some `wanted` are: the others are drawn by their
    slope. Told from some of the rows."""
    every = max(1, len(slope) // _STEEP_ROWS)
    some = np.sort(np.abs(slope[::every]).astype(np.float64))[::-1]
    places = wanted / len(slope) * len(some)
    # With the k steepest drawn for sure, the others share the places left.
    rest = some.sum() - np.concatenate(([0.0], np.cumsum(some)[:-1]))
    steep = rest / np.maximum(places - np.arange(len(some)), 1e-9)
    return max(float(steep[int(np.argmax(some <= steep))]), _LEAST_STEEP)
