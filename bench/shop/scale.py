"""Interactions by the million as plain columns: sizes for the serving benchmark, made in seconds.

The same kind of structure as the demo shop's, without its words: items in clusters (leaf categories),
Zipf popularity, people who prefer a few clusters, next items near the last one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.shop.events import DAY_MS
from bench.shop.words import BRANDS, SERIES, SITE

VIEW, CART, ORDER = 0, 1, 2  # values of `kind`
MIN_LENGTH, MAX_LENGTH = 2, 50
_CLUSTER_SIZE = 50  # items of one cluster
_MEAN_LENGTH = 5.0
_BLOCK = 8192  # people drawn together in `histories`
_FAVOURITES = 3  # clusters a person prefers
_SOLD_AS = {VIEW: 0.0, CART: 0.07, ORDER: 0.025}


class Interactions(NamedTuple):
    """Columns of equal length n.

    person: int32[n], session: int32[n], item: int32[n] (rows from 0), kind: uint8[n] (VIEW, CART, ORDER),
    at_s: float64[n], epoch seconds.
    """

    person: NDArray[np.int32]
    session: NDArray[np.int32]
    item: NDArray[np.int32]
    kind: NDArray[np.uint8]
    at_s: NDArray[np.float64]


class Scale:
    """Makes `sessions` sessions of `profiles` people over `items` items; deterministic from `seed`.

    Lengths are 2..50 with mean about 5. ValueError for sizes below 1 or fewer than 100 items.
    """

    def __init__(
        self, seed: int = 7, items: int = 50_000, sessions: int = 500_000, profiles: int = 1_000_000
    ) -> None:
        if items < 2 * _CLUSTER_SIZE or sessions < 1 or profiles < 1:
            raise ValueError(
                f"Expected at least {2 * _CLUSTER_SIZE} items, 1 session, 1 profile, "
                f"got `{items}`, `{sessions}`, `{profiles}`"
            )
        self.seed = seed
        self.items = items
        self.sessions = sessions
        self.profiles = profiles
        self._clusters = items // _CLUSTER_SIZE  # the last items, fewer than a cluster, join the last one
        rng = np.random.default_rng([seed, 0])
        weight = 1.0 / (np.arange(self._clusters) + 10.0) ** 0.8
        self._cluster_share = np.cumsum(weight / weight.sum())
        self._goes_with = rng.permutation(self._clusters)  # cluster -> the cluster that complements it
        ranks = 1.0 / (np.arange(_CLUSTER_SIZE) + 1.0) ** 0.9
        self._rank_share = np.cumsum(ranks / ranks.sum())

    def interactions(self, start_s: float = 1_767_225_600.0, days: int = 90) -> Interactions:
        """All sessions, within `days` from `start_s` (epoch seconds), sorted by session, then time.
        Sessions are numbered by the time they start."""
        rng = np.random.default_rng([self.seed, 1])
        person = np.minimum(self.profiles * rng.random(self.sessions) ** 1.4, self.profiles - 1).astype(
            np.int32
        )
        begin_s = start_s + np.sort(rng.random(self.sessions)) * days * DAY_MS / 1000
        length = _lengths(rng, self.sessions)
        item, kind, gap_s = self._walk(rng, person, length)
        first = np.cumsum(length) - length
        elapsed_s = np.cumsum(gap_s)
        at_s = np.repeat(begin_s - elapsed_s[first], length) + elapsed_s
        session = np.repeat(np.arange(self.sessions, dtype=np.int32), length)
        return Interactions(np.repeat(person, length), session, item, kind, at_s)

    def histories(self, now_s: float = 1_775_000_000.0) -> Iterator[Interactions]:
        """One session for each of the `profiles` people, ended within the 30 days before `now_s`, in
        blocks of at most 8,192 people; `session` equals `person`. Block by block the same, whoever asks."""
        for block, begin in enumerate(range(0, self.profiles, _BLOCK)):
            rng = np.random.default_rng([self.seed, 2, block])
            person = np.arange(begin, min(begin + _BLOCK, self.profiles), dtype=np.int32)
            length = _lengths(rng, len(person))
            item, kind, gap_s = self._walk(rng, person, length)
            last = np.cumsum(length) - 1
            elapsed_s = np.cumsum(gap_s)
            end_s = now_s - rng.random(len(person)) * 30 * DAY_MS / 1000
            at_s = np.repeat(end_s - elapsed_s[last], length) + elapsed_s
            who = np.repeat(person, length)
            yield Interactions(who, who, item, kind, at_s)

    def item(self, row: int) -> dict[str, Any]:
        """The item of a row: id, title, price (EUR), category, link; made on demand, always the same."""
        if not 0 <= row < self.items:
            raise IndexError(f"Expected an item row in 0..{self.items - 1}, got `{row}`")
        cluster, rank = divmod(row, _CLUSTER_SIZE)
        shelf = ("Outdoor", "Clothing", "Coffee")[cluster % 3]
        brands, series = BRANDS[shelf], SERIES[shelf].split()
        mixed = (row * 2_654_435_761 + self.seed * 97) % 2**32
        code = f"item-{row:06d}"
        name = f"{brands[mixed % len(brands)]} {series[cluster // 3 % len(series)]}"
        return {
            "id": code,
            "title": f"{name} {cluster + 1}-{rank + 1}",
            "price": round(5 + (mixed >> 8) % 29_500 / 100, 2),
            "category": f"{shelf} > Range {cluster % 40 + 1} > Shelf {cluster + 1}",
            "link": f"{SITE}/p/{code}",
        }

    def catalogue(self) -> Iterator[dict[str, Any]]:
        """All items in row order, one at a time."""
        return (self.item(row) for row in range(self.items))

    def _walk(
        self, rng: np.random.Generator, person: NDArray[np.int32], length: NDArray[np.int64]
    ) -> tuple[NDArray[np.int32], NDArray[np.uint8], NDArray[np.float64]]:
        """Items, kinds and gaps (s) of sessions, one after the other: int32[n], uint8[n], float64[n].

        All sessions take their k-th step together, so the loop runs MAX_LENGTH times, whatever the size.
        """
        total = int(length.sum())
        first = np.cumsum(length) - length
        item = np.empty(total, dtype=np.int32)
        cluster = self._favourite(rng, person)
        alive = np.arange(len(person))
        current = self._in_cluster(rng, cluster)
        for step in range(int(length.max())):
            alive = alive[length[alive] > step]
            if step:
                current[alive] = self._next(rng, person[alive], current[alive])
            item[first[alive] + step] = current[alive]
        u = rng.random(total, dtype=np.float32)
        kind = np.zeros(total, dtype=np.uint8)
        kind[u < _SOLD_AS[CART]] = CART
        kind[u < _SOLD_AS[ORDER]] = ORDER
        return item, kind, rng.exponential(45.0, total) + 1.0

    def _favourite(self, rng: np.random.Generator, person: NDArray[np.int32]) -> NDArray[np.int64]:
        """One of each person's favourite clusters; which ones is a hash of person and seed."""
        pick = np.minimum(rng.random(len(person)) ** 1.5 * _FAVOURITES, _FAVOURITES - 1).astype(np.uint64)
        mixed = person.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + pick * np.uint64(
            0xBF58476D1CE4E5B9
        )
        mixed = (mixed + np.uint64(self.seed)) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
        share = (mixed >> np.uint64(11)).astype(np.float64) / 2.0**53
        return np.searchsorted(self._cluster_share, share).clip(0, self._clusters - 1)

    def _in_cluster(self, rng: np.random.Generator, cluster: NDArray[np.int64]) -> NDArray[np.int64]:
        """An item of each cluster by Zipf rank."""
        rank = np.searchsorted(self._rank_share, rng.random(len(cluster))).clip(0, _CLUSTER_SIZE - 1)
        tail = self.items - self._clusters * _CLUSTER_SIZE
        spread = (cluster == self._clusters - 1) & (rng.random(len(cluster)) < tail / (tail + _CLUSTER_SIZE))
        row: NDArray[np.int64] = cluster * _CLUSTER_SIZE + rank
        row[spread] = self._clusters * _CLUSTER_SIZE + rng.integers(0, max(tail, 1), int(spread.sum()))
        return row

    def _next(
        self, rng: np.random.Generator, person: NDArray[np.int32], current: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """The next item: a near one, another of the cluster, a complement's, or a favourite cluster's."""
        u = rng.random(len(current))
        cluster = np.minimum(current // _CLUSTER_SIZE, self._clusters - 1)
        near = (current + rng.integers(1, 4, len(current))).clip(0, self.items - 1)
        elsewhere = np.where(u < 0.82, cluster, self._goes_with[cluster])
        tired = u > 0.93
        elsewhere[tired] = self._favourite(rng, person[tired])
        return np.where(u < 0.38, near, self._in_cluster(rng, elsewhere))


def _lengths(rng: np.random.Generator, count: int) -> NDArray[np.int64]:
    """Session lengths: two and a geometric rest, cut at 50."""
    rest = rng.geometric(1.0 / (_MEAN_LENGTH - MIN_LENGTH + 1.0), count) - 1
    return np.minimum(MIN_LENGTH + rest, MAX_LENGTH).astype(np.int64)
