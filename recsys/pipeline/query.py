"""What is asked of the pipeline: a visit is one request of one person, a query one of its slots."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import msgspec

from recsys.block import Placement, Reason
from recsys.models.arrays import Ranked, Vectors
from recsys.models.bundle import Bundle
from recsys.pipeline.columns import Columns, type_set
from recsys.pipeline.lazy import lazy
from recsys.pipeline.person import Person, Seeds, page_seeds
from recsys.pipeline.shelf import PipelineScratch


class Visit(msgspec.Struct, frozen=True, eq=False, dict=True):
    """What the slots of a request share. One thread works on a visit, with that thread's scratch."""

    person: Person
    columns: Columns
    bundle: Bundle | None
    scratch: PipelineScratch
    salt: int
    """uint64: orders what is equally good."""
    answers: dict[Hashable, Ranked] = msgspec.field(default_factory=dict)
    """What models have said; see `once`."""
    told: dict[Hashable, Reason] = msgspec.field(default_factory=dict)
    """Reasons already put into words."""

    @lazy
    def taste(self) -> Vectors | None:
        """The person's ALS vector float32[f]: the whole history folded in. None without history or model."""
        bundle, models, person = self.bundle, self.scratch.models, self.person
        if bundle is None or models is None or not person.history:
            return None
        weights = bundle.als.weights(person.history_kinds) * person.history_fading
        return bundle.als.fold_in(person.history_rows, weights, models)

    def once(self, key: Hashable, answer: Callable[[], Ranked]) -> Ranked:
        """A model's answer, asked for once however many slots want it."""
        known = self.answers.get(key)
        if known is None:
            known = self.answers[key] = answer()
        return known


class Query(msgspec.Struct, frozen=True, eq=False, dict=True):
    """One slot to fill. `page_item` is the item of the page it stands on."""

    visit: Visit
    placement: Placement
    limit: int
    page_item: str | None = None
    exclude: tuple[str, ...] = ()

    @lazy
    def page_row(self) -> int:
        """-1 without a page item, or for one the shelf does not know."""
        return -1 if self.page_item is None else self.visit.columns.row(self.page_item)

    @lazy
    def item_types(self) -> int:
        return type_set(self.placement.item_types)

    @lazy
    def seeds(self) -> Seeds:
        """What items are looked for by: the page's item, else the cart for blocks about the cart,
        else the last items of the session."""
        person = self.visit.person
        if self.page_item is not None and self.page_row >= 0:
            return page_seeds(self.page_row, self.page_item, person.newest_deed(self.page_row))
        if self._about_cart:
            return person.cart_seeds
        return person.session_seeds

    @property
    def seeds_key(self) -> Hashable:
        """Equal for queries of one visit whose `seeds` are equal."""
        return self.page_row if self.page_row >= 0 else self._about_cart

    @property
    def _about_cart(self) -> bool:
        about = self.placement.exclude_cart or self.placement.lead_with_cart
        return about and len(self.visit.person.cart_seeds.rows) > 0
