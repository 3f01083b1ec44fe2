"""Candidates -> filter: what all sources name, united and without what the catalogue does not offer there."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import Final

from recsys.block import SourceName
from recsys.counters import SURGE_HALF_LIFE_S
from recsys.fold import leaf_of
from recsys.models.arrays import NOTHING, Ranked, Rows, Scores
from recsys.models.direct import direct
from recsys.pipeline.candidates import SOURCES, WHOLE_POOL, Answer
from recsys.pipeline.columns import Heats32
from recsys.pipeline.find_kernel import POPULAR_POOL, Loop, find
from recsys.pipeline.kindred import Acquainted
from recsys.pipeline.pool import Pool
from recsys.pipeline.query import Ask, Context
from recsys.pipeline.workplace_arrays import MAX_NAMED, MAX_SEEDS, Memory

_find: Final = direct(find)
TABLE_POOL: Final = 30
_NO_ROWS: Final = NOTHING[0]
_ANSWERED: Final = int(Loop.ANSWERED)


def found(wanted: Mapping[Ask, Context], n_gathered: int, acquainted: Acquainted) -> Pool:
    """The candidates of contexts in company. The ranker has gathered `n_gathered` of its own in the thread's
    memory; `acquainted` answers for kindred people where it has a say."""
    context = next(iter(wanted.values()))
    plan = _Plan(context)
    for (source, _), of in wanted.items():
        is_known = source == "kindred" and acquainted.knows
        plan.add(acquainted.candidates() if is_known else SOURCES[source](of), of)
    pool = plan.carried_out(tuple(wanted), n_gathered)
    visit = context.visit
    if len(visit.wanted) > 1 and Loop.ALS in plan.loops:
        # The other companies need not search for what fits the same taste.
        visit.answers["als", context.shown_key] = plan.answer_to(Loop.ALS)
    return pool


def named_by(source: SourceName, context: Context) -> Ranked:
    """What one source alone says."""
    answer = SOURCES[source](context)
    if isinstance(answer, tuple):
        return answer
    plan = _Plan(context)
    plan.add(answer, context)
    plan.carried_out(((source, context.seeds_key),), 0)
    return plan.answer_to(answer)


class _Plan:
    """What the sources of one company are asked, as it is laid into the thread's memory; see
    `recsys.pipeline.workplace_arrays.Memory`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._memory: Memory = context.visit.scratch.workplace.memory
        self._cells = context.visit.scratch.workplace.plan_cells
        self._steps: list[int] = []
        self._seeded: Context | None = None
        self._seeds = (0, 0)
        self._n_answered = self._n_seeds = 0

    @property
    def loops(self) -> list[int]:
        """What is asked, in order; see `Loop`."""
        return self._steps[::3]

    def add(self, answer: Answer, context: Context) -> None:
        """A source's answer, or the loop that will answer for the context."""
        if isinstance(answer, tuple):
            self._steps += (_ANSWERED, *self._laid_down(*answer))
            return
        if context is not self._seeded:
            self._seeded, self._seeds = context, self._with_seeds(context.seeds.rows)
        self._steps += (answer, *self._seeds)

    def carried_out(self, asks: tuple[Ask, ...], n_gathered: int) -> Pool:
        """The answers united."""
        context, visit, columns = self._context, self._context.visit, self._context.visit.columns
        person, types = visit.person, context.item_types
        self._cells[: len(self._steps)] = array("i", self._steps)
        leaf = self._leaf()
        cells, n = _find(
            visit.scratch.workplace.sources, columns.stock, len(asks), self._n_answered, n_gathered,
            columns.cold.count, TABLE_POOL if context.few is None else WHOLE_POOL,
            NOTHING[1] if visit.taste is None else visit.taste, context.eligible_bits, context.offer, types,
            columns.leaf_rows.get(leaf, _NO_ROWS), leaf,
            _warm(context, columns.heat, columns.hot), _warm(context, columns.surge, columns.surging),
            (person.now_ms / 1000 - columns.base_s) / SURGE_HALF_LIFE_S, _popular(context),
            person.rows, person.kinds, person.at_s, person.now_ms // 1000,
        )  # fmt: skip
        names = tuple([name for name, _ in asks])
        return Pool(asks, names, names, (1 << len(asks)) - 1, cells[0, :n], cells)

    def answer_to(self, loop: Loop) -> Ranked:
        """What a loop that was asked has said."""
        _, start, end = self._memory.plan[self.loops.index(loop)].tolist()
        return self._memory.rows[start:end].copy(), self._memory.scores[start:end].copy()

    def _laid_down(self, rows: Rows, scores: Scores) -> tuple[int, int]:
        """Where an answer stands in the memory now."""
        start = self._n_answered
        self._n_answered = end = min(start + len(rows), MAX_NAMED)
        if end > start:
            self._memory.rows[start:end] = rows[: end - start]
            self._memory.scores[start:end] = scores[: end - start]
        return start, end

    def _with_seeds(self, rows: Rows) -> tuple[int, int]:
        """Where seeds stand in the memory now."""
        start = self._n_seeds
        self._n_seeds = end = min(start + len(rows), MAX_SEEDS)
        self._memory.seeds[start:end] = rows[: end - start]
        return start, end

    def _leaf(self) -> int:
        """The code of the category that the session is in, -1 for none."""
        category = self._context.visit.person.category if Loop.TRENDING in self.loops else ""
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
