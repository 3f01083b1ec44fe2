"""The compiled loops that teach item vectors; see `recsys.models.next_vectors`."""

from __future__ import annotations

from typing import Any

import numpy as np

from recsys.models.compiled import Array, boolean, f4, f8, i4, i8, kernel, read_only, void
from recsys.models.vote_kernels import HALVED_BY_TWO

_I4, _I8, _F4, _F4_2D = read_only(i4), read_only(i8), read_only(f4), read_only(f4, 2)

REACH = 8
"""How many of a session's newest items tell its direction, as when a decision is asked for."""
_LEAST = np.float32(1e-9)
_KEPT, _KEPT_SQUARES = np.float32(0.9), np.float32(0.99)


@kernel(void(_I4, _I8, _I8, _F4_2D, f4[:, ::1], f4[::1]), fastmath=True)
def point(
    item: Array, begin: Array, places: Array, vectors: Array, directions: Array, lengths: Array
) -> None:
    """Into directions float32[b, d], of length 1, where the sessions before `places` int64[b] point, and how
    long the sums were."""
    dimensions = vectors.shape[1]
    for index in range(len(places)):
        place = places[index]
        for at in range(dimensions):
            directions[index, at] = np.float32(0)
        for back in range(min(place - begin[place], REACH)):
            row, weight = item[place - 1 - back], HALVED_BY_TWO[back]
            for at in range(dimensions):
                directions[index, at] += weight * vectors[row, at]
        squares: Any = np.float32(0)
        for at in range(dimensions):
            squares += directions[index, at] * directions[index, at]
        length = max(np.sqrt(squares), _LEAST)
        lengths[index] = length
        for at in range(dimensions):
            directions[index, at] /= length


@kernel(void(_I4, _I8, _I8, _F4_2D, _F4, f4[:, ::1], f4[:, ::1], boolean[::1]), fastmath=True)
def add_gradients(
    item: Array,
    begin: Array,
    places: Array,
    directions: Array,
    lengths: Array,
    of_directions: Array,
    gradient: Array,
    touched: Array,
) -> None:
    """Add to gradient float32[n, d] what of_directions float32[b, d] says of the items that they are made of.
    Rows of the gradient that are not `touched` hold nothing yet, whatever stands there."""
    dimensions = gradient.shape[1]
    for index in range(len(places)):
        place = places[index]
        along: Any = np.float32(0)
        for at in range(dimensions):
            along += of_directions[index, at] * directions[index, at]
        for at in range(dimensions):
            of_directions[index, at] = (of_directions[index, at] - along * directions[index, at]) / lengths[
                index
            ]
        for back in range(min(place - begin[place], REACH)):
            row, weight = item[place - 1 - back], HALVED_BY_TWO[back]
            if not touched[row]:
                touched[row] = True
                gradient[row] = np.float32(0)
            for at in range(dimensions):
                gradient[row, at] += weight * of_directions[index, at]


@kernel(void(_I8, f8, f4[:, ::1], f4[:, ::1], f4[::1], f4[:, ::1]), fastmath=True)
def step(rows: Array, rate: float, gradient: Array, moment: Array, squares: Array, vectors: Array) -> None:
    """Move the vectors float32[n, d] of `rows` int64[k] against their gradient, as Adam does, with one
    curvature an item."""
    dimensions = gradient.shape[1]
    for row in rows:
        mean: Any = np.float32(0)
        for at in range(dimensions):
            mean += gradient[row, at] * gradient[row, at]
        squares[row] = _KEPT_SQUARES * squares[row] + (np.float32(1) - _KEPT_SQUARES) * mean / np.float32(
            dimensions
        )
        scale = np.float32(rate) / (np.sqrt(squares[row]) + np.float32(1e-7))
        for at in range(dimensions):
            moment[row, at] = _KEPT * moment[row, at] + (np.float32(1) - _KEPT) * gradient[row, at]
            vectors[row, at] -= scale * moment[row, at]
