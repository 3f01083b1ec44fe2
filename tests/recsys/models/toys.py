"""Toy data with known answers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recsys.models.als import Als, AlsSettings
from recsys.models.arrays import EVERYTHING
from recsys.models.bought_together import BoughtTogether
from recsys.models.bundle import Models
from recsys.models.content import Content
from recsys.models.interactions import InteractionKind, Interactions
from recsys.models.item_to_item import ItemToItem
from recsys.models.kernels import blend_rows
from recsys.models.neighbours import SessionNeighbours
from recsys.models.popularity import Popularity
from recsys.models.transitions import Transitions

VIEW, CART, ORDER, READ = InteractionKind


def sessions(*sequences: Sequence[str], kinds: Sequence[int] | None = None) -> Interactions:
    """One session, of a visitor of its own, a sequence of items; one day apart, one second a step."""
    persons, items, at_ms = [], [], []
    for number, sequence in enumerate(sequences):
        for step, item in enumerate(sequence):
            persons.append(f"a:{number}")
            items.append(item)
            at_ms.append(number * 86_400_000 + step * 1000)
    return Interactions.from_columns(
        persons, persons, items, np.zeros(len(items)) if kinds is None else kinds, at_ms
    )


def rows(interactions: Interactions, items: str) -> np.ndarray:
    """The rows of items with names of one letter, `?` for one nobody knows."""
    return np.array(
        [interactions.item_ids.index(item) if item in interactions.item_ids else -1 for item in items],
        np.int32,
    )


def names(interactions: Interactions, ranked: tuple[np.ndarray, np.ndarray]) -> list[str]:
    return [interactions.item_ids[row] for row in ranked[0]]


def checkerboard(size: int) -> Interactions:
    """implicit's toy: person p likes every item of its own parity, all but item p itself.

    So the best item for person p is item p, and similar items have the same parity.
    """
    persons, items = [], []
    for person in range(size):
        for item in range(person % 2, size, 2):
            if item != person:
                persons.append(f"u:{person}")
                items.append(f"{item:03d}")
    # All items first, in the order of their numbers, so that row = number.
    order = np.lexsort((persons, items))
    at_ms = [person_number * 86_400_000 for person_number in range(len(items))]
    persons, items = [persons[i] for i in order], [items[i] for i in order]
    return Interactions.from_columns(persons, persons, items, np.zeros(len(items)), at_ms)


def random_interactions(n: int, n_items: int, n_visitors: int, seed: int) -> Interactions:
    generator = np.random.default_rng(seed)
    visitors = [f"a:{v}" for v in generator.integers(0, n_visitors, n)]
    items = [f"i{int(i)}" for i in (n_items * generator.random(n) ** 2)]
    kinds = generator.choice(4, n, p=(0.7, 0.15, 0.1, 0.05))
    return Interactions.from_columns(visitors, visitors, items, kinds, generator.integers(0, 2 * 10**7, n))


def small_models(seed: int = 0) -> tuple[Interactions, Models]:
    interactions = random_interactions(3000, 60, 200, seed)
    als = Als.fit(interactions, AlsSettings(factors=8, iterations=3))
    return interactions, Models(
        item_ids=interactions.item_ids,
        popularity=Popularity.fit(interactions),
        transitions=Transitions.fit(interactions),
        neighbours=SessionNeighbours.fit(interactions),
        als=als,
        item_to_item=ItemToItem.fit(interactions, als.item_factors),
        bought_together=BoughtTogether.fit(interactions),
        content=Content.fit(
            [f"thing number {item_id} of {item_id[-1]}" for item_id in interactions.item_ids]
        ),
    )


def blended(table, seeds, weights, k, scratch, offer=EVERYTHING):
    """The best k on offer of the sum of the seeds' rows, each times its weight, as the pipeline's sources ask
    a table."""
    rows, scores = np.empty(k, np.int32), np.empty(k, np.float32)
    seeds, weights = np.asarray(seeds, np.int32), np.asarray(weights, np.float32)
    found = blend_rows(
        seeds, weights, table.rows, table.scores, table.lengths, *offer,
        scratch.sums, scratch.touched, scratch.spare, rows, scores,
    )  # fmt: skip
    return rows[:found], scores[:found]
