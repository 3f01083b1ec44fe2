"""Blend: several kinds of items in one block, by share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from recsys.pipeline.columns import type_set
from recsys.pipeline.mix import Choice
from recsys.pipeline.query import Query

Choose = Callable[[Query, Sequence[int]], Choice]


def blend(query: Query, taken: Sequence[int], choose: Choose) -> Choice:
    """A block in which each kind of item has its share of the places; those that one kind leaves empty
    go to the others. `choose` fills a slot with one kind. What the block keeps takes of its kind's places."""
    shares: dict[str, float] = {
        kind: share
        for kind, share in query.placement.shares.items()
        if share > 0 and kind in query.placement.item_types
    }
    whole = sum(shares.values())
    found: dict[str, Choice] = {}
    kept = _kept(query, shares)
    limit = query.limit - len(query.keeps) + sum(map(len, kept.values()))
    missing = limit
    # The smallest share first: what it cannot fill is left to the greater ones, and then once more.
    for kind in (*sorted(shares, key=lambda kind: shares[kind]), *sorted(shares)):
        there = {name: len(kept[name]) + (len(found[name].rows) if name in found else 0) for name in shares}
        left = limit - sum(there.values()) + there[kind]
        is_last = len(found) >= len(shares) - 1
        wanted = left if is_last else min(round(limit * shares[kind] / whole), left)
        if wanted > there[kind]:
            # As a page behind the first: one kind may have nothing to show.
            of_kind = msgspec.structs.replace(
                query, limit=wanted, types=type_set((kind,)), is_first_page=False, keeps=kept[kind]
            )
            found[kind] = choose(of_kind, taken)
        missing = limit - sum(map(len, kept.values())) - sum(len(choice.rows) for choice in found.values())
        if not missing and len(found) == len(shares):
            break
    if missing == query.limit:
        return choose(msgspec.structs.replace(query, types=type_set(query.placement.item_types)), taken)
    return _joined(found, shares)


def _kept(query: Query, kinds: Iterable[str]) -> dict[str, list[int]]:
    """By kind what the block keeps."""
    if not query.keeps:
        return {kind: [] for kind in kinds}
    offer = query.visit.columns.offer
    return {kind: [row for row in query.keeps if offer[row] & type_set((kind,))] for kind in kinds}


def places_of(shares: Mapping[str, float], counts: Mapping[str, int]) -> list[str]:
    """Which kind stands at each place: the one that is furthest behind its share, of those that have
    something left."""
    order: list[str] = []
    stood = dict.fromkeys(counts, 0)
    for place in range(1, sum(counts.values()) + 1):
        left = [kind for kind, count in counts.items() if stood[kind] < count]
        behind = max(left, key=lambda kind: shares[kind] * place - stood[kind])
        stood[behind] += 1
        order.append(behind)
    return order


def _joined(found: Mapping[str, Choice], shares: Mapping[str, float]) -> Choice:
    whole = sum(shares.values())
    order = places_of(
        {kind: shares[kind] / whole for kind in found},
        {kind: len(choice.rows) for kind, choice in found.items()},
    )
    stood = dict.fromkeys(found, 0)
    places: list[tuple[Choice, int]] = []
    for kind in order:
        places.append((found[kind], stood[kind]))
        stood[kind] += 1
    return Choice(
        [choice.rows[place] for choice, place in places],
        [choice.scores[place] for choice, place in places],
        [choice.sources[place] for choice, place in places],
        [choice.propensities[place] for choice, place in places],
        personal=any(choice.personal for choice in found.values()),
        contextual=any(choice.contextual for choice in found.values()),
    )
