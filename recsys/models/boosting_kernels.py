"""The compiled loops that grow oblivious trees; see `recsys.models.boosting`."""

from __future__ import annotations

import numpy as np
from numba import types

from recsys.models.compiled import Array, f4, f8, i4, i8, kernel, read_only, u1, void

_U1_2D, _F4_2D = read_only(u1, 2), read_only(f4, 2)
_I8, _F4 = read_only(i8), read_only(f4)
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


@kernel(void(_U1_2D, _I8, u1[::1], types.boolean[::1], _F4, _F4, _I8, _HISTOGRAM), fastmath=True)
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


@kernel(types.UniTuple(i8, 2)(_HISTOGRAM, i8, f8), fastmath=True)
def _best_split(histogram: Array, n_leaves: int, l2: float) -> tuple[int, int]:
    """The feature (its place) and the border that together lower the loss of all leaves the most."""
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
    return best_feature, best_border


@kernel(void(_U1_2D, _I8, _F4, _F4, _I8, f8, u1[::1], _HISTOGRAM, i4[::1], i4[::1]))
def grow_tree(
    binned: Array,
    rows: Array,
    slope: Array,
    curvature: Array,
    features: Array,
    l2: float,
    leaf: Array,
    histogram: Array,
    split_feature: Array,
    split_border: Array,
) -> None:
    """Choose the splits int32[depth] of one tree: on each level one feature and one border for all leaves.

    rows int64 and features int64 are the sample looked at; leaf uint8[N] and histogram
    float32[2 ** depth, len(features), bins, 2] are working memory.
    """
    depth = len(split_feature)
    counted = np.ones(1 << depth, np.bool_)
    sizes = np.zeros(1 << depth, np.int64)
    histogram[:] = 0
    for index in range(len(rows)):
        leaf[rows[index]] = 0
    for level in range(depth):
        parents = (1 << level) // 2
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
        place, border = _best_split(histogram, 1 << level, l2)
        split_feature[level], split_border[level] = features[place], border
        sizes[:] = 0
        for index in range(len(rows)):
            row = rows[index]
            if binned[row, features[place]] > border:
                leaf[row] |= np.uint8(1 << level)
            sizes[leaf[row]] += 1


@kernel(void(_U1_2D, i4[::1], i4[::1], _F4, _F4, f8, f8, u1[::1], f4[::1], f4[::1]))
def fill_leaves(
    binned: Array,
    split_feature: Array,
    split_border: Array,
    slope: Array,
    curvature: Array,
    learning_rate: float,
    l2: float,
    leaf: Array,
    scores: Array,
    values: Array,
) -> None:
    """A Newton step in each leaf over all rows: values float32[2 ** depth]; `scores` take it at once."""
    depth = len(split_feature)
    slopes, curvatures = np.zeros(1 << depth), np.zeros(1 << depth)
    for row in range(len(scores)):
        place = 0
        for level in range(depth):
            place |= int(binned[row, split_feature[level]] > split_border[level]) << level
        leaf[row] = place
        slopes[place] += slope[row]
        curvatures[place] += curvature[row]
    for place in range(1 << depth):
        values[place] = -learning_rate * slopes[place] / (curvatures[place] + l2)
    for row in range(len(scores)):
        scores[row] += values[leaf[row]]
