"""The compiled loops of ALS: folding a person in.

In a file that calls nothing outside it, like `recsys.models.kernels` and for the same reason.
"""

from __future__ import annotations

import numpy as np

from recsys.models.compiled import Array, boolean, f4, f8, i4, i8, kernel, read_only

_I4, _F4 = (read_only(dtype) for dtype in (i4, f4))
_F4_2D, _F8_2D = (read_only(dtype, 2) for dtype in (f4, f8))


@kernel(i8(_I4, _F4, f8, f4[::1], i4[::1], f8[::1]))
def _confidences(
    rows: Array, weights: Array, alpha: float, sums: Array, distinct: Array, confidence: Array
) -> int:
    """The last `len(confidence)` distinct rows, the newest first, and 1 + alpha x ln(1 + the sum of
    their weights); returns how many they are."""
    size = 0
    for index in range(len(rows) - 1, -1, -1):
        row = rows[index]
        if row < 0 or row >= len(sums) or not weights[index] > 0:
            continue
        if sums[row] == 0:
            if size == len(confidence):
                continue
            distinct[size] = row
            size += 1
        sums[row] += weights[index]
    for index in range(size):
        confidence[index] = 1.0 + alpha * np.log1p(sums[distinct[index]])
        sums[distinct[index]] = np.float32(0)
    return size


@kernel(boolean(f8[:, ::1], f8[::1], i8), fastmath=True)
def _solve(matrix: Array, target: Array, size: int) -> bool:
    """Solve the leading symmetric system of `size` in place, by Cholesky: `target` becomes the answer.
    Only the lower triangle of `matrix` is read; it is overwritten. False if it has no answer."""
    for i in range(size):
        for j in range(i + 1):
            total = matrix[i, j]
            for inner in range(j):
                total -= matrix[i, inner] * matrix[j, inner]
            if i > j:
                matrix[i, j] = total / matrix[j, j]
            elif total > 0:
                matrix[i, i] = np.sqrt(total)
            else:
                return False
        total = target[i]
        for inner in range(i):
            total -= matrix[i, inner] * target[inner]
        target[i] = total / matrix[i, i]
    for i in range(size - 1, -1, -1):
        target[i] /= matrix[i, i]
        for inner in range(i):
            target[inner] -= matrix[i, inner] * target[i]
    return True
