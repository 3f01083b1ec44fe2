"""What the bundle's ranker has to say: candidates of its own, and how good each of a context's is."""

from __future__ import annotations

from typing import Final

import numpy as np

from recsys.models.arrays import NOTHING, Ranked, Rows, Scores
from recsys.models.demand import NOTHING_AFTER, Live, live_of
from recsys.models.interactions import InteractionKind
from recsys.models.opinions import Said
from recsys.models.signals import Features, Trail
from recsys.pipeline.columns import ANY_TYPE
from recsys.pipeline.query import Context

_LEAST: Final = np.float32(1e-3)
"""The score of a candidate that no neighbour named: less than that of any they did."""


class Learned:
    """The ranker at work on one context, from finding candidates to weighing all of them."""

    def __init__(self, context: Context) -> None:
        visit = context.visit
        self._ranker = visit.bundle.ranker if visit.bundle is not None else None
        self._desk = visit.scratch.models.desk if visit.scratch.models is not None else None
        self._context = context
        if self._ranker is not None and self._desk is not None:
            self._trail = trail_of(context)
            self._rows = self._ranker.gather(self._trail, self._desk, context.on_offer)

    @property
    def knows(self) -> bool:
        """Whether there is a ranker at all."""
        return self._ranker is not None and self._desk is not None

    def neighbours(self) -> Ranked:
        """Its candidates; the score is the votes of sessions like this one."""
        if self._desk is None or not len(self._context.session):
            return NOTHING
        return self._rows, self._desk.arrays.votes[: len(self._rows)] + _LEAST

    def totals(self, rows: Rows) -> Scores:
        """float32[c], the greater the better: how likely each of `rows` int32[c] is to be what comes next."""
        assert self._ranker is not None
        assert self._desk is not None
        return self._ranker.score(rows, self._trail, self._desk, self._live(rows), self._said(rows))

    def effects(self, rows: Rows) -> tuple[Features, Features]:
        """float32[F, c] each: the features of `rows` int32[c] and how much each moved the score; of no
        features without a ranker."""
        if self._ranker is None or self._desk is None or not len(rows):
            nothing = np.empty((0, len(rows)), np.float32)
            return nothing, nothing
        return self._ranker.effects(rows, self._trail, self._desk, self._live(rows), self._said(rows))

    def _live(self, rows: Rows) -> Live:
        columns = self._context.visit.columns
        demand, surge = (
            float(heat[warm[ANY_TYPE][0]]) if len(warm[ANY_TYPE]) else -np.inf
            for heat, warm in columns.warmths
        )
        at_hand = int(self._trail.rows[-1]) if len(self._trail.rows) else -1
        after = columns.after.get(at_hand, NOTHING_AFTER)
        return live_of(rows, columns.heat, columns.surge, (demand, surge), after, self._trail.now_s)

    def _said(self, rows: Rows) -> Said:
        """What the other models think of the candidates, new ones by their texts."""
        visit = self._context.visit
        assert visit.bundle is not None
        assert visit.scratch.models is not None
        return visit.bundle.opinions.of(
            rows, self._trail, visit.taste, visit.scratch.models, visit.columns.cold.vector
        )


def trail_of(context: Context) -> Trail:
    """What the person did, and at last, on the page of an item, that they look at it."""
    person, page_row = context.visit.person, context.page_row
    now_s = context.visit.person.now_ms / 1000
    rows, kinds, at_s = person.history_rows, person.history_kinds, person.history_at_s
    start = len(rows) - len(person.rows) + person.session_from
    if context.goes_on:
        rows = np.append(rows, np.int32(page_row))
        kinds = np.append(kinds, np.uint8(InteractionKind.VIEW))
        at_s = np.append(at_s, np.int64(now_s))
    return Trail(rows, kinds, at_s, start, now_s)
