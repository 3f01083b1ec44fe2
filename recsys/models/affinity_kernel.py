"""The compiled loop that tells how candidates go with what a person looks at: category, brand and price."""

from __future__ import annotations

from typing import Any

import numpy as np

from recsys.models.compiled import Array, f4, f8, i4, i8, kernel, read_only, u1, void
from recsys.models.interactions import InteractionKind
from recsys.models.signal_arrays import AFFINITIES, JOINED_TYPE, PAST, SESSION

_I4, _I8, _F4, _U1 = (read_only(dtype) for dtype in (i4, i8, f4, u1))

_ORDER = int(InteractionKind.ORDER)
_HALVED_BY_THREE = np.exp2(-np.arange(512) / 3.0).astype(np.float32)
_UNKNOWN = np.float32(-1)
_NO_PRICE = np.float32(-9)
"""Below the logarithm of any ratio of prices."""
_CATEGORY, _BRAND = AFFINITIES.index("category_session"), AFFINITIES.index("brand_session")
_CATEGORY_LAST = AFFINITIES.index("category_last")
_PRICE = AFFINITIES.index("price_to_session")
_ORDERS = AFFINITIES.index("orders")


@kernel(void(JOINED_TYPE, _I4, _I4, f4[:, ::1]), fastmath=True)
def _shares(joined: Any, rows: Array, code: Array, shares: Array) -> None:
    """Into shares float32[2, m >= n] what part of the session, and of the sessions before, has the code of
    each of `rows` int32[n]; an item of the session counts half for every three steps back. -1 for a candidate
    without a code, and where nothing has one. code int32[c]: -1 for none."""
    desk = joined.desk
    seated, step, past_newest = desk.rows, desk.step, desk.past_newest
    n_session, n_past = desk.facts[SESSION], desk.facts[PAST]
    known = np.empty(n_past, np.int32)
    weight = np.zeros((2, n_past), np.float32)
    total = np.zeros(2, np.float32)
    n_known = 0
    for slot in range(n_past):
        one = code[seated[slot]]
        if one < 0:
            continue
        place = 0
        while place < n_known and known[place] != one:
            place += 1
        if place == n_known:
            known[place] = one
            n_known += 1
        if slot < n_session:
            weight[0, place] += _HALVED_BY_THREE[step[slot]]
            total[0] += _HALVED_BY_THREE[step[slot]]
        if past_newest[slot] >= 0:
            weight[1, place] += 1
            total[1] += 1
    for when in range(2):
        for place in range(n_known):
            weight[when, place] /= max(total[when], np.float32(1e-6))
    for index in range(len(rows)):
        one = code[rows[index]]
        place = 0
        while place < n_known and known[place] != one:
            place += 1
        for when in range(2):
            share = weight[when, place] if place < n_known else np.float32(0)
            shares[when, index] = share if one >= 0 and total[when] > 0 else _UNKNOWN


@kernel(void(JOINED_TYPE, _I4, _F4, f4[:, ::1]))
def _prices(joined: Any, rows: Array, price: Array, told: Array) -> None:
    """Into told float32[3, m >= n] the logarithms of the price of each of `rows` int32[n] over the session's
    mean (geometric, weighed as in `_shares`), over that of the last item, and as it is."""
    desk = joined.desk
    seated, step, n_session = desk.rows, desk.step, desk.facts[SESSION]
    total, weights, last = np.float32(0), np.float32(0), _NO_PRICE
    for slot in range(n_session):
        if price[seated[slot]] > 0:
            logarithm = np.log(price[seated[slot]])
            total += _HALVED_BY_THREE[step[slot]] * logarithm
            weights += _HALVED_BY_THREE[step[slot]]
            if slot == 0:
                last = logarithm
    for index in range(len(rows)):
        has_price = price[rows[index]] > 0
        logarithm = np.log(price[rows[index]]) if has_price else _NO_PRICE
        told[0, index] = logarithm - total / weights if has_price and weights > 0 else _NO_PRICE
        told[1, index] = logarithm - last if has_price and last > _NO_PRICE else _NO_PRICE
        told[2, index] = logarithm


@kernel(void(JOINED_TYPE, _I4, _U1, _I8, i8, f8, _I4, _I4, _F4, f4[:, ::1]))
def tell_affinities(
    joined: Any,
    rows: Array,
    kinds: Array,
    at_s: Array,
    start: int,
    now_s: float,
    leaf: Array,
    brand: Array,
    price: Array,
    told: Array,
) -> None:
    """Fill told float32[len(AFFINITIES), m >= n] for the candidates `rows` int32[n], after `gather` of the
    trail kinds uint8[t], at_s int64[t] epoch seconds and `start`. leaf, brand int32[c] and price float32[c]:
    see `recsys.models.signals.Traits`; they tell of every candidate."""
    n, desk = len(rows), joined.desk
    _shares(joined, rows, leaf, told[_CATEGORY : _CATEGORY + 2])
    _shares(joined, rows, brand, told[_BRAND : _BRAND + 2])
    _prices(joined, rows, price, told[_PRICE : _PRICE + 3])
    of_last = leaf[desk.rows[0]] if desk.facts[SESSION] > 0 else np.int32(-1)
    for index in range(n):
        told[_CATEGORY_LAST, index] = leaf[rows[index]] == of_last and of_last >= 0
    orders = np.float32(0)
    for at in range(start):
        orders += kinds[at] == _ORDER
    told[_ORDERS, :n] = orders
    told[_ORDERS + 1, :n] = np.float32(now_s - at_s[0]) if len(at_s) else _UNKNOWN
