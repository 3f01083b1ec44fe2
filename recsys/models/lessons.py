"""What the ranker learns from: choices that people made in sessions replayed, with what was known then.

Sessions that the signals have not seen are lived through once more, in the order of time. At each place
of one, candidates are gathered and described as if it happened now; one of them is what came next.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from recsys.models.boosting import BoostingSettings, Choices, boost, borders_of
from recsys.models.demand import Demand, no_live
from recsys.models.interactions import Interactions
from recsys.models.opinions import Opinions
from recsys.models.progress import Progress, silent
from recsys.models.signals import Features, Signals, Trail, Traits
from recsys.models.trees import Trees

_STEP: Final = "replay"
_BORDER_GROUPS: Final = 1000
"""Prefixes, drawn from all of the time, whose features tell where borders are cut: they are held at once."""
_SURGING_EVERY: Final = 20
"""After so many prefixes the items in the greatest demand are looked for anew, a pass over all items."""
_MIN_CHOICES: Final = 50
"""Fewer choices than this teach nothing."""

Places = npt.NDArray[np.int64]
"""Places of interactions."""


class LessonSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What of the past is replayed as lessons, and how trees learn from them."""

    max_prefixes: int = 24_000
    """At most so many beginnings of sessions are asked about, of whole sessions drawn by the seed, so that a
    larger shop takes no longer."""
    max_history_rows: int = 100
    """How many interactions before the session are looked at, the newest: a profile keeps 60 touches and 12
    orders, so seldom more are there when a block is decided."""
    n_surging: int = 50
    """How many of the items in the greatest demand are candidates besides."""
    blind_share: float = 0.15
    """For this share of the prefixes, 0 to 1, there are no live counters, as after a loss of the state: trees
    learn to do without."""
    boosting: BoostingSettings = BoostingSettings()
    """Of the trees."""
    seed: int = 0
    """Of the sessions, and of the prefixes without counters, that are drawn."""


DEFAULTS = LessonSettings()


@dataclass(frozen=True)
class Lessons:
    """choices: what was taken of which candidates; at_s float64[g], rising: when."""

    settings: LessonSettings
    choices: Choices
    at_s: npt.NDArray[np.float64]

    @classmethod
    def replay(
        cls,
        signals: Signals,
        opinions: Opinions,
        interactions: Interactions,
        first: int,
        settings: LessonSettings = DEFAULTS,
        progress: Progress = silent,
        *,
        traits: Traits | None = None,
    ) -> Lessons | None:
        """From the sessions from number `first` on, of which `signals` and `opinions` must know nothing; None
        where they hold too few choices. `traits`: of the items, where there is a catalogue. Memory: some 6 KB
        a prefix."""
        known = Traits.unknown(interactions.n_items) if traits is None else traits
        past = _Past(signals, opinions, interactions, known, Demand(interactions), settings)
        places = _places(interactions, first, settings)
        # Lived through twice, the first time here and there: demand at night is not that of the evening, so
        # borders by its first hours would not tell apart what the later ones are about.
        drawn = np.random.default_rng(settings.seed).permutation(len(places))[:_BORDER_GROUPS]
        some = places[np.sort(drawn)]
        samples = [features for _, features, _ in past.lessons(some)]
        if not samples:
            return None
        choices, at_s = Choices(borders_of(samples, settings.boosting.bins)), []
        del samples
        for now_s, features, taken in past.lessons(places, progress):
            choices.add(features, taken)
            at_s.append(now_s)
        return cls(settings, choices, np.array(at_s)) if len(choices) >= _MIN_CHOICES else None

    def learned(
        self, until_s: float = np.inf, *, threads: int = 1, progress: Progress = silent
    ) -> Trees | None:
        """What the choices before epoch second `until_s` teach; None where they are too few."""
        n = int(np.searchsorted(self.at_s, until_s, side="left"))
        if n < _MIN_CHOICES:
            return None
        return boost(self.choices.first(n), self.settings.boosting, progress, threads=threads)


@dataclass(frozen=True)
class _Past:
    """What was known as people chose, and what they had to choose from."""

    signals: Signals
    opinions: Opinions
    interactions: Interactions
    traits: Traits
    demand: Demand
    settings: LessonSettings

    def lessons(
        self, places: Places, progress: Progress = silent
    ) -> Iterator[tuple[float, Features, list[int]]]:
        """For those of `places`, rising in time, where what came next was a candidate: when it was, the
        candidates' features, and which of them it was."""
        signals, opinions, demand, settings = self.signals, self.opinions, self.demand, self.settings
        desk, scratch = signals.desk(), opinions.scratch()
        demand.begin()
        random = np.random.default_rng(settings.seed)
        surging = np.empty(0, np.int32)
        for number, (share, trail, target) in enumerate(_trails(self.interactions, places, settings)):
            demand.go_to(trail.now_s)
            if number % _SURGING_EVERY == 0:
                surging = demand.surging(settings.n_surging)
            gathered = signals.gather(trail, desk)
            at_hand = int(trail.rows[-1])
            besides = np.union1d(surging, demand.after(at_hand)[0]).astype(np.int32)
            pool = np.concatenate((gathered, besides[np.isin(besides, gathered, invert=True)]))
            taken = np.flatnonzero(pool == target).tolist()
            if taken and len(pool) > 1:
                # Counters may be lost or late: now and then the ranker has to do without.
                blind = random.random() < settings.blind_share
                live = no_live(len(pool)) if blind else demand.of(pool, at_hand, trail.now_s)
                said = opinions.of(pool, trail, opinions.taste(trail, scratch), scratch)
                yield trail.now_s, signals.describe(pool, trail, desk, live, said, self.traits), taken
            progress(_STEP, share)


def _places(interactions: Interactions, first: int, settings: LessonSettings) -> Places:
    """Places in sessions from `first` on, every one but the first of its session, in the order of the time
    before them: of whole sessions, drawn."""
    starts = interactions.session_starts
    random = np.random.default_rng(settings.seed)
    sessions = first + random.permutation(interactions.n_sessions - first)
    sessions = sessions[np.cumsum(np.diff(starts)[sessions] - 1) <= settings.max_prefixes]
    is_asked = np.zeros(interactions.n_sessions, bool)
    is_asked[sessions] = True
    asked = 1 + np.flatnonzero(is_asked[interactions.session[1:]] & (np.diff(interactions.session) == 0))
    return asked[np.argsort(interactions.at_s[asked - 1], kind="stable")]


def _trails(
    interactions: Interactions, places: Places, settings: LessonSettings
) -> Iterator[tuple[float, Trail, int]]:
    """For each of `places` how far this is, the person's trail up to there, and the item that came next.
    Another kind of interaction with the same item is not what came next: a view and then a cart say one
    thing."""
    starts = interactions.session_starts
    history = _Histories(interactions, np.unique(interactions.session[places]), settings.max_history_rows)
    for number, place in enumerate(places.tolist()):
        session = int(interactions.session[place])
        end, came = int(starts[session + 1]), place
        item, kind = interactions.item, interactions.kind
        while came < end and item[came] == item[place - 1] and kind[came] != kind[place - 1]:
            came += 1
        if came == end:
            continue
        past = history.before(session)
        rows = np.concatenate((past, np.arange(starts[session], place)))
        at_s = interactions.at_s[rows].astype(np.int64)
        trail = Trail(item[rows], kind[rows], at_s, len(past), float(interactions.at_s[place - 1]))
        yield number / len(places), trail, int(item[came])


class _Histories:
    """What the persons of some sessions did before them."""

    def __init__(self, interactions: Interactions, sessions: npt.NDArray[np.int64], max_rows: int) -> None:
        starts = interactions.session_starts
        self._interactions = interactions
        self._max_rows = max_rows
        self._starts = starts
        wanted = np.zeros(interactions.n_persons, bool)
        wanted[interactions.person[starts[sessions]]] = True
        rows = np.flatnonzero(wanted[interactions.person])
        self._rows = rows[np.lexsort((interactions.at_s[rows], interactions.person[rows]))]
        self._persons = interactions.person[self._rows]

    def before(self, session: int) -> npt.NDArray[np.int64]:
        """The rows of the session's person before it began, the newest `max_rows`, oldest first."""
        start = self._starts[session]
        person, began_s = self._interactions.person[start], self._interactions.at_s[start]
        low, high = np.searchsorted(self._persons, [person, person + 1])
        rows = self._rows[low:high]
        earlier = rows[: int(np.searchsorted(self._interactions.at_s[rows], began_s, side="left"))]
        return earlier[-self._max_rows :]
