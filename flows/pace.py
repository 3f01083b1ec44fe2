"""How much of the log one step takes.

A step is one read of the log and all that comes of it: whoever clicks meanwhile waits until it is
over. What a record costs differs tenfold (events that come late fold others again), so steps are
held to a time, not to a number of records.
"""

from __future__ import annotations

LEAST = 250
"""Records that a step takes however long they do: below, the engine's own work is most of it."""
FIRST = 1000
"""Records of a step of which nobody can say yet what they cost: the first ones behind a quiet time."""
REMEMBERED_S = 60.0


class Pace:
    """Learns from each step how many records fit into the next one. Not shared between threads for
    writing; `longest_ms` may be asked by any."""

    def __init__(self, most: int, step_ms: float) -> None:
        """`most`: records of a step at the most; `step_ms`: how long one should take."""
        self._most = most
        self._step_s = step_ms / 1000
        self.limit = min(FIRST, most)
        """Records that the next step may take."""
        self._longest_s = self._longest_before_s = 0.0
        self._since_s = 0.0

    def stepped(self, records: int, began_s: float, ended_s: float) -> bool:
        """So many records took from `began_s` to `ended_s`, by a clock that only goes on. Returns whether
        they were as many as the step might take: then more is waiting, it seems."""
        was_full = records >= self.limit
        took_s = ended_s - began_s
        fitting = int(records * self._step_s / took_s) if took_s > 0 else self._most
        # A step that was not full has reached the end: what comes next may be of another kind.
        more = 2 * records if was_full else FIRST
        self.limit = min(max(min(more, fitting), LEAST), self._most)
        if ended_s - self._since_s >= REMEMBERED_S:
            self._longest_before_s, self._longest_s, self._since_s = self._longest_s, 0.0, ended_s
        self._longest_s = max(self._longest_s, took_s)
        return was_full

    def longest_ms(self) -> int:
        """Of the steps of the last minute or two; 0 before the first."""
        return round(1000 * max(self._longest_s, self._longest_before_s))
