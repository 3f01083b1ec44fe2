"""What speaks for items by what the person did, of those sources that tell one item from another.

A source may know that people like this one went on to an item without one thing the person did being why. So
nothing is said of a deed that the models do not say.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np

from recsys.models.arrays import Vectors
from recsys.models.tables import TopTable
from recsys.pipeline.candidates import others_after, vector_of
from recsys.pipeline.person import Deed, Seeds
from recsys.pipeline.query import Query, Visit
from recsys.pipeline.source_kernels import strongest_seeds

MUCH_ALIKE: Final = 0.5
"""Items whose texts are of a lesser cosine share a word or two: 9 of 10 pairs of a shop are below it."""
AKIN: Final = "akin"
"""The words for those."""
BY_SEEDS: Final = frozenset(("neighbours", "item_to_item", "bought_together", "content", "lately"))


class Said(NamedTuple):
    """What the person did, for which rows it speaks most, and in whose words: a source's or those of AKIN."""

    words: str
    deed: Deed
    rows: Iterable[int]


def said_by_seeds(source: str, rows: list[int], query: Query) -> list[Said]:
    """What speaks most for which of `rows`, which this source has named; some have nothing."""
    if source == "neighbours":
        return _said_by_neighbours(source, rows, query)
    seeds, bundle = query.seeds, query.visit.bundle
    if not seeds.deeds:
        return []
    if source == "content" and bundle is not None:
        return _said_by_texts(rows, query)
    if len(seeds.deeds) == 1:
        return [Said(source, seeds.deeds[0], rows)]
    if source == "lately":
        return _together(source, rows, [_left_from(row, query) for row in rows], seeds)
    if bundle is None:
        return []
    table = bundle.item_to_item.table if source == "item_to_item" else bundle.bought_together.table
    return _together(source, rows, _strongest_seeds(rows, seeds, query.visit, table), seeds)


def _said_by_neighbours(source: str, rows: list[int], query: Query) -> list[Said]:
    """The newest item of the session, which counts most in the search, for what people went on to from it in
    the sessions of the training. That the person went on to something says nothing of others."""
    person, bundle = query.visit.person, query.visit.bundle
    deeds = query.seeds.deeds if query.page_row >= 0 else person.session_seeds.deeds
    if bundle is None or not deeds:
        return []
    table = bundle.transitions.table
    following, _ = table.of(deeds[0].row, table.rows.shape[1])
    others = set(rows).intersection(following.tolist()).difference(person.done.rows)
    return [Said(source, deeds[0], others)] if others else []


def _strongest_seeds(rows: list[int], seeds: Seeds, visit: Visit, table: TopTable) -> list[int]:
    strongest = np.zeros((2, len(rows)), np.int32)
    strongest_seeds(
        np.fromiter(rows, np.int32, len(rows)), seeds.rows, seeds.weights,
        table.rows, table.scores, table.lengths, visit.scratch.place, strongest,
    )  # fmt: skip
    return strongest[0].tolist()  # type: ignore[no-any-return]


def _said_by_texts(rows: list[int], query: Query) -> list[Said]:
    """By vectors, as items may have come after the tables."""
    visit, seeds = query.visit, query.seeds
    alike = _vectors(rows, visit) @ _vectors(seeds.rows.tolist(), visit).T
    nearest = (alike * seeds.weights).argmax(axis=1)
    cosines = alike[np.arange(len(rows)), nearest].tolist()
    much = [cosine >= MUCH_ALIKE for cosine in cosines]
    said = []
    for words, is_much in (("content", True), (AKIN, False)):
        some = [place for place, one in enumerate(much) if one is is_much]
        said += _together(words, [rows[place] for place in some], nearest[some].tolist(), seeds)
    return said


def _together(words: str, rows: list[int], strongest: list[int], seeds: Seeds) -> list[Said]:
    """The rows of each seed, of which `strongest` has one for each row."""
    of_seed: dict[int, list[int]] = {}
    for row, seed in zip(rows, strongest, strict=True):
        of_seed.setdefault(seed, []).append(row)
    return [Said(words, seeds.deeds[seed], some) for seed, some in of_seed.items()]


def _vectors(rows: list[int], visit: Visit) -> Vectors:
    """float32[k, d]: of content; zero where an item has none."""
    assert visit.bundle is not None
    known = visit.bundle.content.vectors
    if max(rows) < len(known):
        vectors: Vectors = known[rows]
        return vectors
    nothing = np.zeros(known.shape[1], np.float32)
    found = [vector_of(visit, row) for row in rows]
    return np.array([nothing if vector is None else vector for vector in found])


def _left_from(row: int, query: Query) -> int:
    """The newest seed from which others went on to the row of late."""
    seeds = query.seeds.rows.tolist()
    return next((place for place, seed in enumerate(seeds) if row in others_after(seed, query.visit)[0]), 0)
