"""The compiled loops that grow oblivious trees; see `recsys.models.boosting`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from recsys.models.compiled import Array, boolean, f4, f8, i4, i8, kernel, read_only, u1, void

_U1_2D, _F4_2D = read_only(u1, 2), read_only(f4, 2)
_I4, _I8, _F4, _U1 = read_only(i4), read_only(i8), read_only(f4), read_only(u1)
_BOOLEAN = read_only(boolean)
_U4 = read_only(types.uint32)
"""Of row numbers: those without a sign are not asked whether they count from the end."""
_LEAST_LIKELY = np.float32(1e-30)
"""Of two chances' sum that is divided by: both may be rounded to 0."""
ABREAST = 4
"""Features whose histograms are filled in one pass."""


@kernel(void(_F4_2D, _F4_2D, u1[:, ::1]))
def bin_features(features: Array, borders: Array, binned: Array) -> None:
    """Into `binned` uint8[F, c] how many borders each of features float32[F, c] exceeds; borders
    float32[F, b] rise and end in infinities."""
    for feature in range(features.shape[0]):
        for index in range(features.shape[1]):
            value = features[feature, index]
            low, high = 0, borders.shape[1]
            while low < high:
                middle = (low + high) // 2
                if value > borders[feature, middle]:
                    low = middle + 1
                else:
                    high = middle
            binned[feature, index] = low


@kernel(void(_F4, f4[::1], f4[::1]))
def _rank(scores: Array, discounts: Array, worth: Array) -> None:
    """Into `worth` float32[c] what each of `scores` float32[c] is worth by its place: of the k greatest the
    `discounts` float32[k], any other 0."""
    best = np.empty(len(discounts), np.int64)
    found = 0
    for row in range(len(scores)):
        worth[row] = np.float32(0)
        if found == len(best) and scores[row] <= scores[best[found - 1]]:
            continue
        place = found if found < len(best) else found - 1
        while place and scores[best[place - 1]] < scores[row]:
            best[place] = best[place - 1]
            place -= 1
        best[place] = row
        found = min(found + 1, len(best))
    for place in range(found):
        worth[best[place]] = discounts[place]


@kernel(void(_F4, _F4, _U1, f4, f4[::1], f4[::1]), fastmath=True)
def _swap(likely: Array, worth: Array, taken: Array, weight: Any, slope: Array, curvature: Array) -> None:
    """Add the derivatives of LambdaRank: for each row taken and each that was not the logistic loss of their
    order, times what would be gained if they changed places."""
    for one in range(len(likely)):
        if not taken[one]:
            continue
        steps, bends = np.float32(0), np.float32(0)
        for other in range(len(likely)):
            gain = weight * abs(worth[one] - worth[other]) * np.float32(1 - taken[other])
            wrong = likely[other] / max(likely[one] + likely[other], _LEAST_LIKELY)
            step, bend = gain * wrong, gain * wrong * (1 - wrong)
            steps += step
            bends += bend
            slope[other] += step
            curvature[other] += bend
        slope[one] -= steps
        curvature[one] += bends


@kernel(void(_F4, _I8, _U1, f4[::1], f4, f4[::1], f4[::1]), fastmath=True)
def gradients(
    scores: Array,
    starts: Array,
    taken: Array,
    discounts: Array,
    weight: Any,
    slope: Array,
    curvature: Array,
) -> None:
    """First and second derivatives of the loss: the cross-entropies of each group's softmax, one for each row
    taken, and, `weight` times, the order at the top, whose places are worth `discounts` float32[k], falling.

    Group g has the rows `starts[g]:starts[g + 1]`; `taken` uint8[N] is 1 for what was taken, 0 otherwise.
    """
    longest = 0
    for group in range(len(starts) - 1):
        longest = max(longest, starts[group + 1] - starts[group])
    room = np.empty((2, longest), np.float32)
    for group in range(len(starts) - 1):
        start, end = starts[group], starts[group + 1]
        likely, worth = room[0, : end - start], room[1, : end - start]
        greatest = scores[start]
        for row in range(start, end):
            greatest = max(greatest, scores[row])
        total, times = np.float32(0), np.float32(0)
        for row in range(start, end):
            likely[row - start] = np.exp(scores[row] - greatest)
            total += likely[row - start]
            times += np.float32(taken[row])
        for row in range(start, end):
            share = likely[row - start] / total
            slope[row] = times * share - np.float32(taken[row])
            curvature[row] = times * share * (1 - share)
        _rank(scores[start:end], discounts, worth)
        _swap(likely, worth, taken[start:end], weight, slope[start:end], curvature[start:end])


@kernel(i8(_F4, _F4, _I8, f8, f8, types.uint32[::1], f4[:, ::1]))
def draw_rows(
    slope: Array, curvature: Array, rows: Array, steep: float, place: float, drawn: Array, weighed: Array
) -> int:
    """Draw some of `rows` int64, one wherever their added-up chances |slope| / steep, 1 at most, pass a whole
    number when they start at `place` (0 to 1). Returns how many; they come into `drawn` uint32, and slope and
    curvature of each over its chance into weighed float32[n, 2]: both have room for all."""
    found = 0
    for index in range(len(rows)):
        row = rows[index]
        chance = min(abs(slope[row]) / steep, 1.0)
        place += chance
        if place >= 1.0:
            place -= 1.0
            drawn[found] = row
            weighed[found, 0], weighed[found, 1] = slope[row] / chance, curvature[row] / chance
            found += 1
    return found


@kernel(void(f4[:, :, ::1], _BOOLEAN, i8))
def _clear(histogram: Array, counted: Array, parents: int) -> None:
    """Where a leaf has parted, its sums go to the child that is not counted, and the other starts at 0."""
    if not parents:
        histogram[0] = 0
    for left in range(parents):
        right = left + parents
        if counted[left]:
            histogram[right] = histogram[left]
            histogram[left] = 0
        else:
            histogram[right] = 0


@kernel(types.Tuple((f8, i8))(f4[:, :, ::1], i8, f8, f8[::1]), fastmath=True)
def _best_border(histogram: Array, n_leaves: int, l2: float, gain: Array) -> tuple[float, int]:
    """The border of a feature that lowers the loss of all leaves most, and by how much."""
    n_bins = histogram.shape[1]
    gain[:] = 0
    for leaf in range(n_leaves):
        slope_all, curvature_all = 0.0, 0.0
        for cell in range(n_bins):
            slope_all += histogram[leaf, cell, 0]
            curvature_all += histogram[leaf, cell, 1]
        slope, curvature = 0.0, 0.0
        for border in range(n_bins - 1):
            slope += histogram[leaf, border, 0]
            curvature += histogram[leaf, border, 1]
            other, other_curvature = slope_all - slope, max(curvature_all - curvature, 0.0)
            gain[border] += slope * slope / (curvature + l2) + other * other / (other_curvature + l2)
    best, best_border = -1.0, 0
    for border in range(n_bins - 1):
        if gain[border] > best:
            best, best_border = gain[border], border
    return best, best_border


@kernel(void(_U1_2D, _I8, _U4, _U1, _F4_2D, i8, f4[:, ::1]))
def _add_rows(
    binned: Array, features: Array, rows: Array, leaf: Array, weighed: Array, leaf_size: int, histogram: Array
) -> None:
    """Add `weighed` to the cells of four features, in one pass: it waits for memory more than for itself.
    histogram float32[4, leaves * leaf_size], leaf_size = bins * 2."""
    one, two, three, four = (
        binned[features[0]], binned[features[1]], binned[features[2]], binned[features[3]]
    )  # fmt: skip
    of_one, of_two, of_three, of_four = histogram[0], histogram[1], histogram[2], histogram[3]
    for index in range(len(rows)):
        first, row = leaf[index] * leaf_size, rows[index]
        slope, curvature = weighed[index, 0], weighed[index, 1]
        cell = first + 2 * one[row]
        of_one[cell] += slope
        of_one[cell + 1] += curvature
        cell = first + 2 * two[row]
        of_two[cell] += slope
        of_two[cell + 1] += curvature
        cell = first + 2 * three[row]
        of_three[cell] += slope
        of_three[cell + 1] += curvature
        cell = first + 2 * four[row]
        of_four[cell] += slope
        of_four[cell + 1] += curvature


@kernel(types.Tuple((f8, i8, i8))(_U1_2D, _I8, _U4, _U1, _F4_2D, _BOOLEAN, i8, f8, f4[:, :, :, ::1]))
def split_of(
    binned: Array,
    features: Array,
    rows: Array,
    leaf: Array,
    weighed: Array,
    counted: Array,
    level: int,
    l2: float,
    histogram: Array,
) -> tuple[float, int, int]:
    """The best split of a level of a tree by one of `features` int64[p], p a multiple of four: its gain, the
    place of the feature, the border.

    binned uint8[F, N]. `rows` uint32[c] are looked at, those of the leaves `counted` bool[2 ** depth]: of two
    children the smaller one. leaf uint8[c]: where each is; weighed float32[c, 2]: its slope and curvature.
    histogram float32[p, 2 ** depth, bins, 2] keeps the sums of the level before.
    """
    parents = (1 << level) // 2
    gain = np.empty(histogram.shape[2] - 1)
    best, best_place, best_border = -1.0, 0, 0
    leaf_size = 2 * histogram.shape[2]
    for first in range(0, len(features), ABREAST):
        # Few features at a time: their histograms stay in the nearest cache.
        last = first + ABREAST
        for place in range(first, last):
            _clear(histogram[place], counted, parents)
        flat = histogram[first:last].reshape(ABREAST, -1)
        _add_rows(binned, features[first:last], rows, leaf, weighed, leaf_size, flat)
        for place in range(first, last):
            # The child that was not counted is what is left of its parent.
            of_feature = histogram[place]
            for left in range(parents):
                right = left + parents
                if counted[left]:
                    of_feature[right] -= of_feature[left]
                else:
                    of_feature[left] -= of_feature[right]
            lowered, border = _best_border(of_feature, 1 << level, l2, gain)
            if lowered > best:
                best, best_place, best_border = lowered, place, border
    return best, best_place, best_border


@kernel(i8(_U1, _U4, _F4_2D, i8, i8, u1[::1], boolean[::1], types.uint32[::1], u1[::1], f4[:, ::1]))
def part_rows(
    column: Array,
    rows: Array,
    weighed: Array,
    border: int,
    level: int,
    leaf: Array,
    counted: Array,
    small: Array,
    leaf_of_small: Array,
    weighed_of_small: Array,
) -> int:
    """Send `rows` uint32[n] to their leaves of the next level by their bins of a feature, `column` uint8[N].

    Says which child of each leaf is `counted`, the smaller one; how many rows these have is returned, which
    they are comes into `small` uint32[n], and their leaf and `weighed` beside it, as `split_of` wants them.
    """
    sizes = np.zeros(len(counted), np.int64)
    highest, bit, no = np.uint8(border), np.uint8(1 << level), np.uint8(0)
    for index in range(len(rows)):
        leaf[index] |= bit if column[rows[index]] > highest else no
    for index in range(len(rows)):
        sizes[leaf[index]] += 1
    for left in range(1 << level):
        right = left + (1 << level)
        counted[left] = sizes[left] <= sizes[right]
        counted[right] = not counted[left]
    found = 0
    for index in range(len(rows)):
        if counted[leaf[index]]:
            small[found], leaf_of_small[found] = rows[index], leaf[index]
            weighed_of_small[found, 0], weighed_of_small[found, 1] = weighed[index, 0], weighed[index, 1]
            found += 1
    return found


@kernel(void(_U1_2D, i8, i8, _I4, _I4, _F4, _F4, u1[::1], f8[:, ::1]))
def sum_leaves(
    binned: Array,
    first: int,
    last: int,
    split_feature: Array,
    split_border: Array,
    slope: Array,
    curvature: Array,
    leaf: Array,
    sums: Array,
) -> None:
    """The leaf of each row from `first` to before `last`, and what slope and curvature add up to in each:
    sums float64[2, 2 ** depth]. binned uint8[F, N]."""
    of_row, steps, bends = leaf[first:last], slope[first:last], curvature[first:last]
    of_row[:] = 0
    for level in range(len(split_feature)):
        column = binned[split_feature[level], first:last]
        border, bit, no = np.uint8(split_border[level]), np.uint8(1 << level), np.uint8(0)
        for index in range(len(of_row)):
            of_row[index] |= bit if column[index] > border else no
    for index in range(len(of_row)):
        sums[0, of_row[index]] += steps[index]
        sums[1, of_row[index]] += bends[index]


@kernel(void(_U1, _F4, f4[::1]))
def add_leaves(leaf: Array, values: Array, scores: Array) -> None:
    """Add to each row's score the value of its leaf."""
    for row in range(len(leaf)):
        scores[row] += values[leaf[row]]
