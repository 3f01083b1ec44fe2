"""The newest entries of a key, which may still change places, and the state behind them.

Entries come in order, nearly always: then each is folded into the state at hand and that is all.
One that belongs further back is put there, and those behind it are folded again, from the last
mark before it: a copy of the state that is kept every so often, because copying it for every entry
costs as much as the fold. What has settled is folded into the base, from which a tail starts.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar

import msgspec

MARK_EVERY = 32


class Copied(Protocol):
    """What a tail keeps copies of."""

    def copy(self) -> Any:
        """One that changes on its own."""


S = TypeVar("S", bound=Copied)
E = TypeVar("E")
Out = TypeVar("Out")


class Step(msgspec.Struct, gc=False):
    """An entry in its place, and what came out when it was folded."""

    place: tuple[int, ...]
    entry: Any
    out: Any
    mark: Any = None
    """The state after it, for some."""


class Tail(Generic[S, E, Out]):
    """Entries by place. Not shared between threads."""

    __slots__ = ("base", "now", "steps")

    def __init__(self, base: S, now: S | None = None) -> None:
        """`now`: another one of the same worth as `base`, where that costs less than a copy."""
        self.base = base
        """The state before the steps. The same object as `now` until there is one: most tails settle as
        a whole, and are stored without ever being copied."""
        self.now: S = base if now is None else now
        self.steps: list[Step] = []

    def fold_in(self, state: S, entry: E, place: tuple[int, ...]) -> Out:
        """Changes the state that it is given. Not by itself: the kind of tail says how."""
        raise NotImplementedError

    def append(self, place: tuple[int, ...], entry: E) -> Out:
        """Fold an entry behind all others."""
        steps = self.steps
        if self.base is self.now:
            self.base = self.now.copy()
        out = self.fold_in(self.now, entry, place)
        steps.append(Step(place, entry, out))
        if len(steps) % MARK_EVERY == 0:
            steps[-1].mark = self.now.copy()
        return out

    def index(self, place: tuple[int, ...]) -> int:
        """Where an entry of this place belongs."""
        return bisect_left(self.steps, place, key=_place_of)

    def replace(self, first: int, last: int, added: Sequence[tuple[tuple[int, ...], E]]) -> list[Out]:
        """Put entries where those of `first` up to `last` (not included) are, and fold again what
        is behind them. Returns what came out of the entries from `first` on, old ones included."""
        steps = self.steps
        behind = [(step.place, step.entry) for step in steps[last:]]
        marked = first
        while marked and steps[marked - 1].mark is None:
            marked -= 1
        mark = steps[marked - 1].mark if marked else self.base
        assert mark is not None
        self.now = mark.copy()
        for step in steps[marked:first]:
            self.fold_in(self.now, step.entry, step.place)
        if marked < first:  # one that comes out of order is seldom the only one: the next is near it
            steps[first - 1].mark = self.now.copy()
        del steps[first:]
        return [self.append(place, entry) for place, entry in (*added, *behind)]

    def settle_before(self, before_ms: int) -> None:
        """Entries with a place before this have found it for good."""
        steps = self.steps
        if not steps:
            return
        if steps[-1].place[0] < before_ms:  # as nearly always
            self.drop(len(steps))
            return
        settled = 0
        while settled < len(steps) and steps[settled].place[0] < before_ms:
            settled += 1
        self.drop(settled)

    def drop(self, count: int) -> None:
        """The oldest entries become part of the base."""
        steps = self.steps
        if count == len(steps):
            self.base = self.now
        else:
            marked = count
            while marked and steps[marked - 1].mark is None:
                marked -= 1
            if marked:
                mark = steps[marked - 1].mark
                assert mark is not None
                self.base = mark
            for step in steps[marked:count]:
                self.fold_in(self.base, step.entry, step.place)
        del steps[:count]


def _place_of(step: Step) -> tuple[int, ...]:
    return step.place
