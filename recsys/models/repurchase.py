"""What is ordered again, and after how long: Bhagat, Muralidharan, Lobzhanidze and Vishwanath, "Buy It Again:
Modeling Repeat Purchase Recommendations", KDD 2018 (the aggregate time distribution).

How likely an item is to be ordered again is the share of its buyers who did; when, a log-normal of the time
between. Both lean on those of the whole shop as far as an item has few buyers or repeats of its own.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from recsys.models.arrays import Rows, Scores, load_array, load_settings, save_arrays
from recsys.models.interactions import InteractionKind, Interactions
from recsys.models.progress import Progress, silent

_STEP: Final = "repurchase"
_DAY_S: Final = 86_400.0


class RepurchaseSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When an order of the same item is a repeat, and how far little is believed."""

    least_gap_days: float = 1.0
    """Orders of an item closer to each other than this are one: a line that was forgotten, an order split."""
    leaning: float = 10.0
    """The shop's own rate and interval count as much as so many buyers, and repeats, of an item."""
    least_spread: float = 0.3
    """Of the logarithm of intervals: nothing is due to the day."""


DEFAULTS = RepurchaseSettings()


class Repurchase:
    """rate float32[n_items]: how likely who ordered an item is to order it again; log_days
    float32[n_items] and spread float32[n_items]: mean and deviation of the natural logarithm of the days
    between. Zero everywhere in a shop where nothing was ever ordered again."""

    _ARRAYS = ("rate", "log_days", "spread")

    def __init__(self, settings: RepurchaseSettings, rate: Scores, log_days: Scores, spread: Scores) -> None:
        self.settings = settings
        self.rate = rate
        self.log_days = log_days
        self.spread = spread

    @classmethod
    def fit(
        cls,
        interactions: Interactions,
        settings: RepurchaseSettings = DEFAULTS,
        *,
        progress: Progress = silent,
    ) -> Repurchase:
        """Memory: some 40 bytes an order's line."""
        n_items = interactions.n_items
        item, days, is_buyer = _gaps(interactions, settings.least_gap_days)
        again = item[~is_buyer]
        buyers = np.bincount(item[is_buyer], minlength=n_items)
        repeats = np.bincount(again, minlength=n_items)
        if not len(again):
            nothing = np.zeros(n_items, np.float32)
            return cls(settings, nothing, nothing, nothing)
        # Who ordered four times has three gaps: a gap for each order but the first is a rate beyond 1,
        # so it is one of all orders.
        rate = _leaning(repeats, buyers + repeats, len(again) / len(item), settings.leaning)
        log = np.log(days[~is_buyer])
        log_days = _leaning(
            np.bincount(again, log, minlength=n_items), repeats, float(log.mean()), settings.leaning
        )
        apart = (log - log_days[again]) ** 2
        variance = _leaning(
            np.bincount(again, apart, minlength=n_items), repeats, float(apart.mean()), settings.leaning
        )
        spread = np.maximum(np.sqrt(variance), settings.least_spread)
        progress(_STEP, 1.0)
        return cls(settings, *(one.astype(np.float32) for one in (rate, log_days, spread)))

    @property
    def n_items(self) -> int:
        return len(self.rate)

    def due(self, row: int, days: float) -> float:
        """0 to 1: how much it is time to order an item again, so many days after the last time; greatest
        around the item's own interval."""
        apart = math.log(max(days, 1e-3)) - float(self.log_days[row])
        spread = max(float(self.spread[row]), self.settings.least_spread)
        return float(self.rate[row]) * math.exp(-0.5 * (apart / spread) ** 2)

    def save(self, directory: Path) -> None:
        save_arrays(directory, {name: getattr(self, name) for name in self._ARRAYS}, self.settings)

    @classmethod
    def load(cls, directory: Path) -> Repurchase:
        arrays = (load_array(directory, name) for name in cls._ARRAYS)
        return cls(load_settings(directory, RepurchaseSettings), *arrays)


def _gaps(
    interactions: Interactions, least_gap_days: float
) -> tuple[Rows, npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """For each time that somebody ordered an item: the item int32[o], the days float64[o] since they did
    before, and whether it was their first time bool[o]."""
    ordered = np.flatnonzero(interactions.kind == InteractionKind.ORDER)
    by_pair = np.lexsort(
        (interactions.at_s[ordered], interactions.item[ordered], interactions.person[ordered])
    )
    ordered = ordered[by_pair]
    item, person = interactions.item[ordered], interactions.person[ordered]
    at_s = interactions.at_s[ordered]
    is_first = np.ones(len(ordered), bool)
    is_first[1:] = (np.diff(item) != 0) | (np.diff(person) != 0)
    days = np.diff(at_s, prepend=at_s[:1]) / _DAY_S
    counts = is_first | (days >= least_gap_days)
    return item[counts], days[counts], is_first[counts]


def _leaning(
    sums: npt.NDArray[Any], counts: npt.NDArray[Any], usual: float, leaning: float
) -> npt.NDArray[np.float64]:
    """The mean of each item, as if `leaning` more had been `usual`."""
    means: npt.NDArray[np.float64] = (sums + leaning * usual) / (counts + leaning)
    return means
