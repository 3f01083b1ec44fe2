"""The ranker of people known by what they have, for shops whose sessions tell no order: baskets,
collections, lists of places.

It learns from the past replayed (`recsys.models.kindred_replay`): sources are fitted without what they
are asked for, and trees learn to tell it from the other candidates. So each source is trusted as far as
it was right about what it had not seen, and nothing is weighed by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from recsys.models.als import Als, AlsSettings
from recsys.models.arrays import EVERYTHING, Offer, Ranked, Rows, Scores, load_settings, save_arrays
from recsys.models.boosting import BoostingSettings, Choices, boost, borders_of
from recsys.models.interactions import Interactions
from recsys.models.kindred import Kindred
from recsys.models.kindred_replay import Replayed, hidden, later, sampled
from recsys.models.kindred_signals import FEATURES, N_FEATURES, Features, KindredSignals, Sources
from recsys.models.progress import Progress, silent
from recsys.models.scratch import Scratch
from recsys.models.signals import Trail
from recsys.models.trees import Trees

_STEP: Final = "histories"
_BORDER_CHOICES: Final = 1000
"""The first choices, drawn people, whose features tell where borders are cut; they are held at once."""
_LEAST_CHOICES: Final = 50
"""Fewer choices than this teach nothing."""


class KindredRankerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What of the past is replayed, and how trees learn from it; *Choices* of `bench/RESULTS.md` has what was
    tried."""

    k_kindred: int = 150
    """How many candidates each of the two searches names."""
    cuts: tuple[float, ...] = (0.2, 0.3)
    """Where the past is cut for the replay: shares of its span before its end, each a past of its own: so
    more people came again, and not in one season only."""
    window: float = 0.2
    """How long behind a cut the next basket is waited for, as a share of the span."""
    least_returning: int = 200
    """With fewer people who came again, a share of what people have is hidden instead."""
    hidden_share: float = 0.2
    """Of each person's distinct items, 0 to 1, rounded: of five items one."""
    max_choices: int = 25_000
    """At most so many people, drawn by the seed, teach the trees, each by all that they came to have."""
    max_interactions: int = 1_500_000
    """The replay fits its sources on people drawn who have about so many, lest a large shop be factorised
    three times: what is learned is what evidence is worth, not which items go together."""
    boosting: BoostingSettings = BoostingSettings(
        trees=120, learning_rate=0.1, max_groups=6000, max_rows=300_000
    )
    """Each tree looks at half of what trees about sessions do: more taught nothing about who is kindred."""
    fits: int = 3
    """The trees speak as so many fits of them do on average, each of other draws of people and features:
    what a single one owes to chance weighs less in their mean."""
    seed: int = 0
    """Of the people who are drawn, and of what is hidden."""


DEFAULTS = KindredRankerSettings()


class KindredRanker:
    """signals: candidates and their features; trees: what these are worth."""

    def __init__(self, settings: KindredRankerSettings, signals: KindredSignals, trees: Trees) -> None:
        self.settings = settings
        self.signals = signals
        self.trees = trees

    @classmethod
    def fit(
        cls,
        interactions: Interactions,
        als_settings: AlsSettings,
        settings: KindredRankerSettings = DEFAULTS,
        *,
        threads: int = 1,
        progress: Progress = silent,
    ) -> KindredRanker | None:
        """None where there is too little to learn from. Memory: that of fitting the sources on
        `max_interactions`, and 10 KB a choice."""
        past = _past(sampled(interactions, settings.max_interactions, settings.seed), settings)
        most = settings.max_choices // len(past)
        asked = (
            choice
            for part, replayed in enumerate(past)
            for choice in _asked(
                _sources(replayed.known, als_settings, threads, progress), replayed, settings, most,
                partial(_tell, progress, part, len(past)),
            )
        )  # fmt: skip
        choices = _choices(asked, settings.boosting.bins)
        if choices is None:
            return None
        return cls(settings, KindredSignals.fit(interactions), _learned(choices, settings, threads, progress))

    def gather(self, sources: Sources, trail: Trail, scratch: Scratch, offer: Offer = EVERYTHING) -> Ranked:
        """The candidates; `KindredSignals.clear` must follow, sooner or later."""
        return self.signals.gather(sources, trail, self.settings.k_kindred, scratch, offer)

    def score(self, sources: Sources, rows: Rows, trail: Trail, scratch: Scratch) -> Scores:
        """float32[c], the greater the better, for candidates `rows` int32[c]; after `gather`. What the
        person has already comes behind all that would be new to them."""
        totals = self.trees.score(self.signals.describe(sources, rows, trail, scratch))
        had = self.signals.had(rows, scratch)
        if had.any():
            totals[had] -= np.float32(np.ptp(totals) + 1.0)
        return totals

    def weights(self) -> dict[str, float]:
        """For each feature the share of the trees' questions that ask for it."""
        return dict(zip(FEATURES, self.trees.uses(N_FEATURES).round(4).tolist(), strict=True))

    def save(self, directory: Path) -> None:
        self.signals.save(directory / "signals")
        self.trees.save(directory / "trees")
        save_arrays(directory, {}, self.settings)

    @classmethod
    def load(cls, directory: Path) -> KindredRanker:
        return cls(
            load_settings(directory, KindredRankerSettings),
            KindredSignals.load(directory / "signals"),
            Trees.load(directory / "trees"),
        )


def _past(interactions: Interactions, settings: KindredRankerSettings) -> list[Replayed]:
    """By time where enough people came again, else by chance."""
    by_time = [later(interactions, cut, settings.window) for cut in settings.cuts]
    by_time = [replayed for replayed in by_time if len(replayed.persons) >= settings.least_returning]
    return by_time or [hidden(interactions, settings.hidden_share, settings.seed)]


def _tell(progress: Progress, part: int, of_parts: int, share: float) -> None:
    progress(_STEP, (part + share) / of_parts)


def _sources(known: Interactions, als_settings: AlsSettings, threads: int, progress: Progress) -> Sources:
    return Sources(
        Kindred.fit(known, threads=threads, progress=progress),
        Als.fit(known, als_settings, threads=threads, progress=progress),
    )


def _asked(
    sources: Sources,
    replayed: Replayed,
    settings: KindredRankerSettings,
    most: int,
    tell: Callable[[float], None],
) -> Iterator[tuple[Features, list[int]]]:
    """Candidates' features, and which of them a person came to have."""
    order = np.random.default_rng(settings.seed).permutation(len(replayed.persons))[:most]
    signals, scratch = KindredSignals.fit(replayed.known), sources.scratch()
    for number, (trail, wanted) in enumerate(replayed.trails(order)):
        rows, _ = signals.gather(sources, trail, settings.k_kindred, scratch)
        features = signals.describe(sources, rows, trail, scratch)
        signals.clear(scratch)
        taken = np.flatnonzero(np.isin(rows, wanted)).tolist()
        if 0 < len(taken) < len(rows):
            yield features, taken
        tell(number / len(order))


def _choices(asked: Iterator[tuple[Features, list[int]]], bins: int) -> Choices | None:
    first = list(islice(asked, _BORDER_CHOICES))
    if len(first) < _LEAST_CHOICES:
        return None
    choices = Choices(borders_of((features for features, _ in first), bins))
    for features, taken in chain(first, asked):
        choices.add(features, taken)
    return choices


def _learned(choices: Choices, settings: KindredRankerSettings, threads: int, progress: Progress) -> Trees:
    def fit(number: int) -> Trees:
        seeded = msgspec.structs.replace(settings.boosting, seed=settings.boosting.seed + number)
        return boost(
            choices,
            seeded,
            lambda step, share: progress(step, (number + share) / settings.fits),
            threads=threads,
        )

    return Trees.mean([fit(number) for number in range(settings.fits)])
