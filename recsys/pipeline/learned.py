"""What the bundle's ranker has to say: candidates of its own, and how good each of a context's is."""

from __future__ import annotations

from typing import Final

import numpy as np

from recsys.counters import AFTER_HALF_LIFE_S
from recsys.models.arrays import Rows, Scores
from recsys.models.demand import NOTHING_AFTER, live_of
from recsys.models.direct import direct
from recsys.models.interactions import InteractionKind
from recsys.models.opinions import NewVectors
from recsys.models.signals import Features, Trail
from recsys.pipeline.query import Context
from recsys.pipeline.unheard_kernel import describe_unheard, unheard_of
from recsys.pipeline.weigh_kernel import weigh

_weigh: Final = direct(weigh)


class Learned:
    """The ranker at work on one context, from finding candidates to weighing all of them."""

    def __init__(self, context: Context) -> None:
        visit = context.visit
        self._ranker = visit.bundle.ranker if visit.bundle is not None else None
        self._desk = visit.scratch.models.desk if visit.scratch.models is not None else None
        self._context = context
        self._trail = trail_of(context)
        self._offer = context.on_offer
        # Looked up before the loops run: these leave nothing of Python in the processor's caches.
        at_hand = int(self._trail.rows[-1]) if len(self._trail.rows) else -1
        self._after = visit.columns.after.get(at_hand, NOTHING_AFTER)
        """What people went on to from the item at hand."""

    @property
    def knows(self) -> bool:
        """Whether there is a ranker at all."""
        return self._ranker is not None and self._desk is not None

    def gather(self) -> int:
        """Find candidates of its own: how many of them are in the thread's memory now."""
        if self._ranker is None or self._desk is None:
            return 0
        return len(self._ranker.gather(self._trail, self._desk, self._offer))

    def totals(self, rows: Rows) -> Scores:
        """float32[c], the greater the better: how likely each of `rows` int32[c] is to be what comes next.
        After `gather`."""
        trail, visit = self._trail, self._context.visit
        assert visit.bundle is not None
        taste = visit.bundle.als.nobody if visit.taste is None else visit.taste
        totals: Scores = _weigh(
            visit.scratch.workplace.whole, visit.columns.stock, visit.columns.cold.count, rows,
            trail.rows, trail.kinds, trail.at_s, trail.start, trail.now_s, taste,
            *self._after, trail.now_s / AFTER_HALF_LIFE_S,
        )  # fmt: skip
        return totals

    def effects(self, rows: Rows) -> tuple[Features, Features]:
        """float32[F, c] each: the features of `rows` int32[c] and how much each moved the score; of no
        features without a ranker."""
        visit = self._context.visit
        bundle, models, columns, trail = visit.bundle, visit.scratch.models, visit.columns, self._trail
        if self._ranker is None or self._desk is None or bundle is None or models is None or not len(rows):
            nothing = np.empty((0, len(rows)), np.float32)
            return nothing, nothing
        self.gather()
        live = live_of(rows, columns.heats, columns.greatest, self._after, trail.now_s)
        cold = columns.cold
        new = NewVectors(cold.rows, cold.vectors, cold.count)
        said = bundle.opinions.of(rows, trail, visit.taste, models, new)
        ranker, stock = self._ranker, columns.stock
        features = ranker.signals.describe(rows, trail, self._desk, live, said, columns.traits)
        unheard = np.empty(len(rows), np.int32)
        describe_unheard(stock, rows, unheard[: unheard_of(stock, rows, unheard)], features)
        return features, ranker.trees.effects(features)


def trail_of(context: Context) -> Trail:
    """What the person did, and at last, on the page of an item, that they look at it."""
    person, page_row = context.visit.person, context.page_row
    now_s = person.now_ms / 1000
    rows, kinds, at_s, n_older = person.history
    if context.goes_on:
        rows = np.concatenate((rows, (np.int32(page_row),)))
        kinds = np.concatenate((kinds, (np.uint8(InteractionKind.VIEW),)))
        at_s = np.concatenate((at_s, (np.int64(now_s),)))
    return Trail(rows, kinds, at_s, n_older + person.session_from, now_s)
