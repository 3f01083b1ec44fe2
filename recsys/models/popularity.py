"""What is popular: counts that fade with time."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from recsys.models.arrays import NOTHING, Ranked, load_array, load_settings, save_arrays
from recsys.models.interactions import N_KINDS, InteractionKind, Interactions
from recsys.models.progress import Progress, silent


class PopularitySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How interactions fade, and what each kind counts."""

    half_life_s: float = 7 * 86_400.0
    """After this many seconds an interaction counts half."""
    kind_weights: tuple[float, float, float, float] = (1.0, 3.0, 5.0, 1.0)
    """What a view, a cart, an order and a read count in the blend of all kinds."""


DEFAULTS = PopularitySettings()


class Popularity:
    """counts float32[4, n_items]: faded counts by InteractionKind, as of the last interaction.

    scores float32[n_items]: their blend; ranked int32[p]: the p rows with a score, the best first.
    """

    def __init__(self, settings: PopularitySettings, counts: npt.NDArray[np.float32]) -> None:
        self.settings = settings
        self.counts = counts
        self.scores = (np.asarray(settings.kind_weights, np.float32) @ counts).astype(np.float32)
        self.ranked = _ranked(self.scores)

    @classmethod
    def fit(
        cls,
        interactions: Interactions,
        settings: PopularitySettings = DEFAULTS,
        progress: Progress = silent,
    ) -> Popularity:
        counts = np.zeros((N_KINDS, interactions.n_items), np.float32)
        if len(interactions):
            age_s = interactions.at_s.max() - interactions.at_s
            weight = np.exp2(-age_s / settings.half_life_s)
            for kind in InteractionKind:
                of_kind = interactions.kind == kind
                counts[kind] = np.bincount(
                    interactions.item[of_kind], weight[of_kind], minlength=interactions.n_items
                )
        progress("popularity", 1.0)
        return cls(settings, counts)

    def top(self, k: int, kind: InteractionKind | None = None) -> Ranked:
        """The k most popular items, by one kind or by the blend of all."""
        if k <= 0:
            return NOTHING
        ranked, scores = self.ranked, self.scores
        if kind is not None:
            scores = self.counts[kind]
            ranked = _ranked(scores)
        return ranked[:k], scores[ranked[:k]]

    def save(self, directory: Path) -> None:
        save_arrays(directory, {"counts": self.counts}, self.settings)

    @classmethod
    def load(cls, directory: Path) -> Popularity:
        return cls(load_settings(directory, PopularitySettings), load_array(directory, "counts"))


def _ranked(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
    order = np.argsort(-scores, kind="stable")
    return order[: np.count_nonzero(scores > 0)].astype(np.int32)
