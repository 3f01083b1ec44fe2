"""Candidates -> filter: what all sources name, united and without what the catalogue does not offer there."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from recsys.counters import SURGE_HALF_LIFE_S
from recsys.fold import leaf_of
from recsys.models.arrays import NOTHING, Ranked, Rows
from recsys.models.direct import direct
from recsys.pipeline.candidates import LOOPS, SOURCES, WHOLE_POOL, Answer
from recsys.pipeline.columns import Heats32
from recsys.pipeline.find_kernel import POPULAR_POOL, Loop, find
from recsys.pipeline.kindred import Acquainted
from recsys.pipeline.learned import Learned
from recsys.pipeline.pool import Ask, Pool
from recsys.pipeline.query import Company, Context
from recsys.pipeline.workplace_arrays import MAX_NAMED, MAX_SEEDS, Memory
from recsys.placement import SourceName

_find: Final = direct(find)
TABLE_POOL: Final = 30
_NO_ROWS: Final = NOTHING[0]
_ANSWERED: Final = int(Loop.ANSWERED)
_LATE: Final[frozenset[SourceName]] = frozenset(("als", "kindred"))


def found(company: Company, learned: Learned, acquainted: Acquainted) -> Pool:
    """The candidates of a company, with those that the ranker gathers. `acquainted` answers for kindred
    people where it has a say."""
    context, visit = company.context, company.context.visit
    plan = _Plan(company.asks, company.asked_for, context)
    for place, answer in answers_of(company) if company.answers is None else company.answers:
        plan.answer(place, answer)
    for place, source, seeds_kind in plan.layout.late:
        if source == "kindred" and acquainted.knows:
            plan.answer(place, acquainted.candidates())
            continue
        plan.answer(place, SOURCES[source](company.asked_for(seeds_kind)))
    pool = plan.carried_out(learned.gather)
    if len(visit.companies) > 1 and (als := plan.answer_to(Loop.ALS)) is not None:
        # The other companies need not search for what fits the same taste.
        visit.searched[context.shown_key] = als
    return pool


def answers_of(company: Company) -> list[tuple[int, Answer]]:
    """What sources answer that are no loops and need not wait for what others find, each with its place among
    the company's asks."""
    return [
        (place, SOURCES[source](company.asked_for(seeds_kind)))
        for place, source, seeds_kind in _layout(company.asks).early
    ]


def named_by(source: SourceName, context: Context) -> Ranked:
    """What one source alone says."""
    answer = LOOPS[source] if source in LOOPS else SOURCES[source](context)
    if isinstance(answer, tuple):
        return answer
    plan = _Plan(((source, context.seeds_kind),), lambda _: context, context)
    plan.answer(0, answer)
    plan.carried_out(lambda: 0)
    said = plan.answer_to(answer)
    assert said is not None
    return said


class _Layout(NamedTuple):
    """How a company's asks lie in a thread's memory: the same for everybody of whom these are asked."""

    names: tuple[SourceName, ...]
    steps: array[int]
    """The cells of the plan, with the loops that always answer for a source; others answer nothing."""
    early: tuple[tuple[int, SourceName, int], ...]
    """Where the others stand, with the `seeds_kind` of the context to ask each for."""
    late: tuple[tuple[int, SourceName, int], ...]
    """And those of them whose answer another company, or who is acquainted, may have found."""
    seeds_kinds: tuple[int, ...]
    """Whose seeds are laid into the memory, one behind the other."""


@lru_cache(maxsize=4096)
def _layout(asks: tuple[Ask, ...]) -> _Layout:
    kinds = tuple(dict.fromkeys(kind for _, kind in asks))
    steps = array("i")
    for source, kind in asks:
        steps.extend((LOOPS.get(source, Loop.ANSWERED), kinds.index(kind), 0))
    asked = [(place, source, kind) for place, (source, kind) in enumerate(asks) if source not in LOOPS]
    early, late = (tuple([one for one in asked if (one[1] in _LATE) is late]) for late in (False, True))
    return _Layout(tuple([name for name, _ in asks]), steps, early, late, kinds)


class _Plan:
    """What the sources of one company are asked, as it is laid into the thread's memory; see
    `recsys.pipeline.workplace_arrays.Memory`."""

    def __init__(self, asks: tuple[Ask, ...], context_of: Callable[[int], Context], context: Context) -> None:
        workplace = context.visit.scratch.workplace
        self._asks, self._context = asks, context
        self._memory: Memory = workplace.memory
        self._cells = workplace.plan_cells
        self._n_answered = 0
        self.layout = layout = _layout(asks)
        self._cells[: len(layout.steps)] = layout.steps
        cells, at = workplace.seed_cells, 0
        for kind in layout.seeds_kinds:
            deeds = context_of(kind).seeds.deeds
            cells[at] = len(deeds)
            for place, deed in enumerate(deeds, at + 1):
                cells[place] = deed.row
            at += 1 + MAX_SEEDS

    def answer(self, place: int, answer: Answer) -> None:
        """What the source asked at this place says, or the loop that will answer for it."""
        at = 3 * place
        if not isinstance(answer, tuple):
            self._cells[at] = answer
            return
        rows, scores = answer
        if not len(rows):
            return  # as it is laid out
        self._cells[at] = _ANSWERED
        self._cells[at + 1] = start = self._n_answered
        self._n_answered = end = min(start + len(rows), MAX_NAMED)
        self._cells[at + 2] = end
        self._memory.rows[start:end] = rows[: end - start]
        self._memory.scores[start:end] = scores[: end - start]

    def carried_out(self, gather: Callable[[], int]) -> Pool:
        """The answers united, with what the ranker gathers."""
        context, visit, columns = self._context, self._context.visit, self._context.visit.columns
        asks, names, types = self._asks, self.layout.names, context.item_types
        person, touched = visit.person, visit.person.history.touched
        taste, leaf, popular = visit.taste, self._leaf(), _popular(context)
        hot = _warm(context, columns.heat, columns.hot)
        surging = _warm(context, columns.surge, columns.surging)
        # The loops go one behind the other: they leave nothing of Python in the processor's caches.
        n_gathered = gather()
        cells, n = _find(
            visit.scratch.workplace.sources, columns.stock, len(asks), self._n_answered, n_gathered,
            columns.cold.count, TABLE_POOL if context.few is None else WHOLE_POOL,
            NOTHING[1] if taste is None else taste, context.eligible_bits, context.offer, types,
            columns.leaf_rows.get(leaf, _NO_ROWS), leaf, hot, surging,
            (person.now_ms / 1000 - columns.base_s) / SURGE_HALF_LIFE_S, popular,
            touched.rows, touched.kinds, touched.at_s, person.now_ms // 1000,
        )  # fmt: skip
        return Pool(asks, names, names, (1 << len(asks)) - 1, cells[0, :n], cells)

    def answer_to(self, loop: Loop) -> Ranked | None:
        """What a loop has said; None where it was not asked."""
        for asked, start, end in self._memory.plan[: len(self._asks)].tolist():
            if asked == loop:
                return self._memory.rows[start:end].copy(), self._memory.scores[start:end].copy()
        return None

    def _leaf(self) -> int:
        """The code of the category that the session is in, -1 for none."""
        category = self._context.visit.person.category
        return self._context.visit.columns.leaf_codes.get(leaf_of(category), -1) if category else -1


def _warm(context: Context, heat: Heats32, warm: Mapping[int, Rows]) -> Rows:
    """int32[k]: the rows of the greatest heat that the context may show, more than are asked for."""
    columns = context.visit.columns
    known: Rows = warm[context.item_types]
    if not context.filters:
        return known
    # Enough of the warmest are left unless the filter leaves few: then all rows are looked through.
    known = known[known < columns.capacity]
    known = known[context.offer[known] != 0]
    if len(known) >= POPULAR_POOL:
        return known
    return columns.warmest(heat, context.item_types, context.offer)


def _popular(context: Context) -> Rows:
    """int32[k]: the most popular rows that the context may show."""
    rows = context.visit.columns.popular[context.item_types]
    if not context.filters:
        return rows[:POPULAR_POOL]
    # Where a filter leaves few, all of those that anybody liked are weighed: the tables and lists of other
    # sources know too few of them.
    offered: Rows = rows[context.offer[rows] != 0]
    return offered[: POPULAR_POOL if context.few is None else WHOLE_POOL]
