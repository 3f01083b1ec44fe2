"""What is known of candidates for a person who is known by what they have, whatever its order.

`Kindred` is asked twice: with all of the history alike, and with the newest of it counting most; ALS says
how near each candidate is to the taste of the history, a `Spectrum` how loud it is in it; and an item's own
popularity, of late and of old.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from recsys.models.als import Als
from recsys.models.arrays import EVERYTHING, Offer, Ranked, Rows, Scores, load_array, save_arrays
from recsys.models.interactions import Interactions
from recsys.models.kindred import Kindred
from recsys.models.kindred_kernels import CHANNELS, EVIDENCE, HISTORY, N_CHANNELS, KindredDesk
from recsys.models.kindred_replay import sampled
from recsys.models.scratch import Scratch
from recsys.models.signal_arrays import COLUMNS, UNSEEN
from recsys.models.signals import SignalSettings, Trail, item_columns
from recsys.models.spectrum import HEARD, HEARD_LOWEST, Spectrum

SETTINGS: Final = SignalSettings(n_popular=60)
"""Of the columns of items; so many popular ones are everybody's candidates, beside those of the searches."""
_N_WEIGHED: Final = 2 * N_CHANNELS
"""Of the evidence, what depends on the weights of the history: channels and their shares of the best."""
_WALKS, _PEOPLE = N_CHANNELS + CHANNELS.index("walks"), N_CHANNELS + CHANNELS.index("people")
"""Rows of the evidence: the shares of the two searches, which `walks_and_people` adds up."""
_N_TOLD: Final = 6
"""How many of an item's columns are features; the others are about sessions."""
FEATURES: Final = (
    *EVIDENCE, *(f"faded_{name}" for name in EVIDENCE[:_N_WEIGHED]), "walks_and_people", "als", "als_share",
    *COLUMNS[:_N_TOLD], "days_since_last", *HEARD, *(f"{name}_share" for name in HEARD),
    *HEARD_LOWEST, *(f"{name}_share" for name in HEARD_LOWEST),
)  # fmt: skip
"""The rows of the ranker's features. New ones come last: trees of an older bundle ask for the others by their
places."""
N_FEATURES: Final = len(FEATURES)
_DAYS_SINCE_LAST: Final = FEATURES.index("days_since_last")
_HEARD: Final = FEATURES.index(HEARD[0])
_LEAST_WEIGHT: Final = 1e-3
"""Of what is older than many half-lives: still more than nothing."""
_DAY_S: Final = 86_400.0
_MAX_HEARD: Final = 1_500_000
"""The spectrum is of people drawn who have about so many interactions."""
_SPECTRUM: Final = "spectrum"

Features = npt.NDArray[np.float32]
"""float32[N_FEATURES, c]: a row for each of `FEATURES`, a column for each candidate."""


class Sources(NamedTuple):
    """What names and describes candidates: the bundle's when serving, in a replay those of the past."""

    kindred: Kindred
    als: Als

    def scratch(self) -> Scratch:
        """Working memory of one thread, where there is no bundle's."""
        scratch = self.als.scratch()
        scratch.kindred = desks(self.kindred)
        return scratch


def desks(kindred: Kindred) -> tuple[KindredDesk, KindredDesk]:
    """One for the history as it is, one for the faded."""
    return kindred.desk(), kindred.desk()


class KindredSignals:
    """columns float32[n_items, N_COLUMNS] as `recsys.models.signals.Signals` has them; popular int32[p]:
    the most popular of late; half_life_s float64[1]: after how long a part of a history counts half;
    spectrum: what the history sounds like, nothing in bundles of format 5."""

    _ARRAYS = ("columns", "popular", "half_life_s")

    def __init__(
        self,
        columns: npt.NDArray[np.float32],
        popular: Rows,
        half_life_s: npt.NDArray[np.float64],
        spectrum: Spectrum,
    ) -> None:
        self.columns = columns
        self.popular = popular
        self.half_life_s = half_life_s
        self.spectrum = spectrum

    @classmethod
    def fit(cls, interactions: Interactions) -> KindredSignals:
        columns, popular = item_columns(interactions, SETTINGS)
        span_s = float(np.ptp(interactions.at_s)) if len(interactions) else 0.0
        half_life_s = np.array([max(span_s, 1.0) / SETTINGS.half_lives])
        heard = sampled(interactions, _MAX_HEARD, SETTINGS.seed)
        return cls(columns, popular, half_life_s, Spectrum.fit(heard))

    def gather(
        self, sources: Sources, trail: Trail, k: int, scratch: Scratch, offer: Offer = EVERYTHING
    ) -> Ranked:
        """Candidates, each once, in no order and none of the trail's own: at most k for each of two
        searches, scored as `Kindred.gather` does, and what is popular. `clear` must follow."""
        plain, faded = _desks_of(scratch)
        alike = np.ones(len(trail.rows), np.float32)
        found = [
            sources.kindred.gather(trail.rows, alike, k, plain, offer),
            (self.popular, np.full(len(self.popular), _LEAST_WEIGHT, np.float32)),
        ]
        weights = self._faded(trail)
        if weights is not None:
            found.append(sources.kindred.gather(trail.rows, weights, k, faded, offer))
        rows, place = np.unique(np.concatenate([rows for rows, _ in found]), return_inverse=True)
        scores = np.zeros(len(rows), np.float32)
        np.maximum.at(scores, place, np.concatenate([scores for _, scores in found]))
        others = ~self.had(rows, scratch)
        return rows[others], scores[others]

    def had(self, rows: Rows, scratch: Scratch) -> npt.NDArray[np.bool_]:
        """bool[c]: which of `rows` int32[c] the history has; after `gather`."""
        plain, _ = _desks_of(scratch)
        known = rows < len(plain.place)
        slots = plain.place[np.where(known, rows, 0)]
        had: npt.NDArray[np.bool_] = known & (slots > 0) & (slots <= plain.facts[HISTORY])
        return had

    def describe(self, sources: Sources, rows: Rows, trail: Trail, scratch: Scratch) -> Features:
        """What speaks for and against each of `rows` int32[c], gathered or from elsewhere; after `gather`."""
        plain, faded = _desks_of(scratch)
        features = np.empty((N_FEATURES, len(rows)), np.float32)
        evidence = sources.kindred.describe(rows, plain)
        at = len(evidence)
        features[:at] = evidence
        if self._faded(trail) is not None:
            evidence = sources.kindred.describe(rows, faded)
        features[at : at + _N_WEIGHED] = evidence[:_N_WEIGHED]
        at += _N_WEIGHED
        features[at] = features[_WALKS] + features[_PEOPLE]
        known = rows < len(self.columns)
        likings = _likings(sources.als, rows, trail, scratch)
        features[at + 1] = likings
        features[at + 2] = likings / max(float(likings.max(initial=0.0)), 1e-9)
        of_items = self.columns[np.where(known, rows, 0), :_N_TOLD]
        features[at + 3 : _DAYS_SINCE_LAST] = np.where(known[:, None], of_items, UNSEEN[:_N_TOLD]).T
        features[_DAYS_SINCE_LAST] = (trail.now_s - trail.at_s[-1]) / _DAY_S if len(trail.at_s) else 0.0
        heard = self.spectrum.hear(rows, trail.rows)
        shares = heard / np.maximum(heard.max(axis=1, initial=0.0), 1e-9)[:, None]
        wide, lowest = slice(len(HEARD)), slice(len(HEARD), None)
        features[_HEARD:] = np.concatenate((heard[wide], shares[wide], heard[lowest], shares[lowest]))
        return features

    @staticmethod
    def clear(scratch: Scratch) -> None:
        for desk in _desks_of(scratch):
            Kindred.clear(desk)

    def save(self, directory: Path) -> None:
        save_arrays(directory, {name: getattr(self, name) for name in self._ARRAYS}, SETTINGS)
        self.spectrum.save(directory / _SPECTRUM)

    @classmethod
    def load(cls, directory: Path) -> KindredSignals:
        columns, popular, half_life_s = (load_array(directory, name) for name in cls._ARRAYS)
        folder = directory / _SPECTRUM
        spectrum = Spectrum.load(folder) if folder.exists() else Spectrum.silent(len(columns))
        return cls(columns, popular, half_life_s, spectrum)

    def _faded(self, trail: Trail) -> Scores | None:
        """float32[h]: the weight of each of the history, by how much older than the newest it is; None
        where all are of one time."""
        if not len(trail.at_s) or trail.at_s[-1] == trail.at_s[0]:
            return None
        age_s = trail.at_s[-1] - trail.at_s
        weights: Scores = (np.exp2(-age_s / self.half_life_s[0]) + _LEAST_WEIGHT).astype(np.float32)
        return weights


def _likings(als: Als, rows: Rows, trail: Trail, scratch: Scratch) -> Scores:
    """float32[c]: the inner products with the taste of the whole history, nothing faded."""
    taste = als.fold_in(trail.rows, als.kind_weights[trail.kinds], scratch)
    known = rows < als.n_items
    likings: Scores = np.where(known, als.item_factors[np.where(known, rows, 0)] @ taste, np.float32(0))
    return likings


def _desks_of(scratch: Scratch) -> tuple[KindredDesk, KindredDesk]:
    assert scratch.kindred is not None
    return scratch.kindred
