"""What was worked out before, kept within a bound: questions that come again and again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Known(dict[K, V]):
    """`known[question]` is its answer, worked out once. The same question always has the same answer, so
    what is kept never shows.

    A dict, because a hit then costs a tenth of a call. Threads may share one: at worst a question is answered
    twice, and each of them keeps one answer beyond `most`.
    """

    __slots__ = ("_answer", "_most", "_worth")

    def __init__(
        self,
        answer: Callable[[K], V],
        most: int,
        worth: Callable[[K, V], bool] | None = None,
    ) -> None:
        """`most`: answers kept; beyond, all are forgotten. `worth`: whether one is kept, so that long or
        ambiguous questions are answered anew; None: all are. What `answer` raises is raised, and nothing
        kept."""
        super().__init__()
        self._answer, self._most, self._worth = answer, most, worth

    def __missing__(self, question: K) -> V:
        found = self._answer(question)
        if self._worth is None or self._worth(question, found):
            if len(self) >= self._most:
                self.clear()
            self[question] = found
        return found
