"""The compiled loops that pick the best of many rows.

Each kernel has one explicit signature, so it is compiled when this module is imported, never within a
request. All of them release the GIL; their working memory is a `Scratch`, whose `sums` are all zero between
calls. Only a search allocates, what it needs itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from recsys.models.compiled import Array, boolean, f4, i4, i8, kernel, read_only, u1, void

_I4, _I8, _F4, _U1 = (read_only(dtype) for dtype in (i4, i8, f4, u1))
unsigned = np.uint32
"""Of indices in inner loops: of a signed one numba asks each time whether it counts from the end."""
_GAPS = (301, 132, 57, 23, 10, 4, 1)
_I4_2D, _F4_2D = (read_only(dtype, 2) for dtype in (i4, f4))


@kernel(boolean(f4, i4, f4, i4))
def _ranks_below(score: float, row: int, other_score: float, other_row: int) -> bool:
    # Equal scores are ordered by row, so that an answer never depends on the order of accumulation.
    return score < other_score or (score == other_score and row > other_row)


@kernel(void(i4[::1], f4[::1], i8, i8))
def _sift_down(rows: Array, scores: Array, start: int, size: int) -> None:
    at = start
    row, score = rows[at], scores[at]
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        right = child + 1
        if right < size and _ranks_below(scores[right], rows[right], scores[child], rows[child]):
            child = right
        if not _ranks_below(scores[child], rows[child], score, row):
            break
        rows[at], scores[at] = rows[child], scores[child]
        at = child
    rows[at], scores[at] = row, score


@kernel(void(i4[::1], f4[::1], i8))
def _make_heap(rows: Array, scores: Array, size: int) -> None:
    """The worst comes to stand first."""
    for start in range(size // 2 - 1, -1, -1):
        _sift_down(rows, scores, start, size)


@kernel(void(i4[::1], f4[::1], i8))
def _put_in_order(rows: Array, scores: Array, size: int) -> None:
    """Best first. A shell sort (gaps of Ciura): for a few hundred it takes a third of a heap's time."""
    for gap in _GAPS:
        for index in range(gap, size):
            row, score = rows[index], scores[index]
            at = index
            while at >= gap and _ranks_below(scores[at - gap], rows[at - gap], score, row):
                rows[at], scores[at] = rows[at - gap], scores[at - gap]
                at -= gap
            rows[at], scores[at] = row, score


@kernel(f4(f4[::1], i8, i8))
def kth_largest(values: Array, n: int, k: int) -> float:
    """The k-th largest (from 1) of `values[:n]`, which are shuffled: quickselect.

    Values are parted without branches (N. Lomuto's way: each is exchanged with the first of those that are
    not greater, and that place moves on by whether this one is). Nobody can predict which side a value goes
    to, and with a branch a few hundred of them took four times as long.
    """
    low, high, left = unsigned(0), unsigned(n), unsigned(k)
    while high - low > unsigned(1):
        first, middle, last = values[low], values[(low + high) >> unsigned(1)], values[high - unsigned(1)]
        pivot = max(min(first, middle), min(max(first, middle), last))
        at = low
        for place in range(low, high):
            value = values[unsigned(place)]
            values[unsigned(place)] = values[at]
            values[at] = value
            at += unsigned(value > pivot)
        if at - low >= left:
            high = at
            continue
        left -= at - low
        low = at
        for place in range(low, high):
            value = values[unsigned(place)]
            values[unsigned(place)] = values[at]
            values[at] = value
            at += unsigned(not value < pivot)  # as all others here, or no number
        if at - low >= left:
            return pivot  # type: ignore[no-any-return]
        left -= at - low
        low = at
    return values[low]  # type: ignore[no-any-return]


@kernel(i8(i4[::1], f4[::1], i8, f4[::1], i4[::1], f4[::1]))
def _best(rows: Array, scores: Array, n: int, spare: Array, top_rows: Array, top_scores: Array) -> int:
    """The best of the first n into `top_*`, best first; returns how many they are. `spare` is as long
    as `scores`; all three are overwritten.

    The score of the last of them is found first, among those that beat the last of the best of a
    few. A heap of the best so far costs several times as much: nearly every step of it is a branch
    that nobody can predict.
    """
    limit = min(len(top_rows), n)
    if limit == 0:
        return 0
    threshold: Any = -np.inf
    if n > limit:
        few = min(n, 4 * limit)
        spare[:few] = scores[:few]
        least = kth_largest(spare, few, limit)
        n_beating = 0
        for index in range(n):
            row, score = rows[index], scores[index]
            rows[unsigned(n_beating)], scores[unsigned(n_beating)] = row, score
            n_beating += score >= least
        n = n_beating
        spare[:n] = scores[:n]
        threshold = kth_largest(spare, n, limit)
    size = 0
    for index in range(n):
        if scores[index] > threshold or n == limit:
            top_rows[size] = rows[index]
            top_scores[size] = scores[index]
            size += 1
    above = size
    for index in range(n):
        if scores[index] != threshold or n == limit:
            continue
        if size < limit:
            top_rows[size] = rows[index]
            top_scores[size] = threshold
            size += 1
            if size == limit:
                _make_heap(top_rows[above:limit], top_scores[above:limit], limit - above)
        elif rows[index] < top_rows[above]:
            # Of equals those with the lowest rows stay.
            top_rows[above] = rows[index]
            _sift_down(top_rows[above:limit], top_scores[above:limit], 0, limit - above)
    _put_in_order(top_rows, top_scores, size)
    return size


@kernel(i8(i4[::1], i8, f4[::1], f4[:, ::1], i4[::1], f4[::1]))
def take_top(
    touched: Array, n_touched: int, sums: Array, spare: Array, top_rows: Array, top_scores: Array
) -> int:
    """Move the best of `sums[touched[:n_touched]]` into `top_*`, best first, and zero those sums.

    Sums of zero or less are no candidates. Returns how many were found (at most `len(top_rows)`).
    `touched` and `spare` float32[2, n] are overwritten.
    """
    n = 0
    for index in range(n_touched):
        row = touched[index]
        score = sums[unsigned(row)]
        sums[unsigned(row)] = np.float32(0)
        touched[unsigned(n)] = row
        spare[0, unsigned(n)] = score
        n += score > 0
    return _best(touched, spare[0], n, spare[1], top_rows, top_scores)


@kernel(i8(i4[::1], i8, f4[::1], _U1, u1))
def drop_unoffered(touched: Array, n_touched: int, sums: Array, offer: Array, item_types: int) -> int:
    """Forget the sums of rows that may not be shown, so that they take no place among the best; an empty
    `offer` is for everything. Returns how many of `touched` are left."""
    if len(offer) == 0:
        return n_touched
    n = 0
    for index in range(n_touched):
        row = touched[index]
        if offer[unsigned(row)] & item_types:
            touched[unsigned(n)] = row
            n += 1
        else:
            sums[unsigned(row)] = np.float32(0)
    return n


@kernel(void(_I4, i8[::1], i8[::1]))
def sort_by_item(item: Array, next_place: Array, positions: Array) -> None:
    """Into `positions` int64[n] where each item occurs in item int32[n], item by item, in their order.
    `next_place` int64[n_items]: where the positions of each begin, and behind it, where they end."""
    for place in range(len(item)):
        row = item[place]
        positions[next_place[row]] = place
        next_place[row] += 1


@kernel(
    void(
        *(_I8, i8, _I8, _I4, _I4, _F4, i8, boolean),
        *(f4[::1], i4[::1], f4[:, ::1], i4[:, ::1], f4[:, ::1], i4[::1]),
    )
)
def count_following(
    starts: Array,
    first_row: int,
    positions: Array,
    item: Array,
    session: Array,
    target_scale: Array,
    max_gap: int,
    both_ways: bool,
    sums: Array,
    touched: Array,
    spare: Array,
    table_rows: Array,
    table_scores: Array,
    table_lengths: Array,
) -> None:
    """For items from row `first_row` on, one for each row of the table, the items that follow it (or also
    precede it) within a session, weight 1/gap.

    `positions[starts[index]:starts[index + 1]]` are where that item occurs in `item` and `session`. Working
    item by item needs memory for one item's counts only, however many pairs there are.
    """
    for index_of_row in range(len(starts) - 1):
        row = first_row + index_of_row
        n_touched = 0
        for occurrence in range(starts[index_of_row], starts[index_of_row + 1]):
            here = positions[occurrence]
            for direction in range(2 if both_ways else 1):
                for gap in range(1, max_gap + 1):
                    there = here + gap if direction == 0 else here - gap
                    if there < 0 or there >= len(item) or session[there] != session[here]:
                        break
                    other = item[there]
                    if other == row:
                        continue
                    if sums[other] == 0:
                        touched[n_touched] = other
                        n_touched += 1
                    sums[other] += np.float32(1.0 / gap)
        for index in range(n_touched):
            sums[touched[index]] *= target_scale[touched[index]]
        table_lengths[index_of_row] = take_top(
            touched, n_touched, sums, spare, table_rows[index_of_row], table_scores[index_of_row]
        )


@kernel(
    void(
        *(_I8, _I4, _F4, f4[::1], i4[::1], f4[:, ::1]),
        *(i4[:, ::1], f4[:, ::1], i4[::1]),
    )
)
def top_of_sparse(
    starts: Array,
    columns: Array,
    values: Array,
    sums: Array,
    touched: Array,
    spare: Array,
    table_rows: Array,
    table_scores: Array,
    table_lengths: Array,
) -> None:
    """The best columns of each row of a CSR matrix whose rows name a column once."""
    for row in range(len(starts) - 1):
        n_touched = 0
        for index in range(starts[row], starts[row + 1]):
            touched[n_touched] = columns[index]
            sums[columns[index]] = values[index]
            n_touched += 1
        table_lengths[row] = take_top(touched, n_touched, sums, spare, table_rows[row], table_scores[row])


@kernel(i8(_I4, _F4, _I4_2D, _F4_2D, _I4, _U1, u1, f4[::1], i4[::1], f4[:, ::1], i4[::1], f4[::1]))
def blend_rows(
    seeds: Array,
    weights: Array,
    table_rows: Array,
    table_scores: Array,
    table_lengths: Array,
    offer: Array,
    item_types: int,
    sums: Array,
    touched: Array,
    spare: Array,
    top_rows: Array,
    top_scores: Array,
) -> int:
    """The best of the weighted sum of several table rows, as far as `offer` has them; the seeds themselves
    are left out."""
    n_touched = 0
    for index in range(len(seeds)):
        seed = seeds[index]
        if seed < 0 or seed >= len(table_lengths) or weights[index] <= 0:
            continue
        its_rows, its_scores, weight = table_rows[seed], table_scores[seed], weights[index]
        for column in range(table_lengths[seed]):
            row = unsigned(its_rows[column])
            share = weight * its_scores[column]
            if share <= 0:
                # A product may underflow; adding nothing would list the row twice.
                continue
            touched[unsigned(n_touched)] = row
            n_touched += sums[row] == 0
            sums[row] += share
    for index in range(len(seeds)):
        if 0 <= seeds[index] < len(sums):
            sums[seeds[index]] = np.float32(0)
    n_touched = drop_unoffered(touched, n_touched, sums, offer, item_types)
    return take_top(touched, n_touched, sums, spare, top_rows, top_scores)


@kernel(void(_F4, _F4_2D, f4[::1]), fastmath=True)
def _add_across(query: Array, across: Array, products: Array) -> None:
    """The inner products of `query` float32[d] with n vectors that lie dimension by dimension, `across`
    float32[d, n], into the first of `products`: eight at a time, and four dimensions, so that a product is
    fetched a quarter as often."""
    n, dimensions = across.shape[1], len(query)
    products[:n] = np.float32(0)
    for dimension in range(0, dimensions - 3, 4):
        w0, w1 = query[dimension], query[dimension + 1]
        w2, w3 = query[dimension + 2], query[dimension + 3]
        c0, c1 = across[dimension], across[dimension + 1]
        c2, c3 = across[dimension + 2], across[dimension + 3]
        for one in range(n):
            products[one] += w0 * c0[one] + w1 * c1[one] + w2 * c2[one] + w3 * c3[one]
    for dimension in range(dimensions - dimensions % 4, dimensions):
        weight, cells = query[dimension], across[dimension]
        for one in range(n):
            products[one] += weight * cells[one]


@kernel(void(_F4_2D, i8, i8, _F4, f4[::1]), fastmath=True)
def _products(vectors: Array, start: int, end: int, query: Array, products: Array) -> None:
    """The inner products of `query` float32[d] with the rows `start` to `end` of `vectors` [n, d],
    into the first of `products`: four rows at a time, so that the query is fetched a quarter as often."""
    first, last, rest = unsigned(start), unsigned(end), unsigned(start + (end - start) // 4 * 4)
    for at in range(first, rest, unsigned(4)):
        p0, p1, p2, p3 = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
        for dimension in range(len(query)):
            weight = query[dimension]
            p0 += weight * vectors[at, dimension]
            p1 += weight * vectors[at + unsigned(1), dimension]
            p2 += weight * vectors[at + unsigned(2), dimension]
            p3 += weight * vectors[at + unsigned(3), dimension]
        place = unsigned(at - first)
        products[place], products[place + unsigned(1)] = p0, p1
        products[place + unsigned(2)], products[place + unsigned(3)] = p2, p3
    for at in range(rest, last):
        product = np.float32(0)
        for dimension in range(len(query)):
            product += query[dimension] * vectors[at, dimension]
        products[unsigned(at - first)] = product


@kernel(i8(_F4, _F4_2D, _I8, _I4, _F4_2D, _U1, i8, i8, i4[::1], f4[::1]), fastmath=True)
def scan_lists(
    query: Array,
    across: Array,
    starts: Array,
    rows: Array,
    vectors: Array,
    eligible: Array,
    probes: int,
    room: int,
    top_rows: Array,
    top_scores: Array,
) -> int:
    """The rows of the greatest inner product with `query` float32[d] in the `probes` lists nearest to it.

    across float32[d, l]: the centroids of the lists, dimension by dimension, so that eight are added to at a
    time. List l has `rows[starts[l]:starts[l + 1]]` and the vectors beside them; `room` is what the probed
    lists hold at most, and l at least. `eligible` is a bitmap of rows, the lowest bit first, or empty where
    every row may be answered. Returns how many were found.
    """
    found, scores, spare = np.empty(room, np.int32), np.empty(room, np.float32), np.empty(room, np.float32)
    n_lists = across.shape[1]
    _add_across(query, across, scores)
    for one in range(n_lists):
        found[one] = one
    probed = np.empty(probes, np.int32)
    n_probed = _best(found, scores, n_lists, spare, probed, np.empty(probes, np.float32))
    n = 0
    for index in range(n_probed):
        start, end = starts[probed[index]], starts[probed[index] + 1]
        _products(vectors, start, end, query, spare)
        for at in range(start, end):
            row = unsigned(rows[unsigned(at)])
            if len(eligible) and not (eligible[row >> unsigned(3)] >> (row & unsigned(7))) & 1:
                continue
            found[unsigned(n)] = row
            scores[unsigned(n)] = spare[unsigned(at - start)]
            n += 1
    return _best(found, scores, n, spare, top_rows, top_scores)
