"""The compiled loop that cuts sessions."""

from __future__ import annotations

from recsys.models.compiled import Array, i4, i8, kernel, read_only, void

_I4, _I8 = read_only(i4), read_only(i8)


@kernel(void(_I4, _I8, _I8, i8, i8, i8[::1]))
def number_sessions(
    visitor: Array, mark: Array, at_ms: Array, session_gap_ms: int, session_cap_ms: int, session: Array
) -> None:
    """Number the sessions of rows sorted by (visitor, mark, time): a new one starts where the
    visitor or the mark changes, after a gap, and when the session would last longer than the cap."""
    current = -1
    started_ms = 0
    for index in range(len(visitor)):
        if (
            index == 0
            or visitor[index] != visitor[index - 1]
            or mark[index] != mark[index - 1]
            or at_ms[index] - at_ms[index - 1] > session_gap_ms
            or at_ms[index] - started_ms > session_cap_ms
        ):
            current += 1
            started_ms = at_ms[index]
        session[index] = current
