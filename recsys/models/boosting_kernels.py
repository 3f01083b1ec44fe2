"""The compiled loops that grow oblivious trees; see `recsys.models.boosting`."""

from __future__ import annotations

import numpy as np
from numba import types

from recsys.models.compiled import Array, f4, f8, i4, i8, kernel, read_only, u1, void

_U1_2D, _F4_2D = read_only(u1, 2), read_only(f4, 2)
_I4, _I8, _F4, _U1 = read_only(i4), read_only(i8), read_only(f4), read_only(u1)
_HISTOGRAM = f4[:, :, :, ::1]


@kernel(void(_F4_2D, _F4_2D, i8, u1[:, ::1], i8))
def bin_features(features: Array, borders: Array, n: int, binned: Array, first: int) -> None:
    """Into `binned` uint8[N, F], from row `first` on, how many borders each of the first n columns of
    features float32[F, m] exceeds; borders float32[F, b] rise and end in infinities."""
    for feature in range(features.shape[0]):
        for index in range(n):
            value = features[feature, index]
            low, high = 0, borders.shape[1]
            while low < high:
                middle = (low + high) // 2
                if value > borders[feature, middle]:
                    low = middle + 1
                else:
                    high = middle
            binned[first + index, feature] = low


@kernel(void(_F4, _I8, _I8, f4[::1], f4[::1]), fastmath=True)
def softmax_gradients(scores: Array, starts: Array, targets: Array, slope: Array, curvature: Array) -> None:
    """First and second derivatives of the cross-entropy of each group's softmax.

    Group g has the rows `starts[g]:starts[g + 1]`, of which `targets[g]` was chosen.
    """
    for group in range(len(starts) - 1):
        start, end = starts[group], starts[group + 1]
        greatest = scores[start]
        for row in range(start, end):
            greatest = max(greatest, scores[row])
        total = np.float32(0)
        for row in range(start, end):
            slope[row] = np.exp(scores[row] - greatest)
            total += slope[row]
        for row in range(start, end):
            share = slope[row] / total
            slope[row] = share
            curvature[row] = share * (1 - share)
        slope[targets[group]] -= 1


@kernel(void(_U1_2D, _I8, _U1, types.boolean[::1], _F4, _F4, _I8, _HISTOGRAM), fastmath=True)
def _add_rows(
    binned: Array, rows: Array, leaf: Array, counted: Array, slope: Array, curvature: Array, features: Array,
    histogram: Array,
) -> None:  # fmt: skip
    for index in range(len(rows)):
        row = rows[index]
        if not counted[leaf[row]]:
            continue
        of_leaf = histogram[leaf[row]]
        first, second = slope[row], curvature[row]
        for place in range(len(features)):
            cell = of_leaf[place, binned[row, features[place]]]
            cell[0] += first
            cell[1] += second


@kernel(types.Tuple((f8, i8, i8))(_HISTOGRAM, i8, f8), fastmath=True)
def _best_split(histogram: Array, n_leaves: int, l2: float) -> tuple[float, int, int]:
    """The gain, the feature (its place) and the border that together lower the loss of all leaves most."""
    n_features, n_bins = histogram.shape[1], histogram.shape[2]
    gain = np.empty(n_bins)
    best, best_feature, best_border = -1.0, 0, 0
    for feature in range(n_features):
        gain[:] = 0
        for leaf in range(n_leaves):
            slope_all, curvature_all = 0.0, 0.0
            for cell in range(n_bins):
                slope_all += histogram[leaf, feature, cell, 0]
                curvature_all += histogram[leaf, feature, cell, 1]
            slope, curvature = 0.0, 0.0
            for border in range(n_bins - 1):
                slope += histogram[leaf, feature, border, 0]
                curvature += histogram[leaf, feature, border, 1]
                other, other_curvature = slope_all - slope, max(curvature_all - curvature, 0.0)
                gain[border] += slope * slope / (curvature + l2) + other * other / (other_curvature + l2)
        for border in range(n_bins - 1):
            if gain[border] > best:
                best, best_feature, best_border = gain[border], feature, border
    return best, best_feature, best_border


@kernel(types.Tuple((f8, i8, i8))(_U1_2D, _I8, _F4, _F4, _I8, f8, i8, _I8, _U1, _HISTOGRAM))
def split_of(
    binned: Array,
    rows: Array,
    slope: Array,
    curvature: Array,
    features: Array,
    l2: float,
    level: int,
    sizes: Array,
    leaf: Array,
    histogram: Array,
) -> tuple[float, int, int]:
    """The best split of a level of a tree by one of `features` int64[p]: its gain, the place of the
    feature, the border.

    rows int64 are looked at; leaf uint8[N] says where each is, sizes int64[2 ** depth] how many are there.
    histogram float32[2 ** depth, p, bins, 2] keeps the sums of the level before, for these features.
    """
    counted = np.ones(len(sizes), np.bool_)
    parents = (1 << level) // 2
    if level == 0:
        histogram[0] = 0
    # Only the smaller child of each leaf is counted; the other one is what is left of the parent.
    for left in range(parents):
        right = left + parents
        counted[left] = sizes[left] <= sizes[right]
        counted[right] = not counted[left]
        if counted[left]:
            histogram[right] = histogram[left]
            histogram[left] = 0
        else:
            histogram[right] = 0
    _add_rows(binned, rows, leaf, counted, slope, curvature, features, histogram)
    for left in range(parents):
        right = left + parents
        if counted[left]:
            histogram[right] -= histogram[left]
        else:
            histogram[left] -= histogram[right]
    return _best_split(histogram, 1 << level, l2)


@kernel(void(_U1_2D, _I8, i8, i8, i8, u1[::1], i8[::1]))
def part_rows(
    binned: Array, rows: Array, feature: int, border: int, level: int, leaf: Array, sizes: Array
) -> None:
    """Send the rows to their leaves of the next level; `sizes` counts them. Level 0 starts at one leaf."""
    sizes[:] = 0
    for index in range(len(rows)):
        row = rows[index]
        place = leaf[row] if level else np.uint8(0)
        if binned[row, feature] > border:
            place |= np.uint8(1 << level)
        leaf[row] = place
        sizes[place] += 1


@kernel(void(_U1_2D, _I4, _I4, _F4, _F4, u1[::1], f8[:, ::1]))
def sum_leaves(
    binned: Array,
    split_feature: Array,
    split_border: Array,
    slope: Array,
    curvature: Array,
    leaf: Array,
    sums: Array,
) -> None:
    """The leaf of each row, and what slope and curvature add up to in each: sums float64[2, 2 ** depth]."""
    for row in range(len(leaf)):
        place = 0
        for level in range(len(split_feature)):
            place |= int(binned[row, split_feature[level]] > split_border[level]) << level
        leaf[row] = place
        sums[0, place] += slope[row]
        sums[1, place] += curvature[row]


@kernel(void(_U1, _F4, f4[::1]))
def add_leaves(leaf: Array, values: Array, scores: Array) -> None:
    """Add to each row's score the value of its leaf."""
    for row in range(len(leaf)):
        scores[row] += values[leaf[row]]
