"""What the bundle says of a person by what they have: candidates, and where sessions tell no order how
good each candidate is."""

from __future__ import annotations

from types import TracebackType
from typing import Final

from recsys.models.arrays import NOTHING, Ranked, Rows, Scores
from recsys.models.kindred_signals import Sources
from recsys.pipeline.learned import trail_of
from recsys.pipeline.query import Context

K_KINDRED: Final = 60
"""How many candidates a plain search names."""


class Acquainted:
    """The ranker of people known by what they have, at work on one context, from finding candidates to
    weighing all of them. It has a say where a block is about the person, not about a page or a cart."""

    def __init__(self, context: Context) -> None:
        visit = context.visit
        bundle, scratch = visit.bundle, visit.scratch.models
        ranker = bundle.kindred_ranker if bundle is not None else None
        is_personal = context.page_row < 0 and not context.about_cart
        self._ranker = ranker if is_personal and len(visit.person.history.rows) else None
        self._found = NOTHING
        self._scratch = scratch
        self._context = context

    @property
    def knows(self) -> bool:
        """Whether it has a say here."""
        return self._ranker is not None

    def __enter__(self) -> Acquainted:  # noqa: PYI034 - typing.Self is newer than Python 3.10
        if self._ranker is not None:
            bundle, scratch = self._context.visit.bundle, self._scratch
            assert bundle is not None
            assert bundle.kindred is not None
            assert scratch is not None
            self._sources = Sources(bundle.kindred, bundle.als)
            self._trail = trail_of(self._context)
            offer = self._context.on_offer
            self._found = self._ranker.gather(self._sources, self._trail, scratch, offer)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ranker is not None and self._scratch is not None:
            self._ranker.signals.clear(self._scratch)

    def candidates(self) -> Ranked:
        """What those have who have what the person has, and what is popular."""
        return self._found

    def totals(self, rows: Rows) -> Scores:
        """float32[c], the greater the better: how likely each of `rows` int32[c] is to be had next."""
        assert self._ranker is not None
        assert self._scratch is not None
        return self._ranker.score(self._sources, rows, self._trail, self._scratch)


def named_by_kindred(context: Context) -> Ranked:
    """What those have who have what the person has, the newest of it counting most. In a session what was
    just looked at says more than all that was had before, and sources of sessions know that better."""
    visit, person, scratch = context.visit, context.visit.person, context.visit.scratch.models
    bundle = visit.bundle
    if bundle is None or bundle.kindred is None or scratch is None or scratch.kindred is None:
        return NOTHING
    rows = person.history.rows
    if person.in_session or context.page_row >= 0 or not len(rows):
        return NOTHING
    kindred, desk = bundle.kindred, scratch.kindred[0]
    weights, _ = visit.weights
    return visit.once(
        ("kindred", context.shown_key),
        lambda: kindred.recommend(rows, weights, K_KINDRED, desk, context.on_offer),
    )
