"""The compiled loops of ALS: weighing a history and folding a person in."""

from __future__ import annotations

import numpy as np

from recsys.models.compiled import Array, f4, f8, i4, i8, kernel, read_only, u1, void

_I4, _I8, _F4, _U1 = (read_only(dtype) for dtype in (i4, i8, f4, u1))
_F4_2D, _F8_2D = (read_only(dtype, 2) for dtype in (f4, f8))
_TASTE_HALF_LIFE_S = 30 * 86_400.0


@kernel(i8(_I4, _F4, f8, f4[::1], i4[::1], f8[::1]))
def _distinct(rows: Array, weights: Array, alpha: float, sums: Array, items: Array, extra: Array) -> int:
    """The last `len(items)` distinct rows, the newest first, and the confidence beyond 1 in each:
    alpha x ln(1 + the sum of its weights). Returns how many they are."""
    size = 0
    for index in range(len(rows) - 1, -1, -1):
        row = rows[index]
        if row < 0 or row >= len(sums) or not weights[index] > 0:
            continue
        if sums[row] == 0:
            if size == len(items):
                continue
            items[size] = row
            size += 1
        sums[row] += weights[index]
    for index in range(size):
        extra[index] = alpha * np.log1p(np.float64(sums[items[index]]))
        sums[items[index]] = np.float32(0)
    return size


@kernel(void(f8[:, ::1], f8[::1], i8), fastmath=True)
def _solve(matrix: Array, target: Array, size: int) -> None:
    """Solve the leading `size` equations by Cholesky; `target` becomes the answer. Only the lower
    triangle of the symmetric `matrix` is read; it is overwritten."""
    for i in range(size):
        for j in range(i + 1):
            total = matrix[i, j]
            for inner in range(j):
                total -= matrix[i, inner] * matrix[j, inner]
            matrix[i, j] = np.sqrt(max(total, 1e-30)) if i == j else total / matrix[j, j]
        total = target[i]
        for inner in range(i):
            total -= matrix[i, inner] * target[inner]
        target[i] = total / matrix[i, i]
    for i in range(size - 1, -1, -1):
        target[i] /= matrix[i, i]
        for inner in range(i):
            target[inner] -= matrix[i, inner] * target[i]


@kernel(
    i8(
        *(_I4, _F4, f8, _F4_2D, _F8_2D, _F8_2D),
        *(f4[::1], i4[::1], f8[::1], f8[:, ::1], f8[:, ::1], f8[::1], f4[::1]),
    ),
    fastmath=True,
)
def fold_person(
    rows: Array,
    weights: Array,
    alpha: float,
    factors: Array,
    gram: Array,
    gram_inverse: Array,
    sums: Array,
    items: Array,
    extra: Array,
    shares: Array,
    matrix: Array,
    target: Array,
    vector: Array,
) -> int:
    """One least-squares step of ALS: (gram + sum (c - 1) y y') x = sum c y over the distinct items.

    `gram` is Y'Y + regularisation x I, float64[f, f]. (Hu, Koren and Volinsky, "Collaborative Filtering
    for Implicit Feedback Datasets", eq. 4.) With few items the same x comes cheaper from as many
    equations as there are items (Woodbury): x = sum w z, z = gram^-1 y, (1 / (c - 1) + Z'Y) w = c / (c - 1).
    Returns how many distinct items there were; `vector` comes in as zeros.
    """
    n_factors = len(vector)
    n_rows = _distinct(rows, weights, alpha, sums, items, extra)
    if 2 * n_rows <= n_factors:
        for i in range(n_rows):
            item = factors[items[i]]
            shares[i] = 0.0
            for k in range(n_factors):
                for d in range(n_factors):
                    shares[i, d] += item[k] * gram_inverse[k, d]
            for j in range(i + 1):
                other = factors[items[j]]
                total = 0.0
                for d in range(n_factors):
                    total += shares[i, d] * other[d]
                matrix[i, j] = total
            matrix[i, i] += 1.0 / extra[i]
            target[i] = (1.0 + extra[i]) / extra[i]
        _solve(matrix, target, n_rows)
        for i in range(n_rows):
            for d in range(n_factors):
                vector[d] += target[i] * shares[i, d]
        return n_rows
    for i in range(n_factors):
        target[i] = 0.0
        for j in range(i + 1):
            matrix[i, j] = gram[i, j]
    for index in range(n_rows):
        item = factors[items[index]]
        for i in range(n_factors):
            target[i] += (1.0 + extra[index]) * item[i]
            scaled = extra[index] * item[i]
            for j in range(i + 1):
                matrix[i, j] += scaled * item[j]
    _solve(matrix, target, n_factors)
    for i in range(n_factors):
        vector[i] = target[i]
    return n_rows


@kernel(i8(_I4, _U1, _I8, _F4, i8, f4[::1]))
def fade(rows: Array, kinds: Array, at_s: Array, kind_weights: Array, now_s: int, weights: Array) -> int:
    """The weight of each of a history, faded by its age; the place of the heaviest known one, -1 for none."""
    heaviest = -1
    for index in range(len(rows)):
        age_s = max(now_s - at_s[index], 0)
        weights[index] = kind_weights[kinds[index]] * np.float32(2.0 ** (-age_s / _TASTE_HALF_LIFE_S))
        if rows[index] >= 0 and (heaviest < 0 or weights[index] > weights[heaviest]):
            heaviest = index
    return heaviest
