"""Lists of different lengths, one a row, as flat arrays that one pass answers questions of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]

_NONE = -1


class Ragged:
    """For each row some (key, value) pairs of codes >= 0: for a list, key is the place in it.

    The pairs lie in three flat arrays int32[e]. A row that gets a longer list moves to the end and
    leaves a hole of -1; holes are squeezed out before the arrays grow, so e is at most twice what the
    rows hold, plus 1,024. Memory: 12 bytes for each place, 8 bytes a row.
    """

    def __init__(self, capacity: int, room: int = 1024) -> None:
        self._start = np.zeros(capacity, np.int32)
        self.count = np.zeros(capacity, np.int32)
        """int32[capacity]: how many pairs each row has."""
        self._owner = np.zeros(room, np.int32)
        self._key = np.full(room, _NONE, np.int32)
        self._value = np.full(room, _NONE, np.int32)
        self._used = 0

    def grow(self, capacity: int) -> None:
        extra = capacity - len(self.count)
        self._start = np.append(self._start, np.zeros(extra, np.int32))
        self.count = np.append(self.count, np.zeros(extra, np.int32))

    def set(self, row: int, keys: Sequence[int], values: Sequence[int]) -> None:
        """Put these pairs in the place of the row's."""
        start, before, now = int(self._start[row]), int(self.count[row]), len(values)
        hole = start if now > before else start + now
        self._key[hole : start + before] = _NONE
        self._value[hole : start + before] = _NONE
        if now > before:
            if self._used + now > len(self._value):
                self._make_room(now)
            self._start[row] = start = self._used
            self._used += now
            self._owner[start : self._used] = row
        if now:
            self._key[start : start + now] = keys
            self._value[start : start + now] = values
        self.count[row] = now

    def part(self, rows: Codes) -> Ragged:
        """The pairs of some rows alone; the first of them is row 0 there. A row of -1 has none."""
        part = Ragged(0, room=0)
        counts = np.where(rows >= 0, self.count[rows], np.int32(0))
        ends = np.cumsum(counts, dtype=np.int32)
        part._used = int(ends[-1]) if len(ends) else 0
        part._start, part.count = ends - counts, counts
        part._owner = np.repeat(np.arange(len(rows), dtype=np.int32), counts)
        places = np.arange(part._used) + np.repeat(self._start[rows] - part._start, counts)
        part._key, part._value = self._key[places], self._value[places]
        return part

    def at(self, key: int, n: int) -> Codes:
        """int32[n]: each row's value for `key`, -1 where it has none."""
        found = np.flatnonzero(self._key[: self._used] == key)
        values = np.full(n, _NONE, np.int32)
        values[self._owner[found]] = self._value[found]
        return values

    def holding(self, value: Codes | int, n: int) -> Bools:
        """bool[n]: rows with a pair of this value; `value` is one for all, or int32[n] one for each."""
        return self._rows_with(self._value, value, n)

    def having(self, key: Codes | int, n: int) -> Bools:
        """bool[n]: rows with a pair of this key; `key` as in `holding`."""
        return self._rows_with(self._key, key, n)

    def values(self) -> Codes:
        """int32[e]: every value, -1 in the holes."""
        return self._value[: self._used]

    def keys(self) -> Codes:
        """int32[e]: every key, -1 in the holes."""
        return self._key[: self._used]

    def owners(self) -> Codes:
        """int32[e]: the row of every value; meaningless in the holes."""
        return self._owner[: self._used]

    def _rows_with(self, codes: Codes, wanted: Codes | int, n: int) -> Bools:
        owner = self._owner[: self._used]
        of_each = wanted[owner] if isinstance(wanted, np.ndarray) and wanted.ndim else wanted
        held = np.zeros(n, np.bool_)
        held[owner[np.flatnonzero((codes[: self._used] == of_each) & (codes[: self._used] >= 0))]] = True
        return held

    def _make_room(self, more: int) -> None:
        live = np.flatnonzero(self._value[: self._used] >= 0)
        size = len(live)
        capacity = max(len(self._value), 1024)
        while capacity < size + more or capacity < size * 3 // 2:
            capacity *= 2
        moved = np.zeros(capacity, np.int32), *(np.full(capacity, _NONE, np.int32) for _ in range(2))
        for array, old in zip(moved, (self._owner, self._key, self._value), strict=True):
            array[:size] = old[live]
        self._owner, self._key, self._value = moved
        self._used = size
        # A row's pairs stay next to each other, in their order.
        rows, first = np.unique(self._owner[:size], return_index=True)
        self._start[rows] = first
