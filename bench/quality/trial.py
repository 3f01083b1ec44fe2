"""A trial: what models may learn from, what happened afterwards, and what they are asked about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from recsys.catalog import Item, type_of
from recsys.counters import HALF_LIFE_S, ItemCounters
from recsys.events import Action, Event, Line
from recsys.models.arrays import Rows
from recsys.models.interactions import InteractionKind, Interactions
from recsys.ports import Position

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Questions:
    """q questions, in the order of time. Item rows are those of the training's `item_ids`, -1 for an
    item that the training does not have.

    Question i is about a person whose session so far is `walk[start[i]:stop[i]]` and whose next items
    are `targets[target_starts[i]:target_starts[i + 1]]`; it is asked when `taken[i]` of the trial's
    events have happened, at `at_ms[i]`. `owner[i]` numbers the sessions: the bootstrap draws these.
    """

    walk: Rows
    start: Integers
    stop: Integers
    targets: Rows
    target_starts: Integers
    taken: Integers
    at_ms: Integers
    owner: Integers
    persons: Sequence[str]
    """The visitor of each question."""

    def __len__(self) -> int:
        return len(self.start)

    @property
    def n_sessions(self) -> int:
        return len(np.unique(self.owner))

    def current(self, number: int) -> int:
        """The row of the newest item of the session, -1 without one."""
        return int(self.walk[self.stop[number] - 1]) if self.stop[number] > self.start[number] else -1

    def chosen(self, wanted: Integers) -> Questions:
        """Those of these numbers, which rise."""
        counts = np.diff(self.target_starts)[wanted]
        starts = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
        places = np.repeat(self.target_starts[wanted] - starts[:-1], counts) + np.arange(starts[-1])
        return replace(
            self,
            start=self.start[wanted],
            stop=self.stop[wanted],
            targets=self.targets[places],
            target_starts=starts,
            taken=self.taken[wanted],
            at_ms=self.at_ms[wanted],
            owner=self.owner[wanted],
            persons=[self.persons[number] for number in wanted.tolist()],
        )

    def sampled(self, max_queries: int, seed: int) -> Questions:
        """Whole sessions, drawn by `seed`, with `max_queries` questions or a few more; all of them if
        there are no more than that."""
        if len(self) <= max_queries:
            return self
        _, owner, counts = np.unique(self.owner, return_inverse=True, return_counts=True)
        drawn = np.random.default_rng(seed).permutation(len(counts))
        enough = int(np.searchsorted(np.cumsum(counts[drawn]), max_queries)) + 1
        is_drawn = np.zeros(len(counts), bool)
        is_drawn[drawn[:enough]] = True
        return self.chosen(np.flatnonzero(is_drawn[owner]))


@dataclass(frozen=True, eq=False)
class Trial:
    """Everything that a contestant is given, and what it is judged by."""

    kind: str
    """The format it was read from."""
    train: Interactions
    catalogue: Sequence[Item]
    """As it was known at the end of the training."""
    counters: Mapping[str, ItemCounters]
    """The live counters at the end of the training."""
    earlier: Iterable[Event]
    """What the people in question did before, in the order of time."""
    events: Iterable[Event]
    """What happened after the training, in the order of time."""
    questions: Questions
    bars_current: bool = False
    """The item at hand is no answer: the next item is another one, by the protocol."""
    bars_history: bool = False
    """Nor is anything else that the person has had (the whole of their `walk`)."""
    live: Rows = field(default_factory=lambda: np.empty(0, np.int32))
    """The item row of each of `events` that is about one, in their order, for baselines that go with
    the time; -1 for any other event."""


class PlainEvents:
    """Views of items, as columns of the same length: made into events when they are read."""

    def __init__(self, visitors: Sequence[str], items: Sequence[str], at_ms: Integers) -> None:
        self._visitors = visitors
        self._items = items
        self._at_ms = at_ms

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Event]:
        columns = zip(self._visitors, self._items, self._at_ms.tolist(), strict=True)
        for number, (visitor, item, at_ms) in enumerate(columns):
            yield viewed(visitor, item, at_ms, number)


def viewed(visitor: str, item: str, at_ms: int, number: int) -> Event:
    """A view, as the decoder would tell it."""
    if type_of(item) == "article":
        return deed(Action.READ, "Article Viewed", visitor, [item], at_ms, number)
    return deed(Action.VIEW, "Product Viewed", visitor, [item], at_ms, number)


def deed(
    action: Action,
    name: str,
    visitor: str,
    items: Sequence[str],
    at_ms: int,
    number: int,
    order_id: str | None = None,
) -> Event:
    """What somebody did with some items, as the decoder would tell it."""
    return Event(
        position=Position(0, number),
        index=0,
        at_ms=at_ms,
        received_ms=at_ms,
        watermark_ms=at_ms,
        message_id=str(number),
        body_crc=0,
        action=action,
        name=name,
        visitor=visitor,
        user_id=None,
        touchpoint="web",
        lines=tuple(Line(item) for item in items),
        order_id=order_id,
    )


def plain_catalogue(item_ids: Sequence[str]) -> list[Item]:
    """Items of which nothing but the id is known, all to be had."""
    return [Item(item_id, type_of(item_id), fed=True) for item_id in item_ids]


def counters_of(train: Interactions) -> dict[str, ItemCounters]:
    """The live counters as the flow would have left them at the end of the training."""
    if not len(train):
        return {}
    now_s = int(train.at_s.max())
    kept = np.exp2((train.at_s.astype(np.int64) - now_s) / HALF_LIFE_S)

    def counted(*kinds: InteractionKind) -> list[float]:
        of_kind = np.isin(train.kind, [int(kind) for kind in kinds])
        sums = np.bincount(train.item[of_kind], kept[of_kind], minlength=train.n_items)
        return [float(total) for total in sums]

    columns = (
        counted(InteractionKind.VIEW, InteractionKind.READ),
        counted(InteractionKind.CART),
        counted(InteractionKind.ORDER),
    )
    return {
        item_id: ItemCounters(views, carts, orders, now_s)
        for item_id, views, carts, orders in zip(train.item_ids, *columns, strict=True)
    }
