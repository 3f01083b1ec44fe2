"""The compiled loop that counts what is known of each item, in one go through the interactions."""

from __future__ import annotations

import numpy as np

from recsys.models.compiled import Array, f8, i4, i8, kernel, read_only, void

_I4, _F8 = read_only(i4), read_only(f8)


@kernel(void(_I4, _I4, _F8, f8, f8, f8, f8[:, ::1], f8[::1], f8[::1], i8[:, ::1]))
def count_columns(
    item: Array,
    session: Array,
    at_s: Array,
    now_s: float,
    half_life_s: float,
    late_half_life_s: float,
    demand: Array,
    last_s: Array,
    first_s: Array,
    counts: Array,
) -> None:
    """Of interactions sorted by session and time, add up for each item: demand float64[3, n], the
    occurrences, and these fading with two half-lives before `now_s`; last_s, first_s float64[n], the least
    and the greatest age; counts int64[3, n], the occurrences behind another item of the session, the
    sessions with it, and those that it ends."""
    seen_in = np.full(len(last_s), np.int32(-1))
    for place in range(len(item)):
        row, age_s = item[place], now_s - at_s[place]
        demand[0, row] += 1.0
        demand[1, row] += np.exp2(-age_s / half_life_s)
        demand[2, row] += np.exp2(-age_s / late_half_life_s)
        last_s[row] = min(last_s[row], age_s)
        first_s[row] = max(first_s[row], age_s)
        begins = place == 0 or session[place - 1] != session[place]
        counts[0, row] += begins or item[place - 1] != row
        counts[1, row] += seen_in[row] != session[place]
        counts[2, row] += place == len(item) - 1 or session[place + 1] != session[place]
        seen_in[row] = session[place]
