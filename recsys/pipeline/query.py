"""What is asked of the pipeline: a visit is one request of one person, a query one of its slots, and a
context where such slots stand. What a context finds out serves every slot in it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import timezone, tzinfo
from functools import lru_cache
from hashlib import blake2b
from typing import Final, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from recsys.block import Reason
from recsys.models.als_kernels import fade
from recsys.models.arrays import NOTHING, Offer, Ranked, Rows, Scores, Vectors
from recsys.models.bundle import Bundle
from recsys.models.direct import direct
from recsys.pipeline.clock_times import Clock
from recsys.pipeline.columns import Columns, type_set
from recsys.pipeline.eligibility import NO_RULES, Rule
from recsys.pipeline.find_kernel import Loop
from recsys.pipeline.lazy import lazy
from recsys.pipeline.passing import Passing
from recsys.pipeline.person import Person, Seeds, page_seeds
from recsys.pipeline.pool import Ask, Pool
from recsys.pipeline.shelf import PipelineScratch
from recsys.pipeline.sought import NOTHING_SOUGHT, Sought, sought
from recsys.placement import Placement, SourceName

FEW_ROWS: Final = 2000
"""Of no more than this every one is compared with the person's taste: no search in lists would reach
most of them."""
_BY_SEEDS: Final = frozenset(("item_to_item", "bought_together", "content", "lately", "kindred"))
"""Sources whose answer follows from the seeds, not from the visit and what may be shown alone."""
_PAGE: Final = 0
_WHOLE_VISIT: Final = -1
_SPEAKING: Final[dict[int, tuple[Placement, tuple[SourceName, ...]]]] = {}
MOST_SPEAKING: Final = 1024
"""Placements whose sources are kept."""
_Found = TypeVar("_Found")
_fade: Final = direct(fade)


def salt_of(person: str, seed: int = 0) -> int:
    """uint64: what orders equals for a person, and draws for them."""
    return int.from_bytes(blake2b(f"{seed}:{person}".encode(), digest_size=8).digest(), "little")


class Visit(msgspec.Struct, frozen=True, eq=False, dict=True):
    """What the slots of a request share. One thread works on a visit, with that thread's scratch."""

    person: Person
    columns: Columns
    bundle: Bundle | None
    scratch: PipelineScratch
    salt: int
    """uint64: orders what is equally good."""
    came_for: int = -1
    """The code of the category that somebody of whom nothing is known came for; -1: unknown, or not asked."""
    passing: Passing | None = None
    """Where filters are asked; None where there are none."""
    queries: tuple[str, ...] = ()
    """Searches, the newest first, of somebody who has looked at no item, that say more than a category."""
    answers: dict[Hashable, object] = msgspec.field(default_factory=dict)
    """What was found; see `once`."""
    searched: dict[Hashable, Ranked] = msgspec.field(default_factory=dict)
    """What fits the person's taste, by what may be shown."""
    contexts: dict[Hashable, Context] = msgspec.field(default_factory=dict)
    """Where its slots stand."""
    companies: dict[Hashable, Company] = msgspec.field(default_factory=dict)
    """Which of them are decided together; see `Context.company`."""
    told: dict[Hashable, Reason] = msgspec.field(default_factory=dict)
    """Reasons already put into words."""
    zone: tzinfo = timezone.utc
    """In which reasons tell clock times and days."""

    @lazy
    def clock(self) -> Clock:
        """By which reasons tell times."""
        return Clock(self.person.now_ms, self.zone)

    @lazy
    def sought(self) -> Sought:
        """What has the words of a search; see `queries`."""
        return sought(self.queries, self.columns, self.bundle) if self.queries else NOTHING_SOUGHT

    @lazy
    def sought_rows(self) -> frozenset[int]:
        return frozenset(self.sought.ranked[0].tolist())

    @lazy
    def taste(self) -> Vectors | None:
        """The person's ALS vector float32[f]: the whole history folded in. None without history or model."""
        bundle, models, person = self.bundle, self.scratch.models, self.person
        if bundle is None or models is None or not len(person.history.rows):
            return None
        weights, _ = self.weights
        return bundle.als.fold_in(person.history.rows, weights, models)

    @lazy
    def weights(self) -> tuple[Scores, int]:
        """float32[h]: the weight of each of the person's history, by its kind and faded by age; and the place
        of the heaviest known one, -1 for none. Of no history without a model."""
        if self.bundle is None:
            return NOTHING[1], -1
        rows, kinds, at_s, _ = self.person.history
        weights = np.empty(len(rows), np.float32)
        heaviest = _fade(rows, kinds, at_s, self.bundle.als.kind_weights, self.person.now_ms // 1000, weights)
        return weights, heaviest

    def once(self, key: Hashable, find: Callable[[], _Found]) -> _Found:
        """What `find` answers, found once however many slots want it."""
        known = self.answers.get(key)
        if known is None:
            known = self.answers[key] = find()
        return known  # type: ignore[return-value]

    def close(self) -> None:
        """Let go of what was found, at the end of the request. Contexts are kept here and know their visit:
        such rings wait for the garbage collector, and to take away a few dozen of them at once held up one
        request in forty for longer than its own decision took."""
        self.answers.clear()
        self.contexts.clear()
        self.companies.clear()


class Context(msgspec.Struct, frozen=True, eq=False, dict=True):
    """Where slots stand: on the page of an item, about the cart, or about the visit as a whole; and
    the item types they show. Candidates are looked for, and weighed, once a context."""

    visit: Visit
    item_types: int
    page_item: str = ""
    page_row: int = -1
    """-1 without a page item, or for one the shelf does not know."""
    about_cart: bool = False
    filters: tuple[str, ...] = ()
    """What items must pass, all of it; see `recsys.filters.expression`."""

    @lazy
    def offer(self) -> npt.NDArray[np.uint8]:
        """uint8[c]: as `Columns.offer`, of the items that pass the filters."""
        visit, offer = self.visit, self.visit.columns.offer
        if not self.filters or visit.passing is None:
            return offer
        masks = [visit.passing.rows(text, len(offer)) for text in self.filters]
        passing: npt.NDArray[np.uint8] = offer * np.logical_and.reduce(masks)
        return passing

    @lazy
    def on_offer(self) -> Offer:
        """What sources may answer: what the catalogue offers, of the context's types, that passes its
        filters."""
        return Offer(self.offer, self.item_types)

    @lazy
    def few(self) -> Rows | None:
        """int32[k]: the rows that may be shown, where a filter leaves so few of them that every one can
        be looked at; None where there are more."""
        if not self.filters:
            return None
        rows = np.flatnonzero(self.offer & self.item_types).astype(np.int32)
        return rows if len(rows) <= FEW_ROWS else None

    @lazy
    def eligible_bits(self) -> npt.NDArray[np.uint8]:
        """A bitmap of the bundle's rows that may be shown, as VectorIndex.nearest wants it."""
        columns = self.visit.columns
        if not self.filters:
            return columns.eligible_bits[self.item_types]
        return np.packbits(self.offer[: columns.n_bundle] & self.item_types != 0, bitorder="little")

    @lazy
    def session(self) -> list[int]:
        """The rows of the session, oldest first; the page's item counts as the newest."""
        session = self.visit.person.session
        return [*session, self.page_row] if self.goes_on else session

    @lazy
    def goes_on(self) -> bool:
        """Whether looking at the page's item is a step beyond what the person is known to have done."""
        if self.page_row < 0:
            return False
        session = self.visit.person.session
        return not session or session[-1] != self.page_row

    @property
    def company(self) -> Company:
        """The same for contexts whose candidates are found and weighed together: the trail that they come
        behind and what they may show are the same."""
        bundle, companies = self.visit.bundle, self.visit.companies
        if bundle is not None and bundle.kindred_ranker is not None:
            # It has a say in some contexts only.
            of = self.seeds_key
        else:
            of = self.page_row if self.goes_on else _WHOLE_VISIT
        key = of, self.item_types, self.filters
        known = companies.get(key)
        if known is None:
            known = companies[key] = Company(self)
        return known

    @lazy
    def seeds(self) -> Seeds:
        """What items are looked for by: the page's item, else the cart for blocks about the cart,
        else the last items of the session."""
        person = self.visit.person
        if self.page_row >= 0:
            return page_seeds(self.page_row, self.page_item, person.newest_deed(self.page_row))
        return person.cart_seeds if self.about_cart else person.session_seeds

    @property
    def seeds_kind(self) -> int:
        """Whether the `seeds` are the page's, the cart's or the session's. A company stands on one page at
        most, so in it these are equal where this is; and there are three, however many pages a shop has."""
        return _PAGE if self.page_row >= 0 else _WHOLE_VISIT - self.about_cart

    @property
    def seeds_key(self) -> int:
        """Equal for contexts of one visit whose `seeds` are equal."""
        return self.page_row if self.page_row >= 0 else self.seeds_kind

    @property
    def shown_key(self) -> Hashable:
        """Equal for contexts of one visit that may show the same items."""
        return self.item_types, self.filters


class Company:
    """Contexts whose slots are filled from one pool. `context` is the first of them; `asks`: what is asked
    for them, each once; `answers`: of these those that were given ahead, each with its place, None until they
    are; `pool`: what was found, None until it is."""

    __slots__ = ("_by_seeds", "answers", "asks", "context", "pool")

    def __init__(self, context: Context) -> None:
        self.context = context
        self._by_seeds = {context.seeds_kind: context}
        self.asks: tuple[Ask, ...] = ()
        self.answers: Sequence[tuple[int, Ranked | Loop]] | None = None
        self.pool: Pool | None = None

    def join(self, asks: tuple[Ask, ...], context: Context) -> None:
        """Ask these as well, for a slot of the context."""
        joined = _joined(self.asks, asks) if self.asks else asks
        if len(joined) > len(self.asks):
            self.asks, self.answers, self.pool = joined, None, None
            self._by_seeds.setdefault(context.seeds_kind, context)

    def asked_for(self, seeds_kind: int) -> Context:
        """The context that an ask about these seeds is asked for."""
        return self._by_seeds.get(seeds_kind, self.context)


class Query(msgspec.Struct, frozen=True, eq=False, dict=True):
    """One slot to fill. `page_item` is the item of the page it stands on; `name` the slot's own."""

    visit: Visit
    placement: Placement
    limit: int
    page_item: str | None = None
    exclude: Sequence[str] = ()
    filters: tuple[str, ...] = ()
    rules: Mapping[str, Rule] = NO_RULES
    """Those of `filters` that say what may be shown to this person, and here."""
    name: str = ""
    is_first_page: bool = True
    types: int = 0
    """Of the placement's item types those that are wanted; 0: all of them."""
    cooling: Sequence[str] = ()
    """Items that were shown too short a while ago; see `recsys.shown.cooling`."""
    seen: Sequence[str] = ()
    """Of `exclude` what the pages before have shown."""
    keeps: Sequence[int] = ()
    """Rows that stand in the block already, and stay: `limit` counts them, and what is chosen fits beside
    them."""

    @lazy
    def context(self) -> Context:
        """The one that other slots of the visit may stand in too."""
        visit, placement, item = self.visit, self.placement, self.page_item
        types = visit.columns.offered_types[self.types or type_set(placement.item_types)]
        row = -1 if item is None else visit.columns.row(item)
        about = row < 0 and (placement.exclude_cart or placement.lead_with_cart)
        about_cart = about and bool(visit.person.cart_seeds.deeds)
        key = row if row >= 0 else _WHOLE_VISIT - about_cart, types, self.filters
        known = visit.contexts.get(key)
        if known is None:
            known = Context(
                visit, types, "" if item is None or row < 0 else item, row, about_cart, self.filters
            )
            visit.contexts[key] = known
        return known

    @property
    def item_types(self) -> int:
        return self.context.item_types

    @property
    def tells_days(self) -> bool:
        """Whether reasons name days alone, for it may be read on another one."""
        return self.placement.channel == "email"

    @property
    def page_row(self) -> int:
        return self.context.page_row

    @property
    def seeds(self) -> Seeds:
        return self.context.seeds

    @property
    def sources(self) -> tuple[SourceName, ...]:
        """Those that may name items for the slot."""
        return _speaking(self.placement)

    @lazy
    def asks(self) -> tuple[Ask, ...]:
        """What those are asked."""
        return _asks(self.sources, self.context.seeds_kind)

    @lazy
    def company(self) -> Company:
        """The one that the slot is decided in: from now on what it asks is asked there."""
        company = self.context.company
        company.join(self.asks, self.context)
        return company


def _speaking(placement: Placement) -> tuple[SourceName, ...]:
    """Worked out once. By id: the placement is kept beside, so no other can come to have it."""
    known = _SPEAKING.get(id(placement))
    if known is None:
        if len(_SPEAKING) >= MOST_SPEAKING:
            _SPEAKING.clear()
        sources = tuple([source for source, weight in placement.sources.items() if weight > 0])
        known = _SPEAKING[id(placement)] = placement, sources
    return known[1]


@lru_cache(maxsize=4096)
def _joined(asks: tuple[Ask, ...], others: tuple[Ask, ...]) -> tuple[Ask, ...]:
    """A page's slots are the same for everybody, so there are few such pairs."""
    return tuple(dict.fromkeys((*asks, *others)))


@lru_cache(maxsize=4096)
def _asks(sources: tuple[SourceName, ...], seeds_kind: int) -> tuple[Ask, ...]:
    return tuple([(source, seeds_kind if source in _BY_SEEDS else _WHOLE_VISIT) for source in sources])
