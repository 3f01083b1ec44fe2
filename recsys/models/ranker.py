"""The learned ranker: it has seen, in sessions replayed, which candidates were taken and what was known.

Signals are fitted on all but the newest sessions; the beginnings of those are asked about as if they
happened now; trees learn to tell the item that came next from the other candidates. Then the signals
are fitted once more, on everything. So a source is trusted as far as it was right about what it had not
seen, and nothing is weighed by hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from recsys.models.arrays import Rows, Scores
from recsys.models.boosting import BoostingSettings, Choices, boost, borders_of
from recsys.models.demand import Demand, Live, no_live
from recsys.models.interactions import Interactions
from recsys.models.progress import Progress, silent
from recsys.models.signal_kernels import FEATURES, N_FEATURES, Desk
from recsys.models.signals import Features, Signals, SignalSettings, Trail
from recsys.models.trees import Trees

_STEP: Final = "replay"
_BORDER_GROUPS: Final = 1000
_SURGING_EVERY: Final = 20
_MIN_CHOICES: Final = 50
"""Fewer choices than this teach nothing."""


class RankerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    replay_share: float = 0.1
    """The share of the sessions, the newest, that is replayed to learn from."""
    max_prefixes: int = 15_000
    """At most so many beginnings of sessions are asked about, of whole sessions drawn by the seed."""
    max_history_rows: int = 100
    """How much of what a person did before the session is looked at."""
    n_surging: int = 50
    """How many of the items in the greatest demand are candidates besides."""
    blind_share: float = 0.15
    """For this share of the prefixes there are no live counters."""
    signals: SignalSettings = SignalSettings()
    boosting: BoostingSettings = BoostingSettings()
    seed: int = 0


DEFAULTS = RankerSettings()


class Ranker:
    """signals: candidates and their features; trees: what these are worth. None where there was too
    little to learn from: callers then fall back on the plain sum of sources."""

    def __init__(self, signals: Signals, trees: Trees) -> None:
        self.signals = signals
        self.trees = trees

    @classmethod
    def fit(
        cls,
        interactions: Interactions,
        settings: RankerSettings = DEFAULTS,
        *,
        threads: int = 1,
        progress: Progress = silent,
    ) -> Ranker | None:
        """None where the newest sessions hold too few choices to learn from."""
        trees = learn(interactions, settings, threads=threads, progress=progress)
        if trees is None:
            return None
        return cls(Signals.fit(interactions, settings.signals, threads=threads, progress=progress), trees)

    def desk(self) -> Desk:
        """Working memory; one a thread."""
        return self.signals.desk()

    def gather(self, trail: Trail, desk: Desk) -> Rows:
        """The candidates int32[c]; `Signals.clear` must follow, sooner or later."""
        return self.signals.gather(trail, desk)

    def score(self, rows: Rows, trail: Trail, desk: Desk, live: Live | None = None) -> Scores:
        """float32[c], the greater the better, for candidates `rows` int32[c]; after `gather`. live
        float32[N_LIVE, c]: the demand for them now, None where there are no live counters."""
        live = no_live(len(rows)) if live is None else live
        return self.trees.score(self.signals.describe(rows, trail, desk, live))

    def effects(
        self, rows: Rows, trail: Trail, desk: Desk, live: Live | None = None
    ) -> tuple[Features, Features]:
        """float32[F, c] each: the features of the candidates as `score` sees them, and how much each moved
        the score; see `Trees.effects`. After `gather`."""
        live = no_live(len(rows)) if live is None else live
        features = self.signals.describe(rows, trail, desk, live)
        return features, self.trees.effects(features)

    def weights(self) -> dict[str, float]:
        """For each feature the share of the trees' questions that ask for it."""
        return dict(zip(FEATURES, self.trees.uses(N_FEATURES).round(4).tolist(), strict=True))

    def save(self, directory: Path) -> None:
        self.signals.save(directory / "signals")
        self.trees.save(directory / "trees")

    @classmethod
    def load(cls, directory: Path) -> Ranker:
        return cls(Signals.load(directory / "signals"), Trees.load(directory / "trees"))


def learn(
    interactions: Interactions,
    settings: RankerSettings = DEFAULTS,
    *,
    threads: int = 1,
    progress: Progress = silent,
) -> Trees | None:
    """Replay the newest sessions against signals that know only what came before."""
    if interactions.n_sessions < 2:
        return None
    ended_s = interactions.at_s[interactions.session_starts[1:] - 1]
    first = int(np.searchsorted(ended_s, np.quantile(ended_s, 1.0 - settings.replay_share), side="left"))
    before, _ = interactions.split(float(ended_s[first]))
    if not len(before):
        return None
    signals = Signals.fit(before, settings.signals, threads=threads, progress=progress)
    choices = _replayed(signals, interactions, first, settings, progress)
    return boost(choices, settings.boosting, progress) if choices is not None else None


def _replayed(
    signals: Signals, interactions: Interactions, first: int, settings: RankerSettings, progress: Progress
) -> Choices | None:
    """What was taken of the candidates at each place of the sessions from `first` on."""
    desk, demand, groups = signals.desk(), Demand(interactions), []
    random = np.random.default_rng(settings.seed)
    choices: Choices | None = None
    surging = np.empty(0, np.int32)
    for number, (share, trail, target) in enumerate(_trails(interactions, first, settings)):
        demand.go_to(trail.now_s)
        if number % _SURGING_EVERY == 0:
            surging = demand.surging(settings.n_surging)
        gathered = signals.gather(trail, desk)
        at_hand = int(trail.rows[-1])
        besides = np.union1d(surging, demand.after(at_hand)[0]).astype(np.int32)
        pool = np.concatenate((gathered, besides[np.isin(besides, gathered, invert=True)]))
        taken = np.flatnonzero(pool == target)
        if len(taken) and len(pool) > 1:
            # Counters may be lost or late: now and then the ranker has to do without.
            blind = random.random() < settings.blind_share
            live = no_live(len(pool)) if blind else demand.of(pool, at_hand, trail.now_s)
            features = signals.describe(pool, trail, desk, live)
            if choices is None:
                groups.append((features, int(taken[0])))
                if len(groups) == _BORDER_GROUPS:
                    choices = _opened(groups, settings)
            else:
                choices.add(features, int(taken[0]))
        signals.clear(desk)
        progress(_STEP, share)
    if choices is None and len(groups) >= _MIN_CHOICES:
        choices = _opened(groups, settings)
    return choices


def _opened(groups: list[tuple[npt.NDArray[np.float32], int]], settings: RankerSettings) -> Choices:
    choices = Choices(borders_of((features for features, _ in groups), settings.boosting.bins))
    for features, target in groups:
        choices.add(features, target)
    return choices


def _trails(
    interactions: Interactions, first: int, settings: RankerSettings
) -> Iterator[tuple[float, Trail, int]]:
    """For places in sessions from `first` on, in the order of time: how far this is, the person's trail
    up to there, and the item that came next. Another kind of interaction with the same item is not what
    came next: a view and then a cart say one thing."""
    starts = interactions.session_starts
    random = np.random.default_rng(settings.seed)
    sessions = first + random.permutation(interactions.n_sessions - first)
    sessions = sessions[np.cumsum(np.diff(starts)[sessions] - 1) <= settings.max_prefixes]
    history = _Histories(interactions, sessions, settings.max_history_rows)
    is_asked = np.zeros(interactions.n_sessions, bool)
    is_asked[sessions] = True
    # Every place but the first of its session.
    asked = 1 + np.flatnonzero(is_asked[interactions.session[1:]] & (np.diff(interactions.session) == 0))
    asked = asked[np.argsort(interactions.at_s[asked - 1], kind="stable")]
    for number, place in enumerate(asked.tolist()):
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
        yield number / len(asked), trail, int(item[came])


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
